"""Units under a real user manager: installed, refreshed, rolled back and removed."""

import json
import re
from pathlib import Path

import pytest
from fixtures import HEALTHY, MakeMachine, free_port
from machine import Answer, Machine
from projects import create
from units import CONFINED, UNIT_DIRECTORY, UNITS, installed_units, port, show, statuses
from wheels import wheel

from pypi_insiders import __version__

__all__ = ["port"]

CONFIG = ".config/pypi-insiders/config.toml"
SERVICES = ("server", "watcher")


def listing(machine: Machine) -> str:
    """Tell name, time of change and inode of all unit files."""
    return machine.run("find", UNIT_DIRECTORY, "-printf", "%p %T@ %i\n").stdout


def test_the_installed_units_verify_and_starting_again_changes_nothing(
    machine: Machine, port: int
) -> None:
    """`systemd-analyze --user verify` has nothing to say about what `start` installs.

    The second `start` writes no file and restarts no process.
    """
    for service in SERVICES:
        machine.run("pypi-insiders", service, "start")
    assert installed_units(machine) == {
        *UNITS,
        "pypi-insiders-server.socket.d",
        "pypi-insiders-server.socket.d/10-config.conf",
        *CONFINED,
    }
    units = [f"{machine.home}/{UNIT_DIRECTORY}/{unit}" for unit in sorted(UNITS)]
    verified = machine.run("systemd-analyze", "--user", "--man=no", "verify", *units)
    assert (verified.stdout, verified.stderr) == ("", "")
    files, pid = listing(machine), show(machine, "pypi-insiders-server.service", "MainPID")
    for service in SERVICES:
        machine.run("pypi-insiders", service, "start")
    assert listing(machine) == files
    assert show(machine, "pypi-insiders-server.service", "MainPID") == pid


def noted(machine: Machine) -> list[str]:
    """Name the services that run and are not enabled, by status."""
    found = json.loads(machine.run("pypi-insiders", "status", "--json").stdout)["notes"]
    return [item["subject"] for item in found if "not enabled" in item["text"]]


def test_enable_is_for_every_login_and_disable_takes_it_back(machine: Machine, port: int) -> None:
    """Socket and timer are wanted by the targets of a login; `start` alone does not do that."""
    wants = {
        "sockets.target.wants",
        "sockets.target.wants/pypi-insiders-server.socket",
        "timers.target.wants",
        "timers.target.wants/pypi-insiders-watcher.timer",
    }
    for service in SERVICES:
        machine.run("pypi-insiders", service, "start")
    assert not wants & installed_units(machine)
    assert noted(machine) == list(SERVICES)
    for service in SERVICES:
        machine.run("pypi-insiders", service, "enable")
    assert wants <= installed_units(machine)
    assert noted(machine) == []
    # Of which systemd does not know yet.
    machine.run("rm", f"{UNIT_DIRECTORY}/timers.target.wants/pypi-insiders-watcher.timer")
    assert noted(machine) == ["watcher"]
    machine.run("pypi-insiders", "watcher", "enable")
    assert noted(machine) == []
    for _ in range(2):
        for service in SERVICES:
            machine.run("pypi-insiders", service, "disable")
        assert statuses(machine, *SERVICES) == [3, 3]
        assert (
            not {unit for unit in installed_units(machine) if unit.endswith((".socket", ".timer"))}
            & wants
        )


