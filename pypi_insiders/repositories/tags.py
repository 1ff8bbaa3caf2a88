"""Select the tags of a repository that are releases to build."""

import fnmatch
import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from pypi_insiders.repositories import heads
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.formatting import counted, listed

# `9.5.3-insiders-4.49.0` is built as version `9.5.3+insiders.4.49.0`. Other suffixes, such as
# `1.0-docker`, are no part of a version.
_INSIDERS = r"(?i)(?P<public>v?\d[^-+]*)-(?P<local>insiders(?:[-._][a-z0-9]+)*)"

_VERSION = "{version}"
# `20240115` and `202401151230`: days and minutes, as some projects tag their builds.
_DATE = r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{4}|\d{6})?"
_FIRST_YEAR = 1900
# `rel_1_2_3`, `release-4-0-0rc1`: a prefix, and a version with any of three separators.
_PREFIXED = r"(?P<prefix>|.*?[^\d.])(?P<version>\d+(?:[._-]\d+)+.*)"
# NAME_MAX: no file name could contain a longer version. Python rejects numbers of some thousand
# digits, and the time of a pattern grows with the square of the length. Source:
# path_resolution(7).
_LONGEST_CHARS = 255
_MOST_NAMED = 5
# Prefixes of tags that name no project.
_NO_NAMES = {"", "v", "r", "rel", "release", "releases", "ver", "version"}


class Pattern:
    """A pattern of tags that are releases, with or without `{version}`.

    Args:
        text: `*` matches any text, `?` any character, `[...]` one of several characters, and
            `{version}` the version in the tag (default: the whole tag).

    Raises:
        ValueError: the pattern cannot match a tag.
    """

    def __init__(self, text: str = "*") -> None:
        # Characters that git-check-ref-format(1) forbids in tags.
        if not text or re.search(r"[\s\x00-\x1f\x7f~^:\\]", text):
            raise ValueError(f"must be a pattern of tags, not {text!r}")
        if text.count(_VERSION) > 1:
            raise ValueError(f"must contain {_VERSION} only once, not {text!r}")
        self.text = text

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        before, mark, after = self.text.partition(_VERSION)
        if not mark:
            return re.compile(f"(?P<version>{fnmatch.translate(before)})")
        parts = [
            # translate() ends with `\Z`, from Python 3.14 on with `\z`.
            fnmatch.translate(part).removesuffix(r"\Z").removesuffix(r"\z")
            for part in (before, after)
        ]
        return re.compile(rf"{parts[0]}(?P<version>.+?){parts[1]}\Z")

    def version_of(self, tag: str) -> Version | None:
        """Return the version in a tag; `None` if it has none or does not match."""
        if len(tag) > _LONGEST_CHARS:
            return None
        match = self._regex.match(tag)
        if match is None:
            return None
        text = match["version"]
        if _VERSION not in self.text:
            return version_of(text)
        # Where the user says which part is the version, `1_2_3` and `1-2-3` can be nothing else.
        return version_of(text) or next(filter(None, map(version_of, _dotted(text))), None)

    def matches(self, tag: str) -> bool:
        """Return whether a tag matches, with or without a valid version."""
        return len(tag) <= _LONGEST_CHARS and self._regex.match(tag) is not None


# An update asks about each tag several times, and many repositories have the same ones.
@lru_cache(maxsize=4096)
def version_of(tag: str) -> Version | None:
    """Return the version in a tag; `None` if it has none or is too long.

    These are the versions of the specification (`1.2.0.1.1.0`, `v1.0`, `2.0-rc1`) and Insiders
    tags, whose second part is a local version label (`9.5.3-insiders-4.49.0`).

    Source: https://packaging.python.org/en/latest/specifications/version-specifiers/
    """
    if len(tag) > _LONGEST_CHARS:
        return None
    try:
        return Version(tag)
    except InvalidVersion:
        pass
    if match := re.fullmatch(_INSIDERS, tag):
        try:
            return Version(f"{match['public']}+{match['local']}")
        except InvalidVersion:
            pass
    return None


