"""`make install`: what a package of a distribution brings, and how the house lives with it."""

import json
import os
import subprocess
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures import HEALTHY, ROOT, MakeMachine, free_port, need
from machine import Machine
from units import CONFINED, CONFINEMENT, HOOKS, UNITS, installed_units

from pypi_insiders import __version__
from pypi_insiders.util.files import locked

BROUGHT = ".local/share/systemd/user"
SERVER_UNITS = {
    "pypi-insiders-server.socket",
    "pypi-insiders-server.service",
    "pypi-insiders-watcher@.timer",
    "pypi-insiders-watcher@.service",
    "pypi-insiders-notify@.service",
    "pypi-insiders-notify.path",
    "pypi-insiders-released@.service",
}
WANTS = {"sockets.target.wants", "sockets.target.wants/pypi-insiders-server.socket"}


def make_install(packager: Path, **variables: str | Path) -> None:
    """Call make as a packager does who has everything: nothing may be downloaded."""
    given = {"PYTHON": packager, "BUILD_FLAGS": "--no-isolation", **variables}
    done = subprocess.run(
        [need("make"), "-C", ROOT, "install", *(f"{key}={value}" for key, value in given.items())],
        env={**os.environ, "PIP_NO_INDEX": "1", "UV_OFFLINE": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="session")
def prefix(packager: Path, shared: Path) -> Path:
    """A prefix into which it is installed, with the Python that runs it."""
    directory = packager.parent.parent
    with locked(shared / "packaged.lock"):
        if not (directory / "packaged").exists():
            make_install(packager, PREFIX=directory)
            (directory / "packaged").touch()
    return directory


def test_what_it_installs(packager: Path, wheel: Path, tmp_path: Path) -> None:
    """The wheel, the command and the license below the prefix, the units, and nothing else.

    The units run the command of the prefix, and each user's files lie where they always do.
    """
    root = tmp_path / "stage"
    make_install(packager, DESTDIR=root, PREFIX="/opt/100% mine", UNITDIR="/usr/lib/systemd/user")
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    data = f"{'-'.join(wheel.name.split('-')[:2])}.data/data/"
    prefix = "opt/100% mine"
    library = f"{prefix}/lib/python{sysconfig.get_python_version()}/site-packages"
    assert found == {
        f"{prefix}/bin/pypi-insiders",
        f"{prefix}/share/licenses/pypi-insiders/LICENSE",
        *(f"usr/lib/systemd/user/{unit}" for unit in UNITS | HOOKS),
        *(f"{prefix}/{name.removeprefix(data)}" for name in names if name.startswith(data)),
        *(f"{library}/{name}" for name in names if not name.startswith(data)),
    }
    told = [path for path in found if str(tmp_path).encode() in (root / path).read_bytes()]
    assert told == []
    needed = {
        path: 0o055 if path.is_dir() or path.parent.name == "bin" else 0o044
        for path in root.rglob("*")
    }
    closed = [path for path, bits in needed.items() if path.stat().st_mode & bits != bits]
    assert closed == []

    texts = {path.name: path.read_text() for path in (root / "usr/lib/systemd/user").iterdir()}
    assert set(texts) == UNITS | HOOKS
    lines = "".join(texts.values()).splitlines()
    assert sorted(line for line in lines if line.startswith("ExecStart=")) == [
        'ExecStart="/opt/100%% mine/bin/pypi-insiders" notify',
        'ExecStart="/opt/100%% mine/bin/pypi-insiders" released %I',
        'ExecStart="/opt/100%% mine/bin/pypi-insiders" server run',
        'ExecStart="/opt/100%% mine/bin/pypi-insiders" update --scheduled',
        'ExecStart="/opt/100%% mine/bin/pypi-insiders" update --scheduled -- %I',
        "ExecStart=sh -c '\\",
    ]
    assert [line for line in lines if line.startswith("Environment=")] == [
        "Environment=PYTHONFAULTHANDLER=1",
        "Environment=MALLOC_ARENA_MAX=1",
    ]
    assert [line for line in lines if "@environment" in line] == []


def test_systemd_has_nothing_to_say_about_the_units(prefix: Path, tmp_path: Path) -> None:
    """As they are installed."""
    done = subprocess.run(
        [need("systemd-analyze"), "--user", "--man=no", "verify",
         *sorted((prefix / "lib/systemd/user").iterdir())],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def command(prefix: Path) -> Path:
    """The command of the package."""
    return prefix / "bin/pypi-insiders"


@pytest.fixture
def equipped(make_machine: MakeMachine, prefix: Path) -> Iterator[Machine]:
    """A machine on which the units of the package are where the manager looks."""
    with make_machine(private_network=True) as machine:
        machine.run("mkdir", "-p", BROUGHT)
        machine.run("cp", "-r", f"{prefix}/lib/systemd/user/.", BROUGHT)
        machine.run("systemctl", "--user", "daemon-reload")
        yield machine


def brought(machine: Machine) -> str:
    """Tell names, times and sizes of what the package brought."""
    return machine.run("find", BROUGHT, "-type", "f", "-printf", "%p %T@ %s %i\n").stdout


def test_the_units_of_a_package_need_nothing_else(equipped: Machine, command: Path) -> None:
    """systemctl alone enables the index; `start` then writes no copy, `uninstall` takes none."""
    before = brought(equipped)
    status = equipped.run(command, "server", "status", check=False)
    assert (status.returncode, status.stdout.splitlines()[0]) == (3, "server: stopped")
    equipped.run("systemctl", "--user", "enable", "--now", "pypi-insiders-server.socket")
    assert equipped.get("http://127.0.0.1:31411/health") == HEALTHY

    for verb in (("server", "start"), ("server", "enable"), ("watcher", "start")):
        equipped.run(command, *verb)
    assert installed_units(equipped) == WANTS | CONFINED
    assert [
        equipped.run(command, part, "status", check=False).returncode
        for part in ("server", "watcher")
    ] == [0, 0]
    found = equipped.run(command, "doctor", check=False).stdout
    assert "ok       server: running at http://127.0.0.1:31411/simple/\n" in found

    gone = equipped.run(command, "uninstall")
    units = ("server", "watcher", "notify@", "watcher@")
    drop_ins = [f"pypi-insiders-{unit}.service.d" for unit in units]
    assert (gone.stdout, gone.stderr) == (
        "".join(
            f"removed {equipped.home}/.config/systemd/user/{name}/20-confinement.conf\n"
            for name in drop_ins
        )
        + f"stays: {equipped.home}/.config/pypi-insiders\n"
        f"stays: {equipped.home}/.local/share/pypi-insiders, with 0 files of the index\n"
        f"stays: {equipped.home}/.cache/pypi-insiders\n"
        f"stays: {equipped.home}/.local/state/pypi-insiders\n"
        "to remove that too: pypi-insiders uninstall --purge\n",
        f"note: the units in {equipped.home}/{BROUGHT} stay, stopped: they belong to a package\n",
    )
    assert installed_units(equipped) - {"sockets.target.wants"} == set()
    assert brought(equipped) == before
    assert equipped.run(command, "server", "status", check=False).returncode == 3


def test_settings_are_drop_ins_of_the_units_of_a_package(equipped: Machine, command: Path) -> None:
    """Nothing else is written; where the shell's directories differ, the service is told."""
    port = free_port()
    equipped.write_text("my data/pypi-insiders/dists/.keep", "")
    equipped.write_text(".config/pypi-insiders/config.toml", f"[server]\nport = {port}\n")
    equipped.run(command, "server", "start", env={"XDG_DATA_HOME": f"{equipped.home}/my data"})
    assert equipped.get(f"http://127.0.0.1:{port}/health") == HEALTHY
    drop_ins = {
        f"pypi-insiders-{unit}.d{file}"
        for unit in (
            *("server.socket", "server.service"),
            *("notify@.service", "released@.service", "watcher@.service"),
        )
        for file in ("", "/10-config.conf")
    }
    assert installed_units(equipped) == drop_ins | CONFINEMENT["server"]
    head, _, rest = equipped.read_text(
        ".config/systemd/user/pypi-insiders-server.service.d/10-config.conf"
    ).partition("\n")
    assert head.startswith("# Installed by pypi-insiders (sha256 ")
    assert rest == (f'[Service]\nEnvironment="XDG_DATA_HOME={equipped.home}/my data"\n')
    equipped.run("rm", ".config/pypi-insiders/config.toml")
    equipped.run(command, "server", "start")
    assert installed_units(equipped) == CONFINEMENT["server"]
    assert equipped.get("http://127.0.0.1:31411/health") == HEALTHY


def test_copies_from_before_the_package_are_removed(equipped: Machine, command: Path) -> None:
    """Or else they would hide the units of the package for ever."""
    equipped.run("pypi-insiders", "server", "enable")  # another command: its units are its own
    assert installed_units(equipped) == WANTS | SERVER_UNITS | CONFINEMENT["server"]
    equipped.run(command, "server", "start")
    assert installed_units(equipped) == WANTS | CONFINEMENT["server"]
    wanted = equipped.run("systemctl", "--user", "show", "-p", "Wants", "sockets.target").stdout
    assert "pypi-insiders-server.socket" in wanted  # the link counts by its name
    assert equipped.get("http://127.0.0.1:31411/health") == HEALTHY


def test_units_of_another_version_are_not_used(equipped: Machine, command: Path) -> None:
    """What is installed for the user is what this version needs."""
    unit = "pypi-insiders-server.service"
    text = equipped.read_text(f"{BROUGHT}/{unit}")
    equipped.write_text(f"{BROUGHT}/{unit}", text.replace(__version__, "0.0.1"))
    equipped.run(command, "server", "start")
    assert installed_units(equipped) == SERVER_UNITS | CONFINEMENT["server"]
    copy = equipped.read_text(f".config/systemd/user/{unit}")
    assert copy.partition(" (sha256 ")[0] == text.partition(" (sha256 ")[0]
    assert equipped.get("http://127.0.0.1:31411/health") == HEALTHY


def test_doctor_knows_units_of_a_package(equipped: Machine, command: Path) -> None:
    """They need no copies; a copy of another version hides them."""

    def told() -> list[tuple[str, str]]:
        found = json.loads(equipped.run(command, "doctor", "--json").stdout)["findings"]
        return [
            (item["severity"], item["text"]) for item in found if item["check"] == "server units"
        ]

    equipped.run(command, "server", "start")
    assert told() == [("ok", "up to date")]
    equipped.run("pypi-insiders", "server", "restart")  # another command: its units are its own
    names = (
        *("-server.socket", "-server.service", "-server.service.d/20-confinement.conf"),
        *("-notify@.service", "-notify.path", "-released@.service"),
        *("-watcher@.timer", "-watcher@.service"),
    )
    stale = ", ".join(f"pypi-insiders{name}" for name in names)
    assert told() == [("warning", f"out of date (upgrade or changed settings): {stale}")]
    equipped.run(command, "server", "restart")
    assert told() == [("ok", "up to date")]