def test_uninstall_leaves_nothing_but_what_is_the_persons(machine: Machine, port: int) -> None:
    """No unit, link, failed state, slice or stamp of the timer is left; a person's drop-in is."""
    stamp = machine.home / ".local/share/systemd/timers/stamp-pypi-insiders-watcher.timer"
    drop_in = "pypi-insiders-server.service.d/override.conf"
    machine.write_text(f"{UNIT_DIRECTORY}/{drop_in}", "[Service]\nEnvironment=MINE=1\n")
    for service in SERVICES:
        machine.run("pypi-insiders", service, "enable")
    assert "MINE=1" in show(machine, "pypi-insiders-server.service", "Environment")
    machine.run("test", "-e", stamp)

    told = machine.run("pypi-insiders", "uninstall").stdout.splitlines()
    assert told[-5:] == [
        f"stays: {machine.home}/.config/pypi-insiders",
        f"stays: {machine.home}/.local/share/pypi-insiders, with 0 files of the index",
        f"stays: {machine.home}/.cache/pypi-insiders",
        f"stays: {machine.home}/.local/state/pypi-insiders",
        "to remove that too: pypi-insiders uninstall --purge",
    ], told
    left = {unit for unit in installed_units(machine) if not unit.endswith(".wants")}
    assert left == {"pypi-insiders-server.service.d", drop_in}
    listed = machine.run(
        "systemctl", "--user", "list-units", "--all", "--plain", "--no-legend", "pypi*"
    )
    assert listed.stdout == ""
    assert machine.run("systemctl", "--user", "--failed", "--plain", "--no-legend").stdout == ""
    machine.run("test", "!", "-e", stamp)
    machine.run("test", "-e", ".local/share/pypi-insiders/dists")
    machine.run("test", "-e", ".config/pypi-insiders/config.toml")
    assert statuses(machine, *SERVICES) == [4, 4]
    again = machine.run("pypi-insiders", "uninstall", "--purge", "--yes").stdout
    assert "nothing was installed" not in again
    machine.run("test", "!", "-e", ".local/share/pypi-insiders")
    machine.run("test", "!", "-e", ".config/pypi-insiders")


def test_a_taken_port_is_named_and_all_is_as_before(machine: Machine, port: int) -> None:
    """When the socket cannot listen, `start` says why and installs nothing."""
    holder = machine.start("python", "-m", "http.server", "-b", "127.0.0.1", str(port))
    machine.wait_for(
        ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"], lambda done: done.returncode == 0
    )
    for verb in ("start", "enable"):
        failed = machine.run("pypi-insiders", "server", verb, check=False)
        assert failed.returncode == 1
        assert failed.stderr == (
            f"error: cannot listen on 127.0.0.1:{port}: the port is taken\n"
            f"hint: find its process: `ss -ltnp 'sport = :{port}'`; or choose another port: "
            f"[server] port in {machine.home}/.config/pypi-insiders/config.toml\n"
        )
        assert installed_units(machine) == set()
        assert statuses(machine, "server") == [4]
        assert machine.run("systemctl", "--user", "--failed", "--plain", "--no-legend").stdout == ""
    holder.stop()
    machine.run("pypi-insiders", "server", "start")


def test_a_failed_change_of_the_port_leaves_the_index_where_it_was(
    machine: Machine, port: int
) -> None:
    """A running index goes on at its old address when the new one cannot be had."""
    machine.run("pypi-insiders", "server", "start")
    taken = free_port()
    machine.start("python", "-m", "http.server", "-b", "127.0.0.1", str(taken))
    machine.wait_for(
        ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{taken}"], lambda done: done.returncode == 0
    )
    machine.write_text(".config/pypi-insiders/config.toml", f"[server]\nport = {taken}\n")
    pid = show(machine, "pypi-insiders-server.service", "MainPID")
    for verb in ("start", "restart"):
        failed = machine.run("pypi-insiders", "server", verb, check=False)
        assert failed.stderr.startswith(
            f"error: cannot listen on 127.0.0.1:{taken}: the port is taken; the index keeps "
            f"running at http://127.0.0.1:{port}/simple/\n"
        )
    # It was not even stopped for a moment, and everything names the address where it is.
    assert show(machine, "pypi-insiders-server.service", "MainPID") == pid
    text = (
        f"config.toml sets http://127.0.0.1:{taken}, but the index listens at "
        f"http://127.0.0.1:{port}: port {taken} is used by python ("
    )
    hint = "stop that program, or set another `port` under [server]"
    status = json.loads(machine.run("pypi-insiders", "status", "--json", check=False).stdout)
    (warning,) = [it for it in status["warnings"] if it["subject"].startswith("server")]
    assert (warning["text"].startswith(text), warning["hint"]) == (True, hint)
    checks = machine.run("pypi-insiders", "doctor", check=False).stdout
    assert f"warning  server: {text}" in checks
    assert "server units: up to date" not in checks
    variables = machine.run("pypi-insiders", "env", "--shell", "sh")
    assert f"PIP_INDEX_URL=http://127.0.0.1:{port}/simple/;" in variables.stdout
    assert (text in variables.stderr, hint in variables.stderr) == (True, True)


