"""Find lost published files, and finish or undo interrupted publications."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution, store
from pypi_insiders.index.release_lists import TAKEN_BACK
from pypi_insiders.repositories import comparison, ownership, releases, state
from pypi_insiders.repositories.comparison import Difference, Kind
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.update import uploads
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.outcome import Outcome
from pypi_insiders.update.tracked import TrackedRepository
from pypi_insiders.util import log
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import list_names

_log = logging.getLogger(__name__)


def find(context: UpdateContext, tracked: TrackedRepository) -> tuple[Difference, ...]:
    """Return the missing or changed files of a repository; set changed files aside.

    Failures of tags whose files are complete again are deleted.

    Raises:
        InsidersError: a file cannot be set aside, or the state not written.
    """
    known = tracked.known
    lost = context.comparison.of(tracked.name, known)
    if known.is_old:
        _migrate(context, tracked)
    for item in lost:
        _log.warning("%s: %s", tracked.name, _put_aside(context.paths, item))
    differing = {item.build.tag for item in lost if item.build}
    # These failures were about lost files or a failed upload; both are complete by now.
    healed = [
        build.tag
        for build in known.builds
        if build.tag in known.failures
        and build.tag not in differing
        and not uploads.is_lacking(context, build)
    ]
    for tag in healed:
        del known.failures[tag]
    if healed:
        tracked.commit()
    return tuple(lost)


def finish_interrupted(
    context: UpdateContext,
    tracked: TrackedRepository,
    lost: Iterable[Difference],
    refs: Mapping[str, str],
) -> tuple[Difference, ...]:
    """Finish the releases that a killed update was publishing; return the files still lost.

    Missing files are built again from the same commit. If the tag has moved or is gone, the new
    files of the interrupted publication are removed.

    Args:
        context: of the update.
        tracked: the repository.
        lost: the result of `find`.
        refs: all tags of the repository, tag to commit.

    Raises:
        InsidersError: a file cannot be removed, or the state not written.
    """
    known = tracked.known
    differing = {item.build.tag for item in lost if item.build}
    unfinished = [build for build in known.builds if build.unfinished]
    for build in unfinished:
        # Looked up each time: a build that is removed below shifts those after it.
        number = known.builds.index(build)
        if build.tag not in differing:
            # Killed after the last file became visible: the release is complete.
            known.builds[number] = build._replace(unfinished=[])
        elif refs.get(build.tag) != build.commit:
            # Rebuilt from the new commit, the rest would make one version of two commits.
            removed = store.unpublish(context.paths.distributions, build.unfinished)
            context.cache.forget(build.unfinished)
            context.comparison.forget(build.unfinished)
            left = {
                name: digest for name, digest in build.files.items() if name not in build.unfinished
            }
            rest = build._replace(files=left, unfinished=[])
            known.builds[number : number + 1] = [rest] if left else []
            reason = "has moved" if build.tag in refs else "no longer exists"
            tracked.warn(
                [
                    f"publication of {build.version} was interrupted, and tag {build.tag} {reason}:"
                    f" removed {', '.join(removed) or 'no files'}"
                ]
            )
    if unfinished:
        tracked.commit()
    return tuple(item for item in lost if item.build in known.builds)


def _migrate(context: UpdateContext, tracked: TrackedRepository) -> None:
    """Add the releases to the list of taken-back ones that older versions removed without one."""
    known, name = tracked.known, tracked.name
    expected = context.comparison.expected(known)
    for number, build in enumerate(known.builds):
        if build in expected or not build.files:
            continue
        # Published on another index too, so its files may be missing here on purpose: it counts as
        # published there only.
        if build.uploaded_to:
            known.builds[number] = build._replace(local=False)
        else:
            gone = [
                (project, version) for _, project, version in distribution.releases(build.files)
            ]
            releases.take_back(context.paths, gone)
            _log.info(
                "%s: %s is missing from the index and counts as unpublished; "
                "publish it again: `pypi-insiders update %s --tag %s --force`",
                name, build.version, name, build.tag,
            )  # fmt: skip
    tracked.commit()


def find_of_others(context: UpdateContext) -> list[Outcome]:
    """Find the lost files that no watched repository has built; set changed files aside.

    Returns:
        One outcome a project.
    """
    watched = {name.casefold() for name in context.watched}
    found: list[Difference] = []
    known_files: set[str] = set()
    outcomes: dict[str, Outcome] = {}
    # All states count as known, so that files of watched repositories are not reported here too.
    for name, known in state.everything(context.paths.state):
        known_files.update(file for build in known.builds for file in build.files)
        if name.casefold() not in watched:
            found += context.comparison.of(name, known)
    for item in (*found, *context.comparison.of_others(known_files)):
        error = InsidersError(_put_aside(context.paths, item), comparison.hint(item))
        _log.error("%s", error.message)
        _log.info("hint: %s", error.hint)
        outcome = outcomes.setdefault(item.project, Outcome(item.project, is_watched=False))
        outcome.errors.append(error)
    return list(outcomes.values())


def report_strangers(
    context: UpdateContext, outcomes: Sequence[Outcome], chosen: Iterable[Repository]
) -> None:
    """Report the files of a repository's project that none of its builds produced."""
    paths = context.paths
    found = comparison.strangers(
        list_names(paths.distributions),
        {project: name for name, project in projects(paths, chosen)},
        state.everything(paths.state),
        context.cache.entries(),
        TAKEN_BACK.load(paths.distributions, paths.state),
    )
    for item in found:
        hint = item.hint(paths.distributions)
        with log.about(item.repository):
            _log.error("%s: %s", item.repository, item.text)
            _log.info("hint: %s", hint)
        # Each chosen repository has exactly one outcome.
        of_it = [outcome for outcome in outcomes if outcome.repository == item.repository]
        of_it[0].errors.append(InsidersError(item.text, hint))


def projects(paths: Paths, chosen: Iterable[Repository]) -> Iterator[tuple[str, str]]:
    """Yield repositories and their projects, without those that have none yet."""
    for item in chosen:
        if project := ownership.project_of(paths, item):
            yield item.name, project


def _put_aside(paths: Paths, item: Difference) -> str:
    """Move a changed file away; return the message."""
    # Only changed files: an unreadable one may be the published file.
    if item.kind != Kind.CHANGED:
        return item.text
    aside = store.put_aside(paths.distributions, item.file)
    return f"{item.text}; moved to {aside}"
