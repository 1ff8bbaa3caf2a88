"""Translate the messages of git into errors with hints."""

import re
import shlex

from pypi_insiders.util.errors import InsidersError, cut
from pypi_insiders.util.formatting import last_line
from pypi_insiders.util.network_failures import PASSING_STATUS, UNREACHABLE, UNRESOLVED
from pypi_insiders.util.without_credentials import without_any_credentials

_SHOWN_CHARS = 16 * 1024


class UnreachableError(InsidersError):
    """The host is unreachable or fails; the repository is not at fault."""


class AccessError(InsidersError):
    """The host does not accept the credentials."""


class RefusedError(InsidersError):
    """The host does not send an object that no tag or branch refers to."""


class UnfitError(InsidersError):
    """The object of a tag cannot become a release, now or later."""


class NoCommitError(InsidersError):
    """A tag names a directory or a file, of which no release can be built."""


class UnexplainedError(InsidersError):
    """Git failed with an unknown message; the mirror may be damaged."""


class ObjectFormatError(UnexplainedError):
    """The host's repository names its objects by another hash than the mirror."""


# Messages of git, ssh and curl in the C locale, which LC_ALL sets; curl 7 and 8 differ. The first
# match counts, so specific patterns come first: ssh and git add general lines to a specific one.
_MEANINGS: tuple[tuple[str, type[InsidersError], str, str], ...] = (
    (
        r"cannot run ssh: No such file",
        InsidersError,
        "ssh is not installed",
        "install it, on Debian with `sudo apt install openssh-client`, or use an https URL: --url",
    ),
    (
        r"Permission denied \(|Too many authentication failures|[Aa]ccess denied"
        + r"|Authentication failed|Invalid username or|could not read (?:Username|Password)"
        + r"|unable to read askpass|returned error: 40[13]",
        AccessError,
        "no access: the host does not accept the credentials",
        "try `git ls-remote URL` in a shell; a key with a passphrase must be in the ssh agent",
    ),
    (
        r"Host key for (?P<host>\S+) has changed",
        InsidersError,
        "the host's ssh key has changed, or another host answers",
        "ask the host's owner; if it has changed, run `ssh-keygen -R {host}`, then connect once "
        + "with `ssh` and check the fingerprint",
    ),
    (
        r"Host key verification failed|no \w+ host key is known|No matching host key",
        InsidersError,
        "the host's ssh key is unknown",
        "connect once with `ssh` and check the fingerprint",
    ),
    (
        r"SSL certificate problem|certificate verification failed|SSL: no alternative certificate",
        InsidersError,
        "the host's certificate is not trusted",
        "set `http.sslCAInfo` of git to the certificate of its authority",
    ),
    (
        UNRESOLVED,
        UnreachableError,
        "cannot resolve the name of the host",
        "check the name and the network",
    ),
    (
        UNREACHABLE + r"|Failed to connect|Couldn't connect|unable to connect",
        UnreachableError,
        "host unreachable",
        "check the network; the next update tries again",
    ),
    (
        r"(?:returned error:|HTTP code|tunnel failed, response) " + PASSING_STATUS,
        UnreachableError,
        "the host fails",
        "the next update tries again",
    ),
    # Other statuses of servers, which will be the same at the next attempt.
    (
        r"(?:returned error:|HTTP code|tunnel failed, response) 5\d\d\b",
        InsidersError,
        "the host or a proxy refuses the request",
        "check the URL and the proxy",
    ),
    (
        r"unadvertised object|not our ref",
        RefusedError,
        "the host does not send a requested commit",
        "the commit may have been removed; the next update tries again",
    ),
    (
        r"does not appear to be a git repository|(?i:cannot find repository)"
        + r"|(?i:repository|project)\b.* (?:not found|not be found|does not exist)",
        InsidersError,
        "repository not found, or no access to it",
        "check the name, and that your sponsorship or account gives access",
    ),
    (
        r"transport '[\w-]+' not allowed|Unsupported URL scheme"
        + r"|not supported or disabled in libcurl"
        + r'|Protocol "[\w-]+" disabled',
        InsidersError,
        "this transport is not allowed",
        "use a URL of https, ssh, git or file",
    ),
    (
        r"RPC failed|early EOF|hung up unexpectedly|unexpected disconnect",
        UnreachableError,
        "the connection to the host broke",
        "the next update tries again",
    ),
)


def explain(
    stderr: str, command: str, *, connects: bool, access_hint: str | None = None
) -> InsidersError:
    """Return the error for a failed git command, without credentials.

    Args:
        stderr: git's errors.
        command: the git command, without its arguments.
        connects: whether it connects to a host.
        access_hint: the hint if access is denied (default: for access without a token).
    """
    # Shortened first, because patterns on a text of a hostile host take time.
    text = without_any_credentials(_shortened(stderr.strip()))
    detail = _telling_line(text)
    if re.search(r"No space left on device|Disk quota exceeded|Out of diskspace", text):
        return InsidersError(f"the disk is full ({detail})", "free space on that disk")
    # Git does not print the reason; the repository is not at fault. Source: write_entry in git's
    # entry.c.
    if re.search(r"unable to write file", text):
        return InsidersError(f"the disk is full, or fails ({detail})", "free space on that disk")
    # A subprocess of git was killed, by the OOM killer or a user; the repository is not at fault.
    if re.search(r"died of signal (?:9|15)\b", text):
        return InsidersError(
            f"git {command} was killed, by another process or for lack of memory ({detail})",
            "the next update tries again",
        )
    if re.search(r"mismatched algorithms: client", text):
        return ObjectFormatError(f"git {command} failed: {detail}")
    # Not for local commands: they print file names of the repository, which may look like any
    # message.
    for pattern, kind, meaning, hint in _MEANINGS if connects else ():
        if match := re.search(pattern, text):
            is_access = kind is AccessError and access_hint is not None
            names = {name: shlex.quote(found) for name, found in match.groupdict().items()}
            helping = hint.format_map(names)
            return kind(f"{meaning} ({detail})", access_hint if is_access else helping)
    return UnexplainedError(f"git {command} failed: {detail}")


def _shortened(text: str) -> str:
    # A hostile host can send any amount of text.
    if len(text) > 2 * _SHOWN_CHARS:
        text = f"{text[:_SHOWN_CHARS]}\n{text[-_SHOWN_CHARS:]}"
    return "\n".join(map(cut, text.splitlines()))


def _telling_line(text: str) -> str:
    """Return the first line with an error, or the last line."""
    for line in map(str.strip, text.splitlines()):
        if re.match(
            r"(?:fatal|error|ERROR|ssh(?!-)|.*: Permission denied|Host key|remote: ERROR)", line
        ):
            return re.sub(r"^(?:fatal|error|ERROR): ", "", line)
    return last_line(text)
