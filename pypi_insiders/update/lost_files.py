"""Find published files that are lost, and make good what an interrupted update left."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution, store
from pypi_insiders.index.release_lists import TAKEN_BACK
from pypi_insiders.repositories import comparison, releases, state
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
    """Find what a repository published and is not there as it was; what differs is set aside.

    Failures of tags of which nothing is lost any more are forgotten.

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
    """Go on with releases that a killed update was publishing; return what is still lost.

    What is missing is built again from the same commit. Where the tag does not name that any
    more, the files that were published last are removed.

    Args:
        context: of the update.
        tracked: the repository.
        lost: what `find` has found.
        refs: the tags that the repository has, to the commits that they name.

    Raises:
        InsidersError: a file cannot be removed, or the state not written.
    """
    known = tracked.known
    differing = {item.build.tag for item in lost if item.build}
    unfinished = [build for build in known.builds if build.unfinished]
    for build in unfinished:
        number = known.builds.index(build)
        if build.tag not in differing:
            known.builds[number] = replace(build, unfinished=[])
        elif refs.get(build.tag) != build.commit:
            removed = store.unpublish(context.paths.distributions, build.unfinished)
            context.cache.forget(build.unfinished)
            context.comparison.forget(build.unfinished)
            left = {
                name: digest for name, digest in build.files.items() if name not in build.unfinished
            }
            rest = replace(build, files=left, unfinished=[])
            known.builds[number : number + 1] = [rest] if left else []
            text = f"publishing {build.version} was interrupted, and tag {build.tag} "
            text += f"{'has moved' if build.tag in refs else 'is gone'}: removed "
            tracked.warn([text + (", ".join(removed) or "nothing")])
    if unfinished:
        tracked.commit()
    return tuple(item for item in lost if item.build in known.builds)


def _migrate(context: UpdateContext, tracked: TrackedRepository) -> None:
    """Write down what was taken back while no list of that was kept."""
    known, name = tracked.known, tracked.name
    expected = context.comparison.expected(known)
    for number, build in enumerate(known.builds):
        if build in expected or not build.files:
            continue
        # It was published elsewhere; whoever wanted it here no longer has it here.
        if build.uploaded_to:
            known.builds[number] = replace(build, local=False)
        else:
            gone = [
                (project, version) for _, project, version in distribution.releases(build.files)
            ]
            releases.take_back(context.paths, gone)
            _log.info(
                "%s: %s is not in the index, and counts as taken back; "
                "`pypi-insiders update %s --tag %s --force` publishes it again",
                name, build.version, name, build.tag,
            )  # fmt: skip
    tracked.commit()


def find_of_others(context: UpdateContext, chosen: Iterable[Repository]) -> list[Outcome]:
    """Find what is lost of what no watched repository has built; what differs is set aside.

    Returns:
        One outcome a project.
    """
    watched = {item.name.casefold() for item in chosen}
    found: list[Difference] = []
    known_files: set[str] = set()
    outcomes: dict[str, Outcome] = {}
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
    """Report which files of a repository's project no build of it made."""
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
        told = [outcome for outcome in outcomes if outcome.repository == item.repository]
        told[0].errors.append(InsidersError(item.text, hint))


def projects(paths: Paths, chosen: Iterable[Repository]) -> Iterator[tuple[str, str]]:
    """Return repositories with their projects, of those that have one already."""
    for item in chosen:
        with suppress(InsidersError):  # which the log has told
            if name := item.project or state.load(paths.state, item.name).project:
                yield item.name, name


def _put_aside(paths: Paths, item: Difference) -> str:
    """Move away what is not the published file; say what is wrong, and where it is now."""
    # One that cannot be read may be the right one.
    if item.kind != Kind.CHANGED:
        return item.text
    aside = store.put_aside(paths.distributions, item.file)
    return f"{item.text}; it is set aside as {aside}"
