"""Determine the files of the user that a build may read."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pypi_insiders.config.credential_files import refusal, refusal_below
from pypi_insiders.config.paths import runtime_directory
from pypi_insiders.util.errors import InsidersError

_log = logging.getLogger(__name__)

# Where programs find their files, and where those are by default: builds have another $HOME.
_ROOTS = {
    "PYENV_ROOT": ".pyenv",
    "RBENV_ROOT": ".rbenv",
    "RUSTUP_HOME": ".rustup",
    "VOLTA_HOME": ".volta",
}
# Their programs need what is beside them, such as `../lib` of Node. Only by these names: the
# directory above may be the user's own, with anything else in it.
_OF_A_PREFIX = ("bin", "sbin", "shims")
_BESIDE = ("include", "lib", "lib32", "lib64", "libexec", "pyvenv.cfg", "share")
# Of all programs and users: their sockets and pipes lead out of the sandbox.
_SHARED = tuple(map(Path, ("/run", "/tmp", "/var/tmp")))  # noqa: S108 - nothing is written there
_KERNEL = tuple(map(Path, ("/dev", "/proc", "/sys")))
_MOST_LINKS = 40
_TOO_LARGE = "%s: %s is too large to search all of it for credentials"


class UserFiles(NamedTuple):
    """The files of the user that a build may read, and the programs among them."""

    readable: tuple[Path, ...] = ()
    """Files and directories, including those of `path` and `last_path`."""
    path: tuple[Path, ...] = ()
    """Directories of programs that come before those of the system."""
    last_path: tuple[Path, ...] = ()
    """Directories of programs that come after those of the system."""


def select(
    name: str, readable: Iterable[str], path: Iterable[str], private: Iterable[Path]
) -> UserFiles:
    """Return what a build may read by the keys of its repository, and Rust of rustup.

    Args:
        name: the repository.
        readable: the key `readable`.
        path: the key `path`.
        private: directories of this program, which no build may read.

    Raises:
        InsidersError: a path is missing or may contain credentials.
    """
    # A socket would lead out of the sandbox: to the user's bus, or to an ssh agent.
    agent = os.environ.get("SSH_AUTH_SOCK")
    hidden = [*private, runtime_directory(), *([Path(agent)] if agent else [])]
    shown = [_checked(name, "readable", text, hidden) for text in readable]
    programs = [_checked(name, "path", text, hidden) for text in path]
    for directory in programs:
        shown.append(directory)
        if directory.name in _OF_A_PREFIX:
            shown += _free(name, _beside(directory), hidden)
    # Known without a key, because nothing in them is secret. Not the rest of ~/.cargo: its
    # credentials and settings are. After the system's programs, which builds have always used.
    rust = [_root("CARGO_HOME", ".cargo") / "bin", _root("RUSTUP_HOME", ".rustup")]
    rust = list(_free(name, filter(Path.is_dir, rust), hidden))
    last = tuple(item for item in rust if item.name == "bin")
    return UserFiles(tuple(dict.fromkeys((*shown, *rust))), tuple(programs), last)


def variables() -> dict[str, str]:
    """Return the variables with which programs find their files below the user's home."""
    found = {name: _root(name, default) for name, default in _ROOTS.items()}
    return {name: str(path) for name, path in found.items() if path.is_dir()}


def steps(path: Path) -> Iterator[Path]:
    """Yield an absolute path and every path that its links lead to; the last has no links."""
    # Not only the last: a program that follows the links itself needs each of them.
    path = Path(os.path.normpath(path))
    for _ in range(_MOST_LINKS):
        found, rest = Path("/"), list(path.parts[1:])
        while rest and not found.is_symlink():
            part = rest.pop(0)
            # `found` has no links, so that its parent is what the kernel takes for `..`.
            found = found.parent if part == ".." else found / part
        if ".." not in rest:
            yield found.joinpath(*rest)
        if not found.is_symlink():
            return
        path = found.parent.joinpath(found.readlink(), *rest)


def _beside(directory: Path) -> Iterator[Path]:
    """Yield what programs of a directory may need beside it."""
    above = directory.parent
    if above in (_root(variable, default) for variable, default in _ROOTS.items()):
        yield above
        return
    home = Path(os.path.realpath(Path.home()))
    real = Path(os.path.realpath(above))
    for name in _BESIDE if real != home else ():
        # ~/.local/share has the data of all programs.
        if (above / name).exists() and real / name != home / ".local/share":
            yield above / name


def _free(name: str, found: Iterable[Path], hidden: Sequence[Path]) -> Iterator[Path]:
    """Yield what has no credentials; log what has, and stays hidden."""
    for path in found:
        why, is_complete = refusal(path, hidden), True
        if why is None:
            why, is_complete = refusal_below(path, hidden)
        if why is None and not (path.is_dir() or path.is_file()):
            why = "is a socket, pipe or device"
        if why is not None:
            _log.info("%s: builds cannot read %s: it %s", name, path, why)
            continue
        if not is_complete:
            _log.info(_TOO_LARGE, name, path)
        yield path


def _checked(name: str, key: str, text: str, hidden: Iterable[Path]) -> Path:
    path = Path(text).expanduser()
    why = _refusal_of_the_system(path) or refusal(path, hidden)
    kind = "directory" if key == "path" else "file or directory"
    if why is None and not (path.is_dir() or ("file" in kind and path.is_file())):
        why = f"is not a {kind}" if path.exists() else "not found"
    if why is None and path.is_dir():
        why, is_complete = refusal_below(path, hidden)
        if not is_complete:
            _log.info(_TOO_LARGE, name, f"{key}: {text}")
    if why is not None:
        raise InsidersError(
            f"{key}: {text} {why}", f"set it again: `pypi-insiders repos set {name} {key}=PATH,...`"
        )
    return path


def _refusal_of_the_system(path: Path) -> str | None:
    for place in (Path(os.path.normpath(path)), Path(os.path.realpath(path))):
        if any(place.is_relative_to(kernel) for kernel in _KERNEL):
            return "belongs to the kernel"
        if place in _SHARED:
            return "is shared by all programs"
    return None


def _root(name: str, default: str) -> Path:
    return Path(os.environ.get(name) or Path.home() / default)
