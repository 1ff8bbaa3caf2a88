"""env --install: the variables in all that a real user manager starts."""

import json
from pathlib import Path
from urllib.parse import urlencode

from fixtures import free_port
from machine import Machine
from projects import create
from units import port
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
        + f"PYPI_INSIDERS_ENV={urlencode(dict.fromkeys(NAMES, url))}\n"
    )
    again = machine.run("pypi-insiders", "env", "--install")
    assert (again.stdout, again.stderr) == (f"{path} is up to date\n", NOTE)

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
            f"error: {path} already exists, and was not written by pypi-insiders\n"
            "hint: move that file away\n",
        )
    machine.run("pypi-insiders", "server", "start")
    done = machine.run("pypi-insiders", "uninstall")
    assert done.stderr == f"note: {path} already exists, and was not written by pypi-insiders\n"
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
    project.release("1.0", backend="flit")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    machine.run("pypi-insiders", "repos", "add", "me/probe", "--url", project.url)
    machine.run("pypi-insiders", "watcher", "start")
    machine.wait_for_journal(r"published probe-1.0.tar.gz")
    shown = json.loads(machine.run("pypi-insiders", "show", "me/probe", "--json").stdout)
    (build,) = shown["builds"]
    assert list(build["requirements"]) == ["flit-core"]
    assert build["requirements"]["flit-core"] != "99.0"


def shown(machine: Machine) -> tuple[str, str]:
    """Tell where `env` leads pip, and what it says beside that."""
    done = machine.run("pypi-insiders", "env", "--shell", "sh")
    return done.stdout.splitlines()[0].removeprefix("export PIP_INDEX_URL="), done.stderr


def test_env_gives_the_address_that_listens(machine: Machine, port: int) -> None:
    """Whatever config.toml says by now; a note says what to do."""
    settings = ".config/pypi-insiders/config.toml"
    here = f"http://127.0.0.1:{port}"
    machine.run("pypi-insiders", "server", "start")
    assert shown(machine) == (f"{here}/simple/;", "")
    other = free_port()
    machine.write_text(settings, f"[server]\nport = {other}\n")
    there = f"http://127.0.0.1:{other}"
    assert shown(machine) == (
        f"{here}/simple/;",
        f"note: config.toml sets {there}, but the index listens at {here}; "
        "run `pypi-insiders server restart` to move it\n",
    )
    machine.write_text(settings, "nonsense\n")
    url, said = shown(machine)
    assert url == f"{here}/simple/;"
    assert "config.toml is not valid TOML: " in said
    machine.write_text(settings, f"[server]\nport = {other}\n")
    machine.run("pypi-insiders", "server", "stop")
    assert shown(machine) == (f"{there}/simple/;", "")


def test_env_gives_the_address_of_a_drop_in(machine: Machine, port: int) -> None:
    """Which wins over config.toml, also while nothing listens yet."""
    moved = free_port()
    machine.run("pypi-insiders", "server", "start")
    machine.write_text(
        ".config/systemd/user/pypi-insiders-server.socket.d/override.conf",
        f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{moved}\n",
    )
    machine.run("pypi-insiders", "server", "restart")
    expected = (
        f"http://127.0.0.1:{moved}/simple/;",
        f"note: config.toml sets http://127.0.0.1:{port}, but the index listens at "
        f"http://127.0.0.1:{moved}; a drop-in sets its address: "
        "`systemctl --user cat pypi-insiders-server.socket`\n",
    )
    assert shown(machine) == expected
    machine.run("pypi-insiders", "server", "stop")
    assert shown(machine) == expected


def test_unset_takes_back_what_was_installed(machine: Machine, port: int) -> None:
    """In a shell of a login that has it, whatever the port is by now, with its exception."""
    machine.write_text(".config/environment.d/50-proxy.conf", "NO_PROXY=example.org\n")
    proxy = {"http_proxy": "http://192.0.2.1:3128"}
    for options in ((), ("--uv-index",)):
        machine.run("pypi-insiders", "env", "--install", *options, env=proxy)
        unit = ("systemd-run", "--user", "--pipe", "--quiet", "--wait", "--collect",
                f"--setenv=PATH={machine.run('printenv', 'PATH').stdout.strip()}")  # fmt: skip
        line = 'eval "$(pypi-insiders env --unset --shell sh)"; env'
        text = f"[server]\nport = {free_port()}\n"
        machine.write_text(".config/pypi-insiders/config.toml", text)
        done = machine.run(*unit, "sh", "-c", line)
        assert done.stderr == ""
        lines = done.stdout.splitlines()
        given = dict(line.split("=", 1) for line in lines if "=" in line)
        wanted = (*NAMES, "UV_INDEX", "no_proxy", "NO_PROXY", "PYPI_INSIDERS_ENV")
        assert {name: given[name] for name in wanted if name in given} == {
            "NO_PROXY": "example.org"
        }
