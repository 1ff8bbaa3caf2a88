"""Fetch what the releases of one repository are built from."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pypi_insiders import git
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.repositories import heads
from pypi_insiders.repositories.dev_versions import Numbering
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.util.files import make_directory


@dataclass(frozen=True)
class TaggedRelease:
    """A tag of a repository to build, or the head of a branch."""

    repository: Repository
    tag: str
    """Or the name of the head, from `heads.label`."""
    commit: str
    is_moved: bool = False
    """Whether the tag names a different commit now."""
    has_sdist: bool = True
    """Whether the sdist is to be built, as far as the repository has one."""
    has_wheels: bool = True
    """Whether wheels are to be built."""
    numbers: Numbering | None = None
    """What the version of a head follows from."""

    @property
    def branch(self) -> str | None:
        """The branch; `None`: it is a tag."""
        return heads.branch_of(self.tag)

    @property
    def subject(self) -> str:
        """The tag or the head in messages."""
        return heads.subject(self.tag)


class ReleaseSources:
    """Fetches a repository, and checks out the commits of its releases."""

    def __init__(self, context: UpdateContext, repository: Repository) -> None:
        self._context = context
        self._repository = repository
        self._name = repository.name

    @property
    def mirror(self) -> Path:
        """Its mirror, which may be missing."""
        return self._context.paths.mirror(self._name)

    @property
    def _submodules(self) -> tuple[str, ...] | Literal[False]:
        """Where its submodules may be, beside its own namespace, which is the default."""
        given = self._repository.submodules
        return () if given is None else given

    @property
    def _access(self) -> git.Access:
        # Read when needed: a missing token fails this repository, not the whole update.
        return self._context.access_to(self._repository)

    def fetch(self) -> None:
        """Fetch the repository into its mirror.

        Raises:
            DiskFullError: the mirror does not fit on the disk.
            InsidersError: the repository cannot be read, or the mirror cannot be written.
        """
        self._context.progress.begin(self._name, "fetch")
        with self._guarded():
            git.fetch(self._repository.remote, self.mirror, self._access)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Stop a fetch before the disk is full.

        Raises:
            DiskFullError: the fetch was stopped, or the disk is almost full already.
        """
        guard, mirror = self._context.builds.guard, self.mirror
        directory = make_directory(mirror.parent)
        guard.demand_room(directory)
        # A new mirror is written beside its place first, and takes space there.
        with guard.guarding(mirror, mirror.with_name(f"{mirror.name}.new"), disk=directory):
            yield

    def fetch_sources(self, release: TaggedRelease) -> None:
        """Fetch the commit and the submodules of a release, after `fetch`.

        Raises:
            BuildError: it requires submodules that are not allowed, or its tag has no commit.
            InsidersError: the repository cannot be read, or the mirror cannot be written.
        """
        # A fetch of tags lacks a commit that no tag names.
        if release.is_moved or release.branch:
            with self._guarded():
                git.fetch_commit(self._repository.remote, self.mirror, release.commit, self._access)
        with self._faults_raised(), self._guarded():
            git.bring(
                self.mirror, release.commit, self._access,
                submodules=self._submodules, is_full=self._repository.history == "full",
                has_lfs=bool(self._repository.lfs),
            )  # fmt: skip

    def verify(self, release: TaggedRelease) -> None:
        """Check that a tag names a commit, and verify its signature if there are allowed signers.

        Raises:
            NoCommitError: the tag names another object.
            SignatureError: no allowed signer has signed the tag.
            InsidersError: the signature cannot be verified.
        """
        git.check_commit(self.mirror, release.commit)
        if signers := self._repository.signers:
            if release.branch:
                raise git.SignatureError("it has no signed tag")
            git.verify(self.mirror, release.tag, release.commit, signers)

    def export(self, release: TaggedRelease, tree: Path) -> int:
        """Check out a release as a work tree.

        Args:
            release: a release whose sources were fetched.
            tree: a directory that does not exist.

        Returns:
            The time of its commit, in seconds of the epoch.

        Raises:
            BuildError: its commit cannot be checked out, or requires forbidden submodules.
            InsidersError: the mirror cannot be read, or the disk cannot be written.
        """
        with self._faults_raised():
            return git.export(
                self.mirror,
                release.commit,
                tree,
                self._access,
                # A head is none of the releases that may be tagged at its commit later.
                tag=False if release.branch else release.tag,
                submodules=self._submodules,
                has_lfs=bool(self._repository.lfs),
                project=self._repository.subdirectory or ".",
            )

    @contextmanager
    def _faults_raised(self) -> Iterator[None]:
        """Raise faults of the repository as `BuildError`, with the command to allow submodules."""
        try:
            yield
        except git.UnfitError as error:
            raise BuildError(error.message, hint=error.hint) from error
        except git.OutsideError as error:
            # A repository chooses the place.
            value = ",".join((*(self._submodules or ()), error.place))
            assignment = shlex.quote(f"submodules={value}")
            command = f"pypi-insiders repos set {self._name}"
            raise BuildError(
                error.message,
                hint=f"allow it if you trust it: `{command} {assignment}`; or build without "
                f"submodules: `{command} submodules=false`",
            ) from error
