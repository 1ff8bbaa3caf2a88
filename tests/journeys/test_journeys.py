"""Whole journeys, through units and the installed command only."""

import re
import signal
from pathlib import Path

from fixtures import HEALTHY, REFUSED
from forge import Forge, forge
from machine import Machine
from projects import create, unpack_sdist
from units import UNIT_DIRECTORY, port, statuses

__all__ = ["forge", "port"]


def test_from_a_tag_in_a_private_repository_to_pip_uv_and_pdm(
    machine: Machine, forge: Forge, port: int, pdm: Path
) -> None:
    """They get the Insiders version though PyPI has a higher one, and the rest from PyPI."""
    project = forge.create("sponsor/iniconfig-insiders", "iniconfig")
    project.write("1.0.0+insiders.0.9.0", dependencies=["pluggy>=1.5"], backend="flit")
    project.push("1.0.0-insiders-0.9.0")

    started = machine.run("pypi-insiders", "server", "start").stdout
    assert started == f"server: running at http://127.0.0.1:{port}/simple/\n"
    added = machine.run("pypi-insiders", "repos", "add", "sponsor/iniconfig-insiders:iniconfig")
    assert added.stdout == "watching sponsor/iniconfig-insiders as iniconfig\n"
    assert added.stderr == (
        "sponsor/iniconfig-insiders: 1 tag found, latest release: 1.0.0-insiders-0.9.0\n"
        "next: `pypi-insiders update sponsor/iniconfig-insiders`, or `pypi-insiders watcher "
        "enable` for this and all later releases\n"
    )
    machine.run("pypi-insiders", "watcher", "start")
    machine.wait_for_journal(r"published iniconfig-1.0.0\+insiders.0.9.0.tar.gz")

    with_env = 'eval "$(pypi-insiders env --shell sh)" && exec "$@"'
    for client in (
        ("pip", "install", "--quiet", "--disable-pip-version-check", "--target", "by-pip"),
        ("uv", "pip", "install", "--quiet", "--target", "by-uv"),
    ):
        machine.run("sh", "-c", with_env, "sh", *client, "iniconfig", timeout_s=200)
    machine.write_text(
        "by-pdm/pyproject.toml",
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["iniconfig"]\n[tool.pdm]\ndistribution = false\n',
    )
    machine.run(
        "sh", "-c", with_env, "sh", pdm, "install", "--quiet",
        cwd=machine.home / "by-pdm", timeout_s=200,
    )  # fmt: skip
    for place in ("by-pip", "by-uv", "by-pdm/.venv"):
        found = machine.run("find", place, "-name", "*.dist-info").stdout
        names = {Path(line).name.removesuffix(".dist-info") for line in found.splitlines()}
        assert "iniconfig-1.0.0+insiders.0.9.0" in names
        assert any(name.startswith("pluggy-") for name in names)

    logs = machine.run("pypi-insiders", "watcher", "logs").stdout
    assert re.search(r"sponsor/iniconfig-insiders: building tag 1.0.0-insiders-0.9.0", logs)
    assert re.search(r"Finished pypi-insiders-watcher.service", logs)
    status = machine.run("pypi-insiders", "watcher", "status").stdout
    clock = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+"
    assert re.fullmatch(
        rf"watcher: running\n  since        {clock} \(\d+ (s|min) ago\)\n"
        rf"  last update  {clock} \(\d+ (s|min) ago\), succeeded\n"
        rf"  next update  {clock} \(in \d+ (s|min)\)\n",
        status,
    )


def test_the_timer_finds_a_new_tag(machine: Machine, port: int, tmp_path: Path) -> None:
    """A tag that is pushed while the watcher runs is installed after the timer fired by itself."""
    project = create(tmp_path, "probe")
    project.release("1.0")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    machine.write_text(
        f"{UNIT_DIRECTORY}/pypi-insiders-watcher.timer.d/override.conf",
        # Not more often: systemd starts a unit five times in ten seconds at most.
        "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/5\nRandomizedDelaySec=0\nAccuracySec=100ms\n",
    )
    machine.run("pypi-insiders", "repos", "add", "me/probe", "--url", project.url)
    machine.run("pypi-insiders", "server", "start")
    machine.run("pypi-insiders", "watcher", "start")
    machine.wait_for_journal(r"published probe-1.0.tar.gz")
    project.release("1.1")
    machine.wait_for_journal(r"published probe-1.1.tar.gz")
    machine.run(
        "uv", "pip", "install", "--quiet", "--target", "there", "probe",
        env={"UV_DEFAULT_INDEX": f"http://127.0.0.1:{port}/simple/"},
    )  # fmt: skip
    assert 'version = "1.1"' in machine.read_text("there/probe/__init__.py")
    logs = machine.run("pypi-insiders", "watcher", "logs").stdout
    assert logs.count("me/probe: building tag") == 2


