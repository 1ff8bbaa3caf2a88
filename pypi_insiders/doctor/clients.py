"""Look whether pip, uv and PDM use the index when they are called from here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from pypi_insiders.config import ServerSettings
from pypi_insiders.doctor import client_settings, services
from pypi_insiders.doctor.client_settings import Place, Source, Sources
from pypi_insiders.doctor.finding import Finding, ok, together, warning
from pypi_insiders.errors import InsidersError
from pypi_insiders.urls import without_credentials

_REMEDY = '`eval "$(pypi-insiders env)"`'
_FULL, _ONLY_OWN = "/simple", "/insiders/simple"


@dataclass(frozen=True)
class Index:
    """By which URLs clients call the index."""

    settings: ServerSettings
    port: int

    def is_at(self, url: str) -> bool:
        """Tell whether a URL is one of the index."""
        parts = _split(url)
        host = parts.hostname or ""
        if host in self.settings.names:  # perhaps behind a proxy with a port of its own
            return True
        return _port(parts) == self.port and (is_loopback(url) or host == self.settings.host)


def is_loopback(url: str) -> bool:
    """Tell whether a URL leads to this machine, whoever reads it."""
    host = _split(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None


def look(place: Place, index: Index) -> Iterator[Finding]:
    """Look at each client."""
    clients: tuple[tuple[str, Callable[[Place], Sources], Callable[..., Finding]], ...] = (
        ("pip", client_settings.pip, _merging),
        ("uv", client_settings.uv, _in_order),
        ("PDM", client_settings.pdm, _merging),
    )
    for name, read, judge in clients:
        try:
            yield judge(name, read(place), index)
        except InsidersError as error:
            yield warning(name, error.message, error.hint)
        except (AttributeError, TypeError) as error:  # of a file with something else in it
            yield warning(name, f"its settings cannot be made out ({error})", None)


def _merging(name: str, sources: Sources, index: Index) -> Finding:
    """Judge a client that takes the highest version of any of its indexes."""
    ours = [it for it in (sources.main, *sources.others) if it and index.is_at(it.url)]
    if not ours:
        return _unused(name, sources, index)
    if sources.main not in ours:
        return warning(
            name,
            f"takes the highest version, be it of {_names(ours)} or of its main index",
            f"the index alone: {_REMEDY}, and nothing beside it",
        )
    if trouble := _wrong_page(name, ours[0], _FULL):
        return trouble
    if others := [it for it in sources.others if it not in ours]:
        return warning(
            name,
            f"uses the index, and takes a higher version from {_names(others)}",
            f"take it out of {together(sorted({it.place for it in others}))}",
        )
    return ok(name, f"uses the index ({ours[0].place})")


def _in_order(name: str, sources: Sources, index: Index) -> Finding:
    """Judge a client that takes a name from the first index that knows it."""
    order = [*sources.others, *((sources.main,) if sources.main else ())]
    at = next((number for number, it in enumerate(order) if index.is_at(it.url)), None)
    if at is None:
        return _unused(name, sources, index)
    ours = order[at]
    is_main = ours == sources.main
    if trouble := _wrong_page(name, ours, *((_FULL,) if is_main else (_FULL, _ONLY_OWN))):
        return trouble
    if at:
        return warning(
            name,
            f"asks {_names(order[:at])} before the index, and takes from there what is known there",
            f"take it out of {together(sorted({it.place for it in order[:at]}))}",
        )
    return ok(name, f"{'uses the index' if is_main else 'asks the index first'} ({ours.place})")


def _wrong_page(name: str, source: Source, *right: str) -> Finding | None:
    path = _split(source.url).path.rstrip("/")
    if path in right:
        return None
    what = "only has what it holds itself" if path == _ONLY_OWN else "is no address of packages"
    return warning(name, f"{_names([source])} {what}", _REMEDY)


def _unused(name: str, sources: Sources, index: Index) -> Finding:
    """Tell of a client that does not use the index, as it may, or not for everything."""
    if single := [it for it in sources.single if index.is_at(it.url)]:
        return ok(name, f"uses the index for single packages ({single[0].place})")
    for source in (sources.main, *sources.others):
        if source and is_loopback(source.url) and _split(source.url).scheme == "http":
            parts = _split(source.url)
            if not services.health(f"http://{parts.netloc.rpartition('@')[2]}").is_well:
                return warning(name, f"no index is where {_names([source])} points", _REMEDY)
            return ok(name, f"uses another index of this machine, {_names([source])}")
    if sources.main is None:
        return ok(name, "does not use the index: nothing here leads to it", _REMEDY)
    return ok(name, f"does not use the index, but {_names([sources.main])}", _REMEDY)


def _names(sources: list[Source]) -> str:
    return together([f"{without_credentials(it.url)} ({it.place})" for it in sources])
