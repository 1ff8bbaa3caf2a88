"""backend_answers: what a hook leaves as its answer, which is foreign."""

import os
import socket
from pathlib import Path

import pytest

from pypi_insiders.builder.backend_answers import answer_of
from pypi_insiders.builder.errors import BuildError

_DEEP = 100_000 * b"["
_TOLD_SDIST = "the build backend returned {} from build_sdist, expected a file name"
_TOLD_REQUIRES = (
    "the build backend returned {} from get_requires_for_build_sdist, "
    "expected a list of requirements"
)


def _returns(text: str) -> bytes:
    return b'{"return_val": %b}' % text.encode()


def _complaint(path: Path, hook: str) -> str:
    with pytest.raises(BuildError) as caught:
        answer_of(hook, path)
    return caught.value.message


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        *((_returns(text), told) for text, told in (
            ("5", "5"), ("null", "null"), ("true", "true"), ("1.5", "1.5"), ("[]", "a list"),
            ("{}", "a table"), ('"a/b.tar.gz"', '"a/b.tar.gz"'), ('".."', '".."'), ('""', '""'),
            ('"a\\u0000b"', '"a\\u0000b"'), ('"\\ud800.tar.gz"', '"\\ud800.tar.gz"'),
            ('"../../x/y"', '"../../x/y"'), (f'"{90 * "a"}/"', f'"{79 * "a"}...'),
        )),
        *((raw, "an unreadable answer") for raw in (
            b"", b"{", b"\xff", b"[1]", b"5", b"null", _DEEP, _returns(6000 * "9"),
            _returns(f'"{2_000_000 * "a"}"'), b'{"return_val":' + _DEEP,
        )),
        (b"{}", "null"),
    ],
)  # fmt: skip
def test_what_is_no_file_name_is_told(tmp_path: Path, answer: bytes, told: str) -> None:
    path = tmp_path / "output.json"
    path.write_bytes(answer)
    assert _complaint(path, "build_sdist") == _TOLD_SDIST.format(told)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("5", "5"), ("null", "null"), ("[[1]]", "a list with a list in it"),
        ('["a", 5]', "a list with 5 in it"), ("[{}]", "a list with a table in it"),
        ('{"a": 1}', "a table"), ('"flit_core"', '"flit_core"'),
        ("[null]", "a list with null in it"),
    ],
)  # fmt: skip
def test_what_are_no_requirements_is_told(tmp_path: Path, answer: str, told: str) -> None:
    path = tmp_path / "output.json"
    path.write_bytes(_returns(answer))
    assert _complaint(path, "get_requires_for_build_sdist") == _TOLD_REQUIRES.format(told)


@pytest.mark.parametrize("kind", ["directory", "link", "link to nowhere", "pipe", "socket"])
def test_what_is_no_file_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It is not followed, read or waited for."""
    path = tmp_path / "output.json"
    match kind:
        case "directory":
            path.mkdir()
        case "link":
            path.symlink_to("/etc/hostname")
        case "link to nowhere":
            path.symlink_to("nowhere")
        case "pipe":
            os.mkfifo(path)
        case "socket":
            monkeypatch.chdir(tmp_path)  # its path may be too long for a name of a socket
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(path.name)
    assert _complaint(path, "build_sdist") == _TOLD_SDIST.format("an unreadable answer")


def test_an_answer_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert _complaint(tmp_path / "output.json", "build_sdist") == _TOLD_SDIST.format("nothing")
