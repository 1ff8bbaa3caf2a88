"""Compare a distribution that was built here with the registry's of the same release."""

import re
import tarfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)

_SHOWN = 3
_VALUE_CHARS = 40
# Written by the version of the backend, not by the project.
_OF_BACKEND = {
    "Author",  # with Author-Email in one field, or in two
    "Author-Email",
    "Description-Content-Type",
    "Dynamic",
    "Home-Page",
    "Keywords",  # separated by commas or by spaces
    "License",
    "License-Expression",
    "License-File",
    "Metadata-Version",
    "Platform",
    "Provides-Extra",
}
_PLATFORM = re.compile(r"(?:many)?linux(?:_\d+_\d+|\d+)?_(?P<machine>[a-z]\w+)")
_NATIVE = re.compile(r"\.so$|^[^/]+\.libs/|^\*\.dist-info/(?:sboms/|WHEEL$)")
_FOLLOWS = re.compile(
    r"^\*\.dist-info/(?:RECORD|METADATA)$|(?:^|\.egg-info/)PKG-INFO$|\.egg-info/SOURCES\.txt$"
)
_NOT_TRACKED = "sdist with files that are not in the repository"


@dataclass(frozen=True)
class Archive:
    """What an archive contains."""

    members: dict[str, bytes]
    """Path, without what only repeats the name of the archive, to content."""
    packing: dict[str, object]
    """How they are packed, in a form that can be compared."""

    @property
    def metadata(self) -> Message:
        """The core metadata."""
        return self._headers("*.dist-info/METADATA", "PKG-INFO")

    @property
    def generator(self) -> str:
        """The backend that made it, as a wheel states; empty for an sdist."""
        return str(self._headers("*.dist-info/WHEEL").get("Generator", ""))

    def _headers(self, *names: str) -> Message:
        content = next((self.members[name] for name in names if name in self.members), b"")
        return BytesParser().parsebytes(content)


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
    reordered: tuple[str, ...] = ()
    """Members of the same lines in another order."""
    packing: tuple[str, ...] = ()
    """What differs in how both are packed, if the members are the same."""
    fields: dict[str, str] = field(default_factory=dict)
    """Fields of the metadata of other values, and which."""
    generators: tuple[str, str] = ("", "")
    """The backends, ours first."""

    @property
    def is_unpacked_same(self) -> bool:
        """Return whether both have the same members of the same content."""
        return not (self.only_here or self.only_there or self.changed or self.reordered)

    @property
    def backends(self) -> str:
        """How the backends of two wheels differ; empty if they do not."""
        here, there = self.generators
        return f"made by {here or '?'} here, by {there or '?'} there" if here != there else ""


@dataclass
class Judgement:
    """What is wrong with a file, and what is explained."""

    wrong: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    """By another version of the backend, or by what the project does before it uploads."""


def kind(name: str) -> str:
    """Return whether a file is a wheel or an sdist."""
    return "wheel" if name.endswith(".whl") else "sdist"


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
    if here.read_bytes() == there.read_bytes():
        return Comparison(here.name, there.name, is_same=True)
    ours, other = read(here), read(there)
    one, two = ours.members, other.members
    differing = sorted(name for name in one.keys() & two.keys() if one[name] != two[name])
    reordered = tuple(name for name in differing if _lines(one[name]) == _lines(two[name]))
    return Comparison(
        here.name,
        there.name,
        is_same=False,
        only_here=tuple(sorted(one.keys() - two.keys())),
        only_there=tuple(sorted(two.keys() - one.keys())),
        changed=tuple(name for name in differing if name not in reordered),
        reordered=reordered,
        packing=tuple(key for key in ours.packing if ours.packing[key] != other.packing.get(key)),
        fields=fields(ours.metadata, other.metadata),
        generators=(ours.generator, other.generator),
    )


def _lines(content: bytes) -> list[bytes]:
    return sorted(line.rstrip(b",") for line in content.splitlines())


def read(path: Path) -> Archive:
    """Read a wheel, or an sdist of either form."""
    return _read_tar(path) if path.name.endswith(".tar.gz") else _read_zip(path)


