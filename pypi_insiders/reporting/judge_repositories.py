"""Judge the watched repositories, and all project names that belong to this index."""

from collections.abc import Iterable, Iterator

from pypi_insiders.index import distribution
from pypi_insiders.reporting.snapshot import Snapshot
from pypi_insiders.reporting.verdict import (
    ALL_YANKED,
    REPOSITORIES,
    Item,
    clean,
    kind_of,
    note,
    problem,
    warning,
)
from pypi_insiders.repositories import comparison, heads, registry
from pypi_insiders.repositories.comparison import Difference, Kind
from pypi_insiders.repositories.no_release import NoRelease, Reason, waits
from pypi_insiders.repositories.repository import add_command
from pypi_insiders.repositories.status import RepositoryStatus
from pypi_insiders.util import times
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.formatting import listed

_SHOWN = 3
"""Files that are named; the rest is counted."""


def judge_repositories(snapshot: Snapshot) -> Iterator[Item]:
    """Judge each watched repository, and then the names of no watched one."""
    differences = _by_owner(snapshot)
    for standing in snapshot.standings:
        own = differences.get(standing.name.casefold(), ())
        yield from _repository(snapshot, standing, own)
    yield from _strangers(snapshot)
    for file, text in snapshot.unserved.items():
        if (project := distribution.project_of(file)) not in snapshot.missing:
            hint = f"move it out of {snapshot.paths.distributions}"
            yield warning(project, f"not served: {text}", hint, file)
    yield from _other_names(snapshot, differences.get(None, ()))


def _repository(
    snapshot: Snapshot, item: RepositoryStatus, differences: Iterable[Difference]
) -> Iterator[Item]:
    show = f"`pypi-insiders show {item.name}`"
    # Why the project has no release comes first: it is what installers meet.
    if missing := _missing(snapshot, item):
        yield _without_release(item, missing)
    elif item.project is not None:
        yield from _public_meanwhile(snapshot, item)
        yield from _unchecked(snapshot, item)
    # A name in the index hides the public project already; without any name nothing does.
    # Nor does one that belongs to another repository here: that is the error below.
    is_known = any(registry.BELONGS in error for error in item.errors)
    if item.project is None and item.name not in snapshot.held.values() and not is_known:
        yield warning(
            item.name,
            "project name unknown; until it is known, installers can get a public package of that "
            "name",
            f"`pypi-insiders repos set {item.name} project=PROJECT`",
        )
    # With the hint that the update stored, as only it knew whether the network or a build failed.
    for error in _others(missing, item.errors):
        yield problem(item.name, error, item.hints.get(error, show), kind_of(error))
    # Items with these reasons already report that the files are lost, or are being built.
    if not missing or missing.reason not in (Reason.LOST, Reason.REJECTED, Reason.BUILDING):
        for release, differing in _by_release(differences).items():
            yield _differs(snapshot, item.name, release, differing)
    # Past `unreachable-grace` an update makes an error of it, and that is a problem above.
    if item.check.unreachable_since is not None and not item.errors:
        at = times.clock(times.at(item.check.unreachable_since, snapshot.now))
        yield warning(item.name, f"host unreachable since {at}", show)
    for text in _others(missing, item.warnings):
        yield warning(item.name, text, item.hints.get(text, show))
    if not missing and item.project and _all_yanked(snapshot, item.project):
        hint = f"`pypi-insiders unyank {item.project} VERSION`, or publish another release"
        yield problem(item.name, f"every release of {item.project} is yanked", hint, ALL_YANKED)
    yield from _public(snapshot, item)


def _others(missing: NoRelease | None, texts: Iterable[str]) -> list[str]:
    # The line that there is no release ends with that which is why: one line is enough.
    return [text for text in texts if not (missing and missing.text.endswith(text))]


