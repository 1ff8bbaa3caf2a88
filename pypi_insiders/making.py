"""Make the distributions of one release: fetch, build, check and publish."""

import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from pypi_insiders import (
    archives,
    builder,
    distribution,
    ownership,
    public,
    publishing,
    remotes,
    repositories,
    sandbox,
    store,
    tags,
)
from pypi_insiders.builder import BuildError, Distributions
from pypi_insiders.config import Settings
from pypi_insiders.environments import Bytecode
from pypi_insiders.errors import InsidersError
from pypi_insiders.files import remove_foreign_tree
from pypi_insiders.paths import Paths
from pypi_insiders.process import Containment
from pypi_insiders.progress import Progress
from pypi_insiders.record import Origin, Record
from pypi_insiders.repository import Repository
from pypi_insiders.state import Build, RepositoryState

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Release:
    """A tag of a repository that is to be built."""

    repository: Repository
    tag: str
    commit: str


@dataclass(frozen=True)
class Made:
    """What making a release has brought."""

    distribution: str
    """Normalized name."""
    build: Build
    new: list[str]
    """The names of the files that were not there before."""


def hidden(paths: Paths) -> tuple[Path, ...]:
    """Name the directories of the person that no sandboxed build sees."""
    return (Path.home(), paths.config, paths.data, paths.state, paths.cache)


