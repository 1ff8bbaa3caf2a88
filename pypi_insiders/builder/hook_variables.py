"""Give `build`, its installer and its hooks the environment variables that they may have."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from pypi_insiders.config.client_variables import URL

_log = logging.getLogger(__name__)

# What a build hook gets of our environment. The rest may hold credentials.
_INHERITED = ("PATH",)
_CERTIFICATES = ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE")
_PROXIES = ("all_proxy", "http_proxy", "https_proxy", "no_proxy")
# Debian and Arch, Fedora and SUSE. Where there is none, uv brings certificates of its own.
_CERTIFICATE_STORES = ("/etc/ssl/certs", "/etc/pki/tls/certs")
_ONLY_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_INDEX_VARIABLES = (*_ONLY_INDEX_VARIABLES, "UV_INDEX", "UV_EXTRA_INDEX_URL")


@contextlib.contextmanager
def build_environment(own_index: str, fallback_url: str | None = None) -> Iterator[None]:
    """Set up this process so that `build` and its installer work unattended.

    Build requirements must not come from our own index, or a package that needs itself to build
    would depend on what it built before.

    Args:
        own_index: the URL of our index up to the port, such as `http://127.0.0.1:31411`.
        fallback_url: where it leads for other names, which takes its place as the only index;
            `None` is uv's own default.
    """
    before = os.environ.copy()
    umask = os.umask(0o022)
    show = warnings.showwarning
    # Those of the build backends, which `build` repeats here: for who asks for every step.
    warnings.showwarning = lambda message, *_: _log.debug("%s", message)
    try:
        if any(Path(store).is_dir() for store in _CERTIFICATE_STORES):
            # A company's own authority is known there, and no unit has SSL_CERT_FILE set.
            os.environ.setdefault("UV_SYSTEM_CERTS", "1")
        _lead_past({own_index, os.environ.get(URL, own_index)}, fallback_url)
        yield
    finally:
        warnings.showwarning = show
        os.umask(umask)
        os.environ.clear()
        os.environ.update(before)


def _lead_past(indexes: Iterable[str], fallback_url: str | None) -> None:
    """Take these indexes out of the variables of uv, and leave all others.

    Args:
        indexes: their URLs up to the port.
        fallback_url: what takes the place of one that is to be the only one.
    """
    starts = tuple(
        f"{index.replace('//127.0.0.1:', f'//{host}:')}/"
        for index in indexes
        for host in ("127.0.0.1", "localhost", "[::1]")
    )
    for variable in _INDEX_VARIABLES:
        urls = os.environ.get(variable, "").split()
        others = [url for url in urls if not any(start in f"{url}/" for start in starts)]
        if len(others) == len(urls):
            continue
        if fallback_url and variable in _ONLY_INDEX_VARIABLES:
            others.append(fallback_url)
        os.environ[variable] = " ".join(others)
        if not others:
            del os.environ[variable]


def inherited(*, network: bool) -> dict[str, str]:
    """Return what a build hook gets of our environment.

    Args:
        network: whether it may use the network: then proxies, in both spellings, that need no
            password, and where certificates are.
    """
    names = [*_INHERITED]
    if network:
        proxies = (*_PROXIES, *map(str.upper, _PROXIES))
        names += [name for name in proxies if "@" not in os.environ.get(name, "@")]
        names += _CERTIFICATES
    return {name: os.environ[name] for name in names if name in os.environ}
