"""Units of single repositories, and pushes that start them, under a real user manager."""

from pathlib import Path

import pytest
from fixtures import need
from machine import Machine
from projects import Project, create
from units import installed_units, port, show, start_anew

__all__ = ["port"]

pytestmark = pytest.mark.journey

NAME = r"me-my\x2dprobe"
ONE = f"pypi-insiders-watcher@{NAME}"
CONFIG = ".config/pypi-insiders/config.toml"
DISTS = ".local/share/pypi-insiders/dists"


@pytest.fixture
def projects(machine: Machine, tmp_path: Path, port: int) -> tuple[Project, Project]:
    """Two watched repositories, of which the first release is built."""
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    quick = '[build]\nsandbox = "off"\n[watcher]\npublic-versions = false\n'
    machine.write_text(CONFIG, quick + machine.read_text(CONFIG))
    found = create(tmp_path, "my-probe"), create(tmp_path, "other")
    for project in found:
        project.release("1.0")
        added = f"me/{project.name}:{project.name}"
        machine.run("pypi-insiders", "repos", "add", "--no-check", added, "--url", project.url)
    machine.run("pypi-insiders", "watcher", "start")
    return found


def published(machine: Machine) -> list[str]:
    found = machine.run("ls", DISTS).stdout.split()
    return sorted(name for name in found if name.endswith(".whl"))


def wheels(*releases: str) -> list[str]:
    parts = (it.rpartition("-") for it in releases)
    return sorted(f"{name.replace('-', '_')}-{it}-py3-none-any.whl" for name, _, it in parts)


def test_a_repository_with_an_interval_has_a_timer_and_is_left_out(
    machine: Machine, projects: tuple[Project, Project]
) -> None:
    """And it is never left to a timer that does not run."""
    mine, _ = projects

    def update(unit: str) -> list[str]:
        start_anew(machine, unit)
        return published(machine)

    changed = machine.run("pypi-insiders", "repos", "set", "me/my-probe", "interval=1h")
    assert (changed.stdout, changed.stderr) == ('me/my-probe: interval = "1h"\n', "")
    assert show(machine, f"{ONE}.timer", "ActiveState") == "active"
    assert f"{ONE}.timer.d/10-config.conf" in installed_units(machine)
    machine.run("pypi-insiders", "repos", "set", "me/my-probe", "interval=2h")
    assert "OnCalendar=*-*-* 00/2:00:00" in show(machine, f"{ONE}.timer", "TimersCalendar")
    shown = machine.run("pypi-insiders", "watcher", "status", "me/my-probe")
    assert shown.stdout.startswith("me/my-probe: running\n")
    for project in projects:
        project.release("1.1")
    # What is wrong with it does not fail the update of the others, which leaves it alone.
    machine.run("rm", f"{DISTS}/my_probe-1.0-py3-none-any.whl")
    built = ["other-1.0", "other-1.1"]
    assert update("pypi-insiders-watcher.service") == wheels(*built)
    machine.run("pypi-insiders", "watcher", "start", "me/my-probe")
    built += ["my-probe-1.0", "my-probe-1.1"]
    assert published(machine) == wheels(*built)

    machine.run("pypi-insiders", "watcher", "stop", "me/my-probe")
    judged = machine.run("pypi-insiders", "status", check=False)
    assert "watcher: the timer of me/my-probe is not running" in judged.stdout + judged.stderr
    mine.release("1.2")
    assert "my_probe-1.2-py3-none-any.whl" in update("pypi-insiders-watcher.service")
    machine.wait_for_journal(
        "me/my-probe: its own timer is not running, so it is updated with the others"
    )
    machine.run("pypi-insiders", "watcher", "start")
    assert show(machine, f"{ONE}.timer", "ActiveState") == "active"
    machine.run("pypi-insiders", "repos", "set", "me/other", "interval=1h")
    update("pypi-insiders-watcher.service")  # which has no repository left
    machine.wait_for_journal("Checked 0 repositories, published 0 files")
    machine.run("pypi-insiders", "watcher", "stop")
    assert show(machine, f"{ONE}.timer", "ActiveState") == "inactive"
    machine.run("pypi-insiders", "watcher", "start", "--no-block")
    assert show(machine, f"{ONE}.timer", "ActiveState") == "active"
    machine.run("pypi-insiders", "repos", "remove", "me/my-probe")
    assert show(machine, f"{ONE}.timer", "ActiveState") == "inactive"
    assert not {unit for unit in installed_units(machine) if unit.startswith(ONE)}
    stamps = machine.run("ls", ".local/share/systemd/timers").stdout
    assert stamps.split() == [
        "stamp-pypi-insiders-watcher.timer",
        "stamp-pypi-insiders-watcher@me-other.timer",
    ]
    # Removed by hand: its timer stops, and is forgotten, with the next start.
    machine.run("sed", "-i", "/interval/d", ".config/pypi-insiders/repos.toml")
    machine.run("pypi-insiders", "watcher", "start", "--no-block")
    assert show(machine, "pypi-insiders-watcher@me-other.timer", "ActiveState") == "inactive"
    stamps = machine.run("ls", ".local/share/systemd/timers").stdout
    assert stamps == "stamp-pypi-insiders-watcher.timer\n"
    machine.run("pypi-insiders", "uninstall")
    assert machine.run("ls", ".local/share/systemd/timers").stdout == ""
    assert not {unit for unit in installed_units(machine) if "wants" not in unit}


