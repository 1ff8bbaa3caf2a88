"""Say in one line why an index cannot be asked, or does not take a file."""

import html
import re
from dataclasses import dataclass

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.network_failures import PASSING_STATUS, UNREACHABLE, UNRESOLVED
from pypi_insiders.util.plain_text import one_line
from pypi_insiders.util.without_credentials import without_any_credentials

# Some servers answer with a page of HTML, and the line is for a journal.
_DETAIL_CHARS = 240
_SHORT_CHARS = 4
_SAYS = "Server says:"
_ADDRESS_HINT = "check index-url under [publish], and check-url if you have set it"


class PublishError(InsidersError):
    """An index cannot be asked, does not take a file, or has another one in its place.

    Args:
        is_unreachable: whether the index was out of reach, which may pass by itself.
    """

    def __init__(
        self, message: str, hint: str | None = None, *, is_unreachable: bool = False
    ) -> None:
        super().__init__(message, hint)
        self.is_unreachable = is_unreachable


@dataclass(frozen=True)
class _Meaning:
    """What a text means, and what helps."""

    pattern: str
    meaning: str
    hint: str
    is_unreachable: bool = False


# What uv and Python say. The first match counts.
_MEANINGS = (
    _Meaning(
        "status code 40[13]|Missing credentials",
        "no access: the index does not accept the user and the password",
        "check both: PYPI_INSIDERS_INDEX_PASSWORD, ~/.netrc, and user under [publish]",
    ),
    _Meaning(
        "status code 40[45]|status code 410|POST requests are not supported|[Rr]edirect"
        "|status code 30",
        "there is no index that takes this",
        _ADDRESS_HINT,
    ),
    _Meaning(
        "status code 413", "the index takes no file of this size", "ask who runs it to allow it"
    ),
    _Meaning(
        "CERTIFICATE_VERIFY_FAILED|[Cc]ertificate",
        "the certificate of the index is not trusted here",
        "set SSL_CERT_FILE to a file with the certificate of its authority",
    ),
    _Meaning(
        r"\bSSL\b|\bTLS\b|SSL:|received corrupt message|InvalidContentType",
        "there is no TLS with the index",
        "check whether its URL begins with http or https",
    ),
    _Meaning(
        UNRESOLVED,
        "the name of its host cannot be resolved",
        "check the name and the network",
        is_unreachable=True,
    ),
    _Meaning(
        "closed connection|[Cc]onnection (?:was )?(?:closed|reset|aborted)|IncompleteRead"
        r"|Broken pipe|incomplete message|unexpected (?:EOF|end of file)|broke off|EOF occurred",
        "the index broke off",
        "look at its log; the next run goes on where this one ended",
        is_unreachable=True,
    ),
    _Meaning(
        f"{UNREACHABLE}|timed out|tcp connect error",
        "the index cannot be reached",
        "check the network and whether it runs; the next run tries again",
        is_unreachable=True,
    ),
    _Meaning(
        f"status code {PASSING_STATUS}",
        "the index has trouble of its own",
        "look at its log; the next run tries again",
        is_unreachable=True,
    ),
    # An answer, which is the same the next time: 501 of a server that takes no uploads at all.
    _Meaning(
        "status code 5[0-9][0-9]",
        "the index does not take this",
        f"look at its log; {_ADDRESS_HINT}",
    ),
)


def failure(
    doing: str, text: str, password: str | None, kind: type[PublishError] = PublishError
) -> PublishError:
    """Say in one line what failed and what helps, without any credential.

    Args:
        doing: what was tried.
        text: what uv or Python said; after `Server says:`, what the server did.
        password: which the text may have.
        kind: of the error.
    """
    told, _, answer = text.partition(_SAYS)
    told = _clean(told, password).rstrip(":. ")
    answer = _clean(_plain(answer), password)
    detail = f"{told}: {answer}" if answer else told
    detail = detail if len(detail) <= _DETAIL_CHARS else f"{detail[:_DETAIL_CHARS]}..."
    # Only what the client said: the server's own words may name any of these.
    for item in _MEANINGS:
        if re.search(item.pattern, told):
            return kind(
                f"{doing}: {item.meaning} ({detail})",
                item.hint,
                is_unreachable=item.is_unreachable,
            )
    return kind(f"{doing}: {detail or 'no output'}")


def _plain(text: str) -> str:
    """Take a page for what a person reads of it."""
    if "<" not in text:
        return text
    text = re.sub(r"<(head|style|script)\b.*?</\1>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    return html.unescape(re.sub(r"<[^>]*>", " ", text))


def _clean(text: str, password: str | None) -> str:
    """Make one line of a text, without credentials."""
    if password:
        # Inside of words a very short one tells nothing, and would take their letters away.
        is_short = len(password) < _SHORT_CHARS
        around = (r"(?<!\w)", r"(?!\w)") if is_short else ("", "")
        text = re.sub(re.escape(password).join(around), "[password]", text)
    return " ".join(one_line(without_any_credentials(text)).split())
