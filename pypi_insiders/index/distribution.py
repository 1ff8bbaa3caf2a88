"""Read off the name of a distribution file which release it is."""

import contextlib
import re
from collections.abc import Iterable, Iterator

from packaging.utils import (
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

# Old sdists were zip files, and installers still take them; new ones are .tar.gz (PEP 625).
_SDIST_ENDS = (".tar.gz", ".zip")
# What is or was a distribution, or is taken for one: pip and uv read some of these to this day.
_ARCHIVE = re.compile(
    r"\.(?:whl|egg|zip|7z|conda|deb|dmg|exe|msi|rpm|tgz|taz|tbz2?|txz|tzst|tlz|tar(?:\.\w+)?)\Z",
    re.IGNORECASE,
)
# A form that nobody has heard of, after a version.
_UNKNOWN = re.compile(r"\.[a-z]\w*\Z", re.IGNORECASE)
_VERSION_AFTER = re.compile(r"[-_ ]+(?=v?\d)", re.IGNORECASE)
_NO_ARCHIVE = re.compile(
    r"\.(?:asc|bak|cfg|crdownload|csv|damaged|html|ini|json|lock|log|md|md5|metadata|old|part|pdf"
    r"|png|provenance|py|rst|sh|sha256|sha512|sig|svg|swp|tmp|toml|txt|xml|ya?ml)",
    re.IGNORECASE,
)
_LINE_CHARS = 400
_FILE_NAME = re.compile(r"[A-Za-z0-9._+!-]+")


class DistributionError(InsidersError):
    """A file is no sdist or wheel, or does not agree with its own name.

    Args:
        message: foreign text in it becomes part of one line of bearable length.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message[:_LINE_CHARS])


def is_wheel(name: str) -> bool:
    """Tell a wheel by its file name."""
    return name.endswith(".whl")


def release_of(name: str) -> tuple[NormalizedName, Version]:
    """Read project and version off the name of an sdist or wheel.

    Raises:
        DistributionError: it is not the name of either.

    Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
    """
    if not _FILE_NAME.fullmatch(name):
        # No specification allows them, in the tags of a wheel neither, and each would mean
        # something else in a URL, a page, a header or a log.
        raise DistributionError(f"{name!r} has characters that no wheel and no sdist has")
    try:
        # Both functions of `packaging` take what no specification allows in a project's name.
        if is_wheel(name):
            project, version, _, _ = parse_wheel_filename(name)
            return canonicalize_name(project, validate=True), version
        if name.endswith(_SDIST_ENDS):
            project, version = parse_sdist_filename(name)
            return canonicalize_name(project, validate=True), version
    except (InvalidWheelFilename, InvalidSdistFilename, ValueError) as error:
        raise DistributionError(f"{name}: {error}") from error
    raise DistributionError(f"{name} is neither a wheel nor an sdist")


def possible_projects(name: str) -> frozenset[str]:
    """Return the projects of which a file may be that `release_of` rejects; empty for no archive.

    An old form (`x-1.0.tgz`, `x-1.0.egg`), one that is new or unknown after a version
    (`x-1.0.tar.zst`, `x-1.0.lz`), a build tag that is none, a name without a version: a file that
    nobody can be given still says that its project is private. Where it is not clear which part is
    the name, every reading counts.

    Args:
        name: a file name.

    Returns:
        Normalized names.
    """
    match = _ARCHIVE.search(name)
    if match is None:
        match = _UNKNOWN.search(name)
        has_version = _VERSION_AFTER.search(name)
        if match is None or has_version is None or _NO_ARCHIVE.fullmatch(match[0]):
            return frozenset()
    stem = name[: match.start()]
    cuts = [cut.start() for cut in _VERSION_AFTER.finditer(stem)]
    if not cuts:
        cuts = [*(cut.start() for cut in re.finditer("-", stem))] or [len(stem)]
    readings = [stem[:at] for at in cuts]
    found = set()
    for reading in readings:
        with contextlib.suppress(InvalidName):
            found.add(canonicalize_name(reading.strip(), validate=True))
    return frozenset(found)


def projects_of(name: str) -> frozenset[str]:
    """Return the projects of which a file is or may be: one, where it is a wheel or an sdist."""
    try:
        return frozenset([release_of(name)[0]])
    except DistributionError:
        return possible_projects(name)


def releases(names: Iterable[str]) -> Iterator[tuple[str, NormalizedName, Version]]:
    """Read project and version off each file name that is that of an sdist or wheel.

    Args:
        names: of files; others, such as those that start with a dot, are left out.
    """
    for name in names:
        try:
            yield name, *release_of(name)
        except DistributionError:
            continue
