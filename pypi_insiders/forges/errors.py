"""The errors of forges."""

from pypi_insiders.util.errors import InsidersError


class ForgeError(InsidersError):
    """A forge does not answer as its API does, or refuses; the next update asks again."""


class PassingError(ForgeError):
    """A forge does not answer now: it is down, or has set a rate limit."""


class NoReleaseError(ForgeError):
    """A forge has no release of a tag, which may follow."""


class IncompleteError(PassingError):
    """A file did not arrive as the forge has it."""
