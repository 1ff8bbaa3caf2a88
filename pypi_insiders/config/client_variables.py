"""Name the variables that point pip, uv and PDM to an index, and unset them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from pypi_insiders.config import addresses

INDEX = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PDM_PYPI_URL")
"""Where pip, uv and PDM look for the index."""
UV_INDEX = "UV_INDEX"
"""Where uv looks before it asks its default index."""
TRUSTED_HOST = "PIP_TRUSTED_HOST"
"""What lets pip use http with another host than this machine."""
URL = "PYPI_INSIDERS_URL"
"""Where the index is that serves one command, up to the port; updates among it do not use it."""

_TAKES_HIGHEST = "takes the highest version, from there or from the index"
_NO_LATER = "takes no release that the index got later"
_OFF = ("0", "false", "no", "off", "f", "n")
RIVALS = {
    "PIP_EXTRA_INDEX_URL": f"pip {_TAKES_HIGHEST}",
    "PIP_FIND_LINKS": f"pip {_TAKES_HIGHEST}",
    "PIP_NO_INDEX": "pip asks no index",
    "PIP_PROXY": "pip asks it instead of the index, whatever no_proxy says",
    "PIP_UPLOADED_PRIOR_TO": f"pip {_NO_LATER}",
    UV_INDEX: "uv asks there before the index",
    "UV_EXTRA_INDEX_URL": "uv asks there before the index",
    "UV_FIND_LINKS": f"uv {_TAKES_HIGHEST}",
    "UV_OFFLINE": "uv asks no index",
    "UV_EXCLUDE_NEWER": f"uv {_NO_LATER}",
    "UV_INDEX_STRATEGY": "uv may take another version than that of the first index",
}
"""What brings other packages than those of the index, or none, and how."""


def rivals(environment: Mapping[str, str], *, for_uv: bool) -> dict[str, str]:
    """Pick which variables keep clients from taking what the index has, and how.

    Args:
        environment: that of the clients.
        for_uv: whether only uv is led to the index, beside its usual one.
    """
    has_others = for_uv or environment.get(UV_INDEX) or environment.get("UV_EXTRA_INDEX_URL")
    harmless = {"UV_INDEX_STRATEGY": ("first-index",) if has_others else _STRATEGIES}
    return {
        name: what
        for name, what in RIVALS.items()
        if (value := environment.get(name))
        and value.lower() not in harmless.get(name, _OFF)
        and not (for_uv and (name == UV_INDEX or name.startswith("PIP_")))
    }


_STRATEGIES = ("first-index", "unsafe-first-match", "unsafe-best-match")


NO_PROXY = ("no_proxy", "NO_PROXY")
"""What goes to no proxy, hosts between commas; both, for who reads the one may not read the other.

