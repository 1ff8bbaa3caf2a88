"""env --install: the variables in all that a real user manager starts."""

import json
from pathlib import Path

from conftest import free_port
from machine import Machine
from projects import create
from test_journeys import port
from wheels import wheel

__all__ = ["port"]

FILE = ".config/environment.d/60-pypi-insiders.conf"
NAMES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PDM_PYPI_URL")
NOTE = "note: new units have the variables now, desktops from the next login, this shell by `env`\n"


def in_a_new_unit(machine: Machine) -> dict[str, str]:
    """Tell which of the variables a unit has that starts now."""
    unit = ("systemd-run", "--user", "--pipe", "--quiet", "--wait", "--collect")
    lines = machine.run(*unit, "env").stdout.splitlines()
    given = dict(line.split("=", 1) for line in lines)
    wanted = (*NAMES, "UV_INDEX", "no_proxy", "NO_PROXY")
    return {name: given[name] for name in wanted if name in given}


def test_new_units_have_the_variables_until_they_are_removed(machine: Machine, port: int) -> None:
    """At once; the second time it says that all is there already."""
    before = in_a_new_unit(machine)
    done = machine.run("pypi-insiders", "env", "--install")
    path = machine.home / FILE
    assert (done.stdout, done.stderr) == (f"installed {path}\n", NOTE)
    url = f"http://127.0.0.1:{port}/simple/"
    assert in_a_new_unit(machine) == {**before, **dict.fromkeys(NAMES, url)}
    assert machine.read_text(FILE) == (
        "# Installed by pypi-insiders; `pypi-insiders env --uninstall` removes it.\n"
        + "".join(f"{name}={url}\n" for name in NAMES)
    )
    again = machine.run("pypi-insiders", "env", "--install")
    assert (again.stdout, again.stderr) == (f"{path} is there already\n", NOTE)

    gone = machine.run("pypi-insiders", "env", "--uninstall")
    assert gone.stdout == f"removed {path}\n"
    assert in_a_new_unit(machine) == before
    assert machine.run("pypi-insiders", "env", "--uninstall").stdout == "nothing was installed\n"


def test_another_port_or_way_replaces_what_was_installed(machine: Machine, port: int) -> None:
    """Proxies of the session are told of this machine; what they except stays so."""
    machine.run("pypi-insiders", "env", "--install")
    machine.write_text(".config/environment.d/50-proxy.conf", "NO_PROXY=example.org\n")
    port = free_port()
    machine.write_text(".config/pypi-insiders/config.toml", f"[server]\nport = {port}\n")
    proxy = {"http_proxy": "http://192.0.2.1:3128"}
    machine.run("pypi-insiders", "env", "--install", "--uv-index", env=proxy)
    expected = {
        "UV_INDEX": f"http://127.0.0.1:{port}/insiders/simple/",
        "no_proxy": "127.0.0.1",
        "NO_PROXY": "example.org,127.0.0.1",
    }
    for _ in range(2):
        assert in_a_new_unit(machine) == expected
        machine.run("systemctl", "--user", "daemon-reload")


def test_uninstall_removes_them_too(machine: Machine, port: int) -> None:
    """And says so."""
    before = in_a_new_unit(machine)
    assert port
    machine.run("pypi-insiders", "env", "--install")
    machine.run("pypi-insiders", "server", "start")
    removed = machine.run("pypi-insiders", "uninstall").stdout.splitlines()
    assert f"removed {machine.home / FILE}" in removed
    assert f"removed {machine.home}/.config/systemd/user/pypi-insiders-server.socket" in removed
    assert in_a_new_unit(machine) == before


def test_a_file_of_somebody_else_is_left_alone(machine: Machine, port: int) -> None:
    """It is named, and `uninstall` goes on without it."""
    assert port
    path = machine.write_text(FILE, "A=1\n")
    for option in ("--install", "--uninstall"):
        failed = machine.run("pypi-insiders", "env", option, check=False)
        assert (failed.returncode, failed.stdout, failed.stderr) == (
            1,
            "",
            f"error: {path} is there and was not written by pypi-insiders\nhint: move it away\n",
        )
    machine.run("pypi-insiders", "server", "start")
    done = machine.run("pypi-insiders", "uninstall")
    assert done.stderr == f"note: {path} is there and was not written by pypi-insiders\n"
    assert "pypi-insiders-server.socket" in done.stdout
    assert machine.read_text(FILE) == "A=1\n"


def test_it_is_written_where_the_manager_looks(machine: Machine) -> None:
    """Which may be elsewhere than this shell would look."""
    config = machine.home / ".config"
    elsewhere = {"XDG_CONFIG_HOME": str(machine.home / "elsewhere")}
    done = machine.run("pypi-insiders", "env", "--install", env=elsewhere)
    assert done.stdout == f"installed {config}/environment.d/60-pypi-insiders.conf\n"
    gone = machine.run("pypi-insiders", "env", "--uninstall", env=elsewhere)
    assert gone.stdout == f"removed {config}/environment.d/60-pypi-insiders.conf\n"


def test_the_watcher_builds_with_public_requirements(
    machine: Machine, port: int, tmp_path: Path
) -> None:
    """Its unit has the variables like any other, and does not follow them to its own index."""
    assert port
    machine.run("pypi-insiders", "env", "--install")
    machine.run("pypi-insiders", "server", "start")
    trap = wheel(tmp_path, "flit-core", "99.0")
    machine.run("install", "-D", "-t", ".local/share/pypi-insiders/dists", trap)
    project = create(tmp_path, "probe")
    project.release("1.0")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    machine.run("pypi-insiders", "repos", "add", "me/probe", "--url", project.url)
    machine.run("pypi-insiders", "watcher", "start")
    machine.wait_for_journal(r"published probe-1.0.tar.gz")
    shown = json.loads(machine.run("pypi-insiders", "show", "me/probe", "--json").stdout)
    (build,) = shown["builds"]
    assert list(build["requirements"]) == ["flit-core"]
    assert build["requirements"]["flit-core"] != "99.0"
