"""Put together what the pages for people show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from packaging.version import Version

from pypi_insiders.index.metadata_cache import Entry, Origin
from pypi_insiders.index.overview import IndexOverview
from pypi_insiders.index.published import Project
from pypi_insiders.reporting.verdict import Item, Judgement, Severity
from pypi_insiders.repositories.state import Build
from pypi_insiders.repositories.status import RepositoryStatus
from pypi_insiders.server.web import host_links
from pypi_insiders.server.web.host_links import HostLinks

# One update checks all repositories, and seldom takes longer.
_PASS_S = 3600
_GRAVEST = (Severity.PROBLEM, Severity.WARNING)


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
    severity: Severity | None = None
    """Of the gravest problem or warning about it; `None`: there is none."""
    is_unread: bool = False
    """Whether a file of the project is not examined yet."""

    @property
    def links(self) -> HostLinks | None:
        """The pages of its repository on its Git host."""
        return host_links.of(self.standing.known.remote) if self.standing else None

    @property
    def fallback_mark(self) -> str:
        """How the release of the fallback index compares with this one; empty where it is older."""
        if self.standing is None or self.standing.public_newer is None:
            return ""
        return "newer" if "newer than" in self.standing.public_newer else "same"

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
    def origin(self) -> Origin | None:
        """What it was built from, as far as a file of it says so."""
        return next((entry.origin for entry in self.files if entry.origin), None)

    @property
    def is_prerelease(self) -> bool:
        """Whether installers take it only if asked for."""
        return Version(self.version).is_prerelease

    @property
    def message(self) -> str:
        """What the tag says beside its own name; empty where it says nothing."""
        # `git tag -m v1.0 v1.0` is what scripts do, and news to nobody.
        message = self.build.message if self.build else ""
        is_name = self.build and message in (self.build.tag, self.build.version)
        return "" if is_name else message

    @property
    def published_at(self) -> float:
        """When the index first had a file of it."""
        return min(entry.published_us for entry in self.files) / 1e6

    @property
    def requires_python(self) -> str | None:
        """Which versions of Python it is for."""
        return next((entry.requires_python for entry in self.files if entry.requires_python), None)


@dataclass(frozen=True)
class HostPages:
    """The pages of one release on its Git host."""

    tag: str
    commit: str
    compared_with: str | None = None
    """The release before it, of the same repository."""
    compare: str | None = None


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
    repositories: Mapping[str, HostLinks] = field(default_factory=dict)
    """`NS/PROJ` to its pages, where those of its Git host are known."""
    host_pages: Mapping[str, HostPages] = field(default_factory=dict)
    """Version to its pages, where those of its Git host are known."""
    standings: tuple[RepositoryStatus, ...] = ()
    items: tuple[Item, ...] = ()
    """What the judgement says of it."""


def front(
    index: IndexOverview, standings: Iterable[RepositoryStatus], judgement: Judgement
) -> list[Row]:
    """List all projects, also those without a release: problems first, then the newest."""
    watched: dict[str | None, list[RepositoryStatus]] = {}
    for standing in standings:
        watched.setdefault(standing.project, []).append(standing)
    rows = [
        _row(project, standing)
        for project in index.projects
        for standing in watched.pop(project.name, [None])
    ]
    rows += [
        Row(name, name, standing.name if standing else None, standing=standing, is_unread=True)
        for name in index.unread_projects
        for standing in watched.pop(name, [None])
    ]
    rows += [_without_files(standing) for rest in watched.values() for standing in rest]
    # Notes do not move a row up: there is nothing to be done about them.
    severities: dict[str | None, Severity] = {}
    for item in (*judgement.problems, *judgement.warnings):
        severities.setdefault(item.subject, item.severity)
    rows = [replace(row, severity=_gravest(row, severities)) for row in rows]
    return sorted(rows, key=_place)


def _gravest(row: Row, severities: Mapping[str | None, Severity]) -> Severity | None:
    found = [severities[subject] for subject in row.subjects if subject in severities]
    return min(found, key=_GRAVEST.index, default=None)


def _place(row: Row) -> tuple[int, float, str, str]:
    # What was never published has problems of its own, by which it comes first.
    rank = _GRAVEST.index(row.severity) if row.severity else len(_GRAVEST)
    return rank, -(row.published_at or 0), row.name, row.repository or ""


def has_uneven_checks(rows: Sequence[Row]) -> bool:
    """Check whether the rows differ in when they were checked; else the latest time says all."""
    times = [row.standing.check.checked_at if row.standing else None for row in rows]
    known = [at for at in times if at is not None]
    return bool(known) and (len(known) < len(times) or max(known) - min(known) > _PASS_S)


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
    """Find the files of the version that installers take: not yanked, final, highest."""
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
    """Put together the page of one project.

    Args:
        project: what the index holds of it.
        builds: all that may have made one of its files.
        remotes: the Git URLs of the repositories of its files.
        standings: of the repositories that are watched for it.
        judgement: of everything.
    """
    items = judgement.about((project.name, *(standing.name for standing in standings)))
    if not project.files:
        return Detail(project.name, standings=tuple(standings), items=items)
    found = releases(project, made_by(builds))
    best = newest(project)[0].version
    repositories = {
        name: links for name, remote in remotes.items() if (links := host_links.of(remote))
    }
    return Detail(
        project.name,
        found,
        next(release for release in found if release.version == best),
        remotes,
        repositories,
        _host_pages(found, repositories),
        tuple(standings),
        items,
    )


def made_by(builds: Iterable[Build]) -> dict[tuple[str, str], Build]:
    """Map each file, by name and sha256, to the build that made it."""
    # By its hash too: a file that somebody put in its place was not made by that build.
    return {(name, sha256): build for build in builds for name, sha256 in build.files.items()}


def releases(project: Project, made: Mapping[tuple[str, str], Build]) -> tuple[ShownRelease, ...]:
    """List the releases of a project, newest first."""
    # The files of a project are sorted by version, so each version keeps its place.
    files: dict[str, list[Entry]] = {}
    for entry in reversed(project.files):
        files.setdefault(entry.version, []).append(entry)
    return tuple(
        ShownRelease(
            version,
            tuple(sorted(entries, key=lambda entry: entry.name)),
            project.yanked.get(version),
            next(filter(None, (made.get((entry.name, entry.sha256)) for entry in entries)), None),
        )
        for version, entries in files.items()
    )


def _host_pages(
    found: Iterable[ShownRelease], repositories: Mapping[str, HostLinks]
) -> dict[str, HostPages]:
    pages: dict[str, HostPages] = {}
    # By repository: a project may have moved to another one, and hosts compare only within one.
    before: dict[str, ShownRelease] = {}
    for release in reversed(tuple(found)):
        origin = release.origin
        if origin is None or (links := repositories.get(origin.repository)) is None:
            continue
        older = before.get(origin.repository)
        before[origin.repository] = release
        page = HostPages(links.tag(origin.tag), links.commit(origin.commit))
        if older and older.origin and older.origin.commit != origin.commit:
            # By commits: a tag may have moved since.
            compare = links.compare(older.origin.commit, origin.commit)
            page = replace(page, compared_with=older.version, compare=compare)
        pages[release.version] = page
    return pages
