"""Read where pip, uv and PDM look for packages, as they themselves do."""

import configparser
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pypi_insiders.config.toml_fields import parse_toml
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text
from pypi_insiders.util.without_credentials import without_any_credentials


@dataclass(frozen=True)
class Source:
    """An index that a client is told to use."""

    url: str
    place: str
    """Where that is said: a variable, or a file."""


@dataclass(frozen=True)
class Sources:
    """All that one client is told to use."""

    main: Source | None
    """In place of PyPI; `None`: nothing is."""
    others: tuple[Source, ...] = ()
    """Beside it; uv asks them before it, pip at the same time."""
    single: tuple[Source, ...] = ()
    """For packages that are named one by one."""
    is_ordered: bool = False
    """Whether PDM asks the main one first, and the others only for what that does not know."""


@dataclass(frozen=True)
class ClientContext:
    """Where somebody calls the clients."""

    environment: Mapping[str, str]
    home: Path
    directory: Path

    @property
    def config(self) -> Path:
        """`$XDG_CONFIG_HOME`."""
        return Path(self.environment.get("XDG_CONFIG_HOME") or self.home / ".config")

    @property
    def system(self) -> tuple[Path, ...]:
        """`$XDG_CONFIG_DIRS`; relative ones do not count."""
        words = self.environment.get("XDG_CONFIG_DIRS") or "/etc/xdg"
        return tuple(Path(word) for word in words.split(":") if word.startswith("/"))

    @property
    def above(self) -> tuple[Path, ...]:
        """The directory, and all above it."""
        return (self.directory, *self.directory.parents)


def pip(place: ClientContext) -> Sources:
    """Read where pip would look.

    Raises:
        InsidersError: a file cannot be read.

    Source: https://pip.pypa.io/en/stable/topics/configuration/
    """
    given = pip_options(place)
    return Sources(given.get("index-url"), each(given.get("extra-index-url")))


def pip_options(place: ClientContext) -> dict[str, Source]:
    """Read the options that `pip install` gets from files and variables, by their long names.

    Raises:
        InsidersError: a file cannot be read.
    """
    sections: dict[str, dict[str, Source]] = {"global": {}, "install": {}}
    # Later files win over earlier ones; [install] over [global], and variables over both.
    for path in _pip_files(place):
        # Raw as in pip: `%` is a part of URLs.
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(read_text(path) or "")
        except configparser.Error as error:
            told = without_any_credentials(str(error)).replace("\n", " ")
            raise InsidersError(f"{path} is no configuration: {told}", f"edit {path}") from error
        for section, found in sections.items():
            if parser.has_section(section):
                items = parser.items(section)
                found |= {key.replace("_", "-"): Source(it, str(path)) for key, it in items}
    variables = {
        name.removeprefix("PIP_").lower().replace("_", "-"): Source(value, name)
        for name, value in place.environment.items()
        if name.startswith("PIP_")
    }
    return {
        name: it
        for options in (sections["global"], sections["install"], variables)
        for name, it in options.items()
        if it.url
    }


def _pip_files(place: ClientContext) -> Iterator[Path]:
    """Name pip's files; of two that say the same the later one counts."""
    own = place.environment.get("PIP_CONFIG_FILE")
    # pip's documented way to read no file at all.
    if own == os.devnull:
        return
    yield from (directory / "pip/pip.conf" for directory in place.system)
    yield Path("/etc/pip.conf")
    # A PIP_CONFIG_FILE that exists takes the place of the user's own files.
    if not own or not _is_file(Path(own)):
        yield from (place.home / ".pip/pip.conf", place.config / "pip/pip.conf")
    if environment := place.environment.get("VIRTUAL_ENV"):
        yield Path(environment, "pip.conf")
    if own:
        yield Path(own)


def each(several: Source | None) -> tuple[Source, ...]:
    """Take apart a value that names several indexes."""
    return tuple(Source(url, several.place) for url in several.url.split()) if several else ()


def uv(place: ClientContext) -> Sources:
    """Read what uv would.

    Raises:
        InsidersError: a file cannot be read.

    Source: https://docs.astral.sh/uv/concepts/configuration-files/,
        https://docs.astral.sh/uv/concepts/indexes/
    """
    main, others, single = _uv(place)
    return Sources(main[0] if main else None, tuple(others), tuple(single))


def uv_mains(place: ClientContext) -> list[Source]:
    """Read all that would be uv's main index, the one that counts first.

    Raises:
        InsidersError: a file cannot be read.
    """
    return _uv(place)[0]


