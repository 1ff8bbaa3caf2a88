"""Know where to upload, and where that index tells what it has."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from pypi_insiders.config.settings import PublishSettings
from pypi_insiders.config.validators import parse_index_url
from pypi_insiders.remote_index.errors import PublishError

PYPI = "https://pypi.org/simple/"

_PYPI_UPLOADS = "upload.pypi.org"
_SIMPLE = ("simple", "+simple")
# PyPI, many after it; Azure Artifacts.
_BESIDE_SIMPLE = ("legacy", "upload")


@dataclass(frozen=True)
class Destination:
    """An index that takes uploads."""

    url: str
    """Where files are sent to."""
    simple_url: str
    """Where it tells what it has; a project's name and a slash are added."""
    user: str | None = None
    """Who uploads; `None` is whoever netrc names, or else `__token__`."""
    password: str | None = field(default=None, repr=False)
    """With what password, if that is known already."""


def destination(
    settings: PublishSettings,
    url: str | None = None,
    user: str | None = None,
    password: str | None = None,
) -> Destination | None:
    """Tell where files go, or `None` for nowhere.

    Args:
        settings: the `[publish]` table.
        url: instead of `index-url`; `check-url`, which belongs to that, does not count then.
        user: instead of `user`.
        password: of that user, if it is known already.

    Raises:
        PublishError: the URL is none of an index.
    """
    if url is None or url == settings.index_url:
        url, simple_url = settings.index_url, settings.check_url
    else:
        simple_url = None
    if url is None:
        return None
    try:
        url = parse_index_url(url)
    except ValueError as error:
        raise PublishError(f"the URL to upload to {error}") from error
    simple_url = _with_slash(simple_url) if simple_url else simple_url_of(url)
    return Destination(url, simple_url, user or settings.user, password)


def simple_url_of(url: str) -> str:
    """Tell from where an index takes uploads where its simple API is, as far as one can.

    Of two segments is what devpi has, except that Nexus and Google have it too.
    """
    parts = urlsplit(url)
    if parts.hostname == _PYPI_UPLOADS:
        return PYPI
    segments = [segment for segment in parts.path.split("/") if segment]
    if segments and segments[-1] in _BESIDE_SIMPLE:
        segments[-1] = "simple"
    elif segments and segments[-1] in _SIMPLE:
        pass
    elif len(segments) == 2 and not _is_no_devpi(parts.hostname or "", segments[0]):
        segments.append("+simple")
    else:
        segments.append("simple")
    return urlunsplit((parts.scheme, parts.netloc, f"/{'/'.join(segments)}/", "", ""))


def _is_no_devpi(host: str, first: str) -> bool:
    return first == "repository" or host.endswith(".pkg.dev")


def _with_slash(url: str) -> str:
    return url if url.endswith("/") else f"{url}/"
