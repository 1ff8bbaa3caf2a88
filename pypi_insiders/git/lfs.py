"""Fetch the files of Git LFS, and put them in place of their pointers.

No filter runs: what a repository says in `.lfsconfig` and `.gitattributes` neither names a host nor
starts a program.
"""

import contextlib
import hashlib
import logging
import os
import re
import shlex
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import urlsplit

from pypi_insiders.git import credentials
from pypi_insiders.git.command import FETCH_TIMEOUT_S, attempt, in_tree
from pypi_insiders.git.diagnosis import Remote, explain, sign_in
from pypi_insiders.git.errors import AccessError, UnfitError, UnreachableError
from pypi_insiders.git.mirror import Mirror
from pypi_insiders.util.disk_reserve import Watched, demand_room
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import cannot
from pypi_insiders.util.formatting import counted, first_line, listed
from pypi_insiders.util.time_limit import shortened
from pypi_insiders.util.trees import paths_below

_log = logging.getLogger(__name__)

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*"
    rb"oid sha256:(?P<oid>[0-9a-f]{64})\nsize (?P<size>[0-9]{1,18})\n"
)
_POINTER_LIMIT_BYTES = 1024
# Whether or not the user has set them: all files of a commit are fetched, and no others.
_SETTINGS = ("lfs.fetchinclude=", "lfs.fetchexclude=", "lfs.fetchrecentalways=false")
_SHOWN = 3
# More than any build copes with: whatever a pointer says beyond this is no fault of the disk.
_LIMIT_BYTES = 1024**4
_BLOCK_BYTES = 1024**2
_UNUSED_S = 14 * 24 * 3600
# What git-lfs prints of a repository on this machine, and what hosts answer for a single file.
# Source: https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md, "Response Errors".
_LACKING = re.compile(r"remote missing object|: \[4(?:04|09|10|22)\]")


class _Pointer(NamedTuple):
    path: Path
    oid: str
    size_bytes: int


def fetch(mirror: Mirror, commit: str) -> None:
    """Fetch the LFS files of a commit into its mirror, with the access to its host.

    Args:
        mirror: has the commit and the contents of its files.
        commit: full hash.

    Raises:
        UnfitError: the host lacks a file.
        UnreachableError: the host is unreachable, or fails.
        InsidersError: git-lfs is missing, or the files cannot be fetched.

    Source: git-lfs-fetch(1), git-lfs-config(5).
    """
    if attempt("lfs", "version").status != 0:
        raise InsidersError(
            "git-lfs was not found, which `lfs = true` requires",
            "install git-lfs: nearly all systems have it as package `git-lfs`",
        )
    # The address of this repository, whatever `.lfsconfig` names: another host must get neither a
    # request nor the credentials. Source: git-lfs-config(5), "LFSCONFIG".
    options = [f"lfs.url={endpoint(mirror.url)}", *_SETTINGS]
    # A place that the user has set for all repositories is none of this program. On this machine,
    # git-lfs looks for the files of the other repository by the same setting.
    if not mirror.url.startswith(("/", "file:")):
        options.append("lfs.storage=lfs")
    words = [word for option in options for word in ("-c", option)]
    with tempfile.TemporaryDirectory() as directory:
        settings = mirror.settings.adding({credentials.REJECTED: f"{directory}/rejected"})
        done = attempt(
            f"--git-dir={mirror.path}", *words, "lfs", "fetch", "origin", commit,
            settings=settings, timeout_s=FETCH_TIMEOUT_S,
        )  # fmt: skip
    if done.status != 0:
        raise _explained(done.stderr, mirror.settings.remote)


def endpoint(url: str) -> str:
    """Return the address of the LFS server of a repository.

    Source: https://github.com/git-lfs/git-lfs/blob/main/docs/api/server-discovery.md
    """
    parts = urlsplit(url)
    # Over ssh git-lfs asks the host for its server, and files it copies itself.
    if "://" not in url or parts.scheme not in ("http", "https", "git"):
        return url
    path = parts.path.rstrip("/").removesuffix(".git")
    scheme = "http" if parts.scheme == "http" else "https"
    return f"{scheme}://{parts.netloc}{path}.git/info/lfs"


def _explained(stderr: str, remote: Remote | None) -> InsidersError:
    # Those that follow say that it failed, and where its log is.
    text = first_line(stderr, "no reason given")
    why = explain(text, "lfs fetch", remote)
    if not why.message.startswith("git lfs fetch failed: "):
        return why
    detail = why.message.removeprefix("git lfs fetch failed: ")
    # git-lfs 3.3 prints a structure of Go in place of the URL.
    detail = re.sub(r" &\{%!.*\(MISSING\)", "", detail)
    by_hand = "try `git lfs fetch` in a clone of the repository"
    if re.search(r"Authenti|Authoriz|credentials", text):
        hint = sign_in(remote) if remote else by_hand
        return AccessError(f"no access to the files of Git LFS ({detail})", hint)
    if re.search(r"[Ss]erver error|dial tcp|i/o timeout|EOF", text):
        return UnreachableError(f"the host fails ({detail})", "the next update tries again")
    if _LACKING.search(text):
        return UnfitError(f"the host lacks files of Git LFS ({detail})", by_hand)
    # Neither passing nor damage of the mirror.
    return InsidersError(why.message, by_hand)


