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

RIVALS = {
    "PIP_EXTRA_INDEX_URL": "pip takes the highest version, from there or from the index",
    UV_INDEX: "uv asks there before the index",
    "UV_EXTRA_INDEX_URL": "uv asks there before the index",
}
"""What leads to other indexes beside ours, as the only one, and how."""
NO_PROXY = ("no_proxy", "NO_PROXY")
"""What goes to no proxy, hosts between commas; both, for who reads the one may not read the other.

Source: https://about.gitlab.com/blog/we-need-to-talk-no-proxy/
"""
LOOPBACK = "127.0.0.1"

_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


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

    Where no proxy is set there are none. What is excepted already stays so.
    """
    if not any(map(environment.get, _PROXIES)):
        return {}
    excepted = next(filter(None, map(environment.get, NO_PROXY)), "")
    hosts = [host.strip() for host in excepted.split(",")]
    if LOOPBACK not in hosts and "*" not in hosts:
        excepted = f"{excepted},{LOOPBACK}" if excepted else LOOPBACK
    return dict.fromkeys(NO_PROXY, excepted)