def _uv(place: ClientContext) -> tuple[list[Source], list[Source], list[Source]]:
    main: list[Source] = []
    others: list[Source] = []
    single: list[Source] = []
    names: set[str] = set()  # of two indexes of one name only the first counts

    def is_new(name: str) -> bool:
        is_known = name in names
        names.update({name} - {""})
        return not is_known

    # The one that is deprecated counts as long as the other is not set.
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        main += [it for name, it in _uv_variable(place.environment, variable) if is_new(name)]
    for variable in ("UV_INDEX", "UV_EXTRA_INDEX_URL"):
        others += [it for name, it in _uv_variable(place.environment, variable) if is_new(name)]
    for path, options in uv_files(place):
        for index in options.get("index", ()):
            kind = main if index.get("default") else others
            kind = single if index.get("explicit") else kind
            if is_new(str(index.get("name") or "")):
                kind.append(Source(str(index.get("url")), str(path)))
        for table, where in ((options, str(path)), (options.get("pip", {}), f"[pip] of {path}")):
            if "index-url" in table:
                main.append(Source(str(table["index-url"]), where))
            others += [Source(str(url), where) for url in table.get("extra-index-url", ())]
    return main, others, single


def _uv_variable(environment: Mapping[str, str], variable: str) -> list[tuple[str, Source]]:
    """Read indexes, each a URL or `NAME=URL`; return the name, or nothing, with each."""
    words = environment.get(variable, "").split()
    return [(name, Source(url, variable)) for name, url in map(_without_name, words)]


def _without_name(word: str) -> tuple[str, str]:
    name, equals, url = word.partition("=")
    return (name, url) if equals and "/" not in name else ("", word)


def uv_files(place: ClientContext) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Read uv's files, the one that counts most first."""
    if is_true(place.environment.get("UV_NO_CONFIG", "")):
        return
    if own := place.environment.get("UV_CONFIG_FILE"):
        yield Path(own), _toml(Path(own))
        return
    # Only the nearest file counts, and of two in one directory uv.toml.
    for directory in place.above:
        path = directory / "uv.toml"
        if _is_file(path):
            yield path, _toml(path)
            break
        path = directory / "pyproject.toml"
        options = _toml(path).get("tool", {}).get("uv")
        if options is not None:
            yield path, options
            break
    yield place.config / "uv/uv.toml", _toml(place.config / "uv/uv.toml")
    if is_true(place.environment.get("UV_NO_SYSTEM_CONFIG", "")):
        return
    everybody = [directory / "uv/uv.toml" for directory in place.system] + [Path("/etc/uv/uv.toml")]
    for path in everybody:
        if _is_file(path):
            yield path, _toml(path)
            break


def pdm(place: ClientContext) -> Sources:
    """Read what PDM would.

    Raises:
        InsidersError: a file cannot be read.

    Source: https://pdm-project.org/latest/usage/config/
    """
    root = pdm_root(place)
    project = root / "pyproject.toml"
    main: Source | None = None
    others: list[Source] = []
    single: list[Source] = []
    is_first = True
    tool = pdm_project(place)
    for source in tool.get("source", ()):
        found = Source(str(source.get("url")), str(project))
        if source.get("name") == "pypi":
            main, is_first = found, not others
        else:
            (single if source.get("include_packages") else others).append(found)
    variable = place.environment.get("PDM_PYPI_URL")
    if main is None and variable:
        main = Source(variable, "PDM_PYPI_URL")
    for path, options in pdm_files(place):
        url = options.get("pypi", {}).get("url") or options.get("pypi.url")
        if main is None and url:
            main = Source(str(url), str(path))
        others += [Source(str(it["url"]), str(path)) for it in _stored(options)]
    is_ordered = bool(tool.get("resolution", {}).get("respect-source-order")) and is_first
    return Sources(main, tuple(others), tuple(single), is_ordered)


def pdm_root(place: ClientContext) -> Path:
    """Find the directory of the project that PDM works on."""
    return next((it for it in place.above if _is_file(it / "pyproject.toml")), place.directory)


def pdm_project(place: ClientContext) -> dict[str, Any]:
    """Read what a project sets for PDM."""
    found: dict[str, Any] = _toml(pdm_root(place) / "pyproject.toml").get("tool", {}).get("pdm", {})
    return found


def pdm_files(place: ClientContext) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Read PDM's own files, the one that counts most first."""
    own = place.environment.get("PDM_CONFIG_FILE")
    yield pdm_root(place) / "pdm.toml", _toml(pdm_root(place) / "pdm.toml")
    user = Path(own) if own else place.config / "pdm/config.toml"
    for path in (user, *(directory / "pdm/config.toml" for directory in place.system)):
        yield path, _toml(path)


def _stored(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Find the indexes that PDM asks for each project: `[pypi.NAME]`."""
    for value in options.get("pypi", {}).values():
        if isinstance(value, dict) and "url" in value:
            yield value


def is_true(value: object) -> bool:
    """Tell whether a switch is on, as pip, uv and PDM read it."""
    return str(value).lower() in ("1", "true", "t", "yes", "y", "on")


def _is_file(path: Path) -> bool:
    """Tell whether a file is there for us; what we may not look at is not."""
    return os.path.isfile(path)  # noqa: PTH113 - Path raises then


def _toml(path: Path) -> dict[str, Any]:
    text = read_text(path)
    return {} if text is None else parse_toml(path, text)
