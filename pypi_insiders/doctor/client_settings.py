"""Read where pip, uv and PDM look for packages, as they themselves do."""

import configparser
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pypi_insiders.config import parse_toml
from pypi_insiders.errors import InsidersError
from pypi_insiders.files import read_text
from pypi_insiders.urls import without_any_credentials


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


@dataclass(frozen=True)
class Place:
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


def pip(place: Place) -> Sources:
    """Read what pip would.

    Raises:
        InsidersError: a file cannot be read.

    Source: https://pip.pypa.io/en/stable/topics/configuration/
    """
    sections: dict[str, dict[str, Source]] = {"global": {}, "install": {}}
    for path in _pip_files(place):
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
    given = {**sections["global"], **sections["install"], **_pip_variables(place.environment)}
    return Sources(given.get("index-url"), _each(given.get("extra-index-url")))


def _pip_files(place: Place) -> Iterator[Path]:
    """Name pip's files; of two that say the same the later one counts."""
    own = place.environment.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return
    yield from (directory / "pip/pip.conf" for directory in place.system)
    yield Path("/etc/pip.conf")
    if not own or not _is_file(Path(own)):
        yield from (place.home / ".pip/pip.conf", place.config / "pip/pip.conf")
    if environment := place.environment.get("VIRTUAL_ENV"):
        yield Path(environment, "pip.conf")
    if own:
        yield Path(own)


def _pip_variables(environment: Mapping[str, str]) -> dict[str, Source]:
    return {
        key: Source(environment[variable], variable)
        for key, variable in (
            ("index-url", "PIP_INDEX_URL"),
            ("extra-index-url", "PIP_EXTRA_INDEX_URL"),
        )
        if environment.get(variable)
    }


def _each(several: Source | None) -> tuple[Source, ...]:
    """Take apart a value that names several indexes."""
    return tuple(Source(url, several.place) for url in several.url.split()) if several else ()


def uv(place: Place) -> Sources:
    """Read what uv would.

    Raises:
        InsidersError: a file cannot be read.

    Source: https://docs.astral.sh/uv/concepts/configuration-files/,
        https://docs.astral.sh/uv/concepts/indexes/
    """
    main: list[Source] = []
    others: list[Source] = []
    single: list[Source] = []
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        main += _uv_variable(place.environment, variable)
    for variable in ("UV_INDEX", "UV_EXTRA_INDEX_URL"):
        others += _uv_variable(place.environment, variable)
    for path, options in _uv_files(place):
        for index in options.get("index", ()):
            kind = main if index.get("default") else others
            kind = single if index.get("explicit") else kind
            kind.append(Source(str(index.get("url")), str(path)))
        if "index-url" in options:
            main.append(Source(str(options["index-url"]), str(path)))
        others += [Source(str(url), str(path)) for url in options.get("extra-index-url", ())]
    return Sources(main[0] if main else None, tuple(others), tuple(single))


def _uv_variable(environment: Mapping[str, str], variable: str) -> list[Source]:
    """Read indexes, each an URL or `NAME=URL`."""
    words = environment.get(variable, "").split()
    return [Source(_without_name(word), variable) for word in words]


def _without_name(word: str) -> str:
    name, equals, url = word.partition("=")
    return url if equals and "/" not in name else word


def _uv_files(place: Place) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Read uv's files, the one that counts most first."""
    if place.environment.get("UV_NO_CONFIG", "") not in ("", "0", "false"):
        return
    if own := place.environment.get("UV_CONFIG_FILE"):
        yield Path(own), _toml(Path(own))
        return
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
    everybody = [directory / "uv/uv.toml" for directory in place.system] + [Path("/etc/uv/uv.toml")]
    for path in everybody:
        if _is_file(path):
            yield path, _toml(path)
            break


def pdm(place: Place) -> Sources:
    """Read what PDM would.

    Raises:
        InsidersError: a file cannot be read.

    Source: https://pdm-project.org/latest/usage/config/
    """
    root = next((it for it in place.above if _is_file(it / "pyproject.toml")), place.directory)
    project = root / "pyproject.toml"
    main: Source | None = None
    others: list[Source] = []
    single: list[Source] = []
    for source in _toml(project).get("tool", {}).get("pdm", {}).get("source", ()):
        found = Source(str(source.get("url")), str(project))
        if source.get("name") == "pypi":
            main = found
        else:
            (single if source.get("include_packages") else others).append(found)
    variable = place.environment.get("PDM_PYPI_URL")
    if main is None and variable:
        main = Source(variable, "PDM_PYPI_URL")
    own = place.environment.get("PDM_CONFIG_FILE")
    files = (root / "pdm.toml", Path(own) if own else place.config / "pdm/config.toml")
    for path in (*files, *(directory / "pdm/config.toml" for directory in place.system)):
        options = _toml(path)
        url = options.get("pypi", {}).get("url") or options.get("pypi.url")
        if main is None and url:
            main = Source(str(url), str(path))
    return Sources(main, tuple(others), tuple(single))


def _is_file(path: Path) -> bool:
    """Tell whether a file is there for us; what we may not look at is not."""
    return os.path.isfile(path)  # noqa: PTH113 - Path raises then


def _toml(path: Path) -> dict[str, Any]:
    text = read_text(path)
    return {} if text is None else parse_toml(path, text)
