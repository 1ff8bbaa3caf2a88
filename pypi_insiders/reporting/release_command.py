"""Run `release-command` for the new releases of a project, and send the notification of them."""

import logging
import os
import subprocess
from collections.abc import Iterator, Sequence

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import WatcherSettings, load_settings
from pypi_insiders.index import store
from pypi_insiders.reporting import delivery
from pypi_insiders.reporting.delivery import Message
from pypi_insiders.repositories import heads, held_names, new_releases, releases
from pypi_insiders.repositories.new_releases import NewRelease
from pypi_insiders.util import log
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import locked
from pypi_insiders.util.process import cannot_run
from pypi_insiders.util.process_group import kill_with_descendants

_log = logging.getLogger(__name__)

_TIMEOUT_S = 3600
_STDERR = 2


def run(paths: Paths, project: str, command: Sequence[str] = (), *, is_retry: bool = False) -> bool:
    """Run the command once for each new release of a project, the lowest version first.

    Args:
        paths: all paths of the program.
        project: normalized.
        command: in place of `release-command`.
        is_retry: whether to run it also for releases for which it was given up.

    Returns:
        Whether it succeeded for all of them.

    Raises:
        InsidersError: `config.toml` or a release cannot be read, or the project is not known.
    """
    settings = load_settings(paths.settings).watcher
    argv = tuple(command or settings.release_command or ())
    if not new_releases.ready(paths, project):
        _demand_known(paths, project)
        _log.info("%s has no new releases", project)
        return True  # without a lock of any word that is typed
    is_well, done = True, set[str]()
    # Of two processes, the second finds nothing left to do.
    with locked(paths.locks.releases(project), lambda: _log.info("waiting for a running command")):
        # Again and again: an update may publish another one meanwhile.
        while releases := _waiting(paths, project, done, is_retry=is_retry):
            done.update(release.version for release in releases)
            # Before the command, which may take an hour; and not again with its second attempt.
            _notify([release for release in releases if not release.attempts], settings)
            for release in releases:
                with log.about(release.repository):
                    is_well = _run(paths, release, argv) and is_well
        if not done and (left := new_releases.ready(paths, project)):
            text = "%s %s: release-command has failed; run it again: %s"
            _log.info(text, project, ", ".join(it.version for it in left), left[0].retry)
    return is_well


def _demand_known(paths: Paths, project: str) -> None:
    known = {*held_names.load(paths).repositories, *releases.projects(paths.distributions)}
    if project not in known:
        raise releases.has_none(project, known)


def _waiting(paths: Paths, project: str, done: set[str], *, is_retry: bool) -> list[NewRelease]:
    """Return the releases to run the command for, without those that are published no more."""
    found = []
    for release in new_releases.ready(paths, project):
        if release.version in done:
            continue
        if release.local and store.present(paths.distributions, release.files) != release.files:
            _log.info("%s %s is not published any more", project, release.version)
            new_releases.forget(paths, release)
        elif is_retry or not release.is_given_up:
            found.append(release)
        # It was killed at its last attempt, and could not record why.
        elif release.error is None:
            new_releases.save(paths, release._replace(error=new_releases.INTERRUPTED))
    return found


def _run(paths: Paths, release: NewRelease, argv: tuple[str, ...]) -> bool:
    """Run the command for one release; return whether it succeeded."""
    # Before: if this is killed, it counts as an attempt.
    release = release._replace(attempts=release.attempts + 1, error=None)
    new_releases.save(paths, release)
    name = f"{release.project} {release.version}"
    if argv:
        _log.info("%s: running %s", name, argv[0])
    error = _attempt(argv, _variables(paths, release)) if argv else None
    if error is None:
        new_releases.forget(paths, release)
        # What failed before is past: the command works again.
        for other in new_releases.ready(paths, release.project):
            if other.is_given_up:
                new_releases.forget(paths, other)
        return True
    release = release._replace(error=error)
    new_releases.save(paths, release)
    _log.error("%s: release-command failed: %s; %s", name, error, release.outlook)
    if release.is_given_up:
        _log.info("hint: run it again: %s", release.retry)
    return False


def _variables(paths: Paths, release: NewRelease) -> Iterator[tuple[str, str]]:
    directory = f"{paths.distributions}/" if release.local else ""
    yield "PYPI_INSIDERS_PROJECT", release.project
    yield "PYPI_INSIDERS_VERSION", release.version
    yield "PYPI_INSIDERS_TAG", release.tag
    yield "PYPI_INSIDERS_COMMIT", release.commit
    yield "PYPI_INSIDERS_REPOSITORY", release.repository
    yield "PYPI_INSIDERS_FILES", "\n".join(f"{directory}{name}" for name in release.files)


def _attempt(argv: tuple[str, ...], variables: Iterator[tuple[str, str]]) -> str | None:
    """Run a command; return why it failed, in one line, or `None`."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            # Standard output is that of `update --json`.
            stdout=_STDERR,
            env={**os.environ, **dict(variables)},
        )
    except OSError as error:
        return cannot_run(argv[0], error).message
    with process:
        try:
            status = process.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            kill_with_descendants(process.pid)
            return f"it took longer than {_TIMEOUT_S} s"
        except BaseException:
            kill_with_descendants(process.pid)
            raise
    if status < 0:
        return f"killed by signal {-status}"
    return f"exit status {status}" if status else None


def _notify(releases: Sequence[NewRelease], settings: WatcherSettings) -> None:
    """Send one notification about new releases, if the user wants that."""
    # An empty `notify-command` is for no notifications; `None` is the desktop.
    if not (releases and settings.notify_releases) or settings.notify_command == ():
        return
    versions = ", ".join(release.version for release in releases)
    lines = (
        f"{release.project} {release.version} was published ({release.repository}, "
        f"{heads.subject(release.tag)}).\n"
        for release in releases
    )
    subject = f"pypi-insiders: new release: {releases[0].project} {versions}"
    try:
        program = delivery.send(Message(subject, "".join(lines)), settings.notify_command)
    except InsidersError as error:
        _log.warning("%s", error.message)
        return
    if program is None:
        _log.info("no desktop here, and no `notify-command` is set: %s", subject)
