"""Explain why git failed."""

import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from pypi_insiders.git.errors import (
    HERE,
    HTTP,
    PATH,
    SSH,
    ObjectFormatError,
    UnexplainedError,
    UnreachableError,
)
from pypi_insiders.git.local_ssh import names
from pypi_insiders.git.meanings import MEANINGS
from pypi_insiders.util.errors import InsidersError, cut
from pypi_insiders.util.formatting import last_line
from pypi_insiders.util.without_credentials import without_any_credentials, without_credentials

# Where text of the host starts, which may have several lines: `ERR` of the protocol, an unexpected
# answer, the name of a ref, and a message of a server of Git LFS.
# Source: git's pkt-line.c, connect.c, fetch-pack.c, remote.c, refs.c.
_HOST_TEXT = (
    r"\bremote error: |(?:got|received|unexpected|funny ref|capability|object format|line:?|name) '"
    r"|\bbatch response: |unexpected wanted-ref: "
    r"|invalid ls-refs response: |invalid (?:un)?shallow line: |error in object: "
    r"|object not found: |expected shallow/unshallow, got "
)

# A mirror that fails with one of these is made anew. Source: git's fetch-pack.c, index-pack.c,
# object-file.c, packfile.c, refs.c, refs/packed-backend.c.
_DAMAGE = (
    r"^(?!remote: ).*(?:bad object|(?:missing|invalid|corrupt|broken|loose|packed) (?:\w+ )?object"
    r"|is corrupt|[Ff]ailed to traverse|unable to (?:unpack|parse|read)|[Cc]ould not (?:read|parse)"
    r" [0-9a-f]{40}|inflate|packfile|pack(?:ed)? (?:index|object)|index file|unresolved delta"
    r"|did not send all necessary objects|valid object|not a git repository|bad config"
    r"|cannot (?:lock|update) ref|unable to (?:resolve|delete|update|write) (?:local )?ref"
    r"|reference broken|broken ref|bad ref|packed-refs|\.lock': File exists|commit-graph"
    r"|multi-pack-index|shallow file|promisor remote|object (?:file|[0-9a-f]{40})|some local refs)"
)

_TOOK = r" after \d+ (?:ms|milliseconds)\b"
_SHOWN_CHARS = 16 * 1024

# Lines that follow or accompany every failure, and say nothing about its reason.
_GENERAL = re.compile(
    r"(?:fatal: )?(?:Could not read from remote repository\.|Please make sure you have the correct"
    r"|and the repository exists\.|index-pack failed|fetch-pack: invalid index-pack output"
    r"|error processing packets|expected (?:flush|'acknowledgments'))"
    # Warnings of ssh that come with every connection: OpenSSH >= 10.1 adds the last.
    r"|Warning: Permanently added|\*\* |(?:remote: *)?\W*$"
)


@dataclass(frozen=True)
class Remote:
    """The repository that git was asked for, for hints."""

    url: str
    name: str | None = None
    """`NS/PROJ` as it is watched; `None`: it is not, as a submodule."""
    token_file: Path | None = None
    token_program: str | None = None
    """The program that printed the token; `None`: it is in a file of the user."""
    lacking: InsidersError | None = None
    """Why the program for the token printed none."""


def explain(stderr: str, command: str, remote: Remote | None = None) -> InsidersError:
    """Return the error for a failed git command, without credentials.

    Of a command that connects, failures that are not known pass: the next update tries again.

    Args:
        stderr: git's errors.
        command: the git command, without its arguments.
        remote: the repository to which it connects; `None`: it does not.
    """
    # Shortened first, because patterns on a text of a hostile host take time.
    text = without_any_credentials(_shortened(stderr.strip()))
    ours = text if remote is None else without_any_credentials(_shortened(_ours(stderr.strip())))
    detail = _telling_line(text)
    failed = f"git {command} failed: {detail}"
    if error := _of_this_machine(ours, command, detail):
        return error
    if re.search(r"mismatched algorithms: client", text):
        return ObjectFormatError(failed)
    # Local commands print file names of the repository, which may look like any message.
    if remote is not None:
        return _of_remote(text, ours, failed, remote)
    return UnexplainedError(failed)


