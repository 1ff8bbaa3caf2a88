"""Validate the answers of build backends."""

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


def read_foreign(path: Path, limit_bytes: int) -> bytes | None:
    """Read a file of foreign code; `None` if it is no regular file or too large.

    Raises:
        FileNotFoundError: it does not exist.
        OSError: memory or file descriptors are exhausted.
    """
    try:
        # No link, which could lead to a private file; and opening a FIFO must not block.
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
    """Return the validated answer of a hook, as JSON for `build`.

    Raises:
        BuildError: the answer is missing, malformed, or of the wrong type for the hook.
        OSError: it cannot be read.

    Source: PEP 517, "Build backend interface"; `_in_process.py` of pyproject_hooks.
    """
    expected = "a list of requirements" if hook.startswith("get_requires") else "a file name"
    try:
        raw = read_foreign(path, _ANSWER_LIMIT_BYTES)
    except FileNotFoundError as error:
        raise BuildError(
            f"the build backend returned nothing from {hook}, expected {expected}"
        ) from error
    try:
        answer = None if raw is None else json.loads(raw)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise BuildError(
            f"the build backend returned an unreadable answer from {hook}, expected {expected}"
        )
    # Each answer is rebuilt from its known fields: others could mean something to a later version
    # of `build`.
    if answer.get("unsupported"):
        return json.dumps({"unsupported": True, "traceback": _text(answer, "traceback")}).encode()
    if answer.get("no_backend"):
        texts = {name: _text(answer, name) for name in ("traceback", "backend_error")}
        return json.dumps({"no_backend": True, **texts}).encode()
    value = answer.get("return_val")
    if not (_are_texts(value) if hook.startswith("get_requires") else _is_file_name(value)):
        raise BuildError(
            f"the build backend returned {_shown(value)} from {hook}, expected {expected}"
        )
    return json.dumps({"return_val": value, "warnings": list(_warnings(answer))}).encode()


def _text(answer: dict[str, Any], name: str) -> str:
    text = answer.get(name)
    # A module that is missing from the backend-path has no traceback.
    if text is None:
        return ""
    if not isinstance(text, str):
        raise BuildError(f"the build backend returned {_shown(text)} as {name}, expected a text")
    return text


def _warnings(answer: dict[str, Any]) -> Iterator[dict[str, object]]:
    found = answer.get("warnings", [])
    for item in found if isinstance(found, list) else [found]:
        text = item.get("message") if isinstance(item, dict) else item
        if not isinstance(text, str):
            raise BuildError(
                f"the build backend returned {_shown(text)} as a warning, expected a text"
            )
        # Without file and line, which the backend could make up.
        yield {"message": text, "filename": "", "lineno": 1}


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_file_name(value: object) -> bool:
    # `build` joins it to a directory of ours, out of which it must not lead.
    if not isinstance(value, str) or value in ("", ".", "..") or "/" in value or "\0" in value:
        return False
    return encodable(value) == value


def _shown(value: object) -> str:
    """Describe a JSON value in a few words."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        odd = [item for item in value if not isinstance(item, str)]
        if not odd:
            return "a list"
        return f"a list with {'a list' if isinstance(odd[0], list) else _shown(odd[0])} in it"
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
