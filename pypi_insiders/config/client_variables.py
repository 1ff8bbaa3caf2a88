"""Compute the environment variables that point pip, uv and PDM to the index, and unset them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from pypi_insiders.config import addresses

INDEX = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PDM_PYPI_URL")
"""The main index of pip, uv and PDM."""
UV_INDEX = "UV_INDEX"
"""Indexes that uv asks before its default index."""
TRUSTED_HOST = "PIP_TRUSTED_HOST"
"""Hosts other than this machine with which pip may use http."""
URL = "PYPI_INSIDERS_URL"
"""The URL, up to the port, of the index that `exec` starts for its command.

Builds of an update that the command runs must not use that index.
"""

_TAKES_HIGHEST = "takes the highest version, from there or from the index"
_NO_LATER = "ignores releases that were added to the index later"
# The values that pip and uv accept for false.
_OFF = ("0", "false", "no", "off", "f", "n")
# Tried with the real clients: each of these brought a package from elsewhere, or none, although the
# index variables were right.
RIVALS = {
    "PIP_EXTRA_INDEX_URL": f"pip {_TAKES_HIGHEST}",
    "PIP_FIND_LINKS": f"pip {_TAKES_HIGHEST}",
    "PIP_NO_INDEX": "pip uses no index",
    "PIP_PROXY": "pip uses that proxy instead of the index, despite no_proxy",
    "PIP_UPLOADED_PRIOR_TO": f"pip {_NO_LATER}",
    UV_INDEX: "uv asks it before the index",
    "UV_EXTRA_INDEX_URL": "uv asks it before the index",
    "UV_FIND_LINKS": f"uv {_TAKES_HIGHEST}",
    "UV_OFFLINE": "uv uses no index",
    "UV_EXCLUDE_NEWER": f"uv {_NO_LATER}",
    "UV_INDEX_STRATEGY": "uv may take a version from another index than the first",
}
"""Variables that override the index, and their effect."""


def rivals(environment: Mapping[str, str], *, for_uv: bool) -> dict[str, str]:
    """Return the variables that keep clients from using the index, with their effect.

    Args:
        environment: the environment of the clients.
        for_uv: whether the index is only an additional index of uv.
    """
    has_others = for_uv or environment.get(UV_INDEX) or environment.get("UV_EXTRA_INDEX_URL")
    # With a single index all strategies give the same result.
    harmless = {"UV_INDEX_STRATEGY": ("first-index",) if has_others else _STRATEGIES}
    return {
        name: what
        for name, what in RIVALS.items()
        if (value := environment.get(name))
        and value.lower() not in harmless.get(name, _OFF)
        # There `env --uv-index` itself sets UV_INDEX, and pip does not use the index at all.
        and not (for_uv and (name == UV_INDEX or name.startswith("PIP_")))
    }


_STRATEGIES = ("first-index", "unsafe-first-match", "unsafe-best-match")


NO_PROXY = ("no_proxy", "NO_PROXY")
"""Hosts that are not reached through a proxy, separated by commas.

Both spellings, because no client reads both. Source:
https://about.gitlab.com/blog/we-need-to-talk-no-proxy/
"""
LOOPBACK = "127.0.0.1"
MEMORY = "PYPI_INSIDERS_ENV"
"""The variables that `env` has set and their values before, for `env --unset`."""

_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
_LISTS = {UV_INDEX: " ", TRUSTED_HOST: " ", **dict.fromkeys(NO_PROXY, ",")}
"""Variables that are lists, with their separators; the user's items are kept."""


def leading_to(url: str, *, for_uv: bool = False) -> dict[str, str]:
    """Return the variables that point clients to the index, with their values.

    Args:
        url: URL of the index, up to the port.
        for_uv: only for uv, and only for the projects that the index serves itself.

    Source: https://pip.pypa.io/en/stable/topics/configuration/,
    https://docs.astral.sh/uv/reference/environment/, https://pdm-project.org/latest/reference/configuration/
    """
    # This endpoint answers 404 and does not redirect, so uv.lock records the local URL only for
    # projects of the index, and PyPI's for all others.
    if for_uv:
        return {UV_INDEX: f"{url}/insiders/simple/"}
    values = dict.fromkeys(INDEX, f"{url}/simple/")
    # pip uses http only with this machine and with hosts in this variable.
    if not addresses.is_loopback(urlsplit(url).hostname or ""):
        values[TRUSTED_HOST] = url.partition("//")[2]
    return values


def past_proxies(environment: Mapping[str, str], host: str = LOOPBACK) -> dict[str, str]:
    """Return the `no_proxy` variables that keep requests to the index off a proxy.

    They are empty if no proxy is set. Hosts that are in them already stay.

    Args:
        environment: the environment of the clients.
        host: the host in the URL of the index.
    """
    if not any(map(environment.get, _PROXIES)):
        return {}
    lower, upper = NO_PROXY
    excepted = {
        # A client reads the one it prefers and then ignores the other, so a new variable starts
        # with the hosts of the old one.
        lower: environment.get(lower) or environment.get(upper) or "",
        upper: environment.get(upper) or environment.get(lower) or "",
    }
    with_host = {
        name: hosts if host in _words(hosts, ",") else _joined((hosts, host), ",")
        for name, hosts in excepted.items()
    }
    # pip reads the lower-case one first, and knows `*` only alone: with a host appended, every
    # request would go to the proxy again.
    if is_everything(excepted[lower]):
        with_host[lower] = excepted[lower]
    return with_host


