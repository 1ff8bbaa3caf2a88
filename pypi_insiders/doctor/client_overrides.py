"""Find settings because of which pip, uv and PDM bypass the index, though its URL is set."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pypi_insiders.doctor import proxies
from pypi_insiders.doctor.client_settings import (
    ClientContext,
    Source,
    Sources,
    is_true,
    pdm_files,
    pdm_project,
    pdm_root,
    pip_options,
    uv_files,
)
from pypi_insiders.util import shell_words
from pypi_insiders.util.without_credentials import without_credentials


@dataclass(frozen=True)
class Bend:
    """A setting, and its effect."""

    message: str
    hint: str
    is_public: bool = True
    """Whether a package of the same name can come from elsewhere; otherwise none is found."""


@dataclass(frozen=True)
class ClientUse:
    """How a client uses the index."""

    place: ClientContext
    sources: Sources
    is_alone: bool
    """Whether it is the only index."""
    host: str
    """The host in its URL."""
    port: int
    is_here: bool
    """Whether that is this machine, to which no request should go by a proxy."""


_BY_LINKS = "takes the highest version from there or from the index"
_NONE = "disables all indexes"
_LATER = "ignores releases that were uploaded later"


def pip(use: ClientUse) -> Iterator[Bend]:
    """Find the settings of pip. Source: https://pip.pypa.io/en/stable/cli/pip_install/."""
    options = pip_options(use.place)

    def undo(name: str) -> str:
        return remedy(use.place, options[name].place, name)

    if links := options.get("find-links"):
        yield Bend(f"{_shown(links, 'find-links')}: {_BY_LINKS}", undo("find-links"))
    if "no-index" in options and is_true(options["no-index"].url):
        yield Bend(
            f"{_name(options['no-index'], 'no-index')}: {_NONE}", undo("no-index"), is_public=False
        )
    # The times of uploads to the index are those of its builds: a limit for public packages
    # hides each newer release of the index as well.
    if (before := options.get("uploaded-prior-to")) and not _is_future(before.url):
        what = f"{_shown(before, 'uploaded-prior-to')}: {_LATER}"
        yield Bend(what, undo("uploaded-prior-to"), is_public=False)
    if proxy := _proxy(use, proxies.pip):
        # pip has no exceptions for the proxy of its own options, unlike for `https_proxy`.
        if proxy == "PIP_PROXY":
            hint = _around_pip_proxy(use.place)
        elif proxy in use.place.environment:
            hint = env_command(use.place)
        else:
            hint = undo("proxy")
        yield Bend(_by_proxy(use, proxy), hint)


def uv(use: ClientUse) -> Iterator[Bend]:
    """Find the settings of uv. Source: https://docs.astral.sh/uv/reference/settings/."""
    yield from _uv_pip(use)
    place = use.place
    for source in _uv(place, "index-strategy", "UV_INDEX_STRATEGY"):
        # With one index every strategy takes the same.
        if source.url != "first-index" and not use.is_alone:
            what = "may take a version from another index"
            yield _of_uv(place, source, "index-strategy", what, is_public=True)
    # Those of the two tables add up, so one line each.
    for source in _links(place):
        yield _of_uv(place, source, "find-links", _BY_LINKS, is_public=True)
    yield from _uv_limits(place)
    if proxy := _proxy(use, proxies.uv):
        is_variable = proxy in place.environment
        hint = env_command(place)
        if not is_variable:
            hint = f'write `no-proxy = ["{use.host}"]` into {proxy}'
        yield Bend(_by_proxy(use, proxy), hint)


def _uv_pip(use: ClientUse) -> Iterator[Bend]:
    """Compare the index of `uv pip`, which has a table of its own, with that of all else in uv."""
    main = use.sources.main
    # A variable counts for both.
    if main and main.place in use.place.environment:
        return
    for path, options in uv_files(use.place):
        url = options.get("pip", {}).get("index-url")
        where = f"[pip] of {path}"
        if url and main and main.place == where:
            message = f"only `uv pip` reads {where}: `uv sync` and `uv tool` get public packages"
            yield Bend(message, env_command(use.place))
        elif url and main and main.url.rstrip("/") != str(url).rstrip("/"):
            shown = _shown(Source(str(url), where), "index-url")
            yield Bend(f"{shown}: `uv pip` uses that index", remedy(use.place, where, "index-url"))
        if url:
            return


def _uv_limits(place: ClientContext) -> Iterator[Bend]:
    """Find settings by which uv uses no index, or ignores new releases."""
    for key, variable in (("no-index", None), ("offline", "UV_OFFLINE")):
        for source in _uv(place, key, variable):
            if is_true(source.url):
                hint = remedy(place, source.place, key)
                yield Bend(f"{_name(source, key)}: {_NONE}", hint, is_public=False)
    for key, variable in (("exclude-newer", "UV_EXCLUDE_NEWER"), ("exclude-newer-package", None)):
        for source in _uv(place, key, variable):
            if not _is_future(source.url):
                yield _of_uv(place, source, key, _LATER, is_public=False)