def sign_in(remote: Remote) -> str:
    """Return the hint for a repository that refuses the credentials."""
    return _words(remote, {})["sign_in"]


def _of_this_machine(text: str, command: str, detail: str) -> InsidersError | None:
    """Return the error if the repository is not at fault, and the host neither."""
    if re.search(r"No space left on device|Disk quota exceeded|Out of diskspace", text):
        return InsidersError(f"the disk is full ({detail})", "free space on that disk")
    # Git does not print the reason. Source: write_entry in git's entry.c.
    if re.search(r"unable to write file", text):
        return InsidersError(f"the disk is full, or fails ({detail})", "free space on that disk")
    # A subprocess of git was killed, by the OOM killer or a user.
    if re.search(r"died of signal (?:9|15)\b", text):
        return InsidersError(
            f"git {command} was killed, by another process or for lack of memory ({detail})",
            "the next update tries again",
        )
    return None


def _ours(text: str) -> str:
    """Return the lines that the host has not sent."""
    found = []
    # No other ends of lines than git's: the host can send those within a line.
    for line in text.split("\n"):
        if re.search(_HOST_TEXT, line):
            break  # the lines that follow may be the host's too
        if not re.match(r"remote:| *redirect: ", line):
            found.append(line)
    return "\n".join(found)


def _of_remote(text: str, ours: str, failed: str, remote: Remote) -> InsidersError:
    sources = {HERE}
    address = ssh_address(remote.url)
    # Asked once, and only if a message names something.
    used_here = cache(lambda: names(address or ""))
    if address:
        sources.add(SSH)
    elif remote.url.startswith(("/", "file:")):
        sources.add(PATH)
    elif remote.url.startswith(("http:", "https:")):
        sources.add(HTTP)
    for pattern, kind, meaning, hint, source in MEANINGS:
        if source is not None and source not in sources:
            continue
        for match in re.finditer(pattern, ours if source else text, re.MULTILINE):
            found = {name: value for name, value in match.groupdict().items() if value}
            # Another line may be ssh's own.
            if source == SSH and not set(found.values()) <= used_here():
                continue
            shown = f"{meaning.format_map(found)} ({_line_of(match)})"
            words = _words(remote, found)
            if source == PATH and not _is_at(found.values(), remote.url):
                return kind(shown, f"check the connection: {words['ssh']}")
            return kind(shown, hint.format_map(words))
    if re.search(_DAMAGE, text, re.MULTILINE):
        return UnexplainedError(failed)
    return UnreachableError(failed, "the next update tries again")


def _is_at(paths: Iterable[str], url: str) -> bool:
    """Return whether paths are those of a repository on this machine."""
    place = _parts(url).path.rstrip("/")
    # Git finds it with these, too. Source: enter_repo in git's path.c.
    wanted = {os.path.realpath(place + end) for end in ("", ".git", "/.git", ".git/.git")}
    return all(os.path.realpath(path) in wanted for path in paths)


def _shortened(text: str) -> str:
    # A hostile host can send any amount of text.
    if len(text) > 2 * _SHOWN_CHARS:
        text = f"{text[:_SHOWN_CHARS]}\n{text[-_SHOWN_CHARS:]}"
    # The time that curl took differs each time, and the trouble is the same.
    return re.sub(_TOOK, "", "\n".join(map(cut, text.splitlines())))


def _telling_line(text: str) -> str:
    """Return the first line with an error, or the last line before git's general ones."""
    lines = [line for line in map(str.strip, text.splitlines()) if not _GENERAL.match(line)]
    for line in lines:
        if re.match(r"(?:fatal|error|ERROR|ssh(?!-)|remote: ERROR)", line):
            return _without_prefix(line)
    return _without_prefix(last_line("\n".join(lines), last_line(text)))