def test_the_server_comes_back_after_a_kill_and_stays_away_after_stop(
    machine: Machine, port: int
) -> None:
    """`status` ends 4, 0 and 3; a killed server is restarted; a stopped one refuses connections."""
    assert statuses(machine, "server", "watcher") == [4, 4]
    machine.run("pypi-insiders", "server", "start")
    assert statuses(machine, "server", "watcher") == [0, 4]
    main_pid = ("systemctl", "--user", "show", "--value", "-p", "MainPID", "pypi-insiders-server")
    before = machine.run(*main_pid).stdout
    machine.kill(int(before), signal.SIGKILL)
    machine.wait_for(main_pid, lambda done: done.stdout not in ("0\n", before))
    health = f"http://127.0.0.1:{port}/health"
    assert machine.get(health) == HEALTHY
    assert machine.run("pypi-insiders", "server", "stop").stdout == "server: stopped\n"
    assert machine.get(health) == REFUSED
    assert statuses(machine, "server") == [3]


def test_a_real_project_with_its_own_build_backend(
    machine: Machine, port: int, tmp_path: Path
) -> None:
    """A project as it is on PyPI, with hatchling and hooks of its own, is built and installed."""
    project = create(tmp_path, "pymdown-extensions", "facelessuser/pymdown-extensions-insiders")
    unpack_sdist("pymdown-extensions", "10.9", project.tree)
    project.push("10.9.0-insiders-1.0.0")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    machine.run(
        "pypi-insiders", "repos", "add", "facelessuser/pymdown-extensions-insiders",
        "--url", project.url,
    )  # fmt: skip
    machine.run("pypi-insiders", "server", "start")
    machine.run("pypi-insiders", "watcher", "start")
    machine.wait_for_journal(r"published pymdown_extensions-10.9.tar.gz")
    machine.run(
        "uv", "pip", "install", "--quiet", "--target", "there", "pymdown-extensions",
        env={"UV_DEFAULT_INDEX": f"http://127.0.0.1:{port}/simple/"},
    )  # fmt: skip
    names = machine.run("ls", "there").stdout.splitlines()
    assert {"pymdown_extensions-10.9.dist-info", "markdown", "yaml"} <= set(names)
    page = machine.get(f"http://127.0.0.1:{port}/project/pymdown-extensions/").body
    assert "<dd>10.9.0-insiders-1.0.0</dd>" in page
    assert "<h3>PyMdown Extensions" in re.sub(r' id="[^"]*"', "", page)  # of the README


def test_without_access_the_update_says_which_door_is_closed(
    machine: Machine, forge: Forge
) -> None:
    """A key that the host does not accept, a host key that is not known, and a wrong name."""
    forge.create("sponsor/probe", "probe").release("1.0")
    added = machine.run("pypi-insiders", "repos", "add", "sponsor/probe", "sponsor/nope")
    assert added.stdout.splitlines()[0] == "watching sponsor/probe as probe"
    assert added.stderr.splitlines()[0] == "sponsor/probe: 1 tag found, latest release: v1.0"
    assert added.stderr.splitlines()[1].startswith(
        "warning: sponsor/nope: repository not found, or no access to it ("
    )

    def complaint(name: str) -> str:
        failed = machine.run("pypi-insiders", "update", name, check=False, env={"LC_ALL": "de_DE"})
        assert failed.returncode == 1
        return failed.stderr.splitlines()[-2]

    assert complaint("sponsor/nope").startswith(
        "error: sponsor/nope: repository not found, or no access to it ("
    )
    key = machine.read_text(".ssh/id_ed25519")
    machine.run("rm", ".ssh/id_ed25519")
    assert complaint("sponsor/probe") == (
        "error: sponsor/probe: no access: the host does not accept the credentials "
        "(git@127.0.0.1: Permission denied (publickey,password,keyboard-interactive).)"
    )
    machine.write_text(".ssh/id_ed25519", key, mode=0o600)
    machine.run("rm", ".ssh/known_hosts")
    assert complaint("sponsor/probe") == (
        "error: sponsor/probe: the host's ssh key is unknown (Host key verification failed.)"
    )
