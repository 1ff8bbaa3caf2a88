"""Read `config.toml`, the settings of the user."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pypi_insiders.config import addresses, toml_fields, validators
from pypi_insiders.config.toml_fields import BYTES, SECONDS, key
from pypi_insiders.config.validators import PYPI
from pypi_insiders.util.files import read_text

NOTIFY_VARIABLE = "PYPI_INSIDERS_NOTIFY_COMMAND"
"""Has the `notify-command` as a shell would quote it, for when `config.toml` cannot be read."""


@dataclass(frozen=True)
class ServerSettings:
    """The `[server]` table."""

    host: str = key(validators.parse_host, "localhost")
    port: int = key(validators.parse_port, 31411)
    fallback_url: str | None = key(validators.parse_fallback_url)
    """Where unknown names are redirected; `None` is pypiserver's own default, which is PyPI."""
    idle_timeout_s: int = key(validators.parse_timeout, 600, unit=SECONDS)
    """After how long without a request the service ends, to be started by the next; 0 is never."""
    names: tuple[str, ...] = key(validators.parse_names, ())
    """Host names by which clients may call it, beside `localhost`."""
    auth: bool = key(validators.parse_flag, False)
    """Whether readers must give a user and a password."""
    uploads: bool = key(validators.parse_flag, False)
    """Whether whoever has the token may upload."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Each address to listen on, such as `127.0.0.1:31411` or `[::1]:31411`."""
        return tuple(addresses.join(it, self.port) for it in addresses.of_host(self.host))

    @property
    def fallback(self) -> str:
        """Where unknown names are redirected."""
        return self.fallback_url or PYPI

    @property
    def url(self) -> str:
        """Where the index is found on this machine, up to the port."""
        return addresses.url(self.host, self.port)


@dataclass(frozen=True)
class WatcherSettings:
    """The `[watcher]` table."""

    interval_s: int = key(validators.parse_interval, 1800, unit=SECONDS)
    """Time between two updates."""
    keep: int = key(validators.parse_keep, 0)
    """How many of a repository's newest versions the index keeps; 0 is all."""
    max_new: int = key(validators.parse_number, 5)
    """How many new tags of a repository one update builds at most, the newest first."""
    unreachable_grace_s: int = key(validators.parse_grace, 86400, unit=SECONDS)
    """For how long a host may be out of reach before that is a failure; 0 is at once."""
    verify_interval_s: int = key(validators.parse_timeout, 604800, unit=SECONDS)
    """Time between two updates that read all published files to compare them; 0 is never."""
    repository_timeout_s: int = key(validators.parse_timeout, 3600, unit=SECONDS)
    """How long one update fetches and builds a repository; 0 is without a limit."""
    public_versions: bool = key(validators.parse_flag, True)
    """Whether the fallback is asked, once a day, which releases it has of what is watched."""
    notify_command: tuple[str, ...] | None = key(validators.parse_command)
    """What sends a message about problems to the user; `None` is the desktop, `()` is nothing."""


@dataclass(frozen=True)
class BuildSettings:
    """The `[build]` table."""

    sandbox: str = key(validators.parse_sandbox, "auto")
    """`required` refuses to build where no sandbox can be had, `off` uses none."""
    jobs: int = key(validators.parse_jobs, 0)
    """How many builds run at once; 0 is one a processor."""
    disk_reserve_bytes: int | None = key(validators.parse_reserve, unit=BYTES)
    """What builds leave free on the disk where they write; `None`: as much as suits the disk."""
    as_of_tag: bool = key(validators.parse_flag, True)
    """Whether build requirements are those of the time of the tag."""


@dataclass(frozen=True)
class PublishSettings:
    """The `[publish]` table."""

    index_url: str | None = key(validators.parse_index_url)
    """Where else what is built is uploaded to; `None` is nowhere."""
    user: str | None = key(validators.parse_user)
    """Who uploads; `None` is whoever netrc names, or else `__token__`."""
    local: bool = key(validators.parse_flag, True)
    """Whether the index of this machine has it too."""
    check_url: str | None = key(validators.parse_check_url)
    """Where that index tells what it has; `None` is what `index_url` lets one expect."""


@dataclass(frozen=True)
class Settings:
    """All of `config.toml`; a missing key has its default."""

    server: ServerSettings = ServerSettings()
    watcher: WatcherSettings = WatcherSettings()
    build: BuildSettings = BuildSettings()
    publish: PublishSettings = PublishSettings()


def load_settings(path: Path) -> Settings:
    """Read the settings; without a file, all defaults.

    Raises:
        InsidersError: the file cannot be read, is no TOML, or has unknown keys or wrong values,
            all of which are named at once.
    """
    text = read_text(path)
    return Settings() if text is None else parse_settings(path, text)


def parse_settings(path: Path, text: str) -> Settings:
    """Parse the text of `config.toml`.

    Raises:
        InsidersError: it is no TOML, or has unknown keys or wrong values, all named at once.
    """
    return _check(toml_fields.parse_toml(path, text), path)


def template() -> str:
    """Return a `config.toml` that sets nothing, with all keys and their defaults in comments."""
    return Path(__file__).with_name("config.toml").read_text(encoding="utf-8")


def _check(document: dict[str, Any], path: Path) -> Settings:
    tables = {item.name: type(getattr(Settings(), item.name)) for item in fields(Settings)}
    # All at once: whoever edits a file should not have to try again for each mistake.
    problems: list[str] = []
    values: dict[str, Any] = {}
    for name, content in document.items():
        is_table = isinstance(content, dict)
        if name not in tables:
            kind = "table" if is_table else "key"
            problems.append(f"unknown {kind} {name}{toml_fields.did_you_mean(name, tables)}")
        elif not is_table:
            problems.append(f"{name} must be a table: [{name}]")
        else:
            found, wrong = toml_fields.read(tables[name], content, f"{name}.")
            values[name] = tables[name](**found)
            problems += wrong
    server = values.get("server", ServerSettings())
    if problem := addresses.own_fallback(
        server.fallback_url, server.host, server.port, server.names
    ):
        problems.append(f"server.fallback-url {problem}")
    if problems:
        raise toml_fields.wrong(path, problems)
    return Settings(**values)


def as_document(settings: Settings) -> dict[str, dict[str, Any]]:
    """Write settings as `config.toml` does: table to key to value; `None`: there is no value."""
    return {item.name: toml_fields.write(getattr(settings, item.name)) for item in fields(settings)}
