"""Read `config.toml`, the settings of the user."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pypi_insiders.config import addresses, toml_fields, validators
from pypi_insiders.config.toml_fields import BYTES, SECONDS, key
from pypi_insiders.config.validators import PYPI
from pypi_insiders.util.files import read_text

NOTIFY_VARIABLE = "PYPI_INSIDERS_NOTIFY_COMMAND"
"""Contains `notify-command`, quoted for a shell, for units if `config.toml` cannot be read."""


class ServerSettings(NamedTuple):
    """The `[server]` table."""

    host: Annotated[str, key(validators.parse_host)] = "localhost"
    port: Annotated[int, key(validators.parse_port)] = 31411
    # `None` and not PyPI's URL, so that builds use uv's default index, which the user may have set.
    fallback_url: Annotated[str | None, key(validators.parse_fallback_url)] = None
    """The fallback index; `None`: pypiserver's default, which is PyPI; empty: none."""
    idle_timeout_s: Annotated[int, key(validators.parse_timeout, unit=SECONDS)] = 600
    """Time without requests after which the service stops until the next one; 0: never."""
    names: Annotated[tuple[str, ...], key(validators.parse_names)] = ()
    """Host names of the index besides `localhost`."""
    auth: Annotated[bool, key(validators.parse_flag)] = False
    """Whether readers need a user name and a password."""
    uploads: Annotated[bool, key(validators.parse_flag)] = False
    """Whether uploads with the token are allowed."""
    hooks: Annotated[bool, key(validators.parse_flag)] = False
    """Whether signed pushes of a forge start updates."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses to listen on, such as `127.0.0.1:31411` and `[::1]:31411`."""
        return tuple(addresses.join(it, self.port) for it in addresses.of_host(self.host))

    @property
    def fallback(self) -> str | None:
        """The URL of the fallback index; `None`: there is none."""
        return PYPI if self.fallback_url is None else self.fallback_url or None

    @property
    def url(self) -> str:
        """The URL of the index on this machine, up to the port."""
        return addresses.url(self.host, self.port)


class WatcherSettings(NamedTuple):
    """The `[watcher]` table."""

    interval_s: Annotated[int, key(validators.parse_interval, unit=SECONDS)] = 1800
    """Time between two updates."""
    keep: Annotated[int, key(validators.parse_keep)] = 0
    """How many of the newest versions of a repository the index keeps; 0: all."""
    max_new: Annotated[int, key(validators.parse_number)] = 5
    """How many new tags of a repository one update builds at most, newest first."""
    unreachable_grace_s: Annotated[int, key(validators.parse_grace, unit=SECONDS)] = 86400
    """How long a host may be unreachable before that is a failure; 0: not at all."""
    verify_interval_s: Annotated[int, key(validators.parse_timeout, unit=SECONDS)] = 604800
    """Time between two verifications of all published files; 0: never."""
    repository_timeout_s: Annotated[int, key(validators.parse_timeout, unit=SECONDS)] = 3600
    """Time limit for fetching and building a repository in one update; 0: none."""
    public_versions: Annotated[bool, key(validators.parse_flag)] = True
    """Whether the fallback index is asked once a day for its releases of watched projects."""
    notify_command: Annotated[tuple[str, ...] | None, key(validators.parse_command)] = None
    """The command that sends notifications; `None`: the desktop's, `()`: none."""
    release_command: Annotated[tuple[str, ...] | None, key(validators.parse_command)] = None
    """The command that runs for each new release; `None` or `()`: none."""
    notify_releases: Annotated[bool, key(validators.parse_flag)] = False
    """Whether a notification is sent about new releases."""
    token_command: Annotated[
        Mapping[str, tuple[str, ...]] | None, key(validators.parse_token_commands)
    ] = None
    """Host to the command that prints the token for https."""

    @property
    def announces(self) -> bool:
        """Return whether anything is done for new releases."""
        return bool(self.release_command) or self.notify_releases


class BuildSettings(NamedTuple):
    """The `[build]` table."""

    sandbox: Annotated[str, key(validators.parse_sandbox)] = "auto"
    """`auto`, `required` (build only in a sandbox) or `off`."""
    jobs: Annotated[int, key(validators.parse_jobs)] = 0
    """How many builds run at once; 0: one per processor."""
    disk_reserve_bytes: Annotated[int | None, key(validators.parse_reserve, unit=BYTES)] = None
    """Disk space that builds keep free; `None`: a share of the disk."""
    as_of_tag: Annotated[bool, key(validators.parse_flag)] = True
    """Whether build requirements are resolved as of the time of the tag."""


class PublishSettings(NamedTuple):
    """The `[publish]` table."""

    index_url: Annotated[str | None, key(validators.parse_index_url)] = None
    """The upload URL of another index for all builds; `None`: none."""
    user: Annotated[str | None, key(validators.parse_user)] = None
    """The user name for uploads; `None`: the one in netrc, or `__token__`."""
    local: Annotated[bool, key(validators.parse_flag)] = True
    """Whether builds are published in the local index, too."""
    check_url: Annotated[str | None, key(validators.parse_check_url)] = None
    """The simple index of the other index; `None`: derived from `index_url`."""


class Settings(NamedTuple):
    """All of `config.toml`; a missing key has its default."""

    server: ServerSettings = ServerSettings()
    watcher: WatcherSettings = WatcherSettings()
    build: BuildSettings = BuildSettings()
    publish: PublishSettings = PublishSettings()


def load_settings(path: Path) -> Settings:
    """Read the settings; defaults if the file does not exist.

    Raises:
        InsidersError: the file cannot be read, is not valid TOML, or has unknown keys or invalid
            values, all of which are named.
    """
    text = read_text(path)
    return Settings() if text is None else parse_settings(path, text)


def parse_settings(path: Path, text: str) -> Settings:
    """Parse the text of `config.toml`.

    Raises:
        InsidersError: it is not valid TOML, or has unknown keys or invalid values, all of which
            are named.
    """
    return _check(toml_fields.parse_toml(path, text), path)


def template() -> str:
    """Return the text of a `config.toml` with all keys and defaults in comments."""
    return Path(__file__).with_name("config.toml").read_text(encoding="utf-8")


def _check(document: dict[str, Any], path: Path) -> Settings:
    tables = {name: type(table) for name, table in Settings()._asdict().items()}
    # All problems at once, so that the user need not try again for each.
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
            # Of the valid keys alone, for the check across keys; with any problem it is discarded.
            values[name] = tables[name](**found)
            problems += wrong
    # Across keys, so after each was validated alone.
    server = values.get("server", ServerSettings())
    if problem := addresses.own_fallback(
        server.fallback_url, server.host, server.port, server.names
    ):
        problems.append(f"server.fallback-url {problem}")
    if problems:
        raise toml_fields.wrong(path, problems)
    return Settings(**values)


def as_document(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the settings as tables of `config.toml`; unset keys are `None`."""
    return {name: toml_fields.write(table) for name, table in settings._asdict().items()}
