"""Parse the names of distribution files."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache

from packaging.tags import Tag
from packaging.utils import (
    BuildTag,
    InvalidName,
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from pypi_insiders.util.errors import InsidersError

# Old sdists were zip files, which installers still accept; PEP 625 requires .tar.gz.
_SDIST_ENDS = (".tar.gz", ".zip")
# Present and former distributions, and archives that may be meant as such: pip and uv still read
# some of them.
_ARCHIVE = (
    r"(?i)\.(?:whl|egg|zip|7z|conda|deb|dmg|exe|msi|rpm|tgz|taz|tbz2?|txz|tzst|tlz|tar(?:\.\w+)?)\Z"
)
# Any other ending, which counts after a version only.
_UNKNOWN = r"(?i)\.[a-z]\w*\Z"
_VERSION_AFTER = r"(?i)[-_ ]+(?=v?\d)"
_NO_ARCHIVE = (
    r"(?i)\.(?:asc|bak|cfg|crdownload|csv|damaged|html|ini|json|lock|log|md|md5|metadata|old|part|pdf"
    r"|png|provenance|py|rst|sh|sha256|sha512|sig|svg|swp|tmp|toml|txt|xml|ya?ml)"
)
# Names and versions in a message are foreign text of any length; it is one line of the journal.
_LINE_CHARS = 400
_FILE_NAME = re.compile(r"[A-Za-z0-9._+!-]+")
# Names and normalized versions as build backends write them, a part of what `packaging` accepts.
_NAME, _NUMBER = r"[A-Za-z0-9]+(?:[{}][A-Za-z0-9]+)*", "(?:0|[1-9][0-9]*)"
_RELEASE = rf"{_NUMBER}(?:\.{_NUMBER})*"
_LOCAL = rf"(?:{_NUMBER}|[0-9]*[a-z][a-z0-9]*)"
_VERSION = (
    rf"{_RELEASE}(?:(?:a|b|rc){_NUMBER})?(?:\.post{_NUMBER})?(?:\.dev{_NUMBER})?"
    rf"(?:\+{_LOCAL}(?:\.{_LOCAL})*)?"
)
_USUAL = (
    rf"({_NAME.format('._')})-({_VERSION})(?:-[a-z0-9_]+(?:\.[a-z0-9_]+)*){{3}}\.whl"
    rf"|({_NAME.format('._-')})-({_VERSION})\.tar\.gz"
)


class DistributionError(InsidersError):
    """A file is not a valid sdist or wheel, or does not match its name.

    Args:
        message: is cut to one line of readable length, as it contains foreign text.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message[:_LINE_CHARS])


def is_wheel(name: str) -> bool:
    """Return whether a file name is that of a wheel."""
    return name.endswith(".whl")


def kind_of(name: str) -> tuple[BuildTag, frozenset[Tag]] | None:
    """Return of what a release has one file: build number and tags of a wheel; `None`: its sdist.

    Of two, such as `Probe-1.0-py3-none-any.whl` and `probe-1.0-py3-none-any.whl`, an installer
    takes either.
    """
    return parse_wheel_filename(name)[2:] if is_wheel(name) else None


# Several parts ask about a file that is examined.
@lru_cache(maxsize=64)
def release_of(name: str) -> tuple[NormalizedName, Version]:
    """Parse project and version from the file name of an sdist or wheel.

    Raises:
        DistributionError: the name is neither.

    Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
    """
    if not _FILE_NAME.fullmatch(name):
        # The specifications allow no other characters, not even in a wheel's tags, and others have
        # a meaning of their own in a URL, a page, a header or a log.
        raise DistributionError(f"{name!r} has characters that are invalid in file names")
    try:
        # Both functions of `packaging` accept invalid project names: canonicalize_name() checks.
        if is_wheel(name):
            project, version, _, _ = parse_wheel_filename(name)
            return canonicalize_name(project, validate=True), version
        if name.endswith(_SDIST_ENDS):
            project, version = parse_sdist_filename(name)
            return canonicalize_name(project, validate=True), version
    except (InvalidWheelFilename, InvalidSdistFilename, ValueError) as error:
        raise DistributionError(f"{name}: {error}") from error
    raise DistributionError(f"{name} is neither a wheel nor an sdist")


def twins(names: Iterable[str], others: Iterable[str]) -> dict[str, str]:
    """Return which of the names of distributions have another name for the same file of a release.

    Args:
        names: file names of distributions.
        others: all file names, of any files.
    """
    wanted = {(project, its, kind_of(name)): name for name, project, its in releases(names)}
    prefixes = tuple({f"{project}-" for project, _, _ in wanted})
    # Of a directory with many files, only those of these projects are parsed.
    near = (name for name in others if canonicalize_name(name).startswith(prefixes))
    found = (
        (wanted.get((project, its, kind_of(name))), name) for name, project, its in releases(near)
    )
    return {name: other for name, other in found if name is not None and name != other}


def possible_projects(name: str) -> frozenset[str]:
    """Return the projects that a file rejected by `release_of` may belong to; empty for others.

    These are old forms (`x-1.0.tgz`, `x-1.0.egg`), new or unknown endings after a version
    (`x-1.0.tar.zst`, `x-1.0.lz`), invalid build tags and names without a version. Such a file is
    not served, but its project is private. Where the name could end in several places, all count.

    Returns:
        Normalized names.
    """
    match = re.search(_ARCHIVE, name)
    if match is None:
        match = re.search(_UNKNOWN, name)
        has_version = re.search(_VERSION_AFTER, name)
        if match is None or has_version is None or re.fullmatch(_NO_ARCHIVE, match[0]):
            return frozenset()
    stem = name[: match.start()]
    cuts = [cut.start() for cut in re.finditer(_VERSION_AFTER, stem)]
    # Without a version, the name may end at any dash.
    if not cuts:
        cuts = [*(cut.start() for cut in re.finditer("-", stem))] or [len(stem)]
    readings = [stem[:at] for at in cuts]
    found = set()
    for reading in readings:
        with contextlib.suppress(InvalidName):
            found.add(canonicalize_name(reading.strip(), validate=True))
    return frozenset(found)


# Compiled for the first name: commands find the projects of most files in the metadata cache.
@cache
def _usual() -> re.Pattern[str]:
    return re.compile(_USUAL)


def project_of(name: str) -> str:
    """Return the normalized project of an sdist or wheel; empty for other files."""
    # For a directory of many files: `packaging` takes thirty times as long.
    if match := _usual().fullmatch(name):
        return _normalized(match[1] or match[3])
    try:
        return release_of(name)[0]
    except DistributionError:
        return ""


def is_of(name: str, project: str, version: str) -> bool:
    """Return whether a file name is that of an sdist or wheel of a release.

    Args:
        name: a file name.
        project: normalized.
        version: normalized.
    """
    if match := _usual().fullmatch(name):
        return (project, version) == (_normalized(match[1] or match[3]), match[2] or match[4])
    try:
        its, other = release_of(name)
    except DistributionError:
        return False
    return (project, version) == (its, str(other))


def _normalized(project: str) -> str:
    return project.lower().replace("_", "-").replace(".", "-")


def projects_of(name: str) -> frozenset[str]:
    """Return the projects that a file may belong to: one for a wheel or an sdist."""
    project = project_of(name)
    return frozenset([project]) if project else possible_projects(name)


def releases(names: Iterable[str]) -> Iterator[tuple[str, NormalizedName, Version]]:
    """Yield file name, project and version of each sdist and wheel.

    Args:
        names: file names; other files, such as hidden ones, are skipped.
    """
    for name in names:
        try:
            yield name, *release_of(name)
        except DistributionError:
            continue
