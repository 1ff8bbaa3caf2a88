"""The errors of builds."""

from pypi_insiders.util.errors import InsidersError

SANDBOX_LOST = (
    'see `pypi-insiders doctor`; the next update tries again, and with `sandbox = "off"` under '
    "[build] builds run with your permissions"
)
"""What to do where there is no sandbox any more."""


class BuildError(InsidersError):
    """A project does not build.

    Args:
        output: what the build wrote, complete.
    """

    def __init__(self, message: str, output: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.output = output


class SandboxError(InsidersError):
    """A sandbox cannot be had, or was lost: no fault of what was to run in it."""


class EndedError(SandboxError):
    """What ran in a sandbox was ended by neither itself nor us."""
