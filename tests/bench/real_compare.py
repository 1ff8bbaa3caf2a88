"""Compare a distribution that was built here with the registry's of the same release."""

import hashlib
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

_SHOWN = 3
_VALUE_CHARS = 60
# Written by the version of the backend, not by the project.
_OF_BACKEND = {
    "Author",  # with Author-email in one field, or in two
    "Description-Content-Type",
    "Dynamic",
    "Home-page",
    "Keywords",  # separated by commas or by spaces
    "License",
    "License-Expression",
    "License-File",
    "Metadata-Version",
    "Platform",
    "Provides-Extra",
}
_PLATFORM = re.compile(r"(?:many)?linux(?:_\d+_\d+|\d+)?_(?P<machine>\w+)")


@dataclass(frozen=True)
class Archive:
    """What an archive contains."""

    members: dict[str, str]
    """Path, without what only repeats the name of the archive, to the hash of the content."""
    metadata: Message
    generator: str
    """The backend that made it, as a wheel states; empty for an sdist."""


@dataclass(frozen=True)
class Comparison:
    """What differs between a file of ours and its counterpart."""

    name: str
    other: str
    is_same: bool
    """Byte for byte."""
    only_here: tuple[str, ...] = ()
    only_there: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    """Members of other content."""
    fields: dict[str, str] | None = None
    """Fields of the metadata of other values."""
    generators: tuple[str, str] = ("", "")
    """The backends, ours first."""

    @property
    def is_unpacked_same(self) -> bool:
        """Return whether both have the same members of the same content."""
        return not (self.only_here or self.only_there or self.changed)


def counterpart(name: str, others: Iterable[str]) -> str | None:
    """Return the registry's file that a file of ours should be; `None` without any.

    A project repairs its wheels: of `linux_x86_64` it makes one of `manylinux_2_17_x86_64`.
    """
    others = list(others)
    if name in others:
        return name
    return next((other for other in others if _is_alike(name, other)), None)


def _is_alike(name: str, other: str) -> bool:
    try:
        if name.endswith(".whl"):
            return _of_wheel(name) == _of_wheel(other)
        return parse_sdist_filename(name) == parse_sdist_filename(other)
    except (InvalidSdistFilename, InvalidWheelFilename):
        return False


def _of_wheel(name: str) -> tuple[object, ...]:
    project, version, build, tags = parse_wheel_filename(name)
    found = frozenset(
        (tag.interpreter, tag.abi, _PLATFORM.sub(r"linux_\g<machine>", tag.platform))
        for tag in tags
    )
    return project, version, build, found


def compare(here: Path, there: Path) -> Comparison:
    """Compare two archives of one release."""
    if _hash(here.read_bytes()) == _hash(there.read_bytes()):
        return Comparison(here.name, there.name, is_same=True)
    ours, other = read(here), read(there)
    only_here, only_there = (
        tuple(sorted(one.members.keys() - two.members.keys()))
        for one, two in ((ours, other), (other, ours))
    )
    changed = tuple(
        sorted(
            name
            for name in ours.members.keys() & other.members.keys()
            if ours.members[name] != other.members[name]
        )
    )
    return Comparison(
        here.name, there.name, False, only_here, only_there, changed,
        fields(ours.metadata, other.metadata), (ours.generator, other.generator),
    )  # fmt: skip


def read(path: Path) -> Archive:
    """Read an archive."""
    files = dict(_files(path))
    metadata = BytesParser().parsebytes(
        next((files[it] for it in ("*.dist-info/METADATA", "PKG-INFO") if it in files), b"")
    )
    wheel = BytesParser().parsebytes(files.get("*.dist-info/WHEEL", b""))
    members = {name: _hash(content) for name, content in files.items()}
    return Archive(members, metadata, wheel.get("Generator", ""))


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and (file := archive.extractfile(member)):
                    yield _place(member.name, is_wheel=False), file.read()
                elif member.issym() or member.islnk():
                    yield _place(member.name, is_wheel=False), member.linkname.encode()
    else:
        with zipfile.ZipFile(path) as archive_of_zip:
            for info in archive_of_zip.infolist():
                if not info.is_dir():
                    is_wheel = path.suffix == ".whl"
                    yield _place(info.filename, is_wheel=is_wheel), archive_of_zip.read(info)


def _place(name: str, *, is_wheel: bool) -> str:
    first, _, rest = name.removeprefix("./").partition("/")
    if not is_wheel:
        return rest
    return re.sub(r"^.*(?=\.(?:dist-info|data)$)", "*", first) + (f"/{rest}" if rest else "")


def fields(here: Message, there: Message) -> dict[str, str]:
    """Return the fields of the metadata that differ, and how; their order is none."""
    ours, other = _values(here), _values(there)
    return {
        name: f"{_listed(ours[name] - other[name])} here, {_listed(other[name] - ours[name])} there"
        for name in sorted(ours.keys() | other.keys())
        if ours[name] != other[name]
    }


def _values(message: Message) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = _Counters()
    for name, value in message.items():
        # `license-file`, as some backends write it.
        if name.title() == "Description":
            text = re.sub(r"\n(?: {8}|       \|)", "\n", str(value))
            found["Description"][text.strip()] += 1
        else:
            found[name.title()][_spelled(str(value))] += 1
    body = str(message.get_payload()).replace("\r\n", "\n").strip()
    if body:
        found["Description"][body] += 1
    return found


class _Counters(dict[str, Counter[str]]):
    def __missing__(self, name: str) -> Counter[str]:
        return self.setdefault(name, Counter())


def _spelled(value: str) -> str:
    """Return a value as all versions of a backend would write it."""
    try:
        return str(Requirement(value))
    except InvalidRequirement:
        return " ".join(value.split())


def _listed(values: Counter[str]) -> str:
    shown = [repr(value)[1 : _VALUE_CHARS + 1] for value in sorted(values.elements())]
    more = [f"{len(shown) - _SHOWN} more"] if len(shown) > _SHOWN else []
    return ", ".join(shown[:_SHOWN] + more) or "none"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def judge(found: Comparison, backend: str = "") -> tuple[list[str], list[str]]:
    """Judge a comparison.

    Args:
        found: the comparison.
        backend: how the backends of the release differ, if its wheels tell.

    Returns:
        What is wrong, and what is explained: by another version of the backend, or by what the
        project does to its files before it uploads them.
    """
    wrong: list[str] = []
    explained: list[str] = []
    if backend:
        explained.append(backend)
    if found.name != found.other:
        (explained if _is_renamed(found, backend) else wrong).append(
            f"{found.name} is {found.other} there"
        )
    for name, how in (found.fields or {}).items():
        is_of_backend = bool(backend) and name in _OF_BACKEND
        (explained if is_of_backend else wrong).append(f"{name}: {how}")
    return wrong, explained


def _is_renamed(found: Comparison, backend: str) -> bool:
    """Return whether a name differs only as tools of the project or a backend's version do."""
    if found.name.endswith(".whl"):
        # By auditwheel, or by a backend that did not normalize names yet.
        return "linux_" in found.name or bool(backend)
    return canonicalize_name(found.name) == canonicalize_name(found.other)


def backends(found: Comparison) -> str:
    """Return how the backends of two wheels differ; empty if they do not."""
    here, there = found.generators
    return f"built with {here or '?'} here, {there or '?'} there" if here != there else ""
