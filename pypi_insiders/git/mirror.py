"""Keep bare mirrors of repositories, without contents of files that are not needed."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pypi_insiders.git import credentials
from pypi_insiders.git.command import (
    FETCH_TIMEOUT_S,
    GitSettings,
    attempt,
    git,
    in_mirror,
)
from pypi_insiders.git.credentials import GITS_OWN, Access
from pypi_insiders.git.errors import (
    NoCommitError,
    ObjectFormatError,
    RefusedError,
    UnexplainedError,
)
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_directory
from pypi_insiders.util.trees import remove_tree

_log = logging.getLogger(__name__)

_Got = TypeVar("_Got")

# History without contents: builds read commits and tags for the version, and the files of a single
# commit. Hosts without filters send everything, with a warning.
_SPARING = "--filter=blob:none"
_MESSAGE_CHARS = 8000
SHA256 = "--object-format=sha256"
"""The option of `git init` for a repository whose objects have names of 64 digits."""
_TAGS = "+refs/tags/*:refs/tags/*"
_BRANCHES = "+refs/heads/*:refs/heads/*"


def fetch(url: str, mirror: Path, access: Access = GITS_OWN) -> None:
    """Fetch all tags with their history into a mirror; create it if missing, recreate if damaged.

    Contents of files are not fetched if the host supports that; `export` fetches those of a
    commit. Only one caller at a time may use a mirror.

    Raises:
        UnreachableError: the host is unreachable.
        InsidersError: the repository cannot be read, or the disk cannot be written.

    Source: git-fetch(1), `--filter`; partial clone, in git's technical documentation.
    """
    Mirror(mirror, url, credentials.settings(url, access)).fetch()


def fetch_commit(url: str, mirror: Path, commit: str, access: Access = GITS_OWN) -> None:
    """Fetch a commit into a mirror, even if no tag refers to it any more.

    Raises:
        UnreachableError: the host is unreachable.
        InsidersError: the host does not send the commit.
    """
    Mirror(mirror, url, credentials.settings(url, access), commit).fetch_commit()


def check_commit(mirror: Path, name: str) -> None:
    """Check that a tag refers to a commit: some do not, as junio-gpg-pub in git's repository.

    Args:
        mirror: the mirror of the repository.
        name: the object of the tag, from `list_tags`.

    Raises:
        NoCommitError: the object is a directory or a file.
    """
    kind = Mirror(mirror, "", GitSettings()).kind(name)
    if kind not in ("commit", None):
        raise NoCommitError(f"it refers to a {kind}, not to a commit")


def tag_message(mirror: Path, tag: str) -> str:
    """Return the message of an annotated tag without its signature; empty for any other tag.

    Raises:
        InsidersError: the mirror cannot be read.

    Source: git-for-each-ref(1), `contents`.
    """
    listed = in_mirror(
        mirror, "for-each-ref", "--count=1",
        "--format=%(objecttype) %(contents:subject)%0a%0a%(contents:body)", f"refs/tags/{tag}",
    )  # fmt: skip
    kind, _, message = listed.partition(" ")
    # For a lightweight tag, git prints the message of the commit.
    return message.strip()[:_MESSAGE_CHARS] if kind == "tag" else ""


@dataclass(frozen=True)
class Mirror:
    """A bare mirror of a repository."""

    path: Path
    url: str
    settings: GitSettings
    """The git settings for its host."""
    commit: str | None = None
    """The only commit to keep; `None`: all tags."""

    def fetch(self) -> None:
        """Update the mirror; if that fails and the host is not at fault, recreate it.

        Raises:
            UnreachableError: the host is unreachable.
            InsidersError: the repository cannot be read, or the disk cannot be written.
        """
        # Git writes HEAD first, but a new mirror is renamed to this path only when it is complete.
        if not (self.path / "HEAD").is_file():
            self._make()
            return
        try:
            self._update(self.path)
        except UnexplainedError as error:
            self._make_after(error)

    def fetch_commit(self) -> None:
        """Fetch the commit unless the mirror has it; keep it from being removed by `gc`.

        Raises:
            UnreachableError: the host is unreachable.
            InsidersError: the host does not send the commit.
        """
        commit = self.commit or ""
        if self._has(commit):
            in_mirror(self.path, "update-ref", _ref_of(commit), commit)
        else:
            self._update_to(self.path, commit)

    def reading(self, read: Callable[[], _Got]) -> _Got:
        """Read from the mirror; if that fails, recreate the mirror and read again.

        Raises:
            UnreachableError: the host is unreachable.
            InsidersError: reading fails again.
        """
        try:
            return read()
        except UnexplainedError as error:
            self._make_after(error)
            return read()

    def bring(self, commit: str, *, is_full: bool = False) -> None:
        """Fetch the missing file contents of a commit with a single connection.

        Args:
            commit: full hash.
            is_full: those of all commits before it and of all tags too.

        Raises:
            UnreachableError: the host is unreachable.
            InsidersError: the commit is missing, or the host does not send the contents.

        Source: git-rev-list(1), `--missing=print`; fetch_objects in git's promisor-remote.c, which
        fetches missing objects in this way.
        """
        if not self._has(commit):
            raise UnexplainedError(
                f"commit {commit:.9} not found in the tags", "the next update tries again"
            )
        listed = in_mirror(
            self.path, "rev-list", "--objects", "--no-object-names", "--missing=print",
            # Of the tree alone: by default the contents of the history are not needed.
            *([commit, "--tags"] if is_full else [f"{commit}^{{tree}}"]), "--",
            timeout_s=FETCH_TIMEOUT_S,
        )  # fmt: skip
        # All at once: with lazy fetching git would fetch each object when it needs it.
        missing = [line[1:] for line in listed.splitlines() if line.startswith("?")]
        if not missing:
            return
        try:
            self._fetch(self.path, _SPARING, "--stdin", stdin=missing)
        except RefusedError:
            # A server before protocol 2, or behind an ssh that does not pass on GIT_PROTOCOL.
            _log.debug("the host sends no single objects, fetching all contents")
            self._fetch(self.path, "--no-filter", "--refetch", "--force", refspecs=self._refspecs)

    def has_fetched(self) -> bool:
        """Return whether the commit has been fetched."""
        wanted = _ref_of(self.commit or "")
        seen = attempt(f"--git-dir={self.path}", "rev-parse", "--verify", "--quiet", wanted)
        return seen.status == 0

    def _has(self, commit: str) -> bool:
        return (
            attempt(f"--git-dir={self.path}", "cat-file", "-e", f"{commit}^{{commit}}").status == 0
        )

    def kind(self, name: str) -> str | None:
        """Return the type of an object, such as `commit`; `None` if it is missing."""
        found = attempt(f"--git-dir={self.path}", "cat-file", "-t", name)
        return found.stdout.strip() if found.status == 0 else None

    @property
    def _refspecs(self) -> tuple[str, ...]:
        if self.commit is None:
            return (_TAGS,)
        return (_TAGS, f"+{self.commit}:{_ref_of(self.commit)}")

    def _make_after(self, error: InsidersError) -> None:
        _log.info("mirror %s may be damaged (%s), recreating it", self.path, error.message)
        self._make()

    def _make(self, *options: str) -> None:
        """Create the mirror, with options of `git init`."""
        # In the same directory, because rename(2) does not cross file systems. The old mirror stays
        # until the new one is complete.
        unfinished = self.path.with_name(f"{self.path.name}.new")
        remove_tree(unfinished)
        make_directory(unfinished)
        git("init", "--quiet", "--bare", "--template=", *options, "--", str(unfinished))
        try:
            self._update(unfinished)
        except ObjectFormatError:
            if options:
                raise
            # Only the first answer shows which hash the host uses; nearly all use git's default.
            self._make(SHA256)
            return
        # rename(2) replaces only an empty directory.
        remove_tree(self.path)
        unfinished.rename(self.path)

    def _update(self, path: Path) -> None:
        # In the configuration and not on the command line: other users see arguments of processes,
        # and git fetches missing objects from a configured remote only.
        in_mirror(path, "config", "remote.origin.url", self.url)
        if self.commit is None:
            self._fetch(path, _SPARING, "--force", "--prune", refspecs=self._refspecs)
        else:
            self._update_to(path, self.commit)
        # With git's default thresholds (6700 loose objects, fifty packs). In the foreground, so
        # that it never runs while a build reads the mirror.
        in_mirror(
            path, "-c", "gc.auto=6700", "-c", "gc.autoDetach=false", "gc", "--auto", "--quiet",
            timeout_s=FETCH_TIMEOUT_S,
        )  # fmt: skip

    def _update_to(self, path: Path, commit: str) -> None:
        """Fetch a commit by its hash, or with all branches if the host refuses that."""
        try:
            self._fetch(path, _SPARING, "--force", refspecs=self._refspecs)
        except RefusedError as error:
            # Before protocol 2, a server sends only commits that a ref names
            # (uploadpack.allowTipSHA1InWant), so a branch with the commit is fetched.
            self._fetch(path, _SPARING, "--force", refspecs=(_TAGS, _BRANCHES))
            try:
                in_mirror(path, "update-ref", _ref_of(commit), commit)
            except UnexplainedError:
                raise error from None

    def _fetch(
        self, path: Path, *options: str, refspecs: Iterable[str] = (), stdin: Sequence[str] = ()
    ) -> None:
        # No negotiation for objects by hash: git would list all its commits to the host to find
        # common ones, which say nothing about missing contents.
        negotiation = ("-c", "fetch.negotiationAlgorithm=noop") if stdin else ()
        try:
            _remove_unfinished(path)
            in_mirror(
                path, *negotiation, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head",
                "--no-recurse-submodules", "--no-auto-maintenance", *options, "origin", *refspecs,
                settings=self.settings, stdin=stdin, timeout_s=FETCH_TIMEOUT_S,
            )  # fmt: skip
        except InsidersError:
            _remove_unfinished(path)
            raise


def _remove_unfinished(mirror: Path) -> None:
    # A killed git leaves temporary packs behind, which git itself removes after weeks only.
    with contextlib.suppress(OSError):
        for file in (mirror / "objects/pack").glob("tmp_*"):
            file.unlink()


def _ref_of(commit: str) -> str:
    """Return the ref that protects a fetched commit from `gc`."""
    return f"refs/commits/{commit}"
