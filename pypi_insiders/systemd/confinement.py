"""Determine the files that services need; all others are hidden from them or read-only."""

import os
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pypi_insiders.config.paths import Paths, runtime_directory
from pypi_insiders.config.settings import Settings
from pypi_insiders.systemd import transient
from pypi_insiders.systemd.quoting import quote
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_bytes
from pypi_insiders.util.formatting import last_line
from pypi_insiders.util.private_directories import HOMES, TEMPORARY, is_below
from pypi_insiders.util.process import run

# ProtectHome= hides /home, /root and /run/user only. Users also have files in these directories:
# mail and cron jobs in /var, disks in /media and /mnt, sites in /srv.
_OTHERS = (Path("/media"), Path("/mnt"), Path("/srv"), Path("/var"))
_TIMEOUT_S = 60
# The demanding part of the drop-ins: a user namespace for mounts (systemd.exec(5),
# `PrivateUsers=`), a network namespace, and mounts over /home and /run. If the probe works, so do
# the services.
_PROBE = (
    "PrivateUsers=yes",
    "PrivateNetwork=yes",
    "ProtectHome=tmpfs",
    "TemporaryFileSystem=/run:ro",
)


class Program(NamedTuple):
    """The files of the program that services run, and of uv, which the program runs."""

    files: tuple[Path, ...]
    """The command, its environment, its interpreter and its import path."""
    uv_cache: Path
    """The cache directory of uv."""


def values(paths: Paths, settings: Settings, program: Program) -> dict[str, dict[str, str]]:
    """Return the variable lines of the drop-ins: kind of service to placeholder to lines.

    A service without an entry is not confined.
    """
    home = Path.home()
    hidden = [item for item in _OTHERS if item.is_dir()]
    # A home elsewhere, such as /data/alice, is not covered by ProtectHome= or `_OTHERS`.
    if not is_below(home, (*HOMES, *_OTHERS, *TEMPORARY)):
        hidden.append(home)
    own = (paths.data, paths.state, paths.cache)
    dists = _resolved(paths.distributions)
    found = {
        "server": _server(paths, settings, program, hidden),
        "notify": _writing(own, dists),  # it checks whether updates can write there
    }
    # Builds without a sandbox run in the watcher, and should have the permissions of the user.
    if settings.build.sandbox != "off":
        found["watcher"] = found["one"] = _writing((*own, program.uv_cache), dists)
    return found


def _server(
    paths: Paths, settings: Settings, program: Program, hidden: list[Path]
) -> dict[str, str]:
    dists = (paths.data, _resolved(paths.distributions))
    # Without uploads the server cannot write distributions, even if a request takes control of it.
    writable = [paths.state, *(dists if settings.server.uploads else ())]
    readable = [paths.config, *_linked(paths), *dists, *program.files]
    # Only hidden paths need a mount.
    concealed = (*HOMES, *TEMPORARY, *hidden)
    return {
        "hidden": _lines("TemporaryFileSystem", hidden, end=":ro"),
        "readable": _lines(
            "BindReadOnlyPaths",
            (
                path
                for path in readable
                if is_below(path, concealed) and not is_below(path, writable)
            ),
            "-",
        ),
        "writable": _lines("BindPaths", writable, "-"),
    }


