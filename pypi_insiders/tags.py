"""Decide which tags of a repository are releases to build."""

import fnmatch
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

from packaging.version import InvalidVersion, Version

# `9.5.3-insiders-4.49.0` is built as version `9.5.3+insiders.4.49.0`.
# Other second parts (`1.0-docker`) say nothing about the version.
_INSIDERS = re.compile(
    r"(?P<public>v?\d[^-+]*)-(?P<local>insiders(?:[-._][a-z0-9]+)*)", re.IGNORECASE
)


_VERSION = "{version}"


@dataclass(frozen=True)
class Pattern:
    """Which tags are releases: a glob, with or without the place of the version in it.

    Args:
        text: `*` and `?` stand for any text and any character, `[...]` for one of several;
            `{version}` for the part of the tag that is its version (without it, all of the tag).

    Raises:
        ValueError: it can match no tag.
    """

    text: str = "*"

    def __post_init__(self) -> None:
        """Check the text."""
        if not self.text or re.search(r"[\s\x00-\x1f\x7f~^:\\]", self.text):
            raise ValueError(f"must be a pattern of tags, not {self.text!r}")
        if self.text.count(_VERSION) > 1:
            raise ValueError(f"must have {_VERSION} once, not {self.text!r}")

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        before, mark, after = self.text.partition(_VERSION)
        if not mark:
            return re.compile(f"(?P<version>{fnmatch.translate(before)})")
        parts = [
            fnmatch.translate(part).removesuffix(r"\Z").removesuffix(r"\z")
            for part in (before, after)
        ]
        return re.compile(rf"{parts[0]}(?P<version>.+?){parts[1]}\Z")

    def version_of(self, tag: str) -> Version | None:
        """Read the version that a tag proposes; `None` where it is none or does not match."""
        match = self._regex.match(tag)
        return version_of(match["version"]) if match else None

    def matches(self, tag: str) -> bool:
        """Tell whether a tag is of this form, whatever its version."""
        return self._regex.match(tag) is not None


def version_of(tag: str) -> Version | None:
    """Read the version that a tag proposes; `None` where it proposes none.

    Understood are the versions of the specification (`1.2.0.1.1.0`, `v1.0`, `2.0-rc1`) and
    Insiders tags, whose second part is a local version label (`9.5.3-insiders-4.49.0`).

    Source: https://packaging.python.org/en/latest/specifications/version-specifiers/
    """
    try:
        return Version(tag)
    except InvalidVersion:
        pass
    if match := _INSIDERS.fullmatch(tag):
        try:
            return Version(f"{match['public']}+{match['local']}")
        except InvalidVersion:
            pass
    return None


@dataclass(frozen=True)
class Choice:
    """What to do about the tags of one repository."""

    build: tuple[str, ...]
    """Tags to build, lowest version first."""
    moved: tuple[str, ...]
    """Tags that were built from another commit than the one they name now."""
    passed_over: tuple[str, ...]
    """Tags that are no version, sorted."""


def choose(refs: dict[str, str], built: dict[str, str]) -> Choice:
    """Choose the tags that are not built yet.

    The first time that is the newest final release, or the newest pre-release where there is
    no final one; from then on every tag whose version is not built yet and is not lower than
    that first one.

    Args:
        refs: what the repository has, tag to commit.
        built: what was built before, tag to commit, in the order in which it was built.
    """
    versions = {tag: version for tag in sorted(refs) if (version := version_of(tag))}
    passed_over = tuple(tag for tag in sorted(refs) if tag not in versions)
    moved = tuple(tag for tag in versions if tag in built and built[tag] != refs[tag])
    if not built:
        newest = _newest(versions)
        return Choice((newest,) if newest else (), moved, passed_over)
    done = {version for tag in built if (version := version_of(tag))}
    since = version_of(next(iter(built)))
    fresh = {
        version: tag
        for tag, version in reversed(versions.items())  # of two spellings, the first in order
        if version not in done and (since is None or version > since)
    }
    return Choice(tuple(fresh[version] for version in sorted(fresh)), moved, passed_over)


def _newest(versions: dict[str, Version]) -> str | None:
    finals: Collection[str] = [
        tag for tag, version in versions.items() if not version.is_prerelease
    ]
    return max(finals or versions, key=lambda tag: versions[tag], default=None)


def summary(tags: Iterable[str], most: int = 5) -> str:
    """Name a few tags, and how many more there are."""
    named = list(tags)
    rest = len(named) - most
    return ", ".join(named[:most]) + (f" and {rest} more" if rest > 0 else "")
