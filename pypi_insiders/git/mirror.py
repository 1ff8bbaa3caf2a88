"""Keep bare copies of repositories, without the content of files that nobody has asked for."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pypi_insiders.git import credentials
from pypi_insiders.git.command import (
    FETCH_TIMEOUT_S,
    TIMEOUT_S,
    GitSettings,
    attempt,
    git,
    in_mirror,
)
from pypi_insiders.git.credentials import GITS_OWN, Access
from pypi_insiders.git.errors import RefusedError, UnexplainedError, UnfitError
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_directory
from pypi_insiders.util.trees import remove_tree

_log = logging.getLogger(__name__)

_Got = TypeVar("_Got")

# History without content: for the version a build asks for commits and tags, and only the files of
# one commit are unpacked. Hosts that know no filter send everything, with a warning.
_SPARING = "--filter=blob:none"
_MESSAGE_CHARS = 8000
_TAGS = "+refs/tags/*:refs/tags/*"
_BRANCHES = "+refs/heads/*:refs/heads/*"


def list_tags(
    url: str, access: Access = GITS_OWN, *, timeout_s: float = TIMEOUT_S
) -> dict[str, str]:
    """Ask a repository for its tags, over one connection.

    Args:
        url: of the repository.
        access: by what its host is asked.
        timeout_s: after so long the host counts as out of reach.

    Returns:
        Tag to the commit that it names (not to the tag object).

    Raises:
        UnreachableError: the host cannot be reached.
        InsidersError: the repository cannot be read; the message says why.

    Source: git-ls-remote(1); `^{}` marks what an annotated tag points to.
    """
    refs: dict[str, str] = {}
    settings = credentials.settings(url, access)
    listed = git("ls-remote", "--tags", "--", url, settings=settings, timeout_s=timeout_s)
    for line in listed.splitlines():
        commit, _, ref = line.partition("\t")
        if ref.startswith("refs/tags/"):
            tag = ref.removeprefix("refs/tags/")
            # The line with `^{}` comes after that of the tag object, and so replaces it.
            refs[tag.removesuffix("^{}")] = commit
    return refs


def fetch(url: str, mirror: Path, access: Access = GITS_OWN) -> None:
    """Bring all tags, with their history, into a bare repository; make it where it is missing.

    The content of files stays behind where the host can leave it out: `export` brings what a commit
    needs. A mirror that is damaged is made anew. One caller at a time may have to do with a mirror.

    Args:
        url: of the repository.
        mirror: where it is kept.
        access: by what its host is asked.

    Raises:
        UnreachableError: the host cannot be reached.
        InsidersError: the repository cannot be read, or the disk not written.

    Source: git-fetch(1), `--filter`; partial clone, in git's technical documentation.
    """
    Mirror(mirror, url, credentials.settings(url, access)).fetch()


def fetch_commit(url: str, mirror: Path, commit: str, access: Access = GITS_OWN) -> None:
    """Bring one commit into what `fetch` made, though no tag may name it any more.

    Args:
        url: of the repository.
        mirror: where it is kept.
        commit: full hash.
        access: by what its host is asked.

    Raises:
        UnreachableError: the host cannot be reached.
        InsidersError: the host does not give it.
    """
    Mirror(mirror, url, credentials.settings(url, access), commit).fetch_commit()


def tag_message(mirror: Path, tag: str) -> str:
    """Return the message of an annotated tag without its signature; empty for any other tag.

    Args:
        mirror: that has the tag.
        tag: its name.

    Raises:
        InsidersError: the mirror cannot be read.

    Source: git-for-each-ref(1), `contents`.
    """
    listed = in_mirror(
        mirror, "for-each-ref", "--count=1",
        "--format=%(objecttype) %(contents:subject)%0a%0a%(contents:body)", f"refs/tags/{tag}",
    )  # fmt: skip
    kind, _, message = listed.partition(" ")
    # Of a tag that is none of its own, git shows the message of the commit.
    return message.strip()[:_MESSAGE_CHARS] if kind == "tag" else ""


@dataclass(frozen=True)
class Mirror:
    """A bare copy of a repository."""

    path: Path
    url: str
    settings: GitSettings
    """How its host is asked."""
    commit: str | None = None
    """What it is kept for; `None`: all tags that there are."""

    def fetch(self) -> None:
        """Bring it up to date; if that fails and the host is not at fault, make it anew.

        Raises:
            UnreachableError: the host cannot be reached.
            InsidersError: the repository cannot be read, or the disk not written.
        """
        # Git writes HEAD first, but the directory gets its name only when the fetch is complete.
        if not (self.path / "HEAD").is_file():
            self._make()
            return
        try:
            self._update(self.path)
        except UnexplainedError as error:
            self._make_after(error)

    def fetch_commit(self) -> None:
        """Bring the commit for which it is kept, unless it is there already.

        Raises:
            UnreachableError: the host cannot be reached.
            InsidersError: the host does not give it.
        """
        commit = self.commit or ""
        if self._has(commit):
            in_mirror(self.path, "update-ref", _ref_of(commit), commit)
        else:
            self._update_to(self.path, commit)

    def reading(self, read: Callable[[], _Got]) -> _Got:
        """Read something from it; if that fails, make it anew and try once more.

        Raises:
            UnreachableError: the host cannot be reached.
            InsidersError: it fails once more.
        """
        try:
            return read()
        except UnexplainedError as error:
            self._make_after(error)
            return read()

    def bring(self, commit: str) -> None:
        """Bring the content of all files of a commit that are missing, over one connection.

        Raises:
            UnreachableError: the host cannot be reached.
            UnfitError: it is no commit.
            InsidersError: the commit is not there, or the content cannot be had.

        Source: git-rev-list(1), `--missing=print`; that this is how git itself fetches what is
        missing: fetch_objects in git's promisor-remote.c.
        """
        if not self._has(commit):
            # Tags of trees and of single files exist in the wild: junio-gpg-pub in git itself.
            if kind := self._kind(commit):
                raise UnfitError(f"the tag names a {kind}, and no commit")
            raise UnexplainedError(
                f"the commit {commit:.9} is in none of its tags", "the next update looks again"
            )
        listed = in_mirror(
            self.path, "rev-list", "--objects", "--no-object-names", "--missing=print",
            # Of the tree alone, for the history is to stay without content.
            f"{commit}^{{tree}}", "--", timeout_s=FETCH_TIMEOUT_S,
        )  # fmt: skip
        # Asked for all at once: with GIT_NO_LAZY_FETCH=0 git would fetch them one by one, as it
        # meets them.
        missing = [line[1:] for line in listed.splitlines() if line.startswith("?")]
        if not missing:
            return
        try:
            self._fetch(self.path, _SPARING, "--stdin", stdin=missing)
        except RefusedError:
            # Git as it was before protocol 2, or is where ssh does not hand on GIT_PROTOCOL.
            _log.debug("the host gives no single file; all are fetched")
            self._fetch(self.path, "--no-filter", "--refetch", "--force", refspecs=self._refspecs)

    def has_fetched(self) -> bool:
        """Tell whether the commit for which it is kept has been fetched already."""
        wanted = _ref_of(self.commit or "")
        seen = attempt(f"--git-dir={self.path}", "rev-parse", "--verify", "--quiet", wanted)
        return seen.status == 0

    def _has(self, commit: str) -> bool:
        return (
            attempt(f"--git-dir={self.path}", "cat-file", "-e", f"{commit}^{{commit}}").status == 0
        )

    def _kind(self, name: str) -> str | None:
        """Tell what kind of object has this name; `None` if it is not there."""
        found = attempt(f"--git-dir={self.path}", "cat-file", "-t", name)
        return found.stdout.strip() if found.status == 0 else None

    @property
    def _refspecs(self) -> tuple[str, ...]:
        if self.commit is None:
            return (_TAGS,)
        return (_TAGS, f"+{self.commit}:{_ref_of(self.commit)}")

    def _make_after(self, error: InsidersError) -> None:
        _log.info("the mirror %s may be damaged (%s); it is made anew", self.path, error.message)
        self._make()

    def _make(self) -> None:
        """Make it beside an old one, which it replaces when it is complete."""
        # Beside it, for a rename must stay on one file system.
        unfinished = self.path.with_name(f"{self.path.name}.new")
        remove_tree(unfinished)
        make_directory(unfinished)
        git("init", "--quiet", "--bare", "--template=", "--", str(unfinished))
        self._update(unfinished)
        # rename(2) replaces no directory that has something in it.
        remove_tree(self.path)
        unfinished.rename(self.path)

    def _update(self, path: Path) -> None:
        # The URL in the file, not on the command line: other users see the arguments of processes,
        # and git knows by the remote which objects it may ask for.
        in_mirror(path, "config", "remote.origin.url", self.url)
        if self.commit is None:
            self._fetch(path, _SPARING, "--force", "--prune", refspecs=self._refspecs)
        else:
            self._update_to(path, self.commit)
        # `--auto` and not detached: with 6700 loose objects or fifty packs, as git does by itself.
        # Never while a build reads.
        in_mirror(
            path, "-c", "gc.auto=6700", "-c", "gc.autoDetach=false", "gc", "--auto", "--quiet",
            timeout_s=FETCH_TIMEOUT_S,
        )  # fmt: skip

    def _update_to(self, path: Path, commit: str) -> None:
        """Bring one commit, by its hash, or from some branch where the host wants a name."""
        try:
            self._fetch(path, _SPARING, "--force", refspecs=self._refspecs)
        except RefusedError as error:
            # Before protocol 2, a server gives only what a ref names
            # (uploadpack.allowTipSHA1InWant), so the commit comes along with a branch that has it.
            self._fetch(path, _SPARING, "--force", refspecs=(_TAGS, _BRANCHES))
            try:
                in_mirror(path, "update-ref", _ref_of(commit), commit)
            except UnexplainedError:
                raise error from None

    def _fetch(
        self, path: Path, *options: str, refspecs: Iterable[str] = (), stdin: Sequence[str] = ()
    ) -> None:
        # Otherwise git offers all its commits to the host, one after the other, to find what both
        # have.
        # What is asked for by its hash is not there, whatever commits are.
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
    """Remove the packs that a git which was killed has left: git itself keeps them for weeks."""
    with contextlib.suppress(OSError):
        for file in (mirror / "objects/pack").glob("tmp_*"):
            file.unlink()


def _ref_of(commit: str) -> str:
    """Name the ref by which a mirror keeps a commit for the sake of which it was fetched."""
    return f"refs/commits/{commit}"
