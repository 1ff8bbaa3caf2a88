"""Describe in one line why an index cannot be read, or refuses a file."""

import html
import re
from dataclasses import dataclass

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.network_failures import PASSING_STATUS, UNREACHABLE, UNRESOLVED
from pypi_insiders.util.plain_text import one_line
from pypi_insiders.util.without_credentials import without_any_credentials

# Some servers answer with a whole HTML page; the message is one line of the journal.
_DETAIL_CHARS = 240
# Shorter passwords are replaced as whole words only: inside of words they would disfigure the text
# and reveal nothing.
_SHORT_CHARS = 4
# uv prints this before the text of the response.
_SAYS = "Server says:"
_ADDRESS_HINT = "check index-url under [publish], and check-url if you have set it"


class PublishError(InsidersError):
    """An index cannot be read, refuses a file, or has a different file of its name.

    Args:
        is_unreachable: whether the index could not be reached, which may be temporary.
    """

    def __init__(
        self, message: str, hint: str | None = None, *, is_unreachable: bool = False
    ) -> None:
        super().__init__(message, hint)
        self.is_unreachable = is_unreachable


@dataclass(frozen=True)
class _Meaning:
    """A cause, its pattern in foreign text, and a hint."""

    pattern: str
    meaning: str
    hint: str
    is_unreachable: bool = False


# Messages of uv and Python. The first match counts, so certificates come before TLS, and temporary
# statuses before the rest of 5xx.
_MEANINGS = (
    _Meaning(
        "status code 40[13]|Missing credentials",
        "access denied: the index rejects the user or the password",
        "check PYPI_INSIDERS_INDEX_PASSWORD, ~/.netrc, and user under [publish]",
    ),
    _Meaning(
        "status code 40[45]|status code 410|POST requests are not supported|[Rr]edirect"
        "|status code 30",
        "not the upload URL of an index",
        _ADDRESS_HINT,
    ),
    _Meaning(
        "status code 413",
        "the file is too large for the index",
        "ask its administrator to raise the limit",
    ),
    _Meaning(
        "CERTIFICATE_VERIFY_FAILED|[Cc]ertificate",
        "the certificate of the index is not trusted here",
        "set SSL_CERT_FILE to a file with the certificate of its authority",
    ),
    _Meaning(
        r"\bSSL\b|\bTLS\b|SSL:|received corrupt message|InvalidContentType",
        "no TLS connection to the index",
        "check whether its URL starts with http or https",
    ),
    _Meaning(
        UNRESOLVED,
        "its host name cannot be resolved",
        "check the host name and the network",
        is_unreachable=True,
    ),
    _Meaning(
        "closed connection|[Cc]onnection (?:was )?(?:closed|reset|aborted)|IncompleteRead"
        r"|Broken pipe|incomplete message|unexpected (?:EOF|end of file)|broke off|EOF occurred",
        "the index closed the connection",
        "check the log of the index; the next update uploads the rest",
        is_unreachable=True,
    ),
    _Meaning(
        f"{UNREACHABLE}|timed out|tcp connect error",
        "index unreachable",
        "check the network and whether the index is running; the next update tries again",
        is_unreachable=True,
    ),
    _Meaning(
        f"status code {PASSING_STATUS}",
        "the index has an internal error",
        "check the log of the index; the next update tries again",
        is_unreachable=True,
    ),
    # Permanent, such as 501 of a server that does not accept uploads at all.
    _Meaning(
        "status code 5[0-9][0-9]",
        "the index refuses the request",
        f"check the log of the index; {_ADDRESS_HINT}",
    ),
)


def failure(
    doing: str, text: str, password: str | None, kind: type[PublishError] = PublishError
) -> PublishError:
    """Return the error of a failed request, in one line, with a hint and without credentials.

    Args:
        doing: the failed action, such as "cannot upload FILE to URL".
        text: the message of uv or Python; after `Server says:`, that of the server.
        password: is removed from the text.
        kind: the class of the error.
    """
    message, _, response = text.partition(_SAYS)
    message = _clean(message, password).rstrip(":. ")
    response = _clean(_plain(response), password)
    detail = f"{message}: {response}" if response else message
    detail = detail if len(detail) <= _DETAIL_CHARS else f"{detail[:_DETAIL_CHARS]}..."
    # The client's message only: the server's text may contain any of the patterns.
    for item in _MEANINGS:
        if re.search(item.pattern, message):
            return kind(
                f"{doing}: {item.meaning} ({detail})",
                item.hint,
                is_unreachable=item.is_unreachable,
            )
    return kind(f"{doing}: {detail or 'no reason given'}")


def _plain(text: str) -> str:
    """Return the visible text of an HTML page; other text as it is."""
    if "<" not in text:
        return text
    text = re.sub(r"<(head|style|script)\b.*?</\1>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    return html.unescape(re.sub(r"<[^>]*>", " ", text))


def _clean(text: str, password: str | None) -> str:
    """Return a text as one line, without credentials."""
    if password:
        is_short = len(password) < _SHORT_CHARS
        around = (r"(?<!\w)", r"(?!\w)") if is_short else ("", "")
        text = re.sub(re.escape(password).join(around), "[password]", text)
    return " ".join(one_line(without_any_credentials(text)).split())
