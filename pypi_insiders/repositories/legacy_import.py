"""Import the list of repositories of the original pypi-insiders (1.1.1 on PyPI)."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories.repository import Repository, parse_name, parse_project
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import list_names, read_text
from pypi_insiders.util.formatting import counted

FILE = "repos.json"
"""The list of repositories of the original."""
_HINT = 'it maps each repository to its project: {"NS/PROJ": "PROJECT"}'
_PROCESSES = Path("/proc")


def load(path: Path, *, is_argument: bool = False) -> list[Repository]:
    """Read the `repos.json` of the original.

    Args:
        path: the file.
        is_argument: whether the user has named it, so that it may be a pipe.

    Raises:
        InsidersError: the file is missing, unreadable or not such a list; the message has all
            problems.
    """
    text = read_text(path, is_argument=is_argument)
    if text is None:
        raise InsidersError(f"{path} not found", "name the file: `pypi-insiders repos import FILE`")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InsidersError(f"{path} is not valid JSON: {error}", _HINT) from error
    if not isinstance(document, dict):
        raise InsidersError(f"{path} is not a list of repositories", _HINT)
    problems: list[str] = []
    found = []
    for name, project in document.items():
        try:
            found.append(_repository(name, project))
        except InsidersError as error:
            problems.append(error.message)
    if problems:
        raise InsidersError(f"{path}: {'; '.join(problems)}", _HINT)
    return found


def _repository(name: str, project: Any) -> Repository:
    checked = parse_name(name)
    if not isinstance(project, str):
        raise InsidersError(f"the project of {name} must be a string")
    return Repository(checked, parse_project(project))


def remains(paths: Paths, imported: Iterable[Repository]) -> Iterator[str]:
    """Yield a line on each process, file and clone of the original that is left."""
    # The original has no units: its server and watcher are processes in the background.
    for number, part in _running():
        port = " and may use the port of this server" if part == "server" else ""
        yield f"the {part} of the original is running{port}; stop it: `kill {number}`"
    files = [name for name in list_names(paths.data) if name.endswith((".whl", ".tar.gz"))]
    if files:
        yield (
            f"its published files are in {paths.data} ({counted(len(files), 'file')}); "
            f"to serve them, move them to {paths.distributions}"
        )
    clones = [item.name for item in imported if (paths.cache / item.name / ".git").exists()]
    if clones:
        yield f"its clones in {paths.cache} are no longer used: {', '.join(clones)}"


def _running() -> list[tuple[int, str]]:
    """Return process id and part, `server` or `watcher`, of this user's original processes.

    Source: proc_pid_cmdline(5), proc_pid_environ(5).
    """
    found, home = [], os.fsencode(f"HOME={Path.home()}")
    for name in filter(str.isdecimal, list_names(_PROCESSES)):
        process = _PROCESSES / name
        try:
            if process.stat().st_uid != os.getuid():
                continue
            # With another home, it has another list, and is not what is imported here.
            if home not in (process / "environ").read_bytes().split(b"\0"):
                continue
            # Not pgrep(1), which a minimal Debian lacks.
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # the process has ended
            continue
        line = b" ".join(words[1:4]).decode(errors="replace")
        if match := re.fullmatch("-Impypi_insiders (server|watcher) run", line):
            found.append((int(name), match[1]))
    return sorted(found)
