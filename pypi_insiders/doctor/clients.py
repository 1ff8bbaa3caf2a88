"""Check whether pip, uv and PDM use the index when they are run from this shell."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from pypi_insiders.config import addresses
from pypi_insiders.config.settings import ServerSettings
from pypi_insiders.doctor import client_overrides, client_settings, listeners
from pypi_insiders.doctor.client_overrides import Bend, ClientUse
from pypi_insiders.doctor.client_settings import ClientContext, Source, Sources
from pypi_insiders.doctor.finding import Finding, ok, problem, together, warning
from pypi_insiders.reporting import index_check
from pypi_insiders.util import shell_words
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.without_credentials import without_credentials

_FULL, _ONLY_OWN = "/simple", "/insiders/simple"


@dataclass(frozen=True)
class Index:
    """The index, as the URLs of clients name it."""

    settings: ServerSettings
    port: int

    def is_at(self, url: str) -> bool:
        """Return whether a URL is one of the index."""
        parts = _split(url)
        host = parts.hostname or ""
        # By the name alone: a reverse proxy in front of it has a port of its own.
        if host in self.settings.names:
            return True
        return _port(parts) == self.port and self.is_here(host)

    def is_here(self, host: str) -> bool:
        """Return whether a host is this machine, or the address that is set for the index."""
        return addresses.is_loopback(host) or host == self.settings.host


def _split(url: str) -> SplitResult:
    # Of what a user wrote: `http://[` raises, and is simply not the URL of the index.
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None


@dataclass(frozen=True)
class _Client:
    name: str
    read: Callable[[ClientContext], Sources]
    judge: "Callable[[_Setup], Finding]"
    bends: Callable[[ClientUse], Iterator[Bend]]


@dataclass(frozen=True)
class _Setup:
    """What the checks of one client are given."""

    name: str
    sources: Sources
    index: Index
    place: ClientContext

    @property
    def remedy(self) -> str:
        """The command that points all clients to the index."""
        return client_overrides.env_command(self.place)

    @property
    def others(self) -> list[Source]:
        """The indexes beside this one that are set."""
        everything = (self.sources.main, *self.sources.others)
        return [it for it in everything if it and not self.index.is_at(it.url)]

    @property
    def ours(self) -> Source | None:
        """The first source that is the index."""
        everything = (*self.sources.others, self.sources.main)
        return next((it for it in everything if it and self.index.is_at(it.url)), None)

    def without(self, sources: list[Source], *, lead: bool = False) -> str:
        """Return how to remove sources, and how to set the index again if it goes with them."""
        places = sorted({it.place for it in sources})
        variables = [it for it in places if it in self.place.environment]
        files = [it for it in places if it not in variables]
        fish = shell_words.is_fish(self.place.environment)
        commands = [shell_words.unset(variables, fish=fish)] if variables else []
        # One variable can have both: `UV_INDEX="OURS THEIRS"`.
        is_lost = self.ours is not None and self.ours.place in variables
        commands += [shell_words.evaluated(fish=fish)] if lead or is_lost else []
        words = [f"remove it from {together(files)}"] if files else []
        return together([*words, *([f"`{'; '.join(commands)}`"] if commands else [])])


def look(place: ClientContext, index: Index) -> Iterator[Finding]:
    """Check each client."""
    clients = (
        _Client("pip", client_settings.pip, _merging, client_overrides.pip),
        _Client("uv", client_settings.uv, _in_order, client_overrides.uv),
        _Client("PDM", client_settings.pdm, _merging, client_overrides.pdm),
    )
    uses: dict[str, bool] = {}
    for client in clients:
        try:
            found = _Setup(client.name, client.read(place), index, place)
            yield client.judge(found)
            uses[client.name] = found.ours is not None
            yield from _bends(client, found)
        except InsidersError as error:
            yield warning(client.name, error.message, error.hint)
        # A file with something else in it, such as `[index]` for `[[index]]`, of which the client
        # itself complains in its own words.
        except (AttributeError, TypeError) as error:
            yield warning(client.name, f"its settings cannot be read ({error})", None)
    # Other tools run one of the two, such as pipx, and users see only the tool.
    if "pip" in uses and "uv" in uses and uses["pip"] != uses["uv"]:
        yield _one_of_two(place, uses_pip=uses["pip"])


def _bends(client: _Client, found: _Setup) -> Iterator[Finding]:
    """Check for settings that bypass the index, if the client uses it."""
    if found.ours is None:
        return
    parts = _split(found.ours.url)
    host = parts.hostname or ""
    is_alone = found.sources.main is not None and not found.others
    is_here = found.index.is_here(host)
    use = ClientUse(found.place, found.sources, is_alone, host, _port(parts) or 0, is_here)
    for bend in client.bends(use):
        yield (problem if bend.is_public else warning)(client.name, bend.message, bend.hint)


def _one_of_two(place: ClientContext, *, uses_pip: bool) -> Finding:
    """Return the finding that only one of pip and uv uses the index."""
    path = place.environment.get("PATH", "")
    has_pipx = shutil.which("pipx", path=path) is not None
    one, other = ("pip", "uv") if uses_pip else ("uv", "pip")
    message = f"{one} uses the index and {other} does not: what runs {other} gets public packages"
    # pipx runs uv where it finds it, and pip elsewhere.
    if has_pipx and (uses_pip or shutil.which("uv", path=path) is None):
        return problem(
            "pip and uv", f"{message}, as pipx does here", client_overrides.env_command(place)
        )
    return warning("pip and uv", message, client_overrides.env_command(place))


def _merging(found: _Setup) -> Finding:
    """Check a client that takes the highest version of any of its indexes."""
    name, sources, index = found.name, found.sources, found.index
    ours = [it for it in (sources.main, *sources.others) if it and index.is_at(it.url)]
    if not ours:
        return _unused(found)
    # pip merges all its indexes: as an extra one the index loses to a higher version of a private
    # name that is uploaded to PyPI (dependency confusion).
    if sources.main not in ours:
        return problem(
            name,
            f"takes the highest version of {_names(ours)} and its main index",
            found.without(ours, lead=True),
        )
    if wrong := _wrong_page(found, ours[0], _FULL):
        return wrong
    # PDM with `respect-source-order` stops at the first that has it, so others do no harm.
    others = [it for it in sources.others if it not in ours]
    if others and not sources.is_ordered:
        return problem(
            name,
            f"uses the index, and takes a higher version from {_names(others)}",
            found.without(others),
        )
    return ok(name, f"uses the index ({ours[0].place})")


def _in_order(found: _Setup) -> Finding:
    """Check a client that takes a project from the first index that has it."""
    sources = found.sources
    order = [*sources.others, *((sources.main,) if sources.main else ())]
    at = next((number for number, it in enumerate(order) if found.index.is_at(it.url)), None)
    if at is None:
        return _unused(found)
    ours = order[at]
    is_main = ours == sources.main
    if wrong := _wrong_page(found, ours, *((_FULL,) if is_main else (_FULL, _ONLY_OWN))):
        return wrong
    # uv stops at the first index that has a name, so a private name that is taken there wins.
    if at:
        return problem(
            found.name,
            f"asks {_names(order[:at])} before the index, and takes packages from there first",
            found.without(order[:at]),
        )
    how = "uses the index" if is_main else "uses the index first"
    return ok(found.name, f"{how} ({ours.place})")


def _wrong_page(found: _Setup, source: Source, *right: str) -> Finding | None:
    path = _split(source.url).path.rstrip("/")
    if path in right:
        return None
    what = (
        "serves only the projects of this index"
        if path == _ONLY_OWN
        else "is not the URL of an index"
    )
    return warning(found.name, f"{_names([source])} {what}", found.remedy)


def _unused(found: _Setup) -> Finding:
    """Return the finding about a client that does not use the index, or only for some packages."""
    # No problem: many have a project or two for which they set the variables.
    name, sources = found.name, found.sources
    if single := [it for it in sources.single if found.index.is_at(it.url)]:
        return ok(name, f"uses the index for single packages ({single[0].place})")
    # An address of this machine at another port: a former one, or the index of another user.
    for source in (sources.main, *sources.others):
        at = _split(source.url if source else "")
        if source and at.scheme == "http" and addresses.is_loopback(at.hostname or ""):
            return _another_here(found, source)
    if sources.main is None:
        return ok(name, "nothing wrong, but not configured to use the index yet", found.remedy)
    return ok(name, f"uses {_names([sources.main])}, and not the index", found.remedy)


def _another_here(found: _Setup, source: Source) -> Finding:
    """Check another index on this machine: whether it answers, and whose it is."""
    # Often it is this index at its former port, in a variable that a shell still has.
    parts = _split(source.url)
    host = parts.hostname or "localhost"
    if stranger := listeners.stranger(
        found.name, _port(parts) or 0, addresses.of_host(host), found.remedy
    ):
        return stranger
    if not index_check.is_index(f"http://{parts.netloc.rpartition('@')[2]}"):
        return warning(found.name, f"no index answers at {_names([source])}", found.remedy)
    return ok(found.name, f"uses another index on this machine, {_names([source])}")


def _names(sources: list[Source]) -> str:
    return together([f"{without_credentials(it.url)} ({it.place})" for it in sources])