Source: https://about.gitlab.com/blog/we-need-to-talk-no-proxy/
"""
LOOPBACK = "127.0.0.1"
MEMORY = "PYPI_INSIDERS_ENV"
"""What `env` has set, and what was there before, so that `env --unset` takes back just that."""

_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
_LISTS = {UV_INDEX: " ", TRUSTED_HOST: " ", **dict.fromkeys(NO_PROXY, ",")}
"""Variables of several words, and what stands between these: those of the user are kept."""


def leading_to(url: str, *, for_uv: bool = False) -> dict[str, str]:
    """Return the variables that point clients to an index, and their values.

    Args:
        url: of the index, up to the port.
        for_uv: only uv, and only for what the index holds.

    Source: https://pip.pypa.io/en/stable/topics/configuration/,
    https://docs.astral.sh/uv/reference/environment/, https://pdm-project.org/latest/reference/configuration/
    """
    if for_uv:
        return {UV_INDEX: f"{url}/insiders/simple/"}
    values = dict.fromkeys(INDEX, f"{url}/simple/")
    # Without this variable, pip trusts http with this machine only.
    if not addresses.is_loopback(urlsplit(url).hostname or ""):
        values[TRUSTED_HOST] = url.partition("//")[2]
    return values


def past_proxies(environment: Mapping[str, str], host: str = LOOPBACK) -> dict[str, str]:
    """Return the variables that keep requests to this machine from going to a proxy.

    Where no proxy is set there are none. What is excepted already stays so.

    Args:
        environment: that of the clients.
        host: the one in the URL of the index.
    """
    if not any(map(environment.get, _PROXIES)):
        return {}
    lower, upper = NO_PROXY
    excepted = {
        lower: environment.get(lower) or environment.get(upper) or "",
        upper: environment.get(upper) or environment.get(lower) or "",
    }
    with_host = {
        name: hosts if host in _words(hosts, ",") else _joined((hosts, host), ",")
        for name, hosts in excepted.items()
    }
    if is_everything(excepted[lower]):
        with_host[lower] = excepted[lower]
    return with_host


def is_everything(excepted: str) -> bool:
    """Check whether `no_proxy` excepts all hosts: then it has to be left alone.

    pip understands `*` only by itself, and reads `no_proxy` first; to uv, which reads `NO_PROXY`
    first, `*` is all names, but no IP addresses.
    """
    return excepted.strip() == "*"


def beside_own(
    values: Mapping[str, str], environment: Mapping[str, str], ours: Collection[str]
) -> dict[str, str]:
    """Put the words that the user has in variables of several words behind those of the index.

    Args:
        values: what leads to the index.
        environment: what is set now.
        ours: URLs of the index, up to the port; words that lead there are not the user's.
    """
    changes = remembered(environment)
    return {
        name: _joined(
            (value, _without(name, environment.get(name, ""), changes.get(name), ours) or ""), " "
        )
        if name in _LISTS
        else value
        for name, value in values.items()
    }


def _is_ours(word: str, ours: Collection[str]) -> bool:
    """Check whether a word of a variable leads to the index: a URL, or `HOST:PORT`."""
    named, equals, url = word.partition("=")
    word = url if equals and "/" not in named else word
    return word.rstrip("/") in {
        form
        for url in ours
        for form in (url, f"{url}/simple", f"{url}/insiders/simple", url.partition("//")[2])
    }


@dataclass(frozen=True)
class EnvChange:
    """What `env` did to a variable."""

    value: str
    before: str | None = None
    """`None`: it was not set."""


def remembered(environment: Mapping[str, str]) -> dict[str, EnvChange]:
    """Read what `env` has set in a shell; nothing if that cannot be made out."""
    try:
        found = parse_qs(environment.get(MEMORY, ""), keep_blank_values=True)
    except ValueError:  # too many fields: not ours
        return {}
    return {
        name: EnvChange(values[0], values[1] if len(values) > 1 else None)
        for name, values in found.items()
        if name in (*INDEX, *_LISTS)
    }


def remember(values: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """Write what `env` sets and what was set before, as one word without quotes.

    What an earlier `env` set, and is still so, is not what the user had before.
    """
    changes = remembered(environment)
    for name, value in values.items():
        earlier, now = changes.get(name), environment.get(name)
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


def taken_back(environment: Mapping[str, str], ours: Collection[str]) -> dict[str, str | None]:
    """Return what becomes of the variables when all that `env` set is unset.

    Args:
        environment: what is set now.
        ours: URLs of the index, up to the port: what leads there is ours, also if another program
            has set it, as at a login.

    Returns:
        Only what changes: the value, or `None` to unset.
    """
    changes = remembered(environment)
    result: dict[str, str | None] = {}
    for name in (*INDEX, *_LISTS):
        now = environment.get(name)
        if now is None:
            continue
        change = changes.get(name)
        if change and change.value == now:
            after = change.before
        elif name in _LISTS:
            after = _without(name, now, change, ours)
        else:
            after = None if _is_ours(now, ours) else now
        if after != now:
            result[name] = after
    if MEMORY in environment:
        result[MEMORY] = None
    return result


def _without(name: str, now: str, change: EnvChange | None, ours: Collection[str]) -> str | None:
    """Take our words out of a list that was changed since, and keep those of the user."""
    between = _LISTS[name]
    words = _words(now, between)
    if change:
        own = _words(change.before or "", between)
        for word in _words(change.value, between):
            if word not in own and word in words:
                words.reverse()  # the last one is ours
                words.remove(word)
                words.reverse()
    if name not in NO_PROXY:  # where an address alone does not tell whose it is
        words = [word for word in words if not _is_ours(word, ours)]
    if words == _words(now, between):
        return now
    return between.join(words) or None


def _words(value: str, between: str) -> list[str]:
    words = value.split() if between == " " else value.split(between)
    return [word.strip() for word in words if word.strip()]


def _joined(words: Collection[str], between: str) -> str:
    return between.join(filter(None, words))
