"""Read a few files of a tag without a mirror."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pypi_insiders.git import credentials
from pypi_insiders.git.command import TIMEOUT_S, GitSettings, attempt, git, in_mirror
from pypi_insiders.git.credentials import GITS_OWN, Access
from pypi_insiders.git.errors import ObjectFormatError, RefusedError, UnreachableError
from pypi_insiders.git.mirror import SHA256
from pypi_insiders.git.signatures import verify
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_temporary
from pypi_insiders.util.trees import remove_foreign_tree

# Of a pack. A commit and its trees are far smaller; a larger pack contains the files, too.
_LIMIT_BYTES = 32 * 1024 * 1024
_FILE_LIMIT_BYTES = 512 * 1024
_REGULAR = ("100644", "100755")


@dataclass(frozen=True)
class Wanted:
    """Files of a tag of a repository, or of the head of a branch."""

    url: str
    tag: str
    files: Sequence[str]
    """Paths in the repository."""
    signers: Path | None = None
    """The file of allowed signers, as in `verify`; `None`: no signature is required."""
    branch: str | None = None
    """The branch whose head is read in place of the tag."""

    @property
    def ref(self) -> str:
        """The full name of the ref."""
        return f"refs/heads/{self.branch}" if self.branch else f"refs/tags/{self.tag}"

    @property
    def subject(self) -> str:
        """The ref in messages."""
        return f"branch {self.branch}" if self.branch else f"tag {self.tag}"


def read_files(
    wanted: Wanted, scratch: Path, access: Access = GITS_OWN, *, timeout_s: float
) -> dict[str, str]:
    """Fetch the commit of a tag and return the text of some of its files.

    Args:
        wanted: the files.
        scratch: a directory for the temporary repository; created if missing.
        access: the access to the host.
        timeout_s: time limit of the whole operation.

    Returns:
        Path to text of the files that exist.

    Raises:
        UnreachableError: the host is unreachable, or takes too long.
        SignatureError: the tag is not signed by an allowed key.
        InsidersError: the repository cannot be read or is too large, or a file is not regular.

    Source: git-fetch(1), `--depth`, `--filter`; git-ls-tree(1).
    """
    directory = make_temporary(scratch)
    until_s = time.monotonic() + timeout_s
    try:
        return _Glance(wanted, directory, access, until_s).read()
    except InsidersError as error:
        # A command that was killed at the time limit can fail with any message.
        if time.monotonic() < until_s:
            raise
        raise UnreachableError(
            f"fetching the files of {wanted.subject} timed out after {timeout_s:.0f} s"
        ) from error
    finally:
        remove_foreign_tree(directory)


def read_fetched(mirror: Path, commit: str, files: Sequence[str]) -> dict[str, str]:
    """Return the text of some files of a commit that was fetched into a mirror.

    Args:
        mirror: the mirror.
        commit: the commit.
        files: paths in the repository.

    Returns:
        Path to text of the files that exist.

    Raises:
        InsidersError: the mirror cannot be read, or a file is too large or not regular.
    """
    objects = _objects(mirror, commit, files, TIMEOUT_S)
    return {path: _content(mirror, path, name, TIMEOUT_S) for path, name in objects.items()}


def _objects(
    repository: Path, revision: str, files: Sequence[str], timeout_s: float
) -> dict[str, str]:
    """Return the existing files: path to blob."""
    listed = in_mirror(
        repository, "ls-tree", "-z", "--full-tree", revision, "--", *files, timeout_s=timeout_s
    )
    found = {}
    for entry in filter(None, listed.split("\0")):
        about, _, path = entry.partition("\t")
        mode, _, name = about.split(" ")
        # The blob of a link contains the path of its target.
        if mode not in _REGULAR:
            raise InsidersError(f"{path} is not a regular file")
        found[path] = name
    return found


def _content(repository: Path, path: str, name: str, timeout_s: float) -> str:
    # Asked before it is read: a blob unpacks to far more than its pack has.
    if int(in_mirror(repository, "cat-file", "-s", name, timeout_s=timeout_s)) > _FILE_LIMIT_BYTES:
        raise InsidersError(f"{path} is larger than {_FILE_LIMIT_BYTES // 1024} KiB")
    return in_mirror(repository, "cat-file", "blob", name, timeout_s=timeout_s)


class _Glance:
    def __init__(self, wanted: Wanted, directory: Path, access: Access, until_s: float) -> None:
        self._wanted = wanted
        self._directory = directory
        self._settings: GitSettings = credentials.settings(wanted.url, access)
        self._until_s = until_s
        self._ref = wanted.ref

    @property
    def _left_s(self) -> float:
        # With 0 git would be killed at once, and the error would look like its own failure.
        return max(0.1, self._until_s - time.monotonic())

    def read(self) -> dict[str, str]:
        try:
            self._begin()
        except ObjectFormatError:
            # In a directory of its own: `git init` does not change the format of an existing
            # repository.
            self._directory /= "sha256"
            self._begin(SHA256)
        if self._wanted.signers:
            commit = self._ask("rev-parse", "--verify", f"{self._ref}^{{commit}}").strip()
            # Before any file is read: the project name must come from an allowed signer.
            verify(self._directory, self._wanted.tag, commit, self._wanted.signers)
        objects = _objects(self._directory, self._ref, self._wanted.files, self._left_s)
        self._bring(objects.values())
        return {
            path: _content(self._directory, path, name, self._left_s)
            for path, name in objects.items()
        }

    def _begin(self, *options: str) -> None:
        """Fetch the commit of the tag into a new repository."""
        git(
            "init", "--quiet", "--bare", "--template=", *options, "--", str(self._directory),
            timeout_s=self._left_s,
        )  # fmt: skip
        self._ask("config", "remote.origin.url", self._wanted.url)
        self._fetch("--depth=1", "--filter=blob:none", refspecs=(f"+{self._ref}:{self._ref}",))

    def _bring(self, names: Iterable[str]) -> None:
        """Fetch the blobs that the filter has left out."""
        missing = [
            name
            for name in dict.fromkeys(names)
            if attempt(f"--git-dir={self._directory}", "cat-file", "-e", name).status
        ]
        if not missing:
            return
        try:
            self._fetch("--filter=blob:none", "--stdin", stdin=missing)
        except RefusedError:
            # As in `Mirror.bring`: the host sends no single objects.
            refspec = f"+{self._ref}:{self._ref}"
            self._fetch("--no-filter", "--refetch", "--depth=1", refspecs=(refspec,))

    def _ask(self, *arguments: str) -> str:
        return in_mirror(self._directory, *arguments, timeout_s=self._left_s)

    def _fetch(
        self, *options: str, refspecs: Sequence[str] = (), stdin: Sequence[str] = ()
    ) -> None:
        negotiation = ("-c", "fetch.negotiationAlgorithm=noop") if stdin else ()
        in_mirror(
            # Keep the pack, to which the limit of the file size applies; git would unpack a small
            # one into single files.
            self._directory, *negotiation, "-c", "fetch.unpackLimit=1", "fetch", "--quiet",
            "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
            "--no-auto-maintenance", "--force", *options, "origin", *refspecs,
            settings=self._settings, stdin=stdin, timeout_s=self._left_s,
            file_limit_bytes=_LIMIT_BYTES,
        )  # fmt: skip
