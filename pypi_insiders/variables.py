"""Name the variables that lead pip, uv and PDM to an index."""

from collections.abc import Mapping

INDEX = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PDM_PYPI_URL")
"""Where pip, uv and PDM look for the index."""
UV_INDEX = "UV_INDEX"
"""Where uv looks before it asks its default index."""
TRUSTED_HOST = "PIP_TRUSTED_HOST"
"""What lets pip use http with another host than this machine."""
URL = "PYPI_INSIDERS_URL"
"""Where the index is that serves one command, up to the port; updates among it do not use it."""

_LOOPBACK = "127.0.0.1"
_PROXIES = ("http_proxy", "all_proxy")
_NO_PROXY = "no_proxy"


def leading_to(url: str, *, for_uv: bool = False, is_loopback: bool = True) -> dict[str, str]:
    """Tell which variables lead to an index, and their values.

    Args:
        url: of the index, up to the port.
        for_uv: only uv, and only for what the index holds.
        is_loopback: pip trusts http with this machine only, unless it is told.

    Source: https://pip.pypa.io/en/stable/topics/configuration/,
    https://docs.astral.sh/uv/reference/environment/, https://pdm-project.org/latest/reference/configuration/
    """
    if for_uv:
        return {UV_INDEX: f"{url}/insiders/simple/"}
    values = dict.fromkeys(INDEX, f"{url}/simple/")
    if not is_loopback:
        values[TRUSTED_HOST] = url.partition("//")[2]
    return values


def past_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Tell which variables keep requests to this machine from going to a proxy.

    Where no proxy is set there are none. What is excepted already stays so. Both spellings are
    given, for who reads the one does not always read the other.

    Source: https://about.gitlab.com/blog/we-need-to-talk-no-proxy/, curl(1), "ENVIRONMENT".
    """
    if not any(environment.get(name) or environment.get(name.upper()) for name in _PROXIES):
        return {}
    excepted = environment.get(_NO_PROXY) or environment.get(_NO_PROXY.upper()) or ""
    hosts = [host.strip() for host in excepted.split(",")]
    if _LOOPBACK not in hosts and "*" not in hosts:
        excepted = ",".join([excepted, _LOOPBACK] if excepted else [_LOOPBACK])
    return dict.fromkeys((_NO_PROXY, _NO_PROXY.upper()), excepted)
