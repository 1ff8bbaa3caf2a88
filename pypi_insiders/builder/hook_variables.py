"""Environment variables for `build`, its installer and its hooks."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from pypi_insiders.config.client_variables import URL
from pypi_insiders.config.credential_files import refusal

_log = logging.getLogger(__name__)

# The variables that a build hook inherits. All others may contain credentials.
_INHERITED = ("PATH",)
# Of OpenSSL, curl, requests, pip, Git, cargo and Node. Source: their manuals.
_CERTIFICATES = (
    "CARGO_HTTP_CAINFO", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "PIP_CERT",
    "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE",
)  # fmt: skip
_PROXIES = ("all_proxy", "http_proxy", "https_proxy", "no_proxy")
# Debian and Arch, Fedora and SUSE. Without a system store uv uses its bundled certificates.
_CERTIFICATE_STORES = ("/etc/ssl/certs", "/etc/pki/tls/certs")
_ONLY_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
INDEX_VARIABLES = (*_ONLY_INDEX_VARIABLES, "UV_INDEX", "UV_EXTRA_INDEX_URL")


@contextlib.contextmanager
def build_environment(own_index: str, fallback_url: str | None = None) -> Iterator[None]:
    """Prepare the environment of this process for `build` and uv.

    Args:
        own_index: URL of our index up to the port, such as `http://127.0.0.1:31411`.
        fallback_url: the index to use instead of ours; `None`: uv's default.
    """
    # In os.environ, which uv inherits; once for all builds, before their threads start.
    before = os.environ.copy()
    # Reproducible file modes in archives, whatever the user's umask is.
    umask = os.umask(0o022)
    show = warnings.showwarning
    # `build` repeats the warnings of build backends.
    warnings.showwarning = lambda message, *_: _log.debug("%s", message)
    try:
        # The system's store may have a company's own authority, and units lack SSL_CERT_FILE.
        if any(Path(store).is_dir() for store in _CERTIFICATE_STORES):
            os.environ.setdefault("UV_SYSTEM_CERTS", "1")
        # A project that needs itself to build would otherwise depend on its own last release.
        _remove_indexes({own_index, os.environ.get(URL, own_index)}, fallback_url)
        yield
    finally:
        warnings.showwarning = show
        os.umask(umask)
        os.environ.clear()
        os.environ.update(before)


def _remove_indexes(indexes: Iterable[str], fallback_url: str | None) -> None:
    """Remove indexes from the variables of uv; keep all others.

    Args:
        indexes: URLs up to the port.
        fallback_url: replaces an index that is the default index.
    """
    # By each name of the loopback, as clients may have any of them.
    starts = tuple(
        f"{index.replace('//127.0.0.1:', f'//{host}:')}/"
        for index in indexes
        for host in ("127.0.0.1", "localhost", "[::1]")
    )
    for variable in INDEX_VARIABLES:
        urls = os.environ.get(variable, "").split()
        # `in`, as uv allows a name before a URL: `NAME=URL`.
        others = [url for url in urls if not any(start in f"{url}/" for start in starts)]
        if len(others) == len(urls):
            continue
        if fallback_url and variable in _ONLY_INDEX_VARIABLES:
            others.append(fallback_url)
        os.environ[variable] = " ".join(others)
        if not others:
            del os.environ[variable]


def inherited(*, network: bool) -> dict[str, str]:
    """Return the variables of our environment that build hooks inherit.

    Args:
        network: whether hooks may use the network; then proxies and certificates are included.
    """
    names = [*_INHERITED]
    if network:
        # Not a proxy with a password: hooks are foreign code. The gateway adds it for them.
        proxies = (*_PROXIES, *map(str.upper, _PROXIES))
        names += [name for name in proxies if "@" not in os.environ.get(name, "@")]
        names += _CERTIFICATES
    return {name: os.environ[name] for name in names if name in os.environ}


def certificates(*, network: bool) -> list[Path]:
    """Return the existing files and directories that inherited variables of certificates name."""
    values = [os.environ.get(name, "") for name in _CERTIFICATES if network]
    found = [Path(part) for value in values for part in value.split(":") if part.startswith("/")]
    return [path for path in found if path.exists() and refusal(path) is None]
