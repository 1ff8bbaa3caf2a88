"""Errors of builds."""

from packaging.version import Version

from pypi_insiders.util.errors import InsidersError

SANDBOX_LOST = (
    'run `pypi-insiders doctor`; the next update tries again. With `sandbox = "off"` under '
    "[build], builds run with your permissions"
)
"""The hint if the sandbox has become unavailable."""


class BuildError(InsidersError):
    """A project does not build.

    Args:
        output: the complete output of the build.
        remedy: the key of the repository that may help, as `KEY=VALUE`.
    """

    def __init__(
        self, message: str, output: str = "", hint: str | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(message, hint)
        self.output = output
        self.remedy = remedy
        self.is_dated = False
        """Whether the latest build requirements are others than it was built with."""


class VersionError(InsidersError):
    """A build has a version that is not wanted.

    Args:
        found: the version.
    """

    def __init__(self, found: Version) -> None:
        super().__init__(f"the build has version {found}")
        self.found = found


class SandboxError(InsidersError):
    """The sandbox is unavailable; the project is not at fault."""


class EndedError(SandboxError):
    """Another process has stopped the unit of a build."""
