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
from pypi_insiders.util.files import list_names
from pypi_insiders.util.formatting import counted

FILE = "repos.json"
"""The list of repositories of the original."""
_HINT = 'it maps each repository to its project: {"NS/PROJ": "PROJECT"}'
_PROCESSES = Path("/proc")
# So the original starts its processes: `python -Impypi_insiders server run`.
_COMMAND = r"-Impypi_insiders %s run(?: |$)"


def parse(path: Path, text: str) -> list[Repository]:
    """Parse the `repos.json` of the original.

    Raises:
        InsidersError: it is not such a list; the message has all problems.
    """
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
    parts = [(part, pid) for part in ("server", "watcher") for pid in running(_COMMAND % part)]
    for part, number in parts:
        port = " and may use the port of this server" if part == "server" else ""
        yield f"the {part} of the original is running{port}; stop it: `kill {number}`"
    yield from remaining_files(paths.data, paths)
    clones = [item.name for item in imported if (paths.cache / item.name / ".git").exists()]
    if clones:
        yield f"its clones in {paths.cache} are no longer used: {', '.join(clones)}"


def remaining_files(directory: Path, paths: Paths) -> Iterator[str]:
    """Yield a line on its published files in a directory, if there are any."""
    if count := sum(name.endswith((".whl", ".tar.gz")) for name in list_names(directory)):
        yield (
            f"its published files are in {directory} ({counted(count, 'file')}); "
            f"to serve them, move them to {paths.distributions}"
        )


def running(command: str) -> list[int]:
    """Return the process ids of this user's Python programs with a command line, sorted.

    Args:
        command: a regular expression of the words after the interpreter.

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
        if re.match(command, b" ".join(words[1:]).decode(errors="replace")):
            found.append(int(name))
    return sorted(found)
