"""Read the index settings of pip, uv and PDM, by the rules of each."""

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
    """An index in the settings of a client."""

    url: str
    place: str
    """Where it is set: a variable, or a file."""


@dataclass(frozen=True)
class Sources:
    """All indexes in the settings of a client."""

    main: Source | None
    """In place of PyPI; `None`: PyPI."""
    others: tuple[Source, ...] = ()
    """Beside it; uv uses them before it, pip at the same time."""
    single: tuple[Source, ...] = ()
    """For packages that are listed one by one."""
    is_ordered: bool = False
    """Whether PDM uses the main one first, and the others only for packages it does not have."""


@dataclass(frozen=True)
class ClientContext:
    """The environment, home and directory in which the clients are run."""

    environment: Mapping[str, str]
    home: Path
    directory: Path

    @property
    def config(self) -> Path:
        """`$XDG_CONFIG_HOME`."""
        return Path(self.environment.get("XDG_CONFIG_HOME") or self.home / ".config")

    @property
    def system(self) -> tuple[Path, ...]:
        """`$XDG_CONFIG_DIRS`, without relative ones."""
        # Source: XDG Base Directory Specification, "All paths must be absolute".
        words = self.environment.get("XDG_CONFIG_DIRS") or "/etc/xdg"
        return tuple(Path(word) for word in words.split(":") if word.startswith("/"))

    @property
    def above(self) -> tuple[Path, ...]:
        """The directory, and all above it."""
        return (self.directory, *self.directory.parents)


def pip(place: ClientContext) -> Sources:
    """Return the indexes of pip.

    Raises:
        InsidersError: a file cannot be read.

    Source: https://pip.pypa.io/en/stable/topics/configuration/
    """
    given = pip_options(place)
    return Sources(given.get("index-url"), each(given.get("extra-index-url")))


