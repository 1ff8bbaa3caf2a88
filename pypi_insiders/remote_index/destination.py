"""Find the upload URL and the simple API of the index to publish to."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from pypi_insiders.config.settings import PublishSettings
from pypi_insiders.config.validators import PYPI, parse_index_url
from pypi_insiders.remote_index.errors import PublishError

_PYPI_UPLOADS = "upload.pypi.org"
_SIMPLE = ("simple", "+simple")
# `legacy` of PyPI and indexes like it; `upload` of Azure Artifacts.
_BESIDE_SIMPLE = ("legacy", "upload")


@dataclass(frozen=True)
class Destination:
    """An index that accepts uploads."""

    url: str
    """The upload URL."""
    simple_url: str
    """The URL of its simple API; the name of a project and a slash are appended."""
    user: str | None = None
    """The user who uploads; `None`: the user in netrc, or else `__token__`."""
    # No traceback and no log line may show it.
    password: str | None = field(default=None, repr=False)
    """The password, if it is known already."""


def destination(
    settings: PublishSettings,
    url: str | None = None,
    user: str | None = None,
    password: str | None = None,
) -> Destination | None:
    """Return the index to upload to; `None`: none is set.

    Args:
        settings: the `[publish]` table.
        url: replaces `index-url`; `check-url`, which belongs to `index-url`, is then ignored.
        user: replaces `user`.
        password: of that user, if it is known already.

    Raises:
        PublishError: the URL is not valid for an index.
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
        raise PublishError(f"the upload URL {error}") from error
    simple_url = _with_slash(simple_url) if simple_url else simple_url_of(url)
    return Destination(url, simple_url, user or settings.user, password)


def simple_url_of(url: str) -> str:
    """Return the probable URL of the simple API of an index, from its upload URL."""
    parts = urlsplit(url)
    if parts.hostname == _PYPI_UPLOADS:
        return PYPI
    segments = [segment for segment in parts.path.split("/") if segment]
    if segments and segments[-1] in _BESIDE_SIMPLE:
        segments[-1] = "simple"
    elif segments and segments[-1] in _SIMPLE:
        pass
    # devpi accepts uploads at /USER/INDEX/, and has its simple API at /USER/INDEX/+simple/.
    elif len(segments) == 2 and not _is_no_devpi(parts.hostname or "", segments[0]):
        segments.append("+simple")
    else:
        segments.append("simple")
    return urlunsplit((parts.scheme, parts.netloc, f"/{'/'.join(segments)}/", "", ""))


def _is_no_devpi(host: str, first: str) -> bool:
    # The upload URLs of Nexus and of Google's Artifact Registry have two segments too.
    return first == "repository" or host.endswith(".pkg.dev")


def _with_slash(url: str) -> str:
    return url if url.endswith("/") else f"{url}/"