def pointers(tree: Path) -> list[str]:
    """Return the files of a work tree that are in Git LFS by git's attributes."""
    # By git's attributes: the content of a pointer is ordinary text.
    return in_tree(tree, "ls-files", "-z", "--", ":(attr:filter=lfs)").split("\0")[:-1]


def warn_of_pointers(tree: Path) -> None:
    """Log that the files of Git LFS in a work tree are pointers."""
    if found := pointers(tree):
        _log.warning(
            "the build contains pointers of Git LFS in place of %s: %s",
            counted(len(found), "file"), listed(found, _SHOWN),
        )  # fmt: skip


def put(mirror: Mirror, commit: str, tree: Path) -> None:
    """Replace the pointers in a work tree by the files; fetch those that are missing.

    Args:
        mirror: of the repository.
        commit: full hash.
        tree: its work tree, in which no foreign code has run.

    Raises:
        UnfitError: the host lacks a file, or a pointer is not of its file.
        DiskFullError: the files do not fit on the disk.
        InsidersError: a file is missing or damaged, or as for `fetch`.
    """
    found = list(_read(tree))
    if not all(_object(mirror, pointer).is_file() for pointer in found):
        fetch(mirror, commit)
    for pointer in found:
        try:
            _replace(pointer, _object(mirror, pointer))
        except OSError as error:
            raise cannot("copy the file of Git LFS to", pointer.path, error) from error
    prune(mirror, [_object(mirror, pointer) for pointer in found])


def prune(mirror: Mirror, used: Sequence[Path] = ()) -> None:
    """Remove files from a mirror that no release has used for two weeks.

    As `git gc` does with objects that no tag leads to; they are fetched again when required.

    Args:
        mirror: of a repository.
        used: the files that a release uses now.

    Source: git-gc(1), `gc.pruneExpire`.
    """
    kept, now_s = set(used), time.time()
    # Without files of Git LFS, there is no such directory.
    with contextlib.suppress(OSError):
        for path in list(paths_below(mirror.path / "lfs", but="")):
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                continue
            # The files of a repository on this machine are linked, and keep its time.
            is_linked = status.st_nlink > 1
            if path in kept and not is_linked:
                os.utime(path, follow_symlinks=False)
            elif path not in kept and (is_linked or now_s - status.st_mtime > _UNUSED_S):
                path.unlink()


def _read(tree: Path) -> Iterator[_Pointer]:
    for name in pointers(tree):
        path = tree / name
        # A link, or a file that was committed whole.
        if not stat.S_ISREG(path.lstat().st_mode):
            continue
        with path.open("rb") as file:
            content = file.read(_POINTER_LIMIT_BYTES)
        if match := _POINTER.fullmatch(content):
            size_bytes = int(match["size"])
            # Of an empty file, git-lfs fetches nothing.
            if not 0 < size_bytes <= _LIMIT_BYTES:
                raise UnfitError(f"the pointer of Git LFS {name} has size {size_bytes}")
            yield _Pointer(path, match["oid"].decode(), size_bytes)


def _object(mirror: Mirror, pointer: _Pointer) -> Path:
    oid = pointer.oid
    return mirror.path / "lfs/objects" / oid[:2] / oid[2:4] / oid


def _replace(pointer: _Pointer, source: Path) -> None:
    """Replace a pointer by its file."""
    # git-lfs links the files of a repository on this machine into the mirror. Their owner can
    # change them at any time, so what is copied is what was checked: one open, and no link.
    _check(source.lstat(), pointer, source)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with os.fdopen(os.open(source, flags), "rb") as content:
        _check(os.fstat(content.fileno()), pointer, source)
        demand_room(pointer.size_bytes)
        mode = pointer.path.lstat().st_mode
        pointer.path.unlink()
        with pointer.path.open("xb") as copy:
            oid = _copy(content, copy, pointer.size_bytes)
    if oid != pointer.oid:
        pointer.path.unlink()
        raise InsidersError(
            f"the file of Git LFS for {pointer.path.name} is damaged",
            f"`rm {shlex.quote(str(source))}`; the next update fetches it again",
        )
    pointer.path.chmod(stat.S_IMODE(mode))


def _check(status: os.stat_result, pointer: _Pointer, source: Path) -> None:
    name, file = pointer.path.name, shlex.quote(str(source))
    hint = f"if it is damaged, remove it to fetch it again: `rm {file}`"
    if not stat.S_ISREG(status.st_mode):
        raise UnfitError(f"the file of Git LFS for {name} is not a regular file", hint)
    if status.st_size != pointer.size_bytes:
        raise UnfitError(
            f"the file of Git LFS for {name} has {status.st_size} bytes, but its pointer "
            f"states {pointer.size_bytes}",
            hint,
        )


def _copy(content: BinaryIO, copy: BinaryIO, size_bytes: int) -> str:
    """Copy a file up to a size; return the SHA-256 of the copy."""
    digest, watched = hashlib.sha256(), Watched(content)
    until_s = time.monotonic() + shortened(FETCH_TIMEOUT_S)
    # No further than its size: the file of a repository here may grow while it is read.
    while size_bytes > 0 and (block := watched.read(min(size_bytes, _BLOCK_BYTES))):
        if time.monotonic() > until_s:
            raise InsidersError(
                "copying the files of Git LFS took too long", "the next update tries again"
            )
        size_bytes -= len(block)
        digest.update(block)
        copy.write(block)
    return digest.hexdigest()
