"""Take over from the original pypi-insiders (1.1.1 on PyPI), which keeps its list as JSON."""

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
"""What `repos.toml` is in the original."""
_HINT = 'it maps each repository to its project: {"NS/PROJ": "PROJECT"}'
_PROCESSES = Path("/proc")


def load(path: Path, *, is_argument: bool = False) -> list[Repository]:
    """Read its `repos.json`; nothing is written to it.

    Args:
        path: the file.
        is_argument: whether the user has named it, so that it may be a pipe.

    Raises:
        InsidersError: the file is not there, cannot be read or is no such list; everything wrong
            is named at once.
    """
    text = read_text(path, is_argument=is_argument)
    if text is None:
        raise InsidersError(
            f"{path} is not there", "say where it is: `pypi-insiders repos import FILE`"
        )
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InsidersError(f"{path} is not valid JSON: {error}", _HINT) from error
    if not isinstance(document, dict):
        raise InsidersError(f"{path} is no list of repositories", _HINT)
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
    """Describe what else of it is here, and what that means now; nothing is changed.

    It has no units: its server and watcher are processes that were left running.
    """
    for number, part in _running():
        takes = ", on a port that ours may want" if part == "server" else ""
        yield f"the original's {part} still runs{takes}; to end it: `kill {number}`"
    files = [name for name in list_names(paths.data) if name.endswith((".whl", ".tar.gz"))]
    if files:
        yield (
            f"what it published lies in {paths.data} ({counted(len(files), 'file')}); what you "
            f"move from there to {paths.distributions} is served"
        )
    clones = [item.name for item in imported if (paths.cache / item.name / ".git").exists()]
    if clones:
        yield f"its clones are of no use any more: {', '.join(clones)} in {paths.cache}"


def _running() -> list[tuple[int, str]]:
    """Find its processes of this user, by the words with which it starts them: number and part.

    Source: proc_pid_cmdline(5).
    """
    found = []
    for name in filter(str.isdecimal, list_names(_PROCESSES)):
        process = _PROCESSES / name
        try:
            if process.stat().st_uid != os.getuid():
                continue
            # Not `pgrep`, which a bare Debian lacks.
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        line = b" ".join(words[1:4]).decode(errors="replace")
        if match := re.fullmatch("-Impypi_insiders (server|watcher) run", line):
            found.append((int(name), match[1]))
    return sorted(found)