def _line_of(match: re.Match[str]) -> str:
    """Return the line in which a match starts."""
    text = match.string
    start = text.rfind("\n", 0, match.start()) + 1
    return _without_prefix(text[start:].partition("\n")[0].strip())


def _without_prefix(line: str) -> str:
    return re.sub(r"^(?:remote:\s*|(?:fatal|error|ERROR): *)+", "", line)


def _words(remote: Remote, found: dict[str, str]) -> dict[str, str]:
    """Return what the hints of `MEANINGS` contain."""
    words = {name: shlex.quote(value) for name, value in found.items()}
    # A group that did not match takes part in another alternative of its pattern.
    words.setdefault("key", words.get("file", ""))
    address = ssh_address(remote.url)
    host = (_parts(remote.url).hostname or "this machine") if remote.url else "the host"
    url = shlex.quote(without_credentials(remote.url))
    sign_in = f"sign in with `git ls-remote {url}` and a credential helper that stores the password"
    if remote.lacking:
        sign_in = f"{remote.lacking.message}; {remote.lacking.hint}"
    elif remote.token_program:
        sign_in = f"check that the token of {remote.token_program} is valid for this repository"
    elif remote.token_file:
        sign_in = f"check that the token in {remote.token_file} is valid for this repository"
    elif remote.name:
        sign_in += f", or store a token: `pypi-insiders repos set {remote.name} token-file=FILE`"
    https = _https(remote.url) if remote.name and address else None
    instead = f"`pypi-insiders repos set {remote.name} url={https}`"
    return {
        **words,
        "url": url,
        "host": host,
        # Of a submodule, a repository chooses the host.
        "ca_setting": shlex.quote(f"http.https://{host}.sslCAInfo"),
        "ssh": f"`ssh -T {address}`" if address else f"`git ls-remote {url}`",
        "https": f"; or use https: {instead}" if https else "",
        "sign_in": sign_in,
    }


def _parts(url: str) -> SplitResult:
    """Split a URL or an address `USER@HOST:PATH`; without parts if it is malformed."""
    if "://" not in url:
        host, _, path = url.partition(":")
        url = f"ssh://{host}/{path}"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return urlsplit("")
    return parts


def service_of(url: str) -> str | None:
    """Return what answers for a URL, such as `https://HOST`; `None` for a path."""
    parts = _parts(url)
    if not parts.hostname or url.startswith("/"):
        return None
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def ssh_address(url: str) -> str | None:
    """Return the arguments with which ssh connects to the host of a URL; `None`: it is not ssh."""
    parts = _parts(url)
    # Git refuses what ssh would take for an option.
    if parts.scheme != "ssh" or not parts.hostname or parts.netloc.startswith("-"):
        return None
    user = f"{parts.username}@" if parts.username else ""
    port = f"-p {parts.port} " if parts.port else ""
    # As it is written: ssh distinguishes capitals in the names of ~/.ssh/config.
    place = parts.netloc.rpartition("@")[2]
    at = place.lower().index(parts.hostname.lower())  # the zone of IPv6 keeps its capitals
    return port + shlex.quote(user + place[at : at + len(parts.hostname)])


def _https(url: str) -> str | None:
    """Return the URL of https for one of ssh; `None` for a name of `~/.ssh/config`."""
    parts = _parts(url)
    host, path = parts.hostname or "", parts.path.lstrip("/")
    if "." not in host:
        return None
    # Source: https://learn.microsoft.com/azure/devops/repos/git/use-ssh-keys-to-authenticate
    if host == "ssh.dev.azure.com" and (match := re.fullmatch(r"v3/([^/]+/[^/]+)/([^/]+)", path)):
        return f"https://dev.azure.com/{match[1]}/_git/{match[2]}"
    if not path.endswith(".git"):
        path = f"{path.rstrip('/')}.git"
    return shlex.quote(f"https://{host}/{path}")