def _writing(own: tuple[Path, ...], dists: Path) -> dict[str, str]:
    """Return the lines of a service that reads all files and writes to some directories."""
    return {
        # ReadWritePaths= with `-` ignores a missing path, which then stays read-only. So
        # ExecStartPre= creates the directories; `$$` is a literal `$` there (systemd.service(5),
        # "COMMAND LINES"). Not the distributions directory: if that is missing, published releases
        # are lost, and an empty one would hide it.
        "made": " ".join(map(_word, _outermost(own))).replace("$", "$$"),
        "writable": _lines("ReadWritePaths", (*own, dists), "-"),
    }


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Remove paths that are below others."""
    found = dict.fromkeys(paths)
    return [path for path in found if not any(item in found for item in path.parents)]


def _linked(paths: Paths) -> Iterator[Path]:
    """Yield the targets of settings that are links, such as dotfiles under version control."""
    for path in (paths.settings, paths.repositories, paths.passwords, paths.hook_secret):
        if path.is_symlink():
            # A mount of the link's directory alone would show a link to a hidden file.
            real = path.resolve()
            # The directory and not the file, which is replaced when it is written; but never the
            # whole home.
            yield real if Path.home().is_relative_to(real.parent) else real.parent


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))


def find_program(words: Iterable[str], variables: Mapping[str, str], paths: Paths) -> Program:
    """Find the files of the program that services run.

    Args:
        words: the command.
        variables: the environment that the user manager passes to each service.
        paths: the program's paths.
    """
    return Program(tuple(_files(words)), _uv_cache(variables, paths))


def _files(words: Iterable[str]) -> list[Path]:
    command = next(iter(words))
    package = Path(__file__).parents[1]
    # In a virtual environment the last two differ: the standard library is there.
    prefixes = (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
    found = [Path(command), package, package.resolve(), *map(Path, prefixes)]
    # With its parent directory, where uv and pyenv also install the next patch release.
    home, base = Path.home(), Path(sys.executable).resolve().parent.parent
    is_beside = base.is_relative_to(home) and base.parent != home
    found.append(base.parent if is_beside else base)
    # The rest of sys.path is of an editable installation or the user's packages. Entries of this
    # shell's PYTHONPATH are left out: services do not have the variable.
    given = {Path(word).absolute() for word in os.environ.get("PYTHONPATH", "").split(":")}
    imported = [Path(word) for word in sys.path[1:] if word]
    return [*found, *(item for item in imported if item.is_dir() and item.absolute() not in given)]


def trouble(pauses_s: Iterable[float] = (0.5, 1)) -> str | None:
    """Run a confined unit as a probe; return why confinement is unavailable, or `None`.

    Args:
        pauses_s: seconds between attempts.

    Source: systemd.exec(5), `PrivateUsers=`.
    """
    argv = transient.command(
        # The exit status of `true` would not do: without a user namespace, systemd 252 ignores
        # ProtectHome= and the like, and runs the command unconfined. So the command looks for a
        # directory that must be hidden.
        ("sh", "-c", 'test ! -e "$1"', "sh", str(runtime_directory() / "systemd")),
        "Test the confinement of pypi-insiders services",
        _PROBE,
    )
    # Under load 2 of some 700 units failed with 217/USER, "Resource temporarily unavailable": after
    # a single attempt services would stay unconfined for no reason.
    for pause_s in (*pauses_s, None):
        try:
            result = run(argv, timeout_s=_TIMEOUT_S)
        except InsidersError as error:
            return error.message
        if result.status == 0:
            return None
        if pause_s is not None:
            time.sleep(pause_s)
    return last_line(result.stderr, f"a unit with a user namespace exited with {result.status}")


def _uv_cache(variables: Mapping[str, str], paths: Paths) -> Path:
    """Return uv's cache. Source: https://docs.astral.sh/uv/concepts/cache/#cache-directory."""
    # Not `uv cache dir`, which would use the environment of this shell instead of the service's.
    if cache := variables.get("UV_CACHE_DIR"):
        return Path(cache)
    for file in (paths.config.parent / "uv/uv.toml", Path("/etc/uv/uv.toml")):
        try:
            cache = tomllib.loads(read_bytes(file).decode()).get("cache-dir")
        except (OSError, ValueError):
            continue
        if isinstance(cache, str):
            return Path(cache).expanduser().absolute()
    return paths.cache.parent / "uv"


def _lines(name: str, paths: Iterable[Path], begin: str = "", *, end: str = "") -> str:
    return "\n".join(f"{name}={_word(path, begin, end)}" for path in _outermost(paths))


def _word(path: Path, begin: str = "", end: str = "") -> str:
    return quote(f"{begin}{path}{end}")