def _uv(place: ClientContext, key: str, variable: str | None) -> Iterator[Source]:
    """Return the settings of a key: that of `uv pip`, which has its own table, and the other."""
    if variable and place.environment.get(variable):
        yield Source(place.environment[variable], variable)
        return
    files = list(uv_files(place))
    # In the order of the files: the first one that has the key counts.
    own = [
        Source(_text(it["pip"][key]), f"[pip] of {path}")
        for path, it in files
        if key in it.get("pip", {})
    ]
    general = [Source(_text(it[key]), str(path)) for path, it in files if key in it]
    yield from (found[0] for found in (own, general) if found)


def _of_uv(place: ClientContext, source: Source, key: str, what: str, *, is_public: bool) -> Bend:
    return Bend(f"{_shown(source, key)}: {what}", remedy(place, source.place, key), is_public)


def _links(place: ClientContext) -> Iterator[Source]:
    """Return all `find-links` of uv; the places add up."""
    if place.environment.get("UV_FIND_LINKS"):
        yield Source(place.environment["UV_FIND_LINKS"], "UV_FIND_LINKS")
    for path, options in uv_files(place):
        for table, where in ((options, str(path)), (options.get("pip", {}), f"[pip] of {path}")):
            if table.get("find-links"):
                yield Source(_text(table["find-links"]), where)


def pdm(use: ClientUse) -> Iterator[Bend]:
    """Find the settings of PDM. Source: https://pdm-project.org/latest/reference/configuration/."""
    environment = use.place.environment
    ignored: Source | None = None
    # The first file counts most, so it is read last.
    for path, options in reversed(list(pdm_files(use.place))):
        value = options.get("pypi", {}).get("ignore_stored_index")
        if value is not None:
            ignored = Source(str(value), str(path))
    if environment.get("PDM_IGNORE_STORED_INDEX"):
        ignored = Source(environment["PDM_IGNORE_STORED_INDEX"], "PDM_IGNORE_STORED_INDEX")
    project = str(pdm_root(use.place) / "pyproject.toml")
    # A source in pyproject.toml is no stored index, and is not ignored.
    is_stored = use.sources.main is not None and use.sources.main.place != project
    if ignored and is_true(ignored.url) and is_stored:
        name = "ignore_stored_index"
        hint = remedy(use.place, ignored.place, f"pypi.{name}")
        yield Bend(f"{_name(ignored, name)}: {_NONE}", hint, is_public=False)
    newer = pdm_project(use.place).get("resolution", {}).get("exclude-newer")
    if newer and not _is_future(str(newer)):
        source = Source(str(newer), project)
        hint = remedy(use.place, project, "exclude-newer")
        yield Bend(f"{_shown(source, 'exclude-newer')}: {_LATER}", hint, is_public=False)
    if proxy := _proxy(use, proxies.pdm):
        yield Bend(_by_proxy(use, proxy), env_command(use.place))


def _proxy(use: ClientUse, ask: Any) -> str | None:
    proxy: str | None = ask(use.place, use.host, use.port) if use.is_here else None
    return proxy


def _by_proxy(use: ClientUse, proxy: str) -> str:
    return f"{proxy} sends requests for {use.host} to a proxy, and not to this index"


def env_command(place: ClientContext) -> str:
    """Return the command that points all clients to the index, and excepts it from proxies."""
    fish = shell_words.is_fish(place.environment)
    return f"`{shell_words.evaluated(fish=fish)}`"


def _around_pip_proxy(place: ClientContext) -> str:
    """Return the command that sets the proxy of pip by variables that have exceptions."""
    fish = shell_words.is_fish(place.environment)
    assign = "set -gx {} $PIP_PROXY" if fish else 'export {}="$PIP_PROXY"'
    words = [assign.format(name) for name in ("http_proxy", "https_proxy")]
    words.append(shell_words.unset(("PIP_PROXY",), fish=fish))
    return f"`{'; '.join([*words, shell_words.evaluated(fish=fish)])}`"


def remedy(place: ClientContext, where: str, name: str) -> str:
    """Return how to remove a setting: a variable by a command, a line of a file by hand."""
    # No command edits the file: it belongs to another program, and may be shared or managed.
    if where in place.environment:
        fish = shell_words.is_fish(place.environment)
        return f"`{shell_words.unset((where,), fish=fish)}`"
    return f"remove `{name}` from {where}"


def _name(source: Source, key: str) -> str:
    """Return the name of a setting: a variable, or a key and its file."""
    return source.place if source.place.isidentifier() else f"{key} ({source.place})"


def _shown(source: Source, key: str) -> str:
    """Return the name of a setting and its value, without credentials."""
    value = " ".join(map(without_credentials, source.url.split()))
    if source.place.isidentifier():
        return f"{source.place}={value}"
    return f"{key} = {value} ({source.place})"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    # `exclude-newer-package = { name = "2020-01-01", other = false }`
    if isinstance(value, dict):
        return " ".join(f"{name}={it}" for name, it in value.items() if it is not False)
    return str(value)


def _is_future(when: str) -> bool:
    """Return whether a limit hides nothing: it is empty, or a time to come."""
    if not when:
        return True
    try:
        at = datetime.fromisoformat(when)
    except ValueError:
        # A span such as `7 days`, which is always in the past.
        return False
    return at.replace(tzinfo=at.tzinfo or UTC) > datetime.now(UTC)
