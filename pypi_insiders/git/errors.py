"""The errors of git commands."""

from pypi_insiders.util.errors import InsidersError


class UnreachableError(InsidersError):
    """The host is unreachable or fails; the repository is not at fault."""


class AccessError(InsidersError):
    """The host does not give access."""


class RefusedError(InsidersError):
    """The host does not send an object that no tag or branch refers to."""


class UnfitError(InsidersError):
    """A tag cannot become a release unless its repository, or what its host has, changes."""


class NoCommitError(InsidersError):
    """A tag names a directory or a file, of which no release can be built."""


class UnexplainedError(InsidersError):
    """A local command failed, or objects or refs are at fault: the mirror may be damaged."""


class ObjectFormatError(UnexplainedError):
    """The host's repository names its objects by another hash than the mirror."""