def _dotted(text: str) -> Iterator[str]:
    """Yield a text with dots in place of underscores, and of dashes too."""
    yield text.replace("_", ".")
    yield re.sub(r"[_-]", ".", text)


class Rules(NamedTuple):
    """The rules that select the tags of a repository to build."""

    pattern: Pattern = Pattern()
    pre: bool | None = None
    """Whether to build pre-releases; `None`: after the first build, or without final releases."""
    max_new: int = 5
    """The maximum of new tags in one update; the newest are built."""
    backfill: int = 0
    """The number of newest tags to build even if they are older than the first build."""


class Choice(NamedTuple):
    """The selection from the tags of one repository."""

    build: tuple[str, ...] = ()
    """Tags to build, highest version first."""
    moved: tuple[str, ...] = ()
    """Tags that have moved since they were built."""
    passed_over: tuple[str, ...] = ()
    """Tags that match the pattern but are not releases, sorted."""
    left_out: tuple[str, ...] = ()
    """New tags beyond the maximum of one update, highest version first."""
    lower: tuple[str, ...] = ()
    """Tags with a lower version than the first build, highest version first."""


def choose(
    refs: dict[str, str],
    built: dict[str, str],
    rules: Rules,
    left_out: Collection[str] = (),
    produced: Mapping[str, str] | None = None,
) -> Choice:
    """Select the tags to build.

    At first that is the latest final release, or the latest pre-release without a final one; later
    every newer version that was not built.

    Args:
        refs: all tags of the repository, tag to commit.
        built: the tags that were built, tag to commit, in the order of their builds.
        rules: which tags are releases.
        left_out: tags that earlier updates skipped, which are built on request only.
        produced: the versions of builds, by tag.
    """
    versions, passed_over = _versions(refs, rules)
    moved = tuple(tag for tag in sorted(refs) if tag in built and built[tag] != refs[tag])
    ranked = _ranked(versions)
    least = rules.backfill if built else max(1, rules.backfill)
    newest = set(_finals_first(ranked, rules)[:least])
    done = _done(built, produced or {}, rules.pattern)
    # By commit too: another tag, such as `v2` or a date, may have built this very release.
    made = {(built[tag], Version(text)) for tag, text in (produced or {}).items() if tag in built}
    # The first build is the lower limit: older versions were not wanted then.
    since = _floor(built, produced or {}, rules.pattern)
    fresh = [
        tag
        for tag, version in ranked
        if version not in done
        and tag not in built
        and (refs[tag], version) not in made
        and (tag in newest or tag not in left_out)
        and (tag in newest or (built and (since is None or version > since)))
    ]
    # `backfill = 10` builds ten tags in one update, even if `max-new` is 5.
    limit = max(rules.max_new, rules.backfill)
    build = tuple(fresh[:limit])
    # Before the first build: lower than the lowest that is built now.
    since = since or (versions[build[-1]] if build and not built else None)
    lower = tuple(
        tag
        for tag, version in ranked
        if since and version < since and version not in done and tag not in (*built, *build)
    )
    return Choice(build, moved, passed_over, tuple(fresh[limit:]), lower)


def _done(built: Collection[str], produced: Mapping[str, str], pattern: Pattern) -> set[Version]:
    """Return the versions of built tags: a tag `v1.0` beside a built `1.0` is not built."""
    said = {tag: version for tag in built if (version := pattern.version_of(tag))}
    # Not of a tag that was built as another version, such as `v2`, which moves, as 2.0.0rc1: it
    # would keep `v2.0.0` from ever being built. A local version is often left out of a build.
    return {
        version
        for tag, version in said.items()
        if tag not in produced or Version(produced[tag]).public == version.public
    }


