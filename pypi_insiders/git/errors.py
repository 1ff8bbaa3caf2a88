"""The errors of git commands, and the form in which messages are mapped to them."""

from typing import NamedTuple

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


# Programs of this machine; git for http; ssh, where its message names what a hint does; and git,
# for a directory. A host can send the same words, which must not become a command in a hint: what a
# pattern of `SSH` or `PATH` finds is in it only if this machine names the same.
HERE, HTTP, SSH, PATH = "here", "http", "ssh", "path"


class Meaning(NamedTuple):
    """What a message means.

    `text` and `hint` may contain the groups of the pattern in braces; `hint` also `{url}`,
    `{host}`, `{ca_setting}` and `{ssh}` of the repository, `{https}` (how to use https instead, if
    that is possible) and `{sign_in}` (how to store credentials for https).
    """

    pattern: str
    """Lines start at `^`."""
    kind: type[InsidersError]
    text: str
    hint: str
    source: str | None = None
    """Whose message it is: `HERE`, `HTTP`, `SSH` or `PATH`; `None`: perhaps the host's."""