def is_everything(excepted: str) -> bool:
    """Return whether `no_proxy` excepts all hosts."""
    # For pip. For uv, which reads `NO_PROXY` first, `*` means all names and no IP addresses.
    return excepted.strip() == "*"


def beside_own(
    values: Mapping[str, str], environment: Mapping[str, str], own_urls: Collection[str]
) -> dict[str, str]:
    """Append the user's items of list variables to those that point to the index.

    Args:
        values: the variables that point to the index.
        environment: the current environment.
        own_urls: URLs of the index, up to the port; items with them are not the user's.
    """
    # The index comes first: uv takes a project from the first index that knows it.
    changes = remembered(environment)
    return {
        name: _joined(
            (value, _without(name, environment.get(name, ""), changes.get(name), own_urls) or ""),
            " ",
        )
        if name in _LISTS
        else value
        for name, value in values.items()
    }


def _is_ours(word: str, own_urls: Collection[str]) -> bool:
    """Return whether an item of a variable is a URL or `HOST:PORT` of the index."""
    # uv allows a name before an index's URL: `NAME=URL`.
    named, equals, url = word.partition("=")
    word = url if equals and "/" not in named else word
    return word.rstrip("/") in {
        form
        for url in own_urls
        for form in (url, f"{url}/simple", f"{url}/insiders/simple", url.partition("//")[2])
    }


@dataclass(frozen=True)
class EnvChange:
    """A variable that `env` has changed."""

    value: str
    before: str | None = None
    """`None`: it was unset."""


def remembered(environment: Mapping[str, str]) -> dict[str, EnvChange]:
    """Read the changes that `env` has made in a shell; empty if the record is damaged."""
    try:
        found = parse_qs(environment.get(MEMORY, ""), keep_blank_values=True)
    except ValueError:  # too many fields
        return {}
    return {
        name: EnvChange(values[0], values[1] if len(values) > 1 else None)
        for name, values in found.items()
        # Only variables that `env` sets, whatever the record contains.
        if name in (*INDEX, *_LISTS)
    }


def remember(values: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """Return the record of what `env` sets and what was set before.

    It is a word that needs no quotes in any shell.
    """
    changes = remembered(environment)
    for name, value in values.items():
        earlier, now = changes.get(name), environment.get(name)
        # If `env` runs twice, the value of the first run is not the user's.
        if earlier and now is not None:
            if earlier.value == now:
                now = earlier.before
            elif name in _LISTS:
                now = _without(name, now, earlier, ())
        changes[name] = EnvChange(value, now)
    fields = {
        name: [it.value] if it.before is None else [it.value, it.before]
        for name, it in changes.items()
    }
    return urlencode(fields, doseq=True)


def taken_back(environment: Mapping[str, str], own_urls: Collection[str]) -> dict[str, str | None]:
    """Return the variables that undo `env`.

    Args:
        environment: the current environment.
        own_urls: URLs of the index, up to the port. Values with them are removed, also if they come
            from elsewhere, such as from environment.d at login.

    Returns:
        The variables that change: the new value, or `None` to unset.
    """
    changes = remembered(environment)
    result: dict[str, str | None] = {}
    for name in (*INDEX, *_LISTS):
        now = environment.get(name)
        if now is None:
            continue
        change = changes.get(name)
        # What the user has changed since is not taken back.
        if change and change.value == now:
            after = change.before
        elif name in _LISTS:
            after = _without(name, now, change, own_urls)
        else:
            after = None if _is_ours(now, own_urls) else now
        if after != now:
            result[name] = after
    if MEMORY in environment:
        result[MEMORY] = None
    return result


def _without(
    name: str, now: str, change: EnvChange | None, own_urls: Collection[str]
) -> str | None:
    """Remove the items that `env` added to a list, also if it was changed since."""
    between = _LISTS[name]
    words = _words(now, between)
    if change:
        own = _words(change.before or "", between)
        for word in _words(change.value, between):
            if word not in own and word in words:
                # `list.remove` removes the first of equal items, and `env` added the last.
                words.reverse()
                words.remove(word)
                words.reverse()
    # In no_proxy 127.0.0.1 may well be the user's.
    if name not in NO_PROXY:
        words = [word for word in words if not _is_ours(word, own_urls)]
    if words == _words(now, between):
        return now
    return between.join(words) or None


def _words(value: str, between: str) -> list[str]:
    words = value.split() if between == " " else value.split(between)
    return [word.strip() for word in words if word.strip()]


def _joined(words: Collection[str], between: str) -> str:
    return between.join(filter(None, words))
