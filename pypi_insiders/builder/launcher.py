"""The interface of launchers, which run foreign code, and the launcher without a sandbox."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pypi_insiders.util.process import Result
from pypi_insiders.util.process_group import Command, ProcessGroup


@dataclass(frozen=True)
class Mounts:
    """The directories that a sandboxed program sees besides those of the system."""

    # Reproducible builds need the same path in every build: many compilers record it.
    root: Path
    """A directory that the program sees at a fixed path."""
    writable: tuple[Path, ...]
    """Below the root."""
    readable: tuple[Path, ...] = ()
    """Anywhere; outside of the root they keep their paths, and links to them lead to them."""
    path: tuple[Path, ...] = ()
    """Directories of programs that come before those of the system; readable, too."""
    last_path: tuple[Path, ...] = ()
    """Directories of programs that come after those of the system; readable, too."""
    network: Path | None = None
    """A visible Python for the relay to other machines; `None`: no network."""


class Launcher(Protocol):
    """Runs foreign code."""

    @property
    def is_sandbox(self) -> bool:
        """Return whether programs are isolated."""
        ...

    @property
    def processes(self) -> ProcessGroup:
        """Return the processes that are killed when this process ends."""
        ...

    def inside(self, mounts: Mounts, text: str) -> str:
        """Replace the paths in a text by those that the program sees."""
        ...

    def run(self, command: Command, mounts: Mounts) -> Result:
        """Run a program and kill all processes that it leaves behind.

        Args:
            command: the program, with paths outside of the sandbox.
            mounts: the directories that it sees.

        Returns:
            Its exit status, and its output and errors in `stdout`.

        Raises:
            SandboxError: the sandbox failed; the program is not at fault.
            InsidersError: the program cannot be run.
        """
        ...


@dataclass(frozen=True)
class DirectLauncher:
    """Runs foreign code with the permissions of the user."""

    processes: ProcessGroup
    is_sandbox: bool = False
    trouble: str | None = None
    """Why the sandbox is unavailable; `None`: it is switched off."""

    def inside(self, mounts: Mounts, text: str) -> str:  # noqa: ARG002
        """Return the text unchanged."""
        return text

    def run(self, command: Command, mounts: Mounts) -> Result:  # noqa: ARG002
        """Run a program."""
        return self.processes.run(command)
