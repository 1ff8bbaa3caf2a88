"""What all builds of one update share: a directory, room on the disk and the sandbox."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pypi_insiders.builder import sandbox, sandbox_probe
from pypi_insiders.builder.environments import Bytecode
from pypi_insiders.builder.errors import BuildError, SandboxError
from pypi_insiders.builder.launcher import DirectLauncher, Launcher
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.repositories import state
from pypi_insiders.repositories.state import Sandboxing
from pypi_insiders.util import disk_reserve
from pypi_insiders.util.disk_reserve import DiskFullError, Guard
from pypi_insiders.util.files import make_directory, make_temporary
from pypi_insiders.util.process_group import ProcessGroup
from pypi_insiders.util.trees import remove_foreign_tree


class BuildSpace:
    """Where the builds of one update run; safe in threads.

    Args:
        paths: where everything is.
        settings: those of `config.toml`.
        processes: runs the builds, and ends them when this process is to end.
    """

    def __init__(self, paths: Paths, settings: Settings, processes: ProcessGroup) -> None:
        self._paths = paths
        self._sandbox_wanted = settings.build.sandbox
        self._processes = processes
        self._shared = paths.builds / "bytecode"
        self.bytecode = Bytecode(self._shared)
        self.guard = Guard(settings.build.disk_reserve_bytes)
        self._sweeping = threading.Lock()
        self._is_swept = False
        self._choosing = threading.Lock()
        self._chosen: Launcher | None = None
        self._unavailable: SandboxError | None = None

    def sweep(self) -> None:
        """Remove, once, what an update that was killed left behind."""
        with self._sweeping:
            if not self._is_swept:
                # Units first: what still runs would write there again.
                sandbox.sweep()
                remove_foreign_tree(self._paths.builds)
                make_directory(self._paths.builds)
                self._is_swept = True

    def end(self) -> None:
        """Remove what builds shared."""
        remove_foreign_tree(self._shared)

    def launcher(self) -> Launcher:
        """Return what starts the hooks of builds, which is chosen once.

        Raises:
            SandboxError: the settings require a sandbox, and none can be had: nothing is built.
        """
        with self._choosing:
            # A probe may take long, and every repository would wait for one of its own.
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
        wanted = self._sandbox_wanted
        before = state.load_sandbox(self._paths.state)
        try:
            chosen = sandbox_probe.choose(
                wanted,
                self._processes,
                self._paths.hidden_from_builds(),
                self._paths.builds,
                had_before=before.had_at is not None,
            )
        except SandboxError as error:
            if self._processes.pause(0):  # or else it is our own end that it met
                state.save_sandbox(self._paths.state, replace(before, trouble=error.message))
            raise
        if isinstance(chosen, DirectLauncher):
            now = replace(before, trouble=chosen.trouble)
        else:
            now = Sandboxing(had_at=int(time.time()))
        # "off" says nothing of whether one could be had.
        if wanted != "off":
            state.save_sandbox(self._paths.state, now)
        return chosen

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Make a directory for one build, and remove it at the end of the context."""
        directory = make_temporary(self._paths.builds)
        try:
            yield directory
        finally:
            with self.guard.removing():
                remove_foreign_tree(directory)

    @contextmanager
    def ended_in_time(self, workspace: Path) -> Iterator[None]:
        """End a build before the disk is full; a build that has not filled it is not to blame.

        Raises:
            BuildError: it has taken most of the room that there was.
            DiskFullError: others have.
        """
        with self.guard.guarding(workspace) as use:
            try:
                yield
            except (BuildError, DiskFullError) as error:
                trouble = use.trouble()
                if trouble is None:
                    raise
                told, is_to_blame = trouble
                with self.guard.removing():  # or else the next one would be ended for its files
                    remove_foreign_tree(workspace)
                if is_to_blame:
                    output = error.output if isinstance(error, BuildError) else ""
                    raise BuildError(told, output, disk_reserve.HINT) from error
                raise DiskFullError(told) from error
