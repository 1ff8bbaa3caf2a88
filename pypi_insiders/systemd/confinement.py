"""Tell what files the services need, all others being hidden from them or read-only."""

import os
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pypi_insiders.config.paths import Paths, runtime_directory
from pypi_insiders.config.settings import Settings
from pypi_insiders.systemd import transient
from pypi_insiders.systemd.quoting import quote
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_bytes
from pypi_insiders.util.formatting import last_line
from pypi_insiders.util.private_directories import HOMES, TEMPORARY, is_below
from pypi_insiders.util.process import run

# ProtectHome= hides /home, /root and /run/user only. A user has files in these too (mail and cron
# jobs in /var, disks in /media and /mnt, sites in /srv), and all of them could be read.
_OTHERS = (Path("/media"), Path("/mnt"), Path("/srv"), Path("/var"))
_TIMEOUT_S = 60
# What the drop-ins need most: a user namespace for every mount (systemd.exec(5), `PrivateUsers=`),
# a network of its own, and mounts over /home and /run. What the probe can have, the services can.
_PROBE = (
    "PrivateUsers=yes",
    "PrivateNetwork=yes",
    "ProtectHome=tmpfs",
    "TemporaryFileSystem=/run:ro",
)


@dataclass(frozen=True)
class Program:
    """What the services run, and what they run themselves."""

    files: tuple[Path, ...]
    """The command, its environment, its interpreter, and where else it imports from."""
    uv_cache: Path
    """Where uv keeps what it downloads."""


def values(paths: Paths, settings: Settings, program: Program) -> dict[str, dict[str, str]]:
    """Tell what the drop-ins have beside fixed lines: kind of service to name to lines.

    A service for which nothing is told is not confined: builds without a sandbox run with the
    user's permissions, which they would not have in the watcher.
    """
    home = Path.home()
    hidden = [item for item in _OTHERS if item.is_dir()]
    # A home elsewhere (/srv/alice, /data/alice) is hidden by none of the lines above.
    if not is_below(home, (*HOMES, *_OTHERS, *TEMPORARY)):
        hidden.append(home)
    own = (paths.data, paths.state, paths.cache)
    dists = _resolved(paths.distributions)
    found = {
        "server": _server(paths, settings, program, hidden),
        "notify": _writing(own, dists),  # it looks whether updates can write there
    }
    if settings.build.sandbox != "off":
        found["watcher"] = _writing((*own, program.uv_cache), dists)
    return found


def _server(
    paths: Paths, settings: Settings, program: Program, hidden: list[Path]
) -> dict[str, str]:
    dists = (paths.data, _resolved(paths.distributions))
    # Only a server that takes uploads writes distributions: no other could, whatever a request
    # makes of it.
    writable = [paths.state, *(dists if settings.server.uploads else ())]
    readable = [paths.config, *_linked(paths), *dists, *program.files]
    # What is visible anyway needs no mount.
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
    """Write the lines of a service that reads everything, and writes in some directories."""
    return {
        # `-` before a path of ReadWritePaths= leaves out what is not there at the start, and then
        # it stays read-only: so ExecStartPre= makes the directories. There `$` begins a variable,
        # and `$$` is one. Source: systemd.service(5), "COMMAND LINES".
        # The distributions directory is not made: when it is gone, so is what was published.
        "made": " ".join(map(_word, _outermost(own))).replace("$", "$$"),
        "writable": _lines("ReadWritePaths", (*own, dists), "-"),
    }


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Leave out what lies below others."""
    found = dict.fromkeys(paths)
    return [path for path in found if not any(item in found for item in path.parents)]


def _linked(paths: Paths) -> Iterator[Path]:
    """Name where the settings really lie, as with dotfiles under version control."""
    for path in (paths.settings, paths.repositories, paths.passwords):
        if path.is_symlink():
            # A bind mount of the link's directory shows the link, which then leads to a hidden
            # place.
            real = path.resolve()
            # The directory, unless that shows the whole home: a file of it is replaced when it is
            # written.
            yield real if Path.home().is_relative_to(real.parent) else real.parent


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))


def find_program(words: Iterable[str], variables: Mapping[str, str], paths: Paths) -> Program:
    """Find out what the services of this program run.

    Args:
        words: the command.
        variables: those that the user manager hands to each service.
        paths: where its files lie.
    """
    return Program(tuple(_files(words)), _uv_cache(variables, paths))


def _files(words: Iterable[str]) -> list[Path]:
    command = next(iter(words))
    package = Path(__file__).parents[1]
    # A virtual environment has the first two, and finds the standard library in the others.
    prefixes = (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
    found = [Path(command), package, package.resolve(), *map(Path, prefixes)]
    # Its next patch release takes a place beside it, as those of uv and pyenv do.
    home, base = Path.home(), Path(sys.executable).resolve().parent.parent
    is_beside = base.is_relative_to(home) and base.parent != home
    found.append(base.parent if is_beside else base)
    # An editable installation, or packages of the user: not what only this shell adds.
    given = {Path(word).absolute() for word in os.environ.get("PYTHONPATH", "").split(":")}
    imported = [Path(word) for word in sys.path[1:] if word]
    return [*found, *(item for item in imported if item.is_dir() and item.absolute() not in given)]


def trouble(pauses_s: Iterable[float] = (0.5, 1)) -> str | None:
    """Try whether a unit of the user can be confined; tell why not, or `None` if it can.

    Where it cannot, some versions of systemd run it all the same, with everything in sight.

    Args:
        pauses_s: after how many seconds to try again: under load it fails at times.

    Source: systemd.exec(5), `PrivateUsers=`.
    """
    argv = transient.command(
        # That the unit ends with 0 is not enough: systemd 252 ignores ProtectHome= and its like in
        # a user manager that cannot have the user namespace, and runs the command with everything
        # in sight. So the command looks for something that must be hidden.
        ("sh", "-c", 'test ! -e "$1"', "sh", str(runtime_directory() / "systemd")),
        "A look whether services of pypi-insiders can be confined",
        _PROBE,
    )
    # Under load some of 700 units failed with 217/USER, "Resource temporarily unavailable", and the
    # next one did not: a single try would leave services unconfined for no reason.
    for pause_s in (*pauses_s, None):
        try:
            result = run(argv, timeout_s=_TIMEOUT_S)
        except InsidersError as error:
            return error.message
        if result.status == 0:
            return None
        if pause_s is not None:
            time.sleep(pause_s)
    return last_line(result.stderr, f"a unit with a user namespace ended with {result.status}")


def _uv_cache(variables: Mapping[str, str], paths: Paths) -> Path:
    """Find uv's cache. Source: https://docs.astral.sh/uv/concepts/cache/#cache-directory."""
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