def pip_options(place: ClientContext) -> dict[str, Source]:
    """Return the options that `pip install` gets from files and variables, by their long names.

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
            # The parser quotes the line, and an index URL in it may have a password.
            why = without_any_credentials(str(error)).replace("\n", " ")
            raise InsidersError(
                f"{path} is not a valid configuration file: {why}", f"edit {path}"
            ) from error
        for section, found in sections.items():
            if parser.has_section(section):
                items = parser.items(section)
                found |= {key.replace("_", "-"): Source(it, str(path)) for key, it in items}
    # PIP_INDEX_URL is `--index-url`: each option has a variable by this rule.
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
    """Yield the files of pip; a later one overrides an earlier one."""
    own = place.environment.get("PIP_CONFIG_FILE")
    # pip's documented way to read no file at all.
    if own == os.devnull:
        return
    yield from (directory / "pip/pip.conf" for directory in place.system)
    # pip reads it in addition to $XDG_CONFIG_DIRS.
    yield Path("/etc/pip.conf")
    # A PIP_CONFIG_FILE that exists takes the place of the user's own files.
    if not own or not _is_file(Path(own)):
        yield from (place.home / ".pip/pip.conf", place.config / "pip/pip.conf")
    if environment := place.environment.get("VIRTUAL_ENV"):
        yield Path(environment, "pip.conf")
    if own:
        yield Path(own)


def each(several: Source | None) -> tuple[Source, ...]:
    """Split a value that has several indexes."""
    return tuple(Source(url, several.place) for url in several.url.split()) if several else ()


def uv(place: ClientContext) -> Sources:
    """Return the indexes of uv.

    Raises:
        InsidersError: a file cannot be read.

    Source: https://docs.astral.sh/uv/concepts/configuration-files/,
        https://docs.astral.sh/uv/concepts/indexes/
    """
    main, others, single = _uv(place)
    return Sources(main[0] if main else None, tuple(others), tuple(single))


def uv_mains(place: ClientContext) -> list[Source]:
    """Return all settings of uv's main index, the one that counts first.

    Raises:
        InsidersError: a file cannot be read.
    """
    return _uv(place)[0]


def _uv(place: ClientContext) -> tuple[list[Source], list[Source], list[Source]]:
    main: list[Source] = []
    others: list[Source] = []
    single: list[Source] = []
    # Of two indexes with the same name only the first counts.
    names: set[str] = set()

    def is_new(name: str) -> bool:
        is_known = name in names
        names.update({name} - {""})
        return not is_known

    # The second, deprecated one counts if the first is not set.
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        main += [it for name, it in _uv_variable(place.environment, variable) if is_new(name)]
    for variable in ("UV_INDEX", "UV_EXTRA_INDEX_URL"):
        others += [it for name, it in _uv_variable(place.environment, variable) if is_new(name)]
    # After the variables, which override files; and each file adds to those that count more.
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
    """Return the indexes of a variable, each with its name, which may be empty."""
    words = environment.get(variable, "").split()
    return [(name, Source(url, variable)) for name, url in map(_without_name, words)]


def _without_name(word: str) -> tuple[str, str]:
    # A URL may have a query with `=`, but no name has a slash.
    name, equals, url = word.partition("=")
    return (name, url) if equals and "/" not in name else ("", word)


def uv_files(place: ClientContext) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield uv's files, the one that counts most first."""
    if is_true(place.environment.get("UV_NO_CONFIG", "")):
        return
    # It takes the place of all other files.
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
    """Return the indexes of PDM.

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
        # The source of this name takes the place of PyPI; each other one is added to it.
        if source.get("name") == "pypi":
            main, is_first = found, not others
        else:
            (single if source.get("include_packages") else others).append(found)
    variable = place.environment.get("PDM_PYPI_URL")
    if main is None and variable:
        main = Source(variable, "PDM_PYPI_URL")
    for path, options in pdm_files(place):
        # A table, or one key with a dot in it, in quotes.
        url = options.get("pypi", {}).get("url") or options.get("pypi.url")
        if main is None and url:
            main = Source(str(url), str(path))
        # Stored ones are used for each project, beside the sources of its pyproject.toml.
        others += [Source(str(it["url"]), str(path)) for it in _stored(options)]
    is_ordered = bool(tool.get("resolution", {}).get("respect-source-order")) and is_first
    return Sources(main, tuple(others), tuple(single), is_ordered)


def pdm_root(place: ClientContext) -> Path:
    """Return the directory of the project that PDM works on."""
    return next((it for it in place.above if _is_file(it / "pyproject.toml")), place.directory)


def pdm_project(place: ClientContext) -> dict[str, Any]:
    """Return the settings of a project for PDM."""
    found: dict[str, Any] = _toml(pdm_root(place) / "pyproject.toml").get("tool", {}).get("pdm", {})
    return found


def pdm_files(place: ClientContext) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield PDM's own files, the one that counts most first."""
    own = place.environment.get("PDM_CONFIG_FILE")
    yield pdm_root(place) / "pdm.toml", _toml(pdm_root(place) / "pdm.toml")
    user = Path(own) if own else place.config / "pdm/config.toml"
    for path in (user, *(directory / "pdm/config.toml" for directory in place.system)):
        yield path, _toml(path)


def _stored(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the indexes that PDM uses for each project: `[pypi.NAME]`."""
    for value in options.get("pypi", {}).values():
        if isinstance(value, dict) and "url" in value:
            yield value


def is_true(value: object) -> bool:
    """Return whether a switch is on, as pip, uv and PDM read it."""
    return str(value).lower() in ("1", "true", "t", "yes", "y", "on")


def _is_file(path: Path) -> bool:
    """Return whether a file exists, as far as this user can see."""
    return os.path.isfile(path)  # noqa: PTH113 - Path raises where a directory is closed


def _toml(path: Path) -> dict[str, Any]:
    text = read_text(path)
    return {} if text is None else parse_toml(path, text)
