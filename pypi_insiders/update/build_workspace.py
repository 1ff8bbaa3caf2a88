"""The resources that all builds of one update share: directory, disk space and sandbox."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pypi_insiders.builder import sandbox, sandbox_probe
from pypi_insiders.builder.environments import Bytecode
from pypi_insiders.builder.errors import BuildError, SandboxError
from pypi_insiders.builder.launcher import DirectLauncher, Launcher
from pypi_insiders.config.paths import Paths, hidden_from_builds
from pypi_insiders.config.settings import Settings
from pypi_insiders.repositories import sandbox_state
from pypi_insiders.repositories.sandbox_state import Sandboxing
from pypi_insiders.util import disk_reserve
from pypi_insiders.util.disk_reserve import DiskFullError, Guard
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_directory, make_temporary
from pypi_insiders.util.plain_text import encodable
from pypi_insiders.util.process_group import ProcessGroup
from pypi_insiders.util.trees import remove_foreign_tree


class BuildSpace:
    """Directories, disk space and launcher for the builds of one update; thread-safe.

    Args:
        paths: all paths of the program.
        settings: the settings of `config.toml`.
        processes: runs the builds, and kills them when this process ends.
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
        # The sandbox is measured once, and by the first build: an update without any does not need
        # it.
        self._choosing = threading.Lock()
        self._chosen: Launcher | None = None
        self._unavailable: SandboxError | None = None

    def sweep(self) -> None:
        """Remove the units and files of killed updates; only the first call does anything."""
        # Not a flag alone: no thread may build before the sweep of another one is over.
        with self._sweeping:
            if not self._is_swept:
                # Units first: running builds would write to the directory again.
                sandbox.sweep()
                remove_foreign_tree(self._paths.builds)
                make_directory(self._paths.builds)
                self._is_swept = True

    def end(self) -> None:
        """Remove the shared files of the builds."""
        remove_foreign_tree(self._shared)

    def launcher(self) -> Launcher:
        """Return the launcher of build hooks, which the first call selects.

        Raises:
            SandboxError: a sandbox is required but unavailable, so nothing is built.
        """
        with self._choosing:
            # The error is kept too: a failing probe may take long, and each repository would wait
            # for its own.
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
        before = sandbox_state.load(self._paths.state)
        try:
            chosen = sandbox_probe.choose(
                wanted,
                self._processes,
                hidden_from_builds(self._paths),
                self._paths.builds,
                had_before=before.had_at is not None,
            )
        except SandboxError as error:
            # Not after a stop of this process, which ends the probe as well.
            if self._processes.pause(0):
                sandbox_state.save(self._paths.state, before._replace(trouble=error.message))
            raise
        if isinstance(chosen, DirectLauncher):
            now = before._replace(trouble=chosen.trouble)
        else:
            now = Sandboxing(had_at=int(time.time()))
        # With "off" nothing was probed, so the last result stays.
        if wanted != "off":
            sandbox_state.save(self._paths.state, now)
        return chosen

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Create a directory for one build; remove it at the end of the context.

        Raises:
            InsidersError: it cannot be created, or uv cannot use it.
        """
        if encodable(place := str(self._paths.builds)) != place:
            raise InsidersError(
                f"uv creates no environment in {self._paths.builds}, whose name is not UTF-8",
                "set XDG_CACHE_HOME to another directory",
            )
        directory = make_temporary(self._paths.builds)
        try:
            yield directory
        finally:
            # Announced: the space that it frees must not be credited to a build that still runs.
            with self.guard.removing():
                remove_foreign_tree(directory)

    @contextmanager
    def ended_in_time(self, workspace: Path) -> Iterator[None]:
        """Kill a build before the disk is full; it fails only if it filled the disk.

        Raises:
            BuildError: the build has used most of the free space.
            DiskFullError: others have.
        """
        with self.guard.guarding(workspace) as use:
            try:
                yield
            except (BuildError, DiskFullError) as error:
                trouble = use.trouble()
                if trouble is None:
                    raise
                message, is_to_blame = trouble
                # At once: otherwise the next build would be killed because of these files.
                with self.guard.removing():
                    remove_foreign_tree(workspace)
                # A BuildError makes the tag wait before it is tried again; a full disk, which is no
                # fault of the tag, does not.
                if is_to_blame:
                    output = error.output if isinstance(error, BuildError) else ""
                    raise BuildError(message, output, disk_reserve.HINT) from error
                raise DiskFullError(message) from error