def test_a_service_that_does_not_come_up_is_taken_back(machine: Machine, port: int) -> None:
    """A person's drop-in that breaks the service makes `start` fail, and no unit stays."""
    drop_in = f"{UNIT_DIRECTORY}/pypi-insiders-server.service.d/override.conf"
    machine.write_text(drop_in, "[Service]\nExecStartPre=/bin/false\n")
    failed = machine.run("pypi-insiders", "server", "start", check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: systemctl --user restart: Job for ")
    assert failed.stderr.endswith("\nhint: see why: `pypi-insiders server logs`\n")
    assert installed_units(machine) == {
        "pypi-insiders-server.service.d",
        "pypi-insiders-server.service.d/override.conf",
    }
    assert machine.run("systemctl", "--user", "--failed", "--plain", "--no-legend").stdout == ""


def test_changed_settings_take_effect_at_the_next_start(machine: Machine, port: int) -> None:
    """Port, fallback and interval are those of config.toml after `start`, without a `stop`."""
    for service in SERVICES:
        machine.run("pypi-insiders", service, "start")
    other = free_port()
    machine.write_text(
        ".config/pypi-insiders/config.toml",
        f'[server]\nport = {other}\nfallback-url = "https://example.org/simple/"\n'
        '[watcher]\ninterval = "15min"\n',
    )
    assert machine.run("pypi-insiders", "server", "start").stdout.endswith(f":{other}/simple/\n")
    machine.run("pypi-insiders", "watcher", "start")
    url = f"http://127.0.0.1:{other}/simple/nothing/"
    assert machine.get(url).location == "https://example.org/simple/nothing/"
    calendar = show(machine, "pypi-insiders-watcher.timer", "TimersCalendar")
    assert "OnCalendar=*-*-* *:00/15:00" in calendar

    machine.write_text(
        ".config/pypi-insiders/config.toml",
        f'[server]\nport = {other}\nfallback-url = "https://example.com/simple/"\n',
    )
    machine.run("pypi-insiders", "server", "start")
    assert machine.get(url).location == "https://example.com/simple/nothing/"


def test_a_moved_environment_is_refreshed(machine: Machine, port: int, installed: Path) -> None:
    """`start` from another place makes the units run the command that is there, spaces and all."""
    moved = machine.home / "my %tools" / "pypi-insiders"
    machine.run("pypi-insiders", "server", "start")
    machine.run("mkdir", moved.parent)
    machine.run("ln", "-s", installed, moved)
    machine.run(moved, "server", "start")
    assert f'ExecStart="{machine.home}/my %%tools/pypi-insiders" server run\n' in machine.read_text(
        f"{UNIT_DIRECTORY}/pypi-insiders-server.service"
    )
    assert machine.get(f"http://127.0.0.1:{port}/health") == HEALTHY
    machine.run(moved, "watcher", "start")
    machine.wait_for_journal("Finished pypi-insiders-watcher.service")


def test_units_and_shell_agree_on_paths_that_only_the_shell_sets(
    machine: Machine, port: int, tmp_path: Path
) -> None:
    """With `XDG_*` set in the shell alone, the manager finds the units, and they use the paths."""
    project = create(tmp_path, "probe")
    project.release("1.0")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    machine.write_text("config/pypi-insiders/config.toml", f"[server]\nport = {port}\n")
    names = {"CONFIG": "config", "DATA": "da ta", "STATE": "state", "CACHE": "ca'che"}
    shell = {f"XDG_{key}_HOME": f"{machine.home}/{value}" for key, value in names.items()}
    for command in (
        ("repos", "add", "me/probe", "--url", project.url),
        ("server", "start"),
        ("watcher", "start"),
    ):
        machine.run("pypi-insiders", *command, env=shell)
    machine.wait_for_journal("Finished pypi-insiders-watcher.service")
    listed = machine.run("ls", f"{machine.home}/da ta/pypi-insiders/dists").stdout
    assert listed == "probe-1.0-py3-none-any.whl\nprobe-1.0.tar.gz\n"
    page = machine.get(f"http://127.0.0.1:{port}/simple/probe/").body
    assert "probe-1.0-py3-none-any.whl" in page


@pytest.mark.parametrize("ipv6", [True, False])
def test_the_index_listens_with_and_without_ipv6(make_machine: MakeMachine, ipv6: bool) -> None:
    """The units as they stand listen on the loopback addresses that the machine has."""
    with make_machine(private_network=True, ipv6=ipv6) as machine:
        started = machine.run("pypi-insiders", "server", "start").stdout
        assert started == "server: running at http://127.0.0.1:31411/simple/\n"
        assert machine.get("http://127.0.0.1:31411/health") == HEALTHY
        six = machine.get("http://[::1]:31411/health")
        assert six == (HEALTHY if ipv6 else Answer(None, None, "Cannot assign requested address"))


def test_a_failing_repository_fails_the_unit_and_not_the_others(
    machine: Machine, port: int, tmp_path: Path
) -> None:
    """The good project is served; the log says what failed, with the build's own output."""
    good, bad = create(tmp_path, "good"), create(tmp_path, "bad")
    good.release("1.0")
    bad.write("1.0")
    with (bad.tree / "buildapi.py").open("a") as backend:
        backend.write(
            "\n\ndef get_requires_for_build_sdist(settings=None):\n"
            "    raise SystemExit('flux capacitor is missing')\n"
        )
    bad.push("v1.0")
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    for project in (good, bad):
        at = f"me/{project.name}"
        machine.run("pypi-insiders", "repos", "add", at, "--url", project.url)
    machine.run("pypi-insiders", "watcher", "start", "--no-block")
    machine.wait_for_journal("Failed to start pypi-insiders-watcher.service")
    listed = machine.run("ls", ".local/share/pypi-insiders/dists").stdout
    assert listed == "good-1.0-py3-none-any.whl\ngood-1.0.tar.gz\n"
    logs = machine.run("pypi-insiders", "watcher", "logs", "-n", "100").stdout
    assert "me/bad: tag v1.0: output of the build:" in logs
    assert "flux capacitor is missing" in logs
    errors = machine.journal("-t", "pypi-insiders-watcher", "-p", "err")
    assert errors.splitlines() == [
        "me/bad: tag v1.0: Backend subprocess exited when trying to invoke "
        "get_requires_for_build_sdist: flux capacitor is missing"
    ]
    status = machine.run("pypi-insiders", "watcher", "status").stdout
    assert re.search(r"^watcher: running\n(  .*\n)*  last update  .*, failed\n", status)
    assert status.endswith("\n  hint: see why: `pypi-insiders watcher logs`\n")
    assert show(machine, "pypi-insiders-watcher.service", "ExecMainStatus") == "1"


def test_after_an_upgrade_the_units_are_refreshed(machine: Machine, port: int) -> None:
    """`start` rewrites a unit of an older version and restarts the service."""
    unit = f"{UNIT_DIRECTORY}/pypi-insiders-server.service"
    machine.run("pypi-insiders", "server", "start")
    text = machine.read_text(unit)
    older = text.replace(f"pypi-insiders {__version__}", "pypi-insiders 0.0.1")
    assert older != text
    machine.write_text(unit, older)
    pid = show(machine, "pypi-insiders-server.service", "MainPID")
    machine.run("pypi-insiders", "server", "start")
    assert machine.read_text(unit) == text
    assert show(machine, "pypi-insiders-server.service", "MainPID") != pid
    assert show(machine, "pypi-insiders-server.service", "NeedDaemonReload") == "no"


def test_the_index_is_not_opened_to_others_without_passwords(machine: Machine, port: int) -> None:
    """Nothing is installed, and the way out is told; with a password it starts."""
    settings = f'[server]\nhost = "0.0.0.0"\nport = {port}\n'
    machine.write_text(".config/pypi-insiders/config.toml", settings)
    done = machine.run("pypi-insiders", "server", "start", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"error: 0.0.0.0:{port} is reachable from other machines without a password\n"
        "hint: set `auth = true` under [server], and run `pypi-insiders server password USER`\n",
    )
    machine.write_text(".config/pypi-insiders/config.toml", f"{settings}auth = true\n")
    machine.run("sh", "-c", "echo secret | pypi-insiders server password me")
    done = machine.run("pypi-insiders", "server", "start")
    assert done.stdout == f"server: running at http://127.0.0.1:{port}/simple/\n"
    assert machine.get(f"http://127.0.0.1:{port}/simple/").status == 401
    assert machine.get(f"http://127.0.0.1:{port}/health") == HEALTHY


def test_an_index_whose_passwords_are_missing_does_not_start(machine: Machine, port: int) -> None:
    """What is missing is said, and all is as before."""
    machine.write_text(
        ".config/pypi-insiders/config.toml", f"[server]\nport = {port}\nauth = true\n"
    )
    done = machine.run("pypi-insiders", "server", "start", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "`auth` is set, but " in done.stderr
    assert "`pypi-insiders server password USER`" in done.stderr
    assert machine.run("pypi-insiders", "server", "status", check=False).returncode == 4


def test_passwords_can_come_from_a_credential(machine: Machine, port: int, tmp_path: Path) -> None:
    """systemd hands it over; the file is not needed."""
    machine.write_text(
        ".config/pypi-insiders/config.toml", f"[server]\nport = {port}\nauth = true\n"
    )
    machine.run("sh", "-c", "echo secret | pypi-insiders server password me")
    machine.run("mv", ".config/pypi-insiders/passwords", "elsewhere")
    machine.write_text(
        f"{UNIT_DIRECTORY}/pypi-insiders-server.service.d/override.conf",
        "[Service]\nLoadCredential=pypi-insiders-passwords:%h/elsewhere\n",
    )
    machine.run("pypi-insiders", "server", "start")
    index = f"http://127.0.0.1:{port}/simple/"
    assert machine.get(index).status == 401
    machine.write_text(".netrc", "machine 127.0.0.1 login me password secret\n", mode=0o600)
    machine.run("install", "-D", "-t", ".local/share/pypi-insiders/dists",
                str(wheel(tmp_path, "probe", "1.0")))  # fmt: skip
    machine.run("pip", "download", "--no-deps", "--index-url", index, "probe")
    assert machine.run("ls", "probe-1.0-py3-none-any.whl").returncode == 0
    told = machine.run("pypi-insiders", "status", check=False).stdout
    assert "passwords" not in told
    machine.run("rm", "elsewhere")
    done = machine.run("pypi-insiders", "server", "restart", check=False)
    reason = "systemd cannot read a credential of pypi-insiders-server.service (243/CREDENTIALS)"
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, f"error: {reason}")
    machine.wait_for(("pypi-insiders", "status"), lambda done: reason in done.stdout)


def test_an_index_that_fails_again_and_again_is_not_said_to_run(
    machine: Machine, port: int
) -> None:
    """The socket still listens then, but nobody answers."""
    machine.run("pypi-insiders", "server", "start")
    machine.write_text(".config/pypi-insiders/config.toml", "[server")
    machine.run("systemctl", "--user", "kill", "--signal=KILL", "pypi-insiders-server.service")
    machine.wait_for_journal("is not valid TOML")
    failing = machine.wait_for(
        ("pypi-insiders", "server", "status"), lambda done: done.returncode == 3
    )
    assert failing.stdout.startswith("server: failing (")


def test_with_broken_settings_each_client_is_told_at_once(machine: Machine, port: int) -> None:
    """It would hang behind the socket otherwise; as soon as they are mended it is served."""
    machine.run("pypi-insiders", "server", "start")
    path = machine.home / ".config/pypi-insiders/config.toml"
    good = machine.read_text(path)
    machine.write_text(path, f"{good}prot = 1\n")
    machine.run("systemctl", "--user", "stop", "pypi-insiders-server.service", check=False)
    reason = f"the index cannot serve: {path}: unknown key server.prot (did you mean port?)"
    for url in ("simple/", "simple/probe/", "packages/probe-1.0.tar.gz", "insiders/simple/", ""):
        answer = machine.get(f"http://127.0.0.1:{port}/{url}")
        assert (answer.status, json.loads(answer.body)["title"]) == (503, reason)
    assert machine.get(f"http://127.0.0.1:{port}/health").status == 503
    done = machine.run("pip", "download", "--no-deps", "--index-url",
                       f"http://127.0.0.1:{port}/simple/", "probe", check=False)  # fmt: skip
    assert reason in done.stderr
    status = machine.run("pypi-insiders", "status", check=False)
    assert (status.returncode, reason.partition(": ")[2] in status.stdout) == (1, True)
    machine.write_text(path, good)
    machine.wait_for_answer(f"http://127.0.0.1:{port}/health", lambda answer: answer == HEALTHY)


_SETTINGS = ("prot = 1", f"sed -i /prot/d {CONFIG}")
_RELOAD = "systemctl --user reload --no-block pypi-insiders-server.service"


@pytest.mark.parametrize(
    ("wrong", "mend", "verb"),
    [
        (*_SETTINGS, "start"),
        (*_SETTINGS, "restart"),
        ("auth = true", "echo secret | pypi-insiders server password me", "start"),
        ("uploads = true", "pypi-insiders server token", "restart"),
        (_SETTINGS[0], f"{_SETTINGS[1]}; {_RELOAD}", "start"),
        (_SETTINGS[0], f"{_SETTINGS[1]}; {_RELOAD}", "restart"),
    ],
)
def test_what_was_mended_is_served_at_the_first_start(
    machine: Machine, port: int, wrong: str, mend: str, verb: str
) -> None:
    """Also while the process still runs that told clients what was wrong."""
    # It may have seen the mend already: systemd does not start the next one by itself meanwhile.
    machine.write_text(
        f"{UNIT_DIRECTORY}/pypi-insiders-server.service.d/override.conf",
        "[Service]\nRestartSec=60\n",
    )
    machine.run("pypi-insiders", "server", "start")
    url = f"http://127.0.0.1:{port}/health"
    machine.write_text(CONFIG, f"[server]\nport = {port}\n{wrong}\n")
    machine.run("systemctl", "--user", "stop", "pypi-insiders-server.service")
    assert machine.get(url).status == 503
    machine.run("sh", "-c", mend)
    state = show(machine, "pypi-insiders-server.service", "ActiveState")
    assert state in ("activating", "deactivating")
    done = machine.run("pypi-insiders", "server", verb, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"server: running at http://127.0.0.1:{port}/simple/\n"
    assert machine.get(url) == HEALTHY


def test_a_restart_without_a_password_leaves_the_index_as_it_is(
    machine: Machine, port: int
) -> None:
    """What is missing is said, and not only in the journal."""
    machine.run("pypi-insiders", "server", "start")
    settings = f"[server]\nport = {port}\n"
    for key, command in (("auth", "server password USER"), ("uploads", "server token")):
        machine.write_text(".config/pypi-insiders/config.toml", f"{settings}{key} = true\n")
        for verb in ("start", "restart"):
            done = machine.run("pypi-insiders", "server", verb, check=False)
            assert (done.returncode, done.stdout) == (1, "")
            assert f"hint: `pypi-insiders {command}`\n" in done.stderr
        assert machine.get(f"http://127.0.0.1:{port}/health") == HEALTHY


def test_an_address_of_another_machine_is_refused(machine: Machine, port: int) -> None:
    """It is named at once, and not found out when nobody reaches the index."""
    machine.write_text(
        ".config/pypi-insiders/config.toml",
        f'[server]\nhost = "192.0.2.1"\nport = {port}\nauth = true\n',
    )
    machine.run("sh", "-c", "echo secret | pypi-insiders server password me")
    failed = machine.run("pypi-insiders", "server", "start", check=False)
    assert failed.stderr.startswith(
        f"error: cannot listen on 192.0.2.1:{port}: Cannot assign requested address\n"
    )
    assert installed_units(machine) == set()


def test_uninstall_finds_the_link_of_a_unit_that_somebody_removed(
    machine: Machine, port: int
) -> None:
    """Without its unit systemd cannot disable it."""
    machine.run("pypi-insiders", "server", "enable")
    for unit in ("socket", "service"):
        machine.run("rm", f"{UNIT_DIRECTORY}/pypi-insiders-server.{unit}")
    machine.run("pypi-insiders", "uninstall")
    assert {unit for unit in installed_units(machine) if not unit.endswith(".wants")} <= {
        "pypi-insiders-server.socket.d",
    }


def test_logs_pass_their_options_on(machine: Machine, port: int) -> None:
    """`-n`, `--since` and `-f` are journalctl's."""
    machine.run("pypi-insiders", "server", "start")
    machine.wait_for_journal("Started pypi-insiders-server.service")
    last = machine.run("pypi-insiders", "server", "logs", "-n", "1").stdout
    assert last.count("\n") == 1
    later = machine.run("pypi-insiders", "server", "logs", "--since", "+1h").stdout
    assert later == "-- No entries --\n"
    following = machine.start("pypi-insiders", "server", "logs", "-f", "-n", "1")
    lines = following.lines()
    next(lines)  # it is there
    machine.run("pypi-insiders", "server", "stop")
    assert any("Stopping pypi-insiders-server.service" in line for line in lines)


def test_without_a_user_manager_every_verb_says_so(machine: Machine) -> None:
    """Each way to have no user manager is named, with what to do."""
    without = {
        ("XDG_RUNTIME_DIR=",): (
            "no session with a user manager here: XDG_RUNTIME_DIR is not set",
            "log in as insider with ssh or `machinectl shell insider@`, not with `su`; "
            "`pypi-insiders exec`, `server run` and `update` work without systemd",
        ),
        ("XDG_RUNTIME_DIR=/nonexistent",): (
            "no user manager is running for insider (no socket in /nonexistent)",
            "start one: `sudo loginctl enable-linger insider`; "
            "`pypi-insiders exec`, `server run` and `update` work without systemd",
        ),
        ("XDG_RUNTIME_DIR=/usr",): (
            "XDG_RUNTIME_DIR is /usr, which belongs to another user",
            "log in as insider (`machinectl shell insider@`), not with `su` or `sudo`",
        ),
        ("PATH=/nonexistent",): (
            "systemctl not found: systemd is not running here",
            "`pypi-insiders exec`, `server run` and `update` work without systemd",
        ),
    }
    command = machine.run("sh", "-c", "command -v pypi-insiders").stdout.strip()
    first, *_ = without
    others = [(verb, first) for verb in ("stop", "restart", "status", "logs", "enable", "disable")]
    for verb, assignments in [*(("start", way) for way in without), *others]:
        message, hint = without[assignments]
        env = ("env", "-u", "DBUS_SESSION_BUS_ADDRESS", *assignments)
        failed = machine.run(*env, command, "server", verb, check=False)
        assert (failed.returncode, failed.stdout) == (1, ""), verb
        assert failed.stderr == f"error: {message}\nhint: {hint}\n"


def test_on_a_system_without_systemd_that_is_said(machine: Machine) -> None:
    """In a container the foreground commands are named."""
    failed = machine.run(
        "unshare", "--user", "--map-root-user", "--mount",
        "sh", "-c", 'mount -t tmpfs tmpfs /run/systemd && exec "$@"', "sh",
        "env", "-u", "DBUS_SESSION_BUS_ADDRESS", "-u", "XDG_RUNTIME_DIR",
        "pypi-insiders", "server", "start", check=False,
    )  # fmt: skip
    assert failed.stderr == (
        "error: systemd is not running here (in a container?)\n"
        "hint: `pypi-insiders exec`, `server run` and `update` work without systemd\n"
    )


def test_a_run_that_was_missed_is_made_up_for(machine: Machine, port: int) -> None:
    """After days without the machine the timer fires as soon as it is there again."""
    machine.write_text(
        f"{UNIT_DIRECTORY}/pypi-insiders-watcher.timer.d/override.conf",
        "[Timer]\nRandomizedDelaySec=0\n",
    )
    machine.run("pypi-insiders", "watcher", "start")
    machine.wait_for_journal("Finished pypi-insiders-watcher.service")
    machine.run("pypi-insiders", "watcher", "stop")
    stamp = ".local/share/systemd/timers/stamp-pypi-insiders-watcher.timer"
    machine.run("touch", "--date=3 days ago", stamp)
    machine.run("systemctl", "--user", "start", "pypi-insiders-watcher.timer")
    machine.wait_for(
        ("journalctl", "--user", "--output=cat", "--identifier=pypi-insiders-watcher"),
        lambda done: done.stdout.count("no repositories are watched") == 2,
    )


def test_under_sudo_the_person_is_told_to_go_without(make_machine: MakeMachine) -> None:
    """Root by sudo has no user manager; the hint names the person who called sudo."""
    with make_machine() as machine:
        failed = machine.run(
            "unshare", "--user", "--map-root-user",
            "env", "-u", "DBUS_SESSION_BUS_ADDRESS", "-u", "XDG_RUNTIME_DIR", "SUDO_USER=jo",
            "pypi-insiders", "server", "start", check=False,
        )  # fmt: skip
        assert failed.stderr == (
            "error: no user manager under sudo\nhint: run the command without sudo, as jo\n"
        )


def test_settings_that_stop_the_index_stop_no_running_one(machine: Machine, port: int) -> None:
    """One line says why, where the user looks, and the process is the same."""
    machine.run("pypi-insiders", "server", "start")
    pid = show(machine, "pypi-insiders-server.service", "MainPID")
    directory = f"{machine.home}/.config/pypi-insiders"
    for settings, error in {
        "auth = true": f"`auth` is set, but {directory}/passwords has no user",
        "uploads = true": f"`uploads` is set, but {directory}/passwords has no token",
        f"fallback-url = 'http://localhost:{port}/simple/'": f"{directory}/config.toml: server.",
        "host = '0.0.0.0'": "",
        "prot = 1": f"{directory}/config.toml: unknown key server.prot",
    }.items():
        machine.write_text(CONFIG, f"[server]\nport = {port}\n{settings}\n")
        for verb in ("start", "restart", "enable"):
            failed = machine.run("pypi-insiders", "server", verb, check=False)
            assert failed.returncode == 1
            assert failed.stderr.startswith(f"error: {error}")
            assert failed.stderr.count("\n") == 2
    assert show(machine, "pypi-insiders-server.service", "MainPID") == pid
    assert machine.get(f"http://127.0.0.1:{port}/health") == HEALTHY


def test_a_shell_that_points_to_a_stopped_index_is_warned(machine: Machine, port: int) -> None:
    """With the command that undoes it; not while the index runs, nor any other shell."""
    machine.run("pypi-insiders", "server", "start")
    bent = {"PIP_INDEX_URL": f"http://127.0.0.1:{port}/simple/", "SHELL": "/bin/bash"}
    warning = (
        "warning: this shell still points pip, uv and PDM to the index, which is stopped; "
        'undo: `eval "$(pypi-insiders env --unset)"`\n'
    )
    for verb in ("stop", "disable"):
        assert machine.run("pypi-insiders", "server", verb, env=bent).stderr == warning
        assert machine.run("pypi-insiders", "server", verb).stderr == ""
    assert machine.run("pypi-insiders", "watcher", "stop", env=bent).stderr == ""