def _floor(
    built: Mapping[str, str], produced: Mapping[str, str], pattern: Pattern
) -> Version | None:
    """Return the version below which nothing is built; `None`: it is unknown."""
    if not built:
        return None
    first = next(iter(built))
    # A tag such as `20240115` may have built 1.2.3, and a tag v1.0 version 2024.1. By the higher of
    # both, the tags that follow would count as old, and none of them would ever be built.
    said, made = pattern.version_of(first), produced.get(first)
    found = [version for version in (said, Version(made) if made else None) if version]
    return min(found, default=None)


def demand_release(refs: Iterable[str], pattern: Pattern, name: str) -> None:
    """Check that at least one tag is a release.

    Raises:
        InsidersError: there are no tags, or none is a version that matches the pattern.
    """
    named = sorted(refs)
    if not named:
        raise InsidersError(heads.NO_TAGS, heads.TAGS_HINT)
    hint = heads.TAGS_HINT
    if not any(pattern.version_of(tag) for tag in named):
        form = "" if pattern.text == "*" else f" and matches {pattern.text}"
        if any(version_of(tag) for tag in named):
            hint = f"`pypi-insiders repos set {name} tags=` takes every tag that is a version"
        elif fitting := _fitting(named, name):
            hint = f"`pypi-insiders repos set {name} tags={shlex.quote(fitting)}`"
        raise InsidersError(f"none of its tags is a version{form}: {summary(named)}", hint)


def overlooked(
    refs: Iterable[str], name: str, project: str | None = None
) -> tuple[str, str] | None:
    """Find newer releases in tags that are no versions, such as `app-2.0` beside an old `1.0`.

    Args:
        refs: all tags of a repository, which sets no pattern.
        name: `NS/PROJ`.
        project: the name of its project; `None`: it is not known.

    Returns:
        The message and the command that builds these tags instead; `None` if they are fewer than
        the versions, not higher, or those of another project, such as `docs-2.0`.
    """
    named = set(refs)
    read = {tag: version for tag in named if (version := version_of(tag))}
    others = sorted(named - set(read))
    if not read or len(others) <= len(read) or not (text := _fitting(others, name)):
        return None
    own = {canonicalize_name(item) for item in (name.rpartition("/")[2], project or "")}
    if _named_by(text.removesuffix(_VERSION)) not in own | _NO_NAMES:
        return None
    pattern = Pattern(text)
    found = {tag: version for tag in others if (version := pattern.version_of(tag))}
    newest, plain = max(found, key=found.__getitem__), max(read, key=read.__getitem__)
    if len(found) <= len(read) or found[newest] <= read[plain]:
        return None
    message = f"skipped {counted(len(found), 'tag')} such as {newest}, newer than {plain}"
    return message, f"`pypi-insiders repos set {name} tags={shlex.quote(text)}`"


def _fitting(tags: Iterable[str], name: str) -> str | None:
    """Return the pattern that reads a version from most of the tags; `None` without any.

    In a repository of several projects, the tags of the one that has its name come first.
    """
    found: Counter[str] = Counter()
    own = canonicalize_name(name.rpartition("/")[2])
    main = None
    for tag in tags:
        match = re.fullmatch(_PREFIXED, tag)
        # `[`, `*` and `?` stand for other characters in a pattern.
        if match and not re.search(r"[][*?{}]", match["prefix"]):
            try:
                pattern = Pattern(match["prefix"] + _VERSION)
            except ValueError:  # git allows spaces in tags that a pattern does not, such as U+00A0
                continue
            if pattern.version_of(tag) is not None:
                found[pattern.text] += 1
                if _named_by(match["prefix"]) == own:
                    main = pattern.text
    best = found.most_common(1)
    return main or (best[0][0] if best else None)


def _named_by(prefix: str) -> str:
    """Return the normalized name in the prefix of a tag, such as `app` in `app-v`."""
    return canonicalize_name(re.sub(r"[^a-zA-Z0-9]v?$", "", prefix))


