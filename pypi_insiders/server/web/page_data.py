"""Put together what the pages for people show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from packaging.version import Version

from pypi_insiders.index.metadata_cache import Entry
from pypi_insiders.index.published import Project
from pypi_insiders.reporting.verdict import Item, Judgement
from pypi_insiders.repositories.state import Build
from pypi_insiders.repositories.status import RepositoryStatus


@dataclass(frozen=True)
class Row:
    """One line of the front page: a project, or a repository that has none yet."""

    name: str
    project: str | None = None
    """That has a page; `None`: the index holds no file of it."""
    repository: str | None = None
    version: str | None = None
    is_yanked: bool = False
    tag: str | None = None
    commit: str | None = None
    published_at: float | None = None
    """Seconds of the epoch, as all times here."""
    standing: RepositoryStatus | None = None
    """`None`: nobody watches for it."""

    @property
    def subjects(self) -> tuple[str | None, ...]:
        """What the judgement calls it."""
        return self.repository, self.project, self.name


@dataclass(frozen=True)
class ShownRelease:
    """A version of a project."""

    version: str
    files: tuple[Entry, ...]
    yanked: str | None
    """The reason, which may be empty; `None`: it is not."""
    build: Build | None
    """`None`: nobody knows of one."""

    @property
    def origin(self) -> Entry | None:
        """A file that says from what it was built."""
        return next((entry for entry in self.files if entry.origin), None)

    @property
    def published_at(self) -> float:
        """When the index first had a file of it."""
        return min(entry.published_us for entry in self.files) / 1e6

    @property
    def requires_python(self) -> str | None:
        """Which versions of Python it is for."""
        return next((entry.requires_python for entry in self.files if entry.requires_python), None)


@dataclass(frozen=True)
class Detail:
    """What the page of a project shows beside its README."""

    name: str
    releases: tuple[ShownRelease, ...] = ()
    """Newest first."""
    newest: ShownRelease | None = None
    """What installers take, if nobody asks for another."""
    remotes: Mapping[str, str] = field(default_factory=dict)
    """`NS/PROJ` to where Git finds it."""
    standings: tuple[RepositoryStatus, ...] = ()
    items: tuple[Item, ...] = ()
    """What the judgement says of it."""


def front(projects: Iterable[Project], standings: Iterable[RepositoryStatus]) -> list[Row]:
    """Tell of all projects, those also of which there is nothing yet, by name."""
    watched: dict[str | None, list[RepositoryStatus]] = {}
    for standing in standings:
        watched.setdefault(standing.project, []).append(standing)
    rows = [
        _row(project, standing)
        for project in projects
        for standing in watched.pop(project.name, [None])
    ]
    rows += [_without_files(standing) for rest in watched.values() for standing in rest]
    return sorted(rows, key=lambda row: (row.name, row.repository or ""))


def _row(project: Project, standing: RepositoryStatus | None) -> Row:
    best = newest(project)
    entry = next((entry for entry in best if entry.origin), best[0])
    origin = entry.origin
    return Row(
        project.name,
        project.name,
        standing.name if standing else origin.repository if origin else None,
        entry.version,
        entry.version in project.yanked,
        origin.tag if origin else None,
        origin.commit if origin else None,
        min(entry.published_us for entry in best) / 1e6,
        standing,
    )


def _without_files(standing: RepositoryStatus) -> Row:
    """Tell of a repository of which the index has nothing: its releases are elsewhere, or none."""
    # What another index has is told as the newest.
    build = standing.newest
    return Row(
        standing.project or standing.name,
        repository=standing.name,
        version=build.version if build else None,
        tag=build.tag if build else None,
        commit=build.commit if build else None,
        published_at=build.built_at if build else None,
        standing=standing,
    )


def newest(project: Project) -> list[Entry]:
    """Find the files of the version that installers take: not yanked, final, high."""
    best = max(
        project.files,
        key=lambda entry: (
            # In this order: a yanked release is taken only by its version, a pre-release only if
            # asked for.
            entry.version not in project.yanked,
            not Version(entry.version).is_prerelease,
            Version(entry.version),
        ),
    )
    return [entry for entry in project.files if entry.version == best.version]


def anchored(rows: Sequence[Row], items: Iterable[Item]) -> list[tuple[Item, int | None]]:
    """Find the number of the row that each item is about; `None`: it is about none."""
    numbers: dict[str | None, int] = {}
    for number, row in enumerate(rows):
        for subject in row.subjects:
            numbers.setdefault(subject, number)
    return [(item, numbers.get(item.subject)) for item in items]


def detail(
    project: Project,
    builds: Sequence[Build],
    remotes: Mapping[str, str],
    standings: Sequence[RepositoryStatus],
    judgement: Judgement,
) -> Detail:
    """Tell of one project.

    Args:
        project: what the index holds of it.
        builds: all that may have made one of its files.
        remotes: where the repositories of its files lie.
        standings: how those stand that are watched for it.
        judgement: of everything.
    """
    items = judgement.about((project.name, *(standing.name for standing in standings)))
    if not project.files:
        return Detail(project.name, standings=tuple(standings), items=items)
    made = {(name, sha256): build for build in builds for name, sha256 in build.files.items()}
    files: dict[str, list[Entry]] = {}
    for entry in reversed(project.files):
        files.setdefault(entry.version, []).append(entry)
    releases = tuple(
        ShownRelease(
            version,
            tuple(sorted(entries, key=lambda entry: entry.name)),
            project.yanked.get(version),
            next(filter(None, (made.get((entry.name, entry.sha256)) for entry in entries)), None),
        )
        for version, entries in files.items()
    )
    best = newest(project)[0].version
    return Detail(
        project.name,
        releases,
        next(release for release in releases if release.version == best),
        remotes,
        tuple(standings),
        items,
    )