def _read_tar(path: Path) -> Archive:
    members, found = {}, []
    with tarfile.open(path) as archive:
        for item in archive:
            name = item.name.removeprefix("./").partition("/")[2]
            if item.isfile() and (file := archive.extractfile(item)):
                members[name] = file.read()
            elif item.issym() or item.islnk():
                members[name] = item.linkname.encode()
            if name in members:
                found.append((name, item.mtime, item.mode, (item.uid, item.gid, item.uname)))
    return Archive(members, _packing(found, ("order", "times", "modes", "owners")))


def _read_zip(path: Path) -> Archive:
    members, found = {}, []
    with zipfile.ZipFile(path) as archive:
        for item in archive.infolist():
            if item.is_dir():
                continue
            first, _, rest = item.filename.partition("/")
            if path.suffix == ".whl":
                first = re.sub(r"^.*(?=\.(?:dist-info|data)$)", "*", first)
                name = f"{first}/{rest}" if rest else first
            else:
                name = rest
            members[name] = archive.read(item)
            found.append((name, item.date_time, item.external_attr >> 16, item.compress_type))
    return Archive(members, _packing(found, ("order", "times", "modes", "compression")))


def _packing(found: Sequence[Sequence[object]], keys: Sequence[str]) -> dict[str, object]:
    names = [str(row[0]) for row in found]
    columns = {
        key: {row[0]: row[number] for row in found} for number, key in enumerate(keys) if number
    }
    return {"order": names, **columns}


def fields(here: Message, there: Message) -> dict[str, str]:
    """Return the fields of the metadata that differ, and how; their order is none."""
    ours, other = _values(here), _values(there)
    return {
        name: f"{_listed(ours[name] - other[name])} here, {_listed(other[name] - ours[name])} there"
        for name in sorted(ours.keys() | other.keys())
        if ours[name] != other[name]
    }


def _values(message: Message) -> defaultdict[str, Counter[str]]:
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, value in message.items():
        # `license-file`, as some backends write it.
        found[name.title()][_spelled(str(value))] += 1
    # In a header, as old backends write it, or as the body.
    if body := " ".join(str(message.get_payload()).split()):
        found["Description"][body] += 1
    return found


def _spelled(value: str) -> str:
    """Return a value as all versions of a backend would write it."""
    try:
        return str(Requirement(value))
    except InvalidRequirement:
        return " ".join(value.split())


def _listed(values: Counter[str]) -> str:
    shown = [
        value if len(value) <= _VALUE_CHARS else f"{value[:_VALUE_CHARS]}..."
        for value in sorted(values.elements())
    ]
    more = [f"{len(shown) - _SHOWN} more"] if len(shown) > _SHOWN else []
    return ", ".join(shown[:_SHOWN] + more) or "none"


def judge(found: Comparison, backends: str = "", tracked: Collection[str] = ()) -> Judgement:
    """Judge a comparison.

    Args:
        found: the comparison.
        backends: how the backends of the release differ, if its wheels tell.
        tracked: the files of the project in its repository. What is only in the registry's sdist
            and none of them was made by those who uploaded it.
    """
    judgement = Judgement()
    is_wheel = found.name.endswith(".whl")
    is_native = is_wheel and "linux_" in found.name
    if backends:
        judgement.explained.append(backends)
    if found.name != found.other:
        _put(judgement, "repaired there" if is_native else backends and "named by its backend",
             f"{found.name} is {found.other} there")  # fmt: skip
    for name, how in found.fields.items():
        why = backends and name in _OF_BACKEND and "fields of the backend"
        _put(judgement, why, f"{name}: {how}")
    if found.reordered:
        judgement.explained.append("lists in the order of a directory")
    made = found.only_there if not is_wheel else ()
    for where, names in (
        ("only here", found.only_here),
        ("only there", found.only_there),
        ("of other content", found.changed),
    ):
        for name in names:
            if is_native and _NATIVE.search(name):
                why = "compiled"
            elif backends and (name.startswith("*.dist-info/") or not is_wheel):
                why = "files of the backend"
            else:
                why = _NOT_TRACKED if name in made and name not in tracked else ""
            # What follows from the other differences is none.
            if not _FOLLOWS.search(name):
                _put(judgement, why, f"{name} {where}")
    return judgement


def _put(judgement: Judgement, why: str | bool, what: str) -> None:
    """Add a difference: with a reason it is explained, without one it is wrong."""
    if not why:
        judgement.wrong.append(what)
    elif why not in judgement.explained:
        judgement.explained.append(str(why))
