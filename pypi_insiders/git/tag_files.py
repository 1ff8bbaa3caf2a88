"""Read a few files of one tag, without a mirror."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pypi_insiders.git import credentials
from pypi_insiders.git.command import GitSettings, attempt, git, in_mirror
from pypi_insiders.git.credentials import GITS_OWN, Access
from pypi_insiders.git.errors import ObjectFormatError, RefusedError, UnreachableError
from pypi_insiders.git.mirror import SHA256
from pypi_insiders.git.signatures import verify
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_temporary
from pypi_insiders.util.trees import remove_foreign_tree

# Of a pack: a commit and its trees are far smaller, and who has more has not left out the files.
_LIMIT_BYTES = 32 * 1024 * 1024
_FILE_LIMIT_BYTES = 512 * 1024
_REGULAR = ("100644", "100755")


@dataclass(frozen=True)
class Wanted:
    """Which files of which tag of which repository."""

    url: str
    tag: str
    files: Sequence[str]
    """Paths in the repository."""
    signers: Path | None = None
    """Who must have signed the tag, as `verify` takes it."""


def read_files(
    wanted: Wanted, scratch: Path, access: Access = GITS_OWN, *, timeout_s: float
) -> dict[str, str]:
    """Fetch files of a tag and return their text.

    Only the one commit is fetched, and of its files only these if the host can leave out others.

    Args:
        wanted: which files.
        scratch: a directory for a repository that is removed again; made where it is missing.
        access: by what the host is asked.
        timeout_s: how long all of it may take.

    Returns:
        Path to text, of the files that are there.

    Raises:
        UnreachableError: the host cannot be reached, or takes too long.
        SignatureError: the tag is not signed as it must be.
        InsidersError: the repository cannot be read, is too large, or a file is no regular one.

    Source: git-fetch(1), `--depth`, `--filter`; git-ls-tree(1).
    """
    directory = make_temporary(scratch)
    until_s = time.monotonic() + timeout_s
    try:
        return _Glance(wanted, directory, access, until_s).read()
    except InsidersError as error:
        # What ran out of time fails with any message; then the time is what is wrong.
        if time.monotonic() < until_s:
            raise
        raise UnreachableError(
            f"fetching the files of tag {wanted.tag} took longer than {timeout_s:.0f} s"
        ) from error
    finally:
        remove_foreign_tree(directory)


class _Glance:
    def __init__(self, wanted: Wanted, directory: Path, access: Access, until_s: float) -> None:
        self._wanted = wanted
        self._directory = directory
        self._settings: GitSettings = credentials.settings(wanted.url, access)
        self._until_s = until_s
        self._ref = f"refs/tags/{wanted.tag}"

    @property
    def _left_s(self) -> float:
        # With 0 git would be killed at once, and that would be told as its own failure.
        return max(0.1, self._until_s - time.monotonic())

    def read(self) -> dict[str, str]:
        try:
            self._begin()
        except ObjectFormatError:
            self._directory /= "sha256"
            self._begin(SHA256)
        if self._wanted.signers:
            commit = self._ask("rev-parse", "--verify", f"{self._ref}^{{commit}}").strip()
            # Before any file is read: the name of a project must come from whoever may release it.
            verify(self._directory, self._wanted.tag, commit, self._wanted.signers)
        objects = self._objects()
        self._bring(objects.values())
        return {path: self._content(path, name) for path, name in objects.items()}

    def _begin(self, *options: str) -> None:
        """Fetch the commit of the tag into a new repository."""
        git(
            "init", "--quiet", "--bare", "--template=", *options, "--", str(self._directory),
            timeout_s=self._left_s,
        )  # fmt: skip
        self._ask("config", "remote.origin.url", self._wanted.url)
        self._fetch("--depth=1", "--filter=blob:none", refspecs=(f"+{self._ref}:{self._ref}",))

    def _objects(self) -> dict[str, str]:
        """Map the paths of the files that are there to the names of their content."""
        listed = self._ask("ls-tree", "-z", "--full-tree", self._ref, "--", *self._wanted.files)
        found = {}
        for entry in filter(None, listed.split("\0")):
            about, _, path = entry.partition("\t")
            mode, _, name = about.split(" ")
            # A link could lead to any other file, and its content would be a path.
            if mode not in _REGULAR:
                raise InsidersError(f"{path} is no regular file")
            found[path] = name
        return found

    def _bring(self, names: Iterable[str]) -> None:
        """Fetch what the host has left out."""
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
            # As in `Mirror.bring`: a host that gives no object by its name.
            refspec = f"+{self._ref}:{self._ref}"
            self._fetch("--no-filter", "--refetch", "--depth=1", refspecs=(refspec,))

    def _content(self, path: str, name: str) -> str:
        if int(self._ask("cat-file", "-s", name)) > _FILE_LIMIT_BYTES:
            raise InsidersError(f"{path} is larger than {_FILE_LIMIT_BYTES // 1024} KiB")
        return self._ask("cat-file", "blob", name)

    def _ask(self, *arguments: str) -> str:
        return in_mirror(self._directory, *arguments, timeout_s=self._left_s)

    def _fetch(
        self, *options: str, refspecs: Sequence[str] = (), stdin: Sequence[str] = ()
    ) -> None:
        negotiation = ("-c", "fetch.negotiationAlgorithm=noop") if stdin else ()
        in_mirror(
            # So that all comes as one pack, to which the limit of a file's size applies.
            self._directory, *negotiation, "-c", "fetch.unpackLimit=1", "fetch", "--quiet",
            "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
            "--no-auto-maintenance", "--force", *options, "origin", *refspecs,
            settings=self._settings, stdin=stdin, timeout_s=self._left_s,
            file_limit_bytes=_LIMIT_BYTES,
        )  # fmt: skip
