"""Download the sdist of a build requirement, without running any of its code."""

import hashlib
import os
import time
import tomllib
from base64 import b64encode
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit
from urllib.request import Request, url2pathname

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pypi_insiders.builder import environments
from pypi_insiders.builder.environments import RequirementError
from pypi_insiders.builder.hook_variables import INDEX_VARIABLES
from pypi_insiders.util.disk_reserve import demand_room
from pypi_insiders.util.errors import reason
from pypi_insiders.util.files import open_file
from pypi_insiders.util.process_group import ProcessGroup
from pypi_insiders.util.time_limit import shortened
from pypi_insiders.util.web import NoAnswerError, answer_to

_LIMIT_BYTES = 256 * 1024**2
_BLOCK_BYTES = 1024**2
_TIMEOUT_S = 60
_DOWNLOAD_S = 900


def download(  # noqa: PLR0913 - what uv is asked for
    project: str,
    requirements: Iterable[str],
    directory: Path,
    *,
    python: str,
    as_of_s: int | None,
    processes: ProcessGroup,
) -> Path:
    """Download the latest sdist of a project that fits the requirements.

    Args:
        project: its normalized name.
        requirements: PEP 508 requirements; those of the project limit its version.
        directory: an existing directory for the sdist.
        python: path of the interpreter.
        as_of_s: ignore files that were uploaded after this time, if there are older ones.
        processes: kills uv when this process ends.

    Returns:
        Its path in the directory.

    Raises:
        RequirementError: no sdist was found, or it cannot be downloaded.

    Source: PEP 751, `packages.sdist`.
    """
    wanted = [text for text in requirements if _name_of(text) == project] or [project]
    listed = directory / "wanted.in"
    listed.write_text("".join(f"{text}\n" for text in wanted))
    file = _find(project, listed, python, as_of_s, processes)
    if urlsplit(str(file["url"])).scheme == "file":
        # An index of http can list any file of this machine. Without cache and network, uv
        # finds what the indexes and directories on this machine have, which the user has chosen.
        try:
            file = _find(project, listed, python, as_of_s, processes, "--offline", "--no-cache")
        except RequirementError as error:
            raise RequirementError(
                f"cannot download the sdist of {project}: an index of http or https lists a file "
                f"of this machine, {file['url']}"
            ) from error
    url, name = str(file["url"]), str(file.get("name") or _last_part(str(file["url"])))
    if "/" in name or not name.isprintable() or not name.endswith(".tar.gz"):
        raise RequirementError(f"cannot build {project} from {name!r}, which is no .tar.gz file")
    target = directory / name
    try:
        _copy(url, target)
    except (NoAnswerError, OSError) as error:
        raise RequirementError(f"cannot download {name}: {reason(error)}") from error
    expected = file.get("hashes", {}).get("sha256")
    with target.open("rb") as content:
        if expected and hashlib.file_digest(content, "sha256").hexdigest() != expected:
            raise RequirementError(f"{name} has another SHA-256 than the index lists")
    return target


def _name_of(text: str) -> str:
    return canonicalize_name(Requirement(text).name)


def _last_part(url: str) -> str:
    return unquote(urlsplit(url).path).rpartition("/")[2]


def _find(
    project: str,
    listed: Path,
    python: str,
    as_of_s: int | None,
    processes: ProcessGroup,
    *options: str,
) -> dict[str, Any]:
    """Ask uv for the sdist: it knows the indexes of the user. No code of a project runs."""
    # A file, as warnings of uv would be in between the lines on standard output.
    answer = listed.with_name("pylock.toml")
    for limit in environments.time_limits(as_of_s):
        # --no-deps: uv would build an sdist to learn what it depends on.
        done = environments.run_uv(
            processes, listed.parent,
            "pip", "compile", "--quiet", "--no-deps", "--no-header", "--format", "pylock.toml",
            "--no-binary", project, "--python", python, "--output-file", str(answer), *limit,
            *options, "--", str(listed),
        )  # fmt: skip
        if done.status == 0:
            break
    else:
        raise RequirementError(
            f"cannot find an sdist of {project}: {environments.cause(done.stdout)}", done.stdout
        )
    try:
        (package,) = tomllib.loads(answer.read_text(encoding="utf-8"))["packages"]
        return dict(package["sdist"])
    except (ValueError, LookupError, TypeError) as error:
        raise RequirementError(f"no sdist of {project} found", done.stdout) from error


def _copy(url: str, target: Path) -> None:
    parts = urlsplit(url)
    with target.open("xb") as output:
        if parts.scheme == "file":
            with open_file(Path(url2pathname(parts.path))) as source:
                _receive(source.read, output)
            return
        request = Request(url)  # noqa: S310 - urllib itself opens http and https here
        if parts.scheme not in ("http", "https"):
            raise RequirementError(f"cannot download from {parts.scheme}: URLs")
        if login := _login(url):
            # Not to another host that this one redirects to.
            request.add_unredirected_header("Authorization", f"Basic {login}")
        # Longer, so that the check of the time, which says more, comes first.
        total_s = shortened(_DOWNLOAD_S) + _TIMEOUT_S
        with answer_to(request, _TIMEOUT_S, total_s=total_s) as answer:
            if answer.status != 200:
                raise OSError(f"status {answer.status}")
            # Not `read`, which waits for the whole block: a byte a second would never reach the
            # check of the time.
            _receive(answer.read1, output)
            if answer.length:
                raise OSError("the answer is incomplete")


def _receive(read: Callable[[int], bytes], output: BinaryIO) -> None:
    left_bytes, until_s = _LIMIT_BYTES, time.monotonic() + shortened(_DOWNLOAD_S)
    while block := read(_BLOCK_BYTES):
        left_bytes -= len(block)
        if left_bytes < 0:
            raise OSError(f"larger than {_LIMIT_BYTES // 1024**2} MiB")
        if time.monotonic() > until_s:
            raise OSError("it takes too long")
        demand_room(len(block))
        output.write(block)


def _login(url: str) -> str | None:
    """Return the user and password that a variable of uv has for the host of a URL."""
    wanted = urlsplit(url)
    for variable in INDEX_VARIABLES:
        for word in os.environ.get(variable, "").split():
            index = urlsplit(word.partition("=")[2] if "=" in word.partition("://")[0] else word)
            is_same = (index.scheme, index.hostname, index.port) == (
                wanted.scheme, wanted.hostname, wanted.port,
            )  # fmt: skip
            if is_same and index.username is not None:
                pair = f"{unquote(index.username)}:{unquote(index.password or '')}"
                return b64encode(pair.encode()).decode()
    return None