def _without_release(item: RepositoryStatus, missing: NoRelease) -> Item:
    if missing.reason == Reason.BUILDING:
        return note(item.name, missing.text, missing.hint)
    # As is normal for some hours, after which it fails, and for good where nothing is tagged.
    if missing.reason in (Reason.WAITING, Reason.UNTAGGED):
        return warning(item.name, missing.text.replace(f": {item.name}: ", ": ", 1), missing.hint)
    # By the error, not by the reason: a second tag that fails is another problem.
    is_failing = missing.reason == Reason.FAILING and item.errors
    kind = kind_of(item.errors[0]) if is_failing else missing.reason
    # The line begins with the repository, which the text of clients names as well.
    text = missing.text.replace(f": {item.name}: ", ": ", 1)
    return problem(item.name, text, missing.hint, kind)


def _public_meanwhile(snapshot: Snapshot, item: RepositoryStatus) -> Iterator[Item]:
    """Warn that installers get the public releases until the first build, as the user has set."""
    watched = {} if isinstance(snapshot.watched, InsidersError) else snapshot.watched
    if watched[item.name].public_until_built and not item.known.files:
        what = item.project or "its project"
        text = f"{what} has no release yet: installers get the one of {_fallback(snapshot)}, "
        text += "as public-until-built is set"
        yield warning(item.name, text, f"`pypi-insiders update {item.name}`")


def _unchecked(snapshot: Snapshot, item: RepositoryStatus) -> Iterator[Item]:
    """Warn of releases without a state, as after the loss of all, which an update restores."""
    files = snapshot.files
    if isinstance(files, InsidersError) or item.project not in files.projects:
        return
    if not item.known.builds and not (item.check.tried_at or item.check.checked_at):
        yield warning(
            item.name,
            f"never checked, so it is unknown whether the releases of {item.project} that are "
            "served are its own",
            f"`pypi-insiders update {item.name}`",
        )


def why_unserved(snapshot: Snapshot, item: RepositoryStatus) -> str | None:
    """Return why installers get no release of a repository; `None`: they get one."""
    if item.newest is not None:
        return None
    if missing := _missing(snapshot, item):
        return clean(missing.text)
    if item.project and _all_yanked(snapshot, item.project):
        return "every release is yanked"
    return f"the releases of {item.project} that are served were not built from {item.name}"


def _missing(snapshot: Snapshot, item: RepositoryStatus) -> NoRelease | None:
    """Return why a watched repository has no release; `None`: it has one."""
    if item.project is not None:
        if item.known.builds and not any(build.local for build in item.known.builds):
            return None  # `local = false`: only another index has them
        return snapshot.missing.get(item.project)
    update = f"`pypi-insiders update {item.name}`"
    if item.name in snapshot.pending:
        reason, text = Reason.BUILDING, "an update is running"
    elif item.errors:
        reason, text = Reason.FAILING, item.errors[0]
        update = item.hints.get(text, update)
    elif item.check.unreachable_since is not None:
        reason, text = Reason.UNREACHABLE, "host unreachable"
    elif item.check.checked_at is None:
        reason, text = Reason.UNBUILT, "not built"
    elif waiting := waits(item.known):
        reason, text = Reason.WAITING, waiting
    elif heads.NO_TAGS in item.check.warnings:
        reason, text = Reason.UNTAGGED, heads.NO_TAGS
        update = item.hints.get(text, update)
    else:
        reason, text = Reason.UNBUILT, "no tag is a release"
    return NoRelease("", item.name, reason, f"no release yet: {text}", update)


def _by_owner(snapshot: Snapshot) -> dict[str | None, list[Difference]]:
    """Return the differences of each watched repository, in lower case; `None`: of all others."""
    # Names of repositories may be spelled in any case, as hosts ignore it.
    watched = {item.name.casefold() for item in snapshot.standings}
    found: dict[str | None, list[Difference]] = {}
    for item in snapshot.differences:
        owner = (item.repository or "").casefold()
        found.setdefault(owner if owner in watched else None, []).append(item)
    return found


def _by_release(differences: Iterable[Difference]) -> dict[str, list[Difference]]:
    found: dict[str, list[Difference]] = {}
    for item in differences:
        found.setdefault(f"{item.project} {item.version}", []).append(item)
    return found


