"""Run an update, with its progress on standard error, and print its outcomes."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any

from pypi_insiders.cli.common import is_live, none_watched, note, result
from pypi_insiders.config.paths import Paths, default_paths
from pypi_insiders.config.settings import Settings, load_settings
from pypi_insiders.reporting import json_output, judgement, snapshot
from pypi_insiders.repositories import held_names, lookup, registry, state
from pypi_insiders.repositories.repository import add_command
from pypi_insiders.systemd.sd_notify import Notifier
from pypi_insiders.update import removal
from pypi_insiders.update.outcome import Outcome
from pypi_insiders.update.progress import Activity, Progress
from pypi_insiders.update.request import UpdateRequest
from pypi_insiders.util import times
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.formatting import counted, listed
from pypi_insiders.util.parsed_once import parsed_once

_MOST_NAMED = 20  # in the summary


@parsed_once()
def update(
    names: tuple[str, ...],
    password: str | None,
    options: dict[str, Any],
    *,
    as_json: bool,
    is_quiet: bool,
) -> int:
    """Run an update by the options of the command, and print its outcomes.

    Args:
        names: of repositories; empty: all.
        password: for the index to upload to.
        options: the other fields of the request.
        as_json: print it for scripts.
        is_quiet: whether nothing is shown live.

    Returns:
        The exit status.

    Raises:
        InsidersError: as `update.update`.
    """
    request = UpdateRequest(names, index_password=password, **options)
    paths = default_paths()
    settings = load_settings(paths.settings)
    outcomes: list[Outcome] = []
    elapsed_s = 0.0
    # Wrong names are told at once, and not after another update has ended.
    chosen = lookup.select(registry.load(paths.repositories), names)
    if not chosen:
        none_watched()
        _warn_of_unlisted(paths)
    # An update of no repositories still finds lost files of projects that were published.
    if chosen or held_names.are_any(paths):
        notifier = Notifier()
        outcomes, elapsed_s = run(
            paths,
            settings,
            request,
            lambda line: notifier.notify(f"STATUS={line}"),
            is_quiet=is_quiet,
        )
    # With --json a script gets a document in any case.
    elif not as_json:
        return 0
    if as_json:
        result(_json(outcomes, elapsed_s))
    elif not is_quiet:
        result(summary(outcomes, elapsed_s))
    # `unreachable` does not count: such a host is still within its grace time.
    return 1 if any(outcome.errors for outcome in outcomes) else 0


def _warn_of_unlisted(paths: Paths) -> None:
    """Warn of repositories that are no longer listed though nobody removed them."""
    if names := removal.unlisted(paths, ()):
        log = logging.getLogger(__name__)
        log.warning(
            "%s lists no repositories, but nobody removed %s", paths.repositories, ", ".join(names)
        )
        adds = [add_command(name, state.load(paths.state, name).remote) for name in names]
        log.info("hint: restore that file, or %s", ", ".join(adds))


def run(
    paths: Paths,
    settings: Settings,
    request: UpdateRequest,
    tell: Callable[[str], None] = lambda _line: None,
    *,
    is_quiet: bool,
) -> tuple[list[Outcome], float]:
    """Run an update, with its progress on standard error.

    Args:
        paths: all paths of the program.
        settings: those of `config.toml`.
        request: the repositories and tags to update.
        tell: called with one line on each step, and on the result.
        is_quiet: whether nothing is shown live.

    Returns:
        The outcomes, and the seconds that it took.

    Raises:
        InsidersError: as `update.update`.
    """
    # Here, as nothing is built where no repository is watched.
    from pypi_insiders.update.run import update as update_all

    with _progress(tell, is_quiet=is_quiet) as progress:
        outcomes = update_all(paths, settings, request, progress)
        _add_unserved(paths, request, outcomes)
        progress.tell(summary(outcomes, progress.elapsed_s))
    return outcomes, progress.elapsed_s


def _add_unserved(paths: Paths, request: UpdateRequest, outcomes: list[Outcome]) -> None:
    """Add what is wrong after an update that did not fail of it, as `status` judges it."""
    log = logging.getLogger(__name__)
    seen = snapshot.take(paths, datetime.now().astimezone())
    watched = () if isinstance(seen.watched, InsidersError) else seen.watched
    by_subject = {outcome.repository: outcome for outcome in outcomes}
    failed = {name for name, outcome in by_subject.items() if outcome.errors}
    for item in judgement.unserved(seen):
        if item.subject in failed:
            continue
        # What was not updated: others than the named ones, or what has its own timer.
        is_other = request.names or (request.is_scheduled and item.subject in watched)
        if is_other and item.subject not in by_subject:
            continue
        log.error("%s", item.line)
        if item.hint:
            log.info("hint: %s", item.hint)
        if item.subject not in by_subject:
            by_subject[item.subject] = Outcome(item.subject, is_watched=False)
            outcomes.append(by_subject[item.subject])
        by_subject[item.subject].errors.append(InsidersError(item.text, item.hint))


@contextmanager
def _progress(tell: Callable[[str], None], *, is_quiet: bool) -> Iterator[Progress]:
    """Record what is done, for the terminal and for the status of the unit."""
    try:
        with _display(is_quiet=is_quiet) as show:
            yield Progress(show, tell)
    except KeyboardInterrupt:
        tell("interrupted")
        note("what was published until now stays")
        raise
    except InsidersError as error:
        # `watcher start` shows this line as the reason, if the exit status says no more.
        tell(error.message)
        raise


def _display(*, is_quiet: bool) -> AbstractContextManager[Callable[[str, Activity | None], None]]:
    """Show progress live on a terminal; elsewhere the log says it all."""
    if is_quiet or not is_live():
        return nullcontext(lambda _repository, _step: None)
    # Here, as rich is needed on a terminal only, and a unit has none.
    from pypi_insiders.cli.progress import live

    return live()


def summary(outcomes: list[Outcome], elapsed_s: float) -> str:
    """Return in one line what an update did."""
    published = sum(len(outcome.published) for outcome in outcomes)
    missed = [outcome.repository for outcome in outcomes if outcome.unreachable]
    failed = [outcome.repository for outcome in outcomes if outcome.errors]
    checked = sum(outcome.is_watched for outcome in outcomes)
    repositories = f"{checked} repositor{'y' if checked == 1 else 'ies'}"
    return (
        f"Checked {repositories}, published {counted(published, 'file')}"
        + (f" in {times.took(elapsed_s)}" if published else "")
        + (f"; {len(missed)} unreachable: {listed(missed, _MOST_NAMED)}" if missed else "")
        + (f"; {len(failed)} failed: {listed(failed, _MOST_NAMED)}" if failed else "")
    )


def _json(outcomes: list[Outcome], elapsed_s: float) -> str:
    others = [outcome for outcome in outcomes if not outcome.is_watched]
    return json_output.document({
        "seconds": round(elapsed_s, 3),
        "repositories": [_members(outcome) for outcome in outcomes if outcome.is_watched],
        "problems": [problem for outcome in others for problem in _problems(outcome)],
        # Deprecated (`help json`).
        "errors": [error.message for outcome in others for error in outcome.errors],
    })  # fmt: skip


def _members(outcome: Outcome) -> dict[str, Any]:
    name = outcome.repository
    show = f"`pypi-insiders show {name}`"
    return {
        "name": name,
        "published": outcome.published,
        "problems": _problems(outcome),
        "warnings": [
            json_output.message(name, text, show, json_output.tag_of(text))
            for text in outcome.warnings
        ],
        "unreachable": outcome.unreachable,
        "seconds": {step: round(spent, 3) for step, spent in outcome.seconds.items()},
        # Deprecated (`help json`).
        "errors": [error.message for error in outcome.errors],
    }


def _problems(outcome: Outcome) -> list[dict[str, str | None]]:
    return [
        json_output.message(
            outcome.repository, error.message, error.hint, outcome.failed_tags.get(error)
        )
        for error in outcome.errors
    ]
