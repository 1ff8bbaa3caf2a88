"""Say in one line why git failed, and what helps."""

import re
import shlex

from pypi_insiders.util.errors import InsidersError, cut
from pypi_insiders.util.formatting import last_line
from pypi_insiders.util.network_failures import PASSING_STATUS, UNREACHABLE, UNRESOLVED
from pypi_insiders.util.without_credentials import without_any_credentials

_SHOWN_CHARS = 16 * 1024


class UnreachableError(InsidersError):
    """The host cannot be reached, or has trouble of its own; whether it gives access is not known.

    A laptop without a network meets it, and nothing is wrong with the repository.
    """


class AccessError(InsidersError):
    """The host does not accept the credentials."""


class RefusedError(InsidersError):
    """The host does not give an object that none of its tags and branches names."""


class UnfitError(InsidersError):
    """What a tag names can be no release, now and later."""


class NoCommitError(InsidersError):
    """A tag names a directory or a file, of which no release can be built."""


class UnexplainedError(InsidersError):
    """Git says something that we do not know; our own copy may be damaged."""


class ObjectFormatError(UnexplainedError):
    """The host's repository names its objects by another hash than the mirror."""


# What git, ssh and curl say, what that means, and what helps. The first match counts.
# As they are in the C locale, which LC_ALL sets; curl 7 and 8 use different words.
_MEANINGS: tuple[tuple[str, type[InsidersError], str, str], ...] = (
    (
        r"Permission denied \(|Too many authentication failures|[Aa]ccess denied"
        + r"|Authentication failed|Invalid username or|could not read (?:Username|Password)"
        + r"|unable to read askpass|returned error: 40[13]",
        AccessError,
        "no access: the host does not accept the credentials that git has here",
        "try `git ls-remote URL` in a shell; a key with a passphrase must be in the ssh agent",
    ),
    (
        r"Host key for (?P<host>\S+) has changed",
        InsidersError,
        "the host's ssh key is not the one that is known here: it was changed, or another host "
        + "answers",
        "ask the host's owner; if it was changed: `ssh-keygen -R {host}`, then connect once with "
        + "`ssh` and check the fingerprint",
    ),
    (
        r"Host key verification failed|no \w+ host key is known|No matching host key",
        InsidersError,
        "the host's ssh key is not known here",
        "connect once with `ssh` and check the fingerprint",
    ),
    (
        r"SSL certificate problem|certificate verification failed|SSL: no alternative certificate",
        InsidersError,
        "the host's certificate is not trusted here",
        "`git help config` tells of http.sslCAInfo",
    ),
    (
        UNRESOLVED,
        UnreachableError,
        "the host's name cannot be resolved",
        "check the name and the network",
    ),
    (
        UNREACHABLE + r"|Failed to connect|Couldn't connect|unable to connect",
        UnreachableError,
        "the host cannot be reached",
        "check the network; the next update tries again",
    ),
    (
        r"(?:returned error:|HTTP code|tunnel failed, response) " + PASSING_STATUS,
        UnreachableError,
        "the host has trouble of its own",
        "the next update tries again",
    ),
    # An answer, which is the same the next time.
    (
        r"(?:returned error:|HTTP code|tunnel failed, response) 5\d\d\b",
        InsidersError,
        "the host, or a proxy, does not serve this",
        "check the URL and the proxy",
    ),
    (
        r"unadvertised object|not our ref",
        RefusedError,
        "the host does not give a commit that was asked for",
        "it may be gone; the next update tries again",
    ),
    (
        r"does not appear to be a git repository|(?i:cannot find repository)"
        + r"|(?i:repository|project)\b.* (?:not found|not be found|does not exist)",
        InsidersError,
        "no such repository, or no access to it",
        "check the name, and that your sponsorship or account gives access",
    ),
    (
        r"transport '[\w-]+' not allowed|Unsupported URL scheme"
        + r"|not supported or disabled in libcurl"
        + r'|Protocol "[\w-]+" disabled',
        InsidersError,
        "git may not use that transport here",
        "use https, ssh, git or file",
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
    """Say in one line why git failed, without any credential.

    Args:
        stderr: what git wrote.
        command: of git, without its arguments.
        connects: whether it asked a host.
        access_hint: what helps if the host gives no access; by default what helps without a token.
    """
    # Shortened first: the patterns take time with the length of the text.
    text = without_any_credentials(_shortened(stderr.strip()))
    detail = _telling_line(text)
    if re.search(r"No space left on device|Disk quota exceeded|Out of diskspace", text):
        return InsidersError(f"the disk is full ({detail})", "make room on that disk")
    # Git does not say why; what it reads is not at fault. Source: write_entry in git's entry.c.
    if re.search(r"unable to write file", text):
        return InsidersError(f"the disk is full, or fails ({detail})", "make room on that disk")
    # Whoever ended a part of git, by TERM or KILL: what it worked on is not at fault.
    if re.search(r"died of signal (?:9|15)\b", text):
        return InsidersError(
            f"git {command} was ended, by others or for want of memory ({detail})",
            "the next update tries again",
        )
    if re.search(r"mismatched algorithms: client", text):
        return ObjectFormatError(f"git {command} failed: {detail}")
    # A local command may print file names of the repository, which can say anything.
    for pattern, kind, meaning, hint in _MEANINGS if connects else ():
        if match := re.search(pattern, text):
            is_access = kind is AccessError and access_hint is not None
            names = {name: shlex.quote(found) for name, found in match.groupdict().items()}
            helping = hint.format_map(names)
            return kind(f"{meaning} ({detail})", access_hint if is_access else helping)
    return UnexplainedError(f"git {command} failed: {detail}")


def _shortened(text: str) -> str:
    """Leave out most of a very long text, which a host may have sent to keep us busy."""
    if len(text) > 2 * _SHOWN_CHARS:
        text = f"{text[:_SHOWN_CHARS]}\n{text[-_SHOWN_CHARS:]}"
    return "\n".join(map(cut, text.splitlines()))


def _telling_line(text: str) -> str:
    """Pick the line that says most: the first fatal one or error, or else the last."""
    for line in map(str.strip, text.splitlines()):
        if re.match(
            r"(?:fatal|error|ERROR|ssh(?!-)|.*: Permission denied|Host key|remote: ERROR)", line
        ):
            return re.sub(r"^(?:fatal|error|ERROR): ", "", line)
    return last_line(text)
