"""Start `release-command` for the releases that an update publishes."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.reporting import release_command
from pypi_insiders.repositories import new_releases, state
from pypi_insiders.repositories.new_releases import NewRelease
from pypi_insiders.systemd import systemctl, unconfined, unit_names
from pypi_insiders.util.errors import InsidersError

_log = logging.getLogger(__name__)


class Announcer:
    """Runs `release-command` once for each release, in a unit of its own if there is one."""

    def __init__(self, paths: Paths, settings: Settings) -> None:
        self._paths = paths
        self._is_wanted = settings.watcher.announces
        self._own = dict[str, None]()

    def resume(self, watched: Iterable[str], chosen: Iterable[str]) -> None:
        """Start the command for releases for which earlier updates have not run it."""
        with _no_failure():
            if not self._is_wanted:
                # Once it is set again, it is for what is published from then on.
                new_releases.clear(self._paths)
                return
            names = {name.casefold() for name in watched}
            # The others have updates of their own, of which the next runs the command once more.
            others = names - {name.casefold() for name in chosen}
            for release in new_releases.begun(self._paths):
                if release.repository.casefold() not in names:
                    new_releases.cancel(self._paths, release)
            waiting = new_releases.ready(self._paths)
            self._start(
                item.project
                for item in waiting
                if item.repository.casefold() not in others
                and (not item.is_given_up or item.error is None)
            )

    @contextmanager
    def announcing(self, release: NewRelease) -> Iterator[None]:
        """Store a release while it is published; forget it if that fails.

        Raises:
            InsidersError: it cannot be stored.
        """
        if not self._is_wanted:
            yield
            return
        # Before it is visible: after a kill the next update finds it.
        new_releases.begin(self._paths, release)
        try:
            yield
        except BaseException:
            self.cancel(release)
            raise

    def cancel(self, release: NewRelease) -> None:
        """Forget a release of which nothing was published."""
        with _no_failure():
            new_releases.cancel(self._paths, release)

    def settle(self, name: str) -> None:
        """Start the command for the new releases of a repository, which are recorded now."""
        if not self._is_wanted:
            return
        with _no_failure():
            found = [
                release
                for release in new_releases.begun(self._paths)
                if release.repository.casefold() == name.casefold()
            ]
            # As stored, and not as in memory: a check that failed early has read nothing.
            builds = state.load(self._paths.state, name).builds if found else []
            done = dict[str, None]()
            for release in found:
                recorded = [it for it in builds if it.tag == release.tag and it.files]
                # One that is not finished is left to a later update.
                if not recorded:
                    new_releases.cancel(self._paths, release)
                elif not recorded[0].unfinished:
                    new_releases.complete(self._paths, release)
                    done[release.project] = None
            self._start(done)

    def finish(self) -> None:
        """Run the command here for all projects for which no unit does, after the update."""
        for project in self._own:
            with _no_failure():
                release_command.run(self._paths, project)

    def _start(self, projects: Iterable[str]) -> None:
        names = tuple(dict.fromkeys(projects))
        if not names:
            return
        if self._has_unit:
            # Without --no-block the update would wait for the command: `start` of a oneshot returns
            # at its end. One by one: systemd 262 starts none of several if one of them is masked.
            for name in names:
                with _no_failure():
                    systemctl.call("start", "--no-block", "--", unit_names.of_project(name))
        elif unconfined.is_needed():
            # Not here: the command has the permissions of the user, which this process lacks.
            raise InsidersError(
                f"release-command was not started: {unit_names.RELEASED} is not installed",
                "`pypi-insiders watcher restart`",
            )
        else:
            self._own.update(dict.fromkeys(names))

    @cached_property
    def _has_unit(self) -> bool:
        """Whether the user manager has the unit, with the directories of this process."""
        # Of some project, as systemd loads instances of a template only.
        unit = unit_names.of_project("x")
        try:
            loaded = systemctl.show(unit, "LoadState")["LoadState"]
            if loaded != "loaded":
                return loaded == "masked"  # by the user, who then does not want it to run
            environment = systemctl.service(unit)["Environment"]
        except InsidersError:
            return False
        # A unit with another state directory would find no releases there.
        own = f"XDG_STATE_HOME={self._paths.state.parent}"
        return all(item == own for item in environment if item.startswith("XDG_STATE_HOME="))


@contextmanager
def _no_failure() -> Iterator[None]:
    """Log errors: what is done for a release never fails the update that has published it."""
    try:
        yield
    except InsidersError as error:
        _log.warning("%s", error.message)
        if error.hint:
            _log.info("hint: %s", error.hint)
