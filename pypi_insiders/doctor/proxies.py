"""Return by which proxy pip, uv and PDM would reach the index, by the rules of each."""

import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Any

from pypi_insiders.doctor.client_settings import ClientContext, is_true, pip_options, uv_files

Environment = Mapping[str, str]


def pip(place: ClientContext, host: str, port: int) -> str | None:
    """Return the variable or the file with the proxy that pip uses; `None`: none.

    Source: pip's `IndexGroupCommand`; `requests.utils.should_bypass_proxies`.
    """
    options = pip_options(place)
    if own := options.get("proxy"):
        # pip sets it for all requests itself, so no_proxy does not count.
        return own.place
    environment = place.environment
    if "no-proxy-env" in options and is_true(options["no-proxy-env"].url):
        return None
    excepted = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    words = [word for word in excepted.replace(" ", "").split(",") if word]
    if any(_is_address(host, word, with_networks=":" not in host) for word in words):
        return None
    # requests knows networks and addresses of IPv4 only, and compares all others as names.
    is_name = _address(host) is None or ":" in host
    if is_name and any(it.endswith(word) for word in words for it in (host, f"{host}:{port}")):
        return None
    return _of_python(environment, lambda no: bool(urllib.request.proxy_bypass(host, no)))


def pdm(place: ClientContext, host: str, port: int) -> str | None:
    """Return the variable with the proxy that PDM uses; `None`: none.

    Source: httpx's `get_environment_proxies` and `URLPattern`.
    """

    def is_excepted(proxies: dict[str, str]) -> bool:
        words = [word.strip() for word in proxies["no"].split(",") if word.strip()]
        return "*" in words or any(
            word in (host, f"{host}:{port}") or _is_below(host, word) for word in words
        )

    return _of_python(place.environment, is_excepted)


def uv(place: ClientContext, host: str, _port: int) -> str | None:
    """Return the variable or the file with the proxy that uv uses; `None`: none.

    Source: https://docs.astral.sh/uv/reference/settings/#http-proxy; hyper-util's `Matcher`.
    """
    files = list(uv_files(place))
    for path, options in files:
        # Then the variables do not count, and neither does NO_PROXY.
        if options.get("http-proxy"):
            words = next((_listed(it["no-proxy"]) for _, it in files if "no-proxy" in it), [])
            return None if _uv_excepts(host, words) else str(path)
    environment = place.environment
    # In a CGI script a header `Proxy:` of a request would set HTTP_PROXY ("httpoxy").
    if "REQUEST_METHOD" in environment:
        return None
    proxy = _first(environment, "HTTP_PROXY", "http_proxy") or _first(
        environment, "ALL_PROXY", "all_proxy"
    )
    no_proxy = _first(environment, "NO_PROXY", "no_proxy")
    words = environment[no_proxy].split(",") if no_proxy else []
    return None if _uv_excepts(host, words) else proxy


def _listed(value: Any) -> list[str]:
    return [str(it) for it in value] if isinstance(value, list) else str(value).split(",")


def _first(environment: Environment, *names: str) -> str | None:
    """Return the first variable that is set; `None` if that is empty."""
    # The order of the names differs: uv prefers upper case, Python lower case.
    found = next((name for name in names if name in environment), None)
    return found if found and environment[found] else None


def _uv_excepts(host: str, words: list[str]) -> bool:
    words = [word.strip() for word in words]
    if _address(host) is not None:  # of which `*` excepts none
        return any(_is_address(host, word, with_networks=True) for word in words)
    return "*" in words or any(host == word or _is_below(host, word) for word in words)


def _of_python(
    environment: Environment, is_excepted: Callable[[dict[str, str]], bool]
) -> str | None:
    """Return the variable that counts for Python.

    Source: `urllib.request.getproxies_environment`.
    """
    no_proxy = _lower_first(environment, "no_proxy")
    if no_proxy and is_excepted({"no": environment[no_proxy]}):
        return None
    # The index is called by http, so `https_proxy` does not count.
    return _lower_first(environment, "http_proxy") or _lower_first(environment, "all_proxy")


def _lower_first(environment: Environment, name: str) -> str | None:
    upper = name.upper()
    # An empty variable in lower case hides the one in upper case.
    if name in environment:
        return name if environment[name] else None
    if upper == "HTTP_PROXY" and "REQUEST_METHOD" in environment:
        return None
    return upper if environment.get(upper) else None


def _is_below(host: str, word: str) -> bool:
    return host.endswith(f".{word.removeprefix('.')}")


def _is_address(host: str, word: str, *, with_networks: bool) -> bool:
    """Return whether a word of `no_proxy` is an address, or a network with it."""
    with suppress(ValueError):
        if with_networks and "/" in word:
            return ip_address(host) in ip_network(word, strict=False)
        return ip_address(host) == ip_address(word)
    return False


def _address(host: str) -> object | None:
    with suppress(ValueError):
        return ip_address(host)
    return None
