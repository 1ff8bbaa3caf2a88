"""`config show`: what counts, and where it comes from."""

import json
import tomllib

import pytest
from fixtures import Person
from machine import Machine

from pypi_insiders.reporting.effective_settings import lines_of


def test_without_a_file_all_is_as_it_is_by_default(person: Person) -> None:
    """What is printed is a `config.toml` that would change nothing."""
    shown = person.run("config", "show").stdout
    paths = person.paths
    assert (
        shown
        == f"""\
# settings       {paths.settings} (not found)
# repositories   {paths.repositories} (not found)
# distributions  {paths.distributions} (not found)
# state          {paths.state} (not found)
# cache          {paths.cache} (not found)

[server]
host = "localhost"      # default
port = 31411            # default
# fallback-url is not set
idle-timeout = "10min"  # default
names = []              # default
auth = false            # default
uploads = false         # default
hooks = false           # default

[watcher]
interval = "30min"         # default
keep = 0                   # default
max-new = 5                # default
unreachable-grace = "1d"   # default
verify-interval = "7d"     # default
repository-timeout = "1h"  # default
public-versions = true     # default
# notify-command is not set
# release-command is not set
notify-releases = false    # default
# token-command is not set

[build]
sandbox = "auto"  # default
jobs = 0          # default
# disk-reserve is not set
as-of-tag = true  # default

[publish]
# index-url is not set
# user is not set
local = true  # default
# check-url is not set
"""
    )
    paths.config.mkdir(parents=True)
    paths.settings.write_text(shown)
    again = person.run("config", "show").stdout
    assert tomllib.loads(again) == tomllib.loads(shown)
    assert 'host = "localhost"      # config.toml:8\n' in again


def test_what_the_file_says_is_shown_with_its_line(person: Person) -> None:
    """For scripts as well; spans and names as they are understood."""
    person.paths.config.mkdir(parents=True)
    person.paths.settings.write_text(
        'watcher.interval = "120min"\n\n[server]\n# port = 1\nport = 4711\n'
        'names = [\n  "A.example", # the first\n]\nauth = true\n'
    )
    shown = person.run("config", "show").stdout
    server = shown.partition("[server]\n")[2].partition("\n\n")[0]
    assert (
        server
        == """\
host = "localhost"      # default
port = 4711             # config.toml:5
# fallback-url is not set
idle-timeout = "10min"  # default
names = ["a.example"]   # config.toml:6
auth = true             # config.toml:9
uploads = false         # default
hooks = false           # default"""
    )
    assert 'interval = "2h"            # config.toml:1\n' in shown
    told = json.loads(person.run("config", "show", "--json").stdout)
    assert told["files"] == {
        "settings": str(person.paths.settings),
        "repositories": str(person.paths.repositories),
        "distributions": str(person.paths.distributions),
        "state": str(person.paths.state),
        "cache": str(person.paths.cache),
    }
    none: dict[str, list[str]] = {"drop_ins": [], "drop-ins": []}  # the latter is deprecated
    assert told["settings"]["server"] == {
        "host": {"value": "localhost", "from": "default", "line": None, **none},
        "port": {"value": 4711, "from": "config.toml", "line": 5, **none},
        "fallback-url": {"value": None, "from": "default", "line": None, **none},
        "idle-timeout": {"value": "10min", "from": "default", "line": None, **none},
        "names": {"value": ["a.example"], "from": "config.toml", "line": 6, **none},
        "auth": {"value": True, "from": "config.toml", "line": 9, **none},
        "uploads": {"value": False, "from": "default", "line": None, **none},
        "hooks": {"value": False, "from": "default", "line": None, **none},
    }
    assert list(told["settings"]) == ["server", "watcher", "build", "publish"]


def test_wrong_settings_are_no_settings(person: Person) -> None:
    """What is wrong is said, as everywhere."""
    person.paths.config.mkdir(parents=True)
    person.paths.settings.write_text("[server]\nprot = 1\n")
    failed = person.run("config", "show", status=1)
    assert (failed.stdout, failed.stderr) == (
        "",
        f"error: {person.paths.settings}: unknown key server.prot (did you mean port?)\n"
        f"hint: edit {person.paths.settings}\n",
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", {}),
        ("[a]\nx = 1", {("a", "x"): 2}),
        ("[a]\r\n\r\nx = 1\r\ny = 2\r\n", {("a", "x"): 3, ("a", "y"): 4}),
        ("a = {x = 1, y = 2}\n", {("a", "x"): 1, ("a", "y"): 1}),
        ("a.x = 1\n'b'.\"y\" = 2", {("a", "x"): 1, ("b", "y"): 2}),
        ('[a]\nx = """\ny = 1\n"""\ny = 2\n', {("a", "x"): 2, ("a", "y"): 5}),
        ("[a]\n# x = 1\nx = [\n  1,\n\n  # y = 1\n]\n[b]\nx = 1", {("a", "x"): 3, ("b", "x"): 9}),
    ],
)
def test_keys_are_found_however_they_are_written(
    text: str, lines: dict[tuple[str, str], int]
) -> None:
    """The line is the one on which the key stands."""
    assert lines_of(text) == lines


def test_a_drop_in_that_wins_is_named(machine: Machine) -> None:
    """Not ours, and not one that is about something else."""
    machine.write_text(
        ".config/pypi-insiders/config.toml", '[server]\nport = 4711\n[watcher]\ninterval = "1h"\n'
    )
    units = machine.home / ".config/systemd/user"
    server = machine.write_text(
        units / "pypi-insiders-server.socket.d/override.conf",
        "[Socket]\nListenStream=\nListenStream=127.0.0.1:4712\n",
    )
    machine.write_text(
        units / "pypi-insiders-watcher.timer.d/delay.conf", "[Timer]\nRandomizedDelaySec=0\n"
    )
    machine.run("pypi-insiders", "server", "start")
    machine.run("pypi-insiders", "watcher", "start")

    def origins() -> list[str]:
        shown = machine.run("pypi-insiders", "config", "show").stdout
        keys = ("host", "port", "interval")
        return [line.partition("  # ")[2] for line in shown.splitlines() if line.startswith(keys)]

    assert origins() == [
        f"default, overridden in {server}",
        f"config.toml:2, overridden in {server}",
        "config.toml:4",
    ]
    watcher = machine.write_text(
        units / "pypi-insiders-watcher.timer.d/override.conf",
        "[Timer]\nOnCalendar=\nOnCalendar=daily\n",
    )
    machine.run("systemctl", "--user", "daemon-reload")
    assert origins()[-1] == f"config.toml:4, overridden in {watcher}"