def unbuilt(
    refs: Mapping[str, str],
    built: Collection[str],
    rules: Rules,
    produced: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Return all releases that were not built, however old; highest version first.

    Args:
        refs: as for `choose`.
        built: the tags that were built.
        rules: as for `choose`.
        produced: as for `choose`.
    """
    versions, _ = _versions(refs, rules)
    done = _done(built, produced or {}, rules.pattern)
    return tuple(
        tag for tag, version in _ranked(versions) if version not in done and tag not in built
    )


def _versions(refs: Mapping[str, str], rules: Rules) -> tuple[dict[str, Version], tuple[str, ...]]:
    """Return the versions of the matching tags, and the matching tags that are not releases."""
    pattern, tags = rules.pattern, sorted(refs)
    read = {tag: version for tag in tags if (version := pattern.version_of(tag))}
    matching = [tag for tag in tags if tag in read or pattern.matches(tag)]
    aliases = _aliases(refs, read) | _dates(read)
    versions = {tag: version for tag, version in read.items() if tag not in aliases}
    passed_over = tuple(tag for tag in matching if tag not in versions)
    # After `passed_over`: pre-releases are versions, and not reported as skipped.
    if rules.pre is False:
        versions = {tag: item for tag, item in versions.items() if not item.is_prerelease}
    return versions, passed_over


def _aliases(refs: Mapping[str, str], versions: Mapping[str, Version]) -> set[str]:
    """Find the tags that name a commit less exactly than another does: `v1` beside `v1.2.3`."""
    # Each tag is read once: thousands of them may name the same commit.
    series: set[tuple[str, tuple[int, ...]]] = set()
    longest: dict[str, int] = {}
    for tag, version in versions.items():
        commit, numbers = refs[tag], version.release
        # `v1.3` is a release of its own beside `v1.3.0rc1`, of which it is often the same commit.
        if not version.is_prerelease:
            series.update((commit, numbers[:count]) for count in range(1, len(numbers)))
            longest[commit] = max(longest.get(commit, 0), len(numbers))
    return {
        tag
        for tag, version in versions.items()
        # A pre-release, a fix or a local version is no alias, however few numbers it has.
        if not (version.is_prerelease or version.is_postrelease)
        and version.local is None
        and (
            (refs[tag], version.release) in series
            or (_is_date(version) and longest.get(refs[tag], 0) > 1)
        )
    }


def _is_date(version: Version) -> bool:
    return len(version.release) == 1 and re.fullmatch(_DATE, version.public) is not None


def _dates(versions: Mapping[str, Version]) -> set[str]:
    """Find the tags that are a date, beside tags that are versions: they would be the highest."""
    others = [item for item in versions.values() if len(item.release) > 1]
    if not any(item.major < _FIRST_YEAR for item in others):
        return set()
    return {tag for tag, item in versions.items() if _is_date(item)}


def _ranked(versions: dict[str, Version]) -> list[tuple[str, Version]]:
    """Return the tags sorted by version, highest first, one tag for each version."""
    spelled: dict[Version, str] = {}
    # `v2` and `v2.0.0` are the same version: only the most exact tag is built, as `v2` often moves.
    for tag in sorted(versions, key=lambda tag: (-len(versions[tag].release), tag)):
        spelled.setdefault(versions[tag], tag)
    return [(spelled[version], version) for version in sorted(spelled, reverse=True)]


def _finals_first(ranked: list[tuple[str, Version]], rules: Rules) -> list[str]:
    """Return the tags of final releases; without any, or with `pre`, all tags."""
    finals = [tag for tag, version in ranked if not version.is_prerelease]
    return [tag for tag, _ in ranked] if rules.pre or not finals else finals


def summary(tags: Iterable[str]) -> str:
    """Return some tags and the number of the others, as one text."""
    return listed(tags, _MOST_NAMED)