# What a forge does, by programs that know nothing of this one.
_SEND = r"""
set -e
printf %s "$2" >body
signature=$(openssl dgst -sha256 -hmac "$1" -r body | cut -d' ' -f1)
exec curl --silent --show-error --output answer --write-out '%{http_code}' \
  --header "X-GitHub-Event: $3" --header "X-Hub-Signature-256: sha256=$signature" \
  --header 'Content-Type: application/json' --data-binary @body "$4"
"""


def test_a_push_is_served_without_a_timer(  # noqa: PLR0915  # one machine, for what takes long
    machine: Machine, projects: tuple[Project, Project], port: int
) -> None:
    """From the forge's signed request to the new release in the index; the watcher is stopped."""
    need("curl")
    need("openssl")
    mine, _ = projects
    settings = machine.read_text(CONFIG)
    machine.write_text(CONFIG, f"{settings}hooks = true\nauth = true\n")
    machine.run("pypi-insiders", "server", "password", "alice", input="secret word\n")
    machine.run("pypi-insiders", "watcher", "stop")
    started = machine.run("pypi-insiders", "server", "start")
    assert started.stderr.endswith("has no secret: `pypi-insiders server hook`\n")
    doctor = machine.run("pypi-insiders", "doctor", check=False)
    assert "`hooks` is set, but" in doctor.stdout
    shown = machine.run("pypi-insiders", "server", "hook", "me/my-probe").stdout
    url, _, secret = shown.strip().partition("\nsecret: ")
    assert url == f"http://127.0.0.1:{port}/hooks/me/my-probe"
    mode = machine.run("stat", "--format=%a", ".config/pypi-insiders/hook-secret").stdout
    assert mode == "600\n"

    def send(url: str = url, *, event: str = "push", key: str = secret, body: str = "{}") -> str:
        sent = machine.run("sh", "-c", _SEND, "sh", key, body, event, url)
        return f"{sent.stdout} {machine.read_text('answer').strip()}"

    refused = "403 the signature is missing or wrong"
    assert send(key="another secret") == refused
    assert send(url.replace("my-probe", "unknown"), key="another secret") == refused
    assert send(url.replace("my-probe", "unknown")) == "404 no such repository is watched"
    assert send(event="ping").startswith("204")
    assert send(event="issues") == "202 no update: this event brings no release"
    large = machine.run(
        *(
            "sh",
            "-c",
            'head -c 10000000 /dev/zero | curl -sS -w "%{http_code}" --data-binary @- $0',
        ),
        url,
    )
    assert large.stdout.endswith("413")
    assert published(machine) == wheels("my-probe-1.0", "other-1.0")
    uid = machine.run("id", "-u").stdout.strip()
    runtime = f"/run/user/{uid}/pypi-insiders"
    assert machine.run("find", runtime, "-name", "me-*").stdout == ""

    for project in projects:
        project.release("1.1")
    assert send() == "202 an update of me/my-probe is requested"
    machine.wait_for(["ls", DISTS], lambda done: "my_probe-1.1-py3-none-any.whl" in done.stdout)
    page = machine.run(
        *("curl", "-sS", "-u", "alice:secret word"), f"http://127.0.0.1:{port}/simple/my-probe/"
    )
    assert "my_probe-1.1-py3-none-any.whl" in page.stdout
    assert published(machine) == wheels("my-probe-1.0", "my-probe-1.1", "other-1.0")

    # Meanwhile another update runs: this one waits, and all pushes to come are one more.
    lock = ".local/state/pypi-insiders/update.lock"
    other = machine.start("flock", lock, "sleep", "31459")
    machine.wait_for_process("sleep 31459")
    assert send() == "202 an update of me/my-probe is requested"
    machine.wait_for_journal("an update is running; waiting for its end")
    mine.release("1.2")
    for _ in range(3):
        send()
    machine.wait_for(
        ["find", runtime, "-name", "me-*"], lambda done: done.stdout == f"{runtime}/pushed/{NAME}\n"
    )
    other.stop()
    finished = ["journalctl", "--user", "--quiet", "--output=cat", f"--unit={ONE}.service"]
    machine.wait_for(finished, lambda done: done.stdout.count("Finished ") == 3)
    assert machine.run("find", runtime, "-name", "me-*").stdout == ""
    assert published(machine) == wheels(
        *("my-probe-1.0", "my-probe-1.1", "my-probe-1.2", "other-1.0")
    )
    # What cannot be moved away stops the units, and that is said.
    machine.run("rm", "-r", f"{runtime}/pushed")
    machine.run("touch", f"{runtime}/pushed")
    send()
    machine.wait_for(
        ["systemctl", "--user", "show", "-P", "ActiveState", "pypi-insiders-hooks.path"],
        lambda done: done.stdout == "failed\n",
    )
    judged = machine.run("pypi-insiders", "status", check=False)
    assert "server: pushes start no updates: pypi-insiders-hooks.path failed" in judged.stdout
    machine.run("rm", f"{runtime}/pushed")
    machine.run("pypi-insiders", "server", "start")
    machine.wait_for(finished, lambda done: done.stdout.count("Finished ") == 4)
    # What systemd cannot run fails before anything is logged, and that is said as well.
    drop_in = machine.write_text(
        ".config/systemd/user/pypi-insiders-watcher@.service.d/override.conf",
        "[Unit]\nStartLimitBurst=20\n[Service]\nLoadCredential=forge:/nonexistent\n",
    )
    machine.run("systemctl", "--user", "daemon-reload")
    send()
    # The push waits, so the unit is started again up to its limit: before, it may be starting.
    machine.wait_for(
        ["systemctl", "--user", "show", "-P", "ActiveState", f"{ONE}.path"],
        lambda done: done.stdout == "failed\n",
    )
    judged = machine.run("pypi-insiders", "status", check=False)
    assert "watcher: the last update of me/my-probe failed (its program was not" in judged.stdout
    machine.wait_for(
        ["pypi-insiders", "watcher", "logs", "me/my-probe"],
        lambda done: "Failed to set up credentials: No such file or directory" in done.stdout,
    )
    machine.run("rm", drop_in)
    # Off again: nothing of it is left.
    machine.write_text(CONFIG, settings)
    machine.run("pypi-insiders", "server", "start")
    assert not {unit for unit in installed_units(machine) if "hooks" in unit}
    assert show(machine, "pypi-insiders-hooks.path", "ActiveState") == "inactive"
    assert send().startswith("405")
