"""Read what a build backend answers, as far as it is an answer."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pypi_insiders.builder.errors import BuildError
from pypi_insiders.util.files import shortage
from pypi_insiders.util.plain_text import encodable

_SHOWN_CHARS = 80
_ANSWER_LIMIT_BYTES = 1024 * 1024


def read_left(path: Path, limit_bytes: int) -> bytes | None:
    """Read a file that foreign code has left; `None`: it is a link, a pipe, or too much.

    Raises:
        FileNotFoundError: there is none.
        OSError: nothing can be read now.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or shortage(error):
            raise
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(limit_bytes + 1)
    return content if len(content) <= limit_bytes else None


def answer_of(hook: str, path: Path) -> bytes:
    """Read what a hook has left as its answer, and give it on as far as `build` knows it.

    Raises:
        BuildError: it is no answer, or not of the type that the hook has.
        OSError: it cannot be read.

    Source: PEP 517, "Build backend interface"; `_in_process.py` of pyproject_hooks.
    """
    wanted = "a list of requirements" if hook.startswith("get_requires") else "a file name"
    try:
        raw = read_left(path, _ANSWER_LIMIT_BYTES)
    except FileNotFoundError as error:
        raise BuildError(f"its build backend answers nothing to {hook}, not {wanted}") from error
    try:
        answer = None if raw is None else json.loads(raw)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise BuildError(f"its build backend answers what cannot be read to {hook}, not {wanted}")
    if answer.get("unsupported"):
        return json.dumps({"unsupported": True, "traceback": _text(answer, "traceback")}).encode()
    if answer.get("no_backend"):
        told = {name: _text(answer, name) for name in ("traceback", "backend_error")}
        return json.dumps({"no_backend": True, **told}).encode()
    value = answer.get("return_val")
    if not (_are_texts(value) if hook.startswith("get_requires") else _is_file_name(value)):
        raise BuildError(f"its build backend answers {_shown(value)} to {hook}, not {wanted}")
    return json.dumps({"return_val": value, "warnings": list(_warnings(answer))}).encode()


def _text(answer: dict[str, Any], name: str) -> str:
    text = answer.get(name)
    # Of a module that is not in the backend-path there is no traceback.
    if text is None:
        return ""
    if not isinstance(text, str):
        raise BuildError(f"its build backend answers {_shown(text)} as its {name}, not a text")
    return text


def _warnings(answer: dict[str, Any]) -> Iterator[dict[str, object]]:
    """Take over the texts of warnings; where they come from is not told."""
    told = answer.get("warnings", [])
    for item in told if isinstance(told, list) else [told]:
        text = item.get("message") if isinstance(item, dict) else item
        if not isinstance(text, str):
            raise BuildError(f"its build backend answers {_shown(text)} as a warning, not a text")
        yield {"message": text, "filename": "", "lineno": 1}


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_file_name(value: object) -> bool:
    """Tell whether a value names a file in a directory, wherever that lies."""
    if not isinstance(value, str) or value in ("", ".", "..") or "/" in value or "\0" in value:
        return False
    return encodable(value) == value


def _shown(value: object) -> str:
    """Show a value of JSON in a few words."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        odd = [item for item in value if not isinstance(item, str)]
        if not odd:
            return "a list"
        return f"a list with {'a list' if isinstance(odd[0], list) else _shown(odd[0])} in it"
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