class Maker:
    """Makes releases, in several threads.

    Args:
        paths: where everything lies.
        settings: those of `config.toml`.
        record: of the distributions directory.
        owners: which repository may publish which distribution; what is built is added.
        containment: ends what runs when this process is to end.
        progress: told what is done.
        destination: another index, for all that is built.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what all releases have in common
        self,
        paths: Paths,
        settings: Settings,
        record: Record,
        owners: dict[str, str],
        containment: Containment,
        progress: Progress,
        destination: publishing.Destination | None,
    ) -> None:
        self._paths = paths
        self._settings = settings
        self._record = record
        self._owners = owners
        self._containment = containment
        self._progress = progress
        self._destination = destination
        self._shared = paths.builds / "bytecode"
        self._bytecode = Bytecode(self._shared)
        self._choosing = threading.Lock()
        self._chosen: sandbox.Confines | None = None

    def end(self) -> None:
        """Remove what releases shared while they were built."""
        remove_foreign_tree(self._shared)

    def fetch(self, repository: Repository) -> None:
        """Bring the mirror of a repository up to date.

        Raises:
            InsidersError: the repository cannot be read, or the disk not written.
        """
        self._progress.begin(repository.name, "fetch")
        mirror = self._paths.mirror(repository.name)
        remotes.fetch(repository.remote, mirror, remotes.Access(repository.token))

    def make(self, release: Release, known: RepositoryState, *, again: bool) -> Made:
        """Build a release and publish it.

        Args:
            release: whose repository was fetched.
            known: what is known of its repository.
            again: whether it was built before, and is to be compared with what is published.

        Raises:
            InsidersError: it does not build, or is not what it should be; nothing is published.
        """
        name, tag, commit = release.repository.name, release.tag, release.commit
        confines = self._confines()
        self._progress.begin(name, "build", tag)
        _log.info("%s: building tag %s (%.9s)", name, tag, commit)
        with self._workspace() as workspace:
            built = self._build(release, workspace, confines)
            self._claim(release.repository, known, built.name)
            self._check_version(release, built)
            self._progress.begin(name, "publish", built.version)
            if again:
                self._compare(release, built.files)
            files, new = self._publish(release, built)
        build = Build(
            tag, commit, built.version, int(time.time()), files, built.requirements,
            confines.is_sandbox, [] if self._settings.publish.local else self._destinations(),
        )  # fmt: skip
        return Made(built.name, build, new)

    def verify(self, release: Release) -> None:
        """Check that an allowed signer has signed a tag, if its repository wants that.

        Raises:
            SignatureError: none has.
            InsidersError: that cannot be found out.
        """
        if signers := release.repository.signers:
            mirror = self._paths.mirror(release.repository.name)
            remotes.verify(mirror, release.tag, release.commit, signers)

    def lacks(self, build: Build) -> bool:
        """Tell whether the other index does not have a release yet that ours has."""
        return (
            self._destination is not None
            and self._destination.url not in build.uploaded_to
            and bool(build.files)
            and len(store.present(self._paths.distributions, build.files)) == len(build.files)
        )

    def upload(self, repository: Repository, build: Build) -> Build:
        """Bring a release that our index has to the other one; return it with a note of that.

        Raises:
            PublishError: that index does not take it.
        """
        self._progress.begin(repository.name, "upload", build.version)
        if self._destination is not None:
            _upload(self._destination, [self._paths.distributions / name for name in build.files])
        return replace(build, uploaded_to=[*build.uploaded_to, *self._destinations()])

    def _destinations(self) -> list[str]:
        return [self._destination.url] if self._destination else []

    def _publish(self, release: Release, built: Distributions) -> tuple[dict[str, str], list[str]]:
        """Publish in our index, or else in the other one; return as `store.publish` does."""
        name = release.repository.name
        if self._destination and not self._settings.publish.local:
            new = _upload(self._destination, built.files)
            return {path.name: distribution.sha256(path) for path in built.files}, new
        origin = Origin(name, release.tag, release.commit)
        files, new = store.publish(self._paths.distributions, self._record, built.files, origin)
        _log.info("%s: published %s", name, ", ".join(new) or "nothing new")
        return files, new

    def _confines(self) -> sandbox.Confines:
        """Choose once in what builds run."""
        with self._choosing:
            if self._chosen is None:
                self._chosen = sandbox.choose(
                    self._settings.build.sandbox,
                    self._containment,
                    hidden(self._paths),
                    self._paths.builds,
                )
            return self._chosen

    @contextmanager
    def _workspace(self) -> Iterator[Path]:
        directory = Path(tempfile.mkdtemp(dir=self._paths.builds))
        try:
            yield directory
        finally:
            remove_foreign_tree(directory)

    def _build(
        self, release: Release, workspace: Path, confines: sandbox.Confines
    ) -> Distributions:
        repository = release.repository
        mirror = self._paths.mirror(repository.name)
        source = workspace / "source"
        recipe = builder.Recipe(
            remotes.export(mirror, release.commit, source, remotes.Access(repository.token)),
            repository.subdirectory or ".",
            repository.python or (),
            repository.network or False,
            self._settings.build.as_of_tag,
            (mirror,),
            self._bytecode,
        )
        return builder.build_distributions(source, workspace, recipe, confines)

    def _claim(self, repository: Repository, known: RepositoryState, built: str) -> None:
        """Refuse what was built unless its name is the one that this repository may have."""
        expected = repository.distribution or known.distribution
        if expected and built != expected:
            raise BuildError(
                f"it builds {built}, but {expected} was expected",
                hint="if that is right: "
                f"`pypi-insiders repos set {repository.name} distribution={built}`",
            )
        self._check_owner(self._owners.get(built, repository.name), repository, built)
        if not expected:
            self._demand_free(repository, built)
        self._check_owner(self._owners.setdefault(built, repository.name), repository, built)

    @staticmethod
    def _check_owner(owner: str, repository: Repository, built: str) -> None:
        if owner != repository.name:
            raise repositories.conflict(f"it builds {built}, which", owner)

    def _demand_free(self, repository: Repository, built: str) -> None:
        """Refuse a name that others use too, unless the user has said yes to it.

        Raises:
            BuildError: others use it.
            InsidersError: that cannot be found out.
        """
        hint = f"if that is right: `pypi-insiders repos set {repository.name} distribution={built}`"
        if foreign := ownership.foreign_files(self._paths, built, repository.name, self._record):
            raise BuildError(
                f"it builds {built}, and the index has {tags.summary(foreign, 2)} of another "
                "origin; nothing is published",
                hint=hint,
            )
        server, watcher = self._settings.server, self._settings.watcher
        try:
            if not watcher.public_versions:
                raise InsidersError("public-versions = false")
            is_public = public.has_project(server.fallback, built)
        except InsidersError as error:
            raise InsidersError(
                f"it builds {built}; cannot check whether that is a public project too "
                f"({error.message}); nothing is published",
                hint,
            ) from error
        if is_public:
            raise BuildError(
                f"it builds {built}, which is also a public project; nothing is published",
                hint=hint,
            )

    def _check_version(self, release: Release, built: Distributions) -> None:
        """Compare what was built with what the tag says."""
        repository = release.repository
        says = repository.rules(1).pattern.version_of(release.tag)
        if says is None or says == Version(built.version):
            return
        message = f"it builds version {built.version}, and the tag says {says}"
        if repository.strict:
            raise BuildError(message)
        _log.warning("%s: tag %s: %s", repository.name, release.tag, message)

    def _compare(self, release: Release, files: Sequence[Path]) -> None:
        """Say in what newly built files differ from those that are published."""
        name = release.repository.name
        for file in files:
            published = self._paths.distributions / file.name
            if not published.exists():
                _log.info("%s: %s is not published", name, file.name)
            elif differences := archives.differences(published, file):
                _log.warning(
                    "%s: %s, which is published, stays; built again it differs in %s",
                    name, file.name, differences,
                )  # fmt: skip
            else:
                _log.info("%s: %s is the same as the published one", name, file.name)


def _upload(destination: publishing.Destination, files: Sequence[Path]) -> list[str]:
    """Upload files; return the names of those that were not there before."""
    new = publishing.publish(destination, files, os.environ)
    _log.info("uploaded to %s: %s", destination.url, ", ".join(new) or "nothing new")
    return new


def is_lasting(error: Exception) -> bool:
    """Tell whether a release fails again if nothing changes, so that it is tried less and less."""
    return isinstance(error, BuildError | publishing.PublishError)
