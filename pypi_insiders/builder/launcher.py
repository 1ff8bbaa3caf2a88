"""Run foreign code with few files in sight, or as what it is: with the permissions of the user."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pypi_insiders.util.process import Result
from pypi_insiders.util.process_group import Command, ProcessGroup


@dataclass(frozen=True)
class Mounts:
    """What a confined program sees, beside the programs and libraries of the system."""

    root: Path
    """Directory whose parts it sees below a path that is always the same."""
    writable: tuple[Path, ...]
    """Below the root."""
    readable: tuple[Path, ...] = ()
    """Anywhere; what is not below the root is seen at its own path."""
    network: Path | None = None
    """A Python that it sees, if it may use HTTP to other machines; `None`: no network."""


class Launcher(Protocol):
    """A way to run foreign code."""

    @property
    def is_sandbox(self) -> bool:
        """Tell whether anything is kept from it."""
        ...

    @property
    def processes(self) -> ProcessGroup:
        """What runs it, and ends it when this process is to end."""
        ...

    def inside(self, mounts: Mounts, text: str) -> str:
        """Write the paths in a text as the program sees them."""
        ...

    def run(self, command: Command, mounts: Mounts) -> Result:
        """Run a program to its end; nothing that it started outlives it.

        Args:
            command: what is run, with all paths as they are outside.
            mounts: what it sees.

        Returns:
            Its status, and all that it wrote, in `stdout`.

        Raises:
            SandboxError: it did not run, or did not run to its end, for no reason of its own.
            InsidersError: it cannot be run.
        """
        ...


@dataclass(frozen=True)
class DirectLauncher:
    """Foreign code that may do what the person may."""

    processes: ProcessGroup
    is_sandbox: bool = False
    trouble: str | None = None
    """Why there is no sandbox; `None`: none was wanted."""

    def inside(self, mounts: Mounts, text: str) -> str:  # noqa: ARG002
        """Write the paths in a text as the program sees them: as they are."""
        return text

    def run(self, command: Command, mounts: Mounts) -> Result:  # noqa: ARG002
        """Run a program to its end."""
        return self.processes.run(command)
