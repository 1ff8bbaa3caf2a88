"""Run foreign code with few files in sight, or as what it is: with the permissions of the user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pypi_insiders.util.process import Result
from pypi_insiders.util.process_group import ProcessGroup


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
    def containment(self) -> ProcessGroup:
        """What ends it when this process is to end."""
        ...

    def inside(self, view: Mounts, text: str) -> str:
        """Write the paths in a text as the program sees them."""
        ...

    def run(
        self,
        argv: Sequence[str],
        view: Mounts,
        *,
        timeout_s: float,
        environment: Mapping[str, str],
        directory: Path,
    ) -> Result:
        """Run a program to its end; nothing that it started outlives it.

        Args:
            argv: the program and its arguments, with paths as they are outside.
            view: what it sees.
            timeout_s: after this many seconds it is killed.
            environment: all of its environment, with paths as they are outside.
            directory: where it runs.

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

    containment: ProcessGroup
    is_sandbox: bool = False
    trouble: str | None = None
    """Why there is no sandbox; `None`: none was wanted."""

    def inside(self, view: Mounts, text: str) -> str:  # noqa: ARG002
        """Write the paths in a text as the program sees them: as they are."""
        return text

    def run(
        self,
        argv: Sequence[str],
        view: Mounts,  # noqa: ARG002
        *,
        timeout_s: float,
        environment: Mapping[str, str],
        directory: Path,
    ) -> Result:
        """Run a program to its end."""
        return self.containment.run(
            argv, timeout_s=timeout_s, environment=environment, directory=directory
        )