def _differs(snapshot: Snapshot, subject: str, release: str, differing: list[Difference]) -> Item:
    repository = next((item.repository for item in differing if item.build), None)
    # A watched repository builds its tag again by itself; a removed one has to be added first.
    hint = comparison.hint(differing[0])
    if repository == subject:
        hint = f"`pypi-insiders update {repository}` builds it again from the same tag"
    elif repository is not None:
        add = add_command(repository, snapshot.remotes.get(repository), subject)
        hint = f"{add}, then `pypi-insiders update`"
    return problem(subject, f"{release}: {_named_files(differing)}", hint, release)


def _named_files(differing: list[Difference]) -> str:
    found = []
    for kind, one, many in (
        (Kind.MISSING, "is missing", "are missing"),
        (Kind.CHANGED, "differs from what was published", "differ from what was published"),
        (Kind.UNREADABLE, "cannot be read", "cannot be read"),
    ):
        names = [item.file for item in differing if item.kind == kind]
        if names:
            found.append(f"{listed(names, _SHOWN)} {one if len(names) == 1 else many}")
    return ", ".join(found)


def _all_yanked(snapshot: Snapshot, project: str) -> bool:
    yanked = snapshot.yanked.get(project)
    if not yanked or isinstance(snapshot.files, InsidersError):
        return False
    return yanked.issuperset(snapshot.files.versions(project))


def _public(snapshot: Snapshot, item: RepositoryStatus) -> Iterator[Item]:
    """Report the releases of a project on the fallback index: as a note, or of a stranger."""
    project = item.project
    known = snapshot.public.get(project or "")
    where = _fallback(snapshot)
    appeared_at = known.appeared_at if known else None
    # The name was free when it was first watched: its owner may want the users of this one
    # (dependency confusion). A public project of the same people existed before.
    if known is not None and appeared_at is not None:
        at = times.clock(times.at(appeared_at, snapshot.now))
        yield warning(
            item.name,
            f"{where} has {project} since {at}, but did not when {item.name} was added; "
            "this index still serves yours",
            f"check who published it: {known.url}",
        )
    elif item.public_newer:
        yield note(item.name, f"{where} has {project} {item.public_newer}")


def _fallback(snapshot: Snapshot) -> str:
    # PyPI by its name, as most users have never set another index.
    settings = snapshot.settings
    if isinstance(settings, InsidersError) or settings.server.fallback_url is None:
        return "PyPI"
    return "the fallback index"


def _strangers(snapshot: Snapshot) -> Iterator[Item]:
    for item in snapshot.strangers:
        hint = item.hint(snapshot.paths.distributions)
        yield problem(item.repository, item.text, hint, f"stranger {item.release}")


def _other_names(snapshot: Snapshot, differences: Iterable[Difference]) -> Iterator[Item]:
    """Judge the names of this index that no watched repository builds."""
    seen = {item.project for item in snapshot.standings}
    unnamed = {item.name for item in snapshot.standings if item.project is None}
    seen |= {name for name, repository in snapshot.held.items() if repository in unnamed}
    failing = {item.name for item in snapshot.standings if item.errors}
    for name, missing in snapshot.missing.items():
        if name in seen:
            continue
        if missing.reason != Reason.OTHER:
            yield problem(name, missing.text, missing.hint, missing.reason)
        # Nothing is lost, and the failure of the build has said it already.
        elif missing.repository not in failing:
            yield warning(name, missing.text, missing.hint, missing.reason)
    for release, differing in _by_release(differences).items():
        if (project := differing[0].project) not in snapshot.missing:
            yield _differs(snapshot, project, release, differing)
    if isinstance(snapshot.watched, InsidersError):
        return
    watched = {name.casefold() for name in snapshot.watched} | snapshot.removed
    for repository in sorted(set(filter(None, snapshot.held.values()))):
        # Not removed by a command, so perhaps lost from the file by mistake: its name stays here.
        if repository.casefold() not in watched:
            yield warning(
                REPOSITORIES,
                f"{repository} is no longer in it, but was not removed with `repos remove`: it "
                "gets no updates",
                f"{add_command(repository, snapshot.remotes.get(repository))}, or "
                f"`pypi-insiders repos remove {repository}`",
                repository,
            )
