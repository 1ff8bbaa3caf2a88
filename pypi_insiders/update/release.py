"""Make the distributions of one release: fetch, build, check and publish."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from pypi_insiders import git, remote_index
from pypi_insiders.builder import sandbox_probe
from pypi_insiders.builder.artifacts import Distributions
from pypi_insiders.builder.build import Recipe, build_distributions
from pypi_insiders.builder.environments import Bytecode
from pypi_insiders.builder.errors import BuildError, SandboxError
from pypi_insiders.builder.launcher import DirectLauncher, Launcher
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.index import archives, distribution, release_lists, store
from pypi_insiders.index.metadata_cache import MetadataCache, Origin
from pypi_insiders.index.release_lists import TAKEN_BACK
from pypi_insiders.repositories import ownership, public_versions, registry, releases, state, tags
from pypi_insiders.repositories.comparison import Difference, Kind
from pypi_insiders.repositories.model import Repository
from pypi_insiders.repositories.state import Build, RepositoryState, Sandboxing
from pypi_insiders.update.progress import Progress
from pypi_insiders.util import disk
from pypi_insiders.util.disk import DiskFullError, Guard
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import locked, make_directory, make_temporary, shortage
from pypi_insiders.util.process_group import ProcessGroup
from pypi_insiders.util.trees import remove_foreign_tree

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Release:
    """A tag of a repository that is to be built."""

    repository: Repository
    tag: str
    commit: str
    is_moved: bool = False
    """Whether the tag names another commit by now."""


@dataclass(frozen=True)
class Made:
    """What making a release has brought."""

    distribution: str
    """Normalized name."""
    build: Build
    new: list[str]
    """The names of the files that were not there before."""
    warnings: tuple[str, ...] = ()
    """What is to be known of it, one line each."""


class TakenBackError(InsidersError):
    """What was built was taken back before, and is not published again.

    Args:
        made: what is to be remembered of it.
    """

    def __init__(self, message: str, made: Made) -> None:
        super().__init__(message)
        self.made = made


class RemovedError(InsidersError):
    """A repository was removed, or became another one, while it was built."""


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
        record: MetadataCache,
        owners: dict[str, str],
        containment: ProcessGroup,
        progress: Progress,
        destination: remote_index.Destination | None,
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
        self._guard = Guard(settings.build.disk_reserve_bytes)
        self._choosing = threading.Lock()
        self._chosen: Launcher | None = None
        self._unavailable: SandboxError | None = None

    def end(self) -> None:
        """Remove what releases shared while they were built."""
        remove_foreign_tree(self._shared)

    def fetch(self, repository: Repository) -> None:
        """Bring the mirror of a repository up to date.

        Raises:
            DiskFullError: it does not fit on the disk.
            InsidersError: the repository cannot be read, or the disk not written.
        """
        self._progress.begin(repository.name, "fetch")
        mirror = self._paths.mirror(repository.name)
        with self._guarded(mirror):
            git.fetch(repository.remote, mirror, git.Access(repository.token))

    @contextmanager
    def _guarded(self, mirror: Path) -> Iterator[None]:
        """End what fills a mirror before the disk is full.

        Raises:
            DiskFullError: that has happened, or the disk is almost full already.
        """
        directory = make_directory(mirror.parent)
        self._guard.demand_room(directory)
        with self._guard.guarding(mirror, mirror.with_name(f"{mirror.name}.new"), disk=directory):
            yield

    def fetch_commit(self, repository: Repository, commit: str) -> None:
        """Bring a commit into the mirror of a repository, though no tag names it any more.

        Raises:
            InsidersError: the repository does not give it.
        """
        mirror = self._paths.mirror(repository.name)
        with self._guarded(mirror):
            git.fetch_commit(repository.remote, mirror, commit, git.Access(repository.token))

    def bring(self, release: Release) -> None:
        """Bring what a release is built from into the mirror of its repository, which is fetched.

        Raises:
            BuildError: it wants submodules that it may not bring in, or its tag names no commit.
            InsidersError: the repository cannot be read, or the disk not written.
        """
        repository = release.repository
        if release.is_moved:
            self.fetch_commit(repository, release.commit)
        mirror = self._paths.mirror(repository.name)
        with _faults_told(repository), self._guarded(mirror):
            git.bring(
                mirror,
                release.commit,
                git.Access(repository.token),
                submodules=repository.submodules or (),
            )

    def make(
        self,
        release: Release,
        known: RepositoryState,
        lost: Sequence[Difference],
        remember: Callable[[Made], None],
        *,
        is_forced: bool = False,
    ) -> Made:
        """Build a release and publish it.

        Args:
            release: whose repository was fetched.
            known: what is known of its repository.
            lost: the files that were published of its tag and differ now; they are set aside.
            remember: called with what is to be remembered, before anything is published.
            is_forced: whether it is published also if it was taken back.

        Raises:
            InsidersError: it does not build, or is not what it should be; nothing is published.
            TakenBackError: it was taken back; nothing is published.
            RemovedError: its repository is not watched any more; nothing is published.
        """
        name, tag, commit = release.repository.name, release.tag, release.commit
        before = next((build for build in known.builds if build.tag == tag), None)
        is_local = self._settings.publish.local
        with self._built(release, known) as (built, confines):
            self._check_version(release, built)
            build = Build(
                tag, commit, built.version, int(time.time()), {}, built.requirements,
                confines.is_sandbox, [] if is_local else self._destinations(), is_local,
            )  # fmt: skip
            listed = TAKEN_BACK.load(self._paths.distributions, self._paths.state)
            word = release_lists.word(listed, built.name, built.version)
            if not is_forced and word is not None:
                raise TakenBackError(
                    f"{built.name} {built.version} was taken back, and is not published; "
                    f"`pypi-insiders update {name} --tag {tag} --force` does it",
                    Made(built.name, build, []),
                )
            self._progress.begin(name, "publish", built.version)
            for item in lost:
                self._set_aside(name, item)
            if before is not None:
                self._compare(release, built.files)

            def intend(files: Mapping[str, str]) -> None:
                begun = self._merged(before, replace(build, files=dict(files)), list(files))
                remember(Made(built.name, replace(begun, unfinished=list(files)), []))

            with self._still_watched(release.repository):
                releases.give_back(self._paths, built.name, built.version)
                try:
                    files, new = self._publish(release, built, intend)
                except BaseException:
                    if word is not None:
                        gone = [(built.name, Version(built.version))]
                        releases.take_back(self._paths, gone, word)
                    raise
        build = self._merged(before, replace(build, files=files), new)
        return Made(built.name, build, new, _warnings(lost, files))

    def _merged(self, before: Build | None, build: Build, new: Sequence[str]) -> Build:
        """Tell what is to be remembered of a build, if its tag was built before.

        What published nothing changes nothing; and what is published stays remembered.
        """
        if before is None:
            return build
        urls = list(dict.fromkeys([*before.uploaded_to, *build.uploaded_to]))
        if not new:
            return replace(before, uploaded_to=urls)
        held = store.present(self._paths.distributions, before.files)
        stays = {name: before.files[name] for name in held} if before.local else before.files
        return replace(build, files={**stays, **build.files})

    def restore(
        self, release: Release, known: RepositoryState, lost: Sequence[Difference],
        remember: Callable[[Build], None],
    ) -> Made:  # fmt: skip
        """Build a release again, and publish those of its files that are lost.

        Args:
            release: of the tag and the commit as which it was published.
            known: what is known of its repository.
            lost: its files that are missing or differ; what is in their place is set aside.
            remember: called with what is to be remembered, before anything is published.

        Raises:
            InsidersError: it does not build, or is not what it was; nothing is published.
            RemovedError: its repository is not watched any more; nothing is published.
        """
        before = next(build for build in known.builds if build.tag == release.tag)
        name = release.repository.name
        with self._built(release, known) as (built, confines):
            found = {path.name: path for path in built.files}
            if missing := [item.file for item in lost if item.file not in found]:
                raise BuildError(
                    f"built again it gives {', '.join(found)}, and not {', '.join(missing)}",
                    hint="to give the release up: "
                    f"`pypi-insiders unpublish {built.name} {before.version}`",
                )
            hashes = {item.file: distribution.sha256(found[item.file]) for item in lost}
            build = replace(before, files={**before.files, **hashes})
            if warnings := _warnings(lost, hashes):
                build = replace(
                    build, built_at=int(time.time()), requirements=built.requirements,
                    sandboxed=confines.is_sandbox,
                )  # fmt: skip
            self._progress.begin(name, "publish", built.version)
            with self._still_watched(release.repository):
                paths = [found[item.file] for item in lost]
                self._demand_room(paths)
                # First, or else the index would take for damaged what is about to come.
                remember(build)
                for item in lost:
                    self._set_aside(name, item)
                origin = Origin(name, release.tag, release.commit)
                _, new = store.publish(self._paths.distributions, self._record, paths, origin)
                if build.unfinished:
                    build = replace(build, unfinished=[])
                    remember(build)
        for item in lost:
            if hashes[item.file] == item.recorded_sha256:
                _log.info("%s: %s is there again, the same as before", name, item.file)
        return Made(built.name, build, new, warnings)

    @contextmanager
    def _still_watched(self, repository: Repository) -> Iterator[None]:
        """Let nobody remove a repository while something of it is published.

        Raises:
            RemovedError: somebody has, or has made it another one.
        """
        with ExitStack() as stack:
            stack.enter_context(locked(self._paths.repositories_lock))
            now = registry.find(registry.load(self._paths.repositories), repository.name)
            if now is None:
                raise RemovedError("it was removed meanwhile; nothing is published")
            if (now.remote, now.distribution) != (repository.remote, repository.distribution):
                raise RemovedError(
                    "its url or distribution was changed meanwhile; the next update builds it"
                )
            if not self._settings.publish.local:
                stack.close()  # an upload may take long
            yield

    def _set_aside(self, name: str, item: Difference) -> None:
        """Move away what is still in the place of a file: it could not be read, or is new there."""
        if os.path.lexists(self._paths.distributions / item.file):
            aside = store.put_aside(self._paths.distributions, item.file)
            _log.warning("%s: %s is set aside as %s", name, item.file, aside)

    @contextmanager
    def _built(
        self, release: Release, known: RepositoryState
    ) -> Iterator[tuple[Distributions, Launcher]]:
        """Build a release, and keep what was built for as long as the context is open."""
        self._guard.demand_room(self._paths.builds)
        confines = self._confines()
        name = release.repository.name
        self._progress.begin(name, "build", release.tag)
        _log.info("%s: building tag %s (%.9s)", name, release.tag, release.commit)
        with self._workspace() as workspace:
            with self._ended_in_time(workspace):
                built = self._build(release, workspace, confines)
            self._claim(release.repository, known, built.name)
            yield built, confines

    def verify(self, release: Release) -> None:
        """Check that an allowed signer has signed a tag, if its repository wants that.

        Raises:
            SignatureError: none has.
            InsidersError: that cannot be found out.
        """
        if signers := release.repository.signers:
            mirror = self._paths.mirror(release.repository.name)
            git.verify(mirror, release.tag, release.commit, signers)

    def remove(self, files: Sequence[str]) -> list[str]:
        """Remove files whose publication did not end; return those that were there.

        Raises:
            InsidersError: one cannot be removed.
        """
        removed = store.unpublish(self._paths.distributions, files)
        self._record.forget(files)
        return removed

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

    def _publish(
        self, release: Release, built: Distributions, intend: Callable[[dict[str, str]], None]
    ) -> tuple[dict[str, str], list[str]]:
        """Publish in our index, or else in the other one; return as `store.publish` does."""
        name = release.repository.name
        if self._destination and not self._settings.publish.local:
            new = _upload(self._destination, built.files)
            return {path.name: distribution.sha256(path) for path in built.files}, new
        self._demand_room(built.files)
        origin = Origin(name, release.tag, release.commit)
        files, new = store.publish(
            self._paths.distributions, self._record, built.files, origin, intend
        )
        _log.info("%s: published %s", name, ", ".join(new) or "nothing new")
        return files, new

    def _demand_room(self, files: Iterable[Path]) -> None:
        """Check that files may be copied into the distributions directory.

        Raises:
            DiskFullError: they do not fit.
        """
        size_bytes = sum(file.stat().st_size for file in files)
        self._guard.demand_room(make_directory(self._paths.distributions), size_bytes)

    def _confines(self) -> Launcher:
        """Choose once in what builds run; where nothing can be chosen, nothing is built."""
        with self._choosing:
            if self._unavailable is not None:
                raise self._unavailable
            if self._chosen is None:
                try:
                    self._chosen = self._choose()
                except SandboxError as error:
                    self._unavailable = error
                    raise
            return self._chosen

    def _choose(self) -> Launcher:
        wanted = self._settings.build.sandbox
        before = state.load_sandbox(self._paths.state)
        try:
            chosen = sandbox_probe.choose(
                wanted,
                self._containment,
                self._paths.hidden_from_builds(),
                self._paths.builds,
                had_before=before.had_at is not None,
            )
        except SandboxError as error:
            if self._containment.pause(0):  # or else it is our own end that it met
                state.save_sandbox(self._paths.state, replace(before, trouble=error.message))
            raise
        if isinstance(chosen, DirectLauncher):
            now = replace(before, trouble=chosen.trouble)
        else:
            now = Sandboxing(had_at=int(time.time()))
        if wanted != "off":
            state.save_sandbox(self._paths.state, now)
        return chosen

    @contextmanager
    def _ended_in_time(self, workspace: Path) -> Iterator[None]:
        """End a build before the disk is full; who has not filled it is not to blame.

        Raises:
            BuildError: it has taken most of the room that there was.
            DiskFullError: others have.
        """
        with self._guard.guarding(workspace) as use:
            try:
                yield
            except (BuildError, DiskFullError) as error:
                trouble = use.trouble()
                if trouble is None:
                    raise
                told, is_to_blame = trouble
                if is_to_blame:
                    output = error.output if isinstance(error, BuildError) else ""
                    raise BuildError(told, output, disk.HINT) from error
                raise DiskFullError(told) from error

    @contextmanager
    def _workspace(self) -> Iterator[Path]:
        directory = make_temporary(self._paths.builds)
        try:
            yield directory
        finally:
            remove_foreign_tree(directory)

    def _build(self, release: Release, workspace: Path, confines: Launcher) -> Distributions:
        repository = release.repository
        mirror = self._paths.mirror(repository.name)
        source = workspace / "source"
        recipe = Recipe(
            self._export(release, source),
            repository.subdirectory or ".",
            repository.python or (),
            repository.network or False,
            self._settings.build.as_of_tag,
            (mirror,),
            self._bytecode,
        )
        return build_distributions(source, workspace, recipe, confines)

    def _export(self, release: Release, source: Path) -> int:
        repository = release.repository
        with _faults_told(repository):
            return git.export(
                self._paths.mirror(repository.name),
                release.commit,
                source,
                git.Access(repository.token),
                tag=release.tag if release.is_moved else None,
                submodules=repository.submodules or (),
            )

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
            raise registry.conflict(f"it builds {built}, which", owner)

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
            is_public = public_versions.has_project(server.fallback, built)
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


@contextmanager
def _faults_told(repository: Repository) -> Iterator[None]:
    """Say what of a repository cannot be built, and how it may bring in other submodules."""
    try:
        yield
    except git.UnfitError as error:
        raise BuildError(error.message) from error
    except git.OutsideError as error:
        value = ",".join((*(repository.submodules or ()), error.place))
        raise BuildError(
            error.message,
            hint="if that is right: "
            f"`pypi-insiders repos set {repository.name} submodules={value}`",
        ) from error


def _warnings(lost: Iterable[Difference], files: Mapping[str, str]) -> tuple[str, ...]:
    """Say which files have another content than before they were lost."""
    return tuple(
        f"{item.file} was {'missing' if item.kind == Kind.MISSING else 'changed'}; built again it "
        f"has another sha256, {files[item.file]}, and not {item.recorded_sha256} any more"
        for item in lost
        if files.get(item.file, item.recorded_sha256) != item.recorded_sha256
    )


def _upload(destination: remote_index.Destination, files: Sequence[Path]) -> list[str]:
    """Upload files; return the names of those that were not there before."""
    new = remote_index.publish(destination, files, os.environ)
    _log.info("uploaded to %s: %s", destination.url, ", ".join(new) or "nothing new")
    return new


def is_lasting(error: Exception) -> bool:
    """Tell whether a release fails again if nothing changes, so that it is tried less and less."""
    return isinstance(error, BuildError | remote_index.PublishError) and not shortage(error)
