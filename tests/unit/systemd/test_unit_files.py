"""The unit files: their text, what systemd makes of it, and how they come and go."""

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from fixtures import ROOT

from pypi_insiders import __version__
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import ServerSettings, Settings, WatcherSettings
from pypi_insiders.config.validators import parse_interval
from pypi_insiders.systemd.quoting import quote
from pypi_insiders.systemd.unit_files import (
    are_packaged,
    install,
    is_enabled,
    is_installed,
    uninstall,
)
from pypi_insiders.systemd.unit_names import (
    NOTIFIER,
    OF_HOOKS,
    ONE,
    RELEASED,
    REQUESTS,
    SERVER,
    SHARED,
    UNITS,
    WATCHER,
    Part,
    escape,
    of_project,
    of_repository,
)
from pypi_insiders.systemd.unit_templates import (
    calendar_event,
    installed_command,
    is_edited,
    render,
    render_drop_ins,
)
from pypi_insiders.util.errors import InsidersError

pytestmark = pytest.mark.timeout(120)

COMMAND = "/opt/bin/pypi-insiders"
PATHS = Paths(*(Path("/home/me", base, "pypi-insiders") for base in ("c", "d", "s", "k")))
TEXTS = render(COMMAND, PATHS, Settings())
HOOKED = Settings(ServerSettings(hooks=True))
# Those of hooks are installed only where hooks are on.
INTERVALS = {"me/two": 3600, "me/my-probe": 300}
USUAL = tuple(unit for unit in UNITS if unit not in OF_HOOKS)
USUAL_SHARED = tuple(unit for unit in SHARED if unit not in OF_HOOKS)
SERVICE_DROP_IN = f"{SERVER.service}.d/10-config.conf"
TIMER_DROP_IN = f"{WATCHER.trigger}.d/10-config.conf"
SOCKET_DROP_IN = f"{SERVER.trigger}.d/10-config.conf"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "systemd/user"


@pytest.fixture
def analyze() -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is not installed")
        pytest.skip("systemd-analyze is not installed")
    return program


def _unhashed(texts: dict[str, str]) -> dict[str, str]:
    """Take the hash out of the first line of each text, where each must have one."""
    found = {}
    for name, text in texts.items():
        found[name], times = re.subn(r"\A(.*) \(sha256 [0-9a-f]{12}\),", r"\1,", text)
        assert times == 1, text
    return found


def _head(unit: str, who: str) -> str:
    return (
        f"# Installed by {who}, which overwrites this file; to change it:\n"
        f"#   systemctl --user edit {unit}\n"
    )


def test_the_service_of_the_server() -> None:
    assert _unhashed(TEXTS)[SERVER.service] == _head(
        SERVER.service, f"pypi-insiders {__version__}"
    ) + (
        """\
[Unit]
Description=Index of Insiders releases
Documentation=man:pypi-insiders-server(1)
Requires=pypi-insiders-server.socket
After=pypi-insiders-server.socket
Wants=pypi-insiders-notify.path
# The default start limit would also stop the socket.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecReload=/bin/sh -c 'kill -HUP $MAINPID'
ExecStart=/opt/bin/pypi-insiders server run
Environment=XDG_CONFIG_HOME=/home/me/c
Environment=XDG_DATA_HOME=/home/me/d
Environment=XDG_STATE_HOME=/home/me/s
Environment=XDG_CACHE_HOME=/home/me/k
# SIGTERM before it is ready is not a failure.
SuccessExitStatus=143
# When it hangs, SIGABRT of the watchdog writes the stacks of all threads to the journal.
WatchdogSec=30
Environment=PYTHONFAULTHANDLER=1
# Its threads run one at a time: a heap for each only takes memory. Source: mallopt(3).
Environment=MALLOC_ARENA_MAX=1
Restart=on-failure
RestartSec=1
# Request one notification about a failure; the server requests another one when it works again.
# OnFailure= of systemd 252 would never fire: it waits for the last restart. The bus is hidden from
# this service, so a request is a file, which pypi-insiders-notify.path watches. `set -C`: never
# write through a link of that name. systemd 252 logs at each stop that PrivateNetwork= is ignored
# here, as the network belongs to another user namespace; with `+` the mounts would fail.
RuntimeDirectory=pypi-insiders
RuntimeDirectoryPreserve=yes
ExecStopPost=-/bin/sh -c '\\
  [ "$$SERVICE_RESULT" = success ] || \\
  [ -e "$${XDG_STATE_HOME:-$$HOME/.local/state}/pypi-insiders/troubles/server.json" ] || \\
  { rm -f "$$RUNTIME_DIRECTORY/notify"; set -C; : >"$$RUNTIME_DIRECTORY/notify"; } 2>/dev/null'
SyslogIdentifier=pypi-insiders-server
UMask=0077
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
# An error is better than a kill.
SystemCallErrorNumber=EPERM
"""
    )


def test_the_service_of_the_watcher() -> None:
    assert _unhashed(TEXTS)[WATCHER.service] == _head(
        WATCHER.service, f"pypi-insiders {__version__}"
    ) + (
        """\
[Unit]
Description=Build and publish new Insiders releases
Documentation=man:pypi-insiders-watcher(1)
OnFailure=pypi-insiders-notify@watcher.service
Wants=pypi-insiders-notify.path

[Service]
Type=oneshot
ExecStart=/opt/bin/pypi-insiders update --scheduled
Environment=XDG_CONFIG_HOME=/home/me/c
Environment=XDG_DATA_HOME=/home/me/d
Environment=XDG_STATE_HOME=/home/me/s
Environment=XDG_CACHE_HOME=/home/me/k
# For STATUS= of the running update.
NotifyAccess=main
# `update` exits with this status after SIGTERM; all published files are recorded.
SuccessExitStatus=143
TimeoutStartSec=6h
# A successful update may end a problem, or find one that is not a failure of the update.
# A start of a oneshot that runs is lost, and the notifier may have looked already: then the request
# is a file, as that of the server, for which pypi-insiders-notify.path starts it again. An update
# that was stopped requests none.
ExecStopPost=-/bin/sh -c '\\
  case $$EXIT_STATUS in 143|TERM) exit 0 ;; esac; \\
  case $$(systemctl --user is-active "$$0") in *activating) \\
    (rm -f "$$1"; set -C; : >"$$1") 2>/dev/null ;; \\
  esac; \\
  exec systemctl --user start --no-block "$$0"' \\
  pypi-insiders-notify@watcher.service %t/pypi-insiders/notify
SyslogIdentifier=pypi-insiders-watcher
# The slice for work in the background. Source: systemd.special(7).
Slice=background.slice
# Measured: fetching a repository with 80,000 commits took 0.2 GiB and 9 tasks, uv 26 tasks on two
# processors; eight repositories are fetched at once. Builds have their own units and limits.
MemoryMax=50%
TasksMax=4096
# Kill only the process that takes too much memory, not the update.
OOMPolicy=continue
CPUSchedulingPolicy=batch
IOSchedulingClass=idle
NoNewPrivileges=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
"""
    )


def test_the_service_of_one_repository_is_like_that_of_all() -> None:
    """But for what it updates, and for pushes: two texts, as units cannot include each other."""
    mine, all_ = (_unhashed(TEXTS)[unit].splitlines() for unit in (ONE.service, WATCHER.service))
    settings = [{line for line in text if line[:1].isupper()} for text in (mine, all_)]
    assert settings[1] - settings[0] == {
        "Description=Build and publish new Insiders releases",
        "ExecStart=/opt/bin/pypi-insiders update --scheduled",
    }
    assert settings[0] - settings[1] == {
        "Description=Build and publish new Insiders releases of %I",
        "StartLimitIntervalSec=60",
        "StartLimitBurst=60",
        "ExecStartPre=rm -f %t/pypi-insiders/pushed/%i",
        "ExecStart=/opt/bin/pypi-insiders update --scheduled -- %I",
    }


@pytest.mark.parametrize("name", ["me/probe", ".me/my-p.r_o", "a/b/c-d-", "_/0:x", "é/ü"])
def test_the_name_of_an_instance_is_that_of_systemd(name: str) -> None:
    escaped = subprocess.run(
        ["systemd-escape", "--", name], capture_output=True, text=True, check=True
    ).stdout
    assert f"{escape(name)}\n" == escaped


def test_an_interval_makes_a_timer_that_comes_and_goes_with_that_of_the_watcher() -> None:
    texts = _unhashed(render(COMMAND, PATHS, Settings(), intervals=INTERVALS))
    added = {name: text for name, text in texts.items() if name not in TEXTS}
    first = r"pypi-insiders-watcher@me-my\x2dprobe.timer"
    begin = "# Installed by pypi-insiders, from"
    assert added == {
        TIMER_DROP_IN: f"{begin} config.toml.\n[Unit]\nWants={first}\n"
        "Wants=pypi-insiders-watcher@me-two.timer\n",
        f"{first}.d/10-config.conf": f"{begin} repos.toml.\n[Timer]\nOnCalendar=\n"
        "OnCalendar=*:0/5\nRandomizedDelaySec=30\nAccuracySec=30\n",
        "pypi-insiders-watcher@me-two.timer.d/10-config.conf": f"{begin} repos.toml.\n[Timer]\n"
        "OnCalendar=\nOnCalendar=0/1:00\nRandomizedDelaySec=360\nAccuracySec=60\n",
    }
    assert "PartOf=pypi-insiders-watcher.timer\n" in texts[ONE.trigger]


def test_the_timer_of_a_repository_goes_with_its_interval(directory: Path) -> None:
    """And that of the person, by a drop-in of their own, stays."""
    mine = {"pypi-insiders-watcher@me-other.timer.d/override.conf": "[Timer]\n"}
    _put(directory, **mine)
    texts = render(COMMAND, PATHS, Settings(), intervals=INTERVALS)
    install(directory, texts, WATCHER)
    assert _content(directory) == _only(WATCHER, texts) | mine | {
        name: texts[name] for name in map(_drop_in, INTERVALS)
    }
    change = install(directory, TEXTS, SERVER)
    assert _drop_in("me/two") in _content(directory)  # no matter of the server
    change = install(directory, TEXTS, WATCHER)
    assert _content(directory) == _only(WATCHER) | _only(SERVER) | mine
    assert change.units == {WATCHER.trigger, *(of_repository(it).trigger for it in INTERVALS)}
    change.undo()
    assert sorted(uninstall(directory)) == sorted(
        directory / name for name in {**_only(WATCHER, texts), **_only(SERVER), **texts}
    )
    assert _content(directory) == mine


def _drop_in(name: str) -> str:
    return f"{of_repository(name).trigger}.d/10-config.conf"


def test_the_units_of_hooks_come_and_go_with_the_setting(directory: Path) -> None:
    texts = render(COMMAND, PATHS, HOOKED)
    assert _unhashed(texts)[SERVICE_DROP_IN] == (
        "# Installed by pypi-insiders, from config.toml.\n"
        "[Unit]\nWants=pypi-insiders-hooks.path\n[Service]\nX-Hooks=True\n"
    )
    install(directory, texts, SERVER)
    assert _content(directory) == _only(SERVER, texts)
    assert set(OF_HOOKS) < set(_content(directory))
    assert install(directory, TEXTS, SERVER).units == {*OF_HOOKS, SERVER.service}
    assert _content(directory) == _only(SERVER)


def test_a_masked_unit_keeps_no_other_push_from_its_update(tmp_path: Path) -> None:
    """systemd 262 starts none of several units if one of them is masked."""
    programs, runtime = tmp_path / "bin", tmp_path / "pypi-insiders"
    programs.mkdir()
    (runtime / "hooks").mkdir(parents=True)
    systemctl = programs / "systemctl"
    systemctl.write_text(
        '#!/bin/sh\n[ "$2" = start ] || exit 0\nshift 3\n'
        f'case "$*" in *masked*) exit 1 ;; esac\necho "$@" >>{tmp_path}/started\n'
    )
    systemctl.chmod(0o755)
    text = render(COMMAND, PATHS, HOOKED)[OF_HOOKS[1]]
    found = re.search(r"ExecStart=sh -c '(.*?)' sh", text, re.DOTALL)
    assert found is not None
    # As systemd reads it: lines that are continued are one, and `$$` is `$`.
    script = found[1].replace("\\\n", " ").replace("$$", "$")
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"}

    def run() -> int:
        argv = ["sh", "-c", script, "sh", str(runtime)]
        return subprocess.run(argv, env=environment, check=False, timeout=60).returncode

    (runtime / "hooks/me-a").touch()
    assert run() == 0
    for name in ("me-masked", "me-b"):
        (runtime / "hooks" / name).touch()
    assert run() == 1
    units = [f"pypi-insiders-watcher@me-{name}.path" for name in ("a", "a", "b")]
    assert (tmp_path / "started").read_text().split() == units


def test_the_service_that_tells_the_person() -> None:
    """Without whatever implies NoNewPrivileges=, and with a way to tell that needs no Python."""
    assert _unhashed(TEXTS)[NOTIFIER] == _head(NOTIFIER, f"pypi-insiders {__version__}") + (
        """\
[Unit]
Description=Send notifications about Insiders releases (%i)
Documentation=man:pypi-insiders-notify(1)
# The server requests a notification at most once a second. A request that repeats without end
# stops this unit and pypi-insiders-notify.path, which `status` reports as a problem.
StartLimitIntervalSec=60
StartLimitBurst=60

[Service]
Type=oneshot
RuntimeDirectory=pypi-insiders
RuntimeDirectoryPreserve=yes
# Removed before the notifier runs, so that a request from now on starts it again. A request that
# cannot be removed would repeat without end. If the program was missing and works again, the index
# is started again.
ExecStartPre=-/bin/sh -c '\\
  request=$$RUNTIME_DIRECTORY/notify gone=$$RUNTIME_DIRECTORY/gone; \\
  rm -rf "$$request" 2>/dev/null || { \\
    chmod -R u+rwX "$$request"; \\
    rm -rf "$$request" || systemctl --user stop pypi-insiders-notify.path; \\
  }; \\
  [ -f "$$gone" ] && "$$@" --version >/dev/null 2>&1 || exit 0; \\
  read -r state <"$$gone"; rm -f "$$gone"; \\
  [ "$$state" != active ] || \\
    exec systemctl --user start --no-block pypi-insiders-server.socket' sh /opt/bin/pypi-insiders
ExecStart=/opt/bin/pypi-insiders notify
Environment=XDG_CONFIG_HOME=/home/me/c
Environment=XDG_DATA_HOME=/home/me/d
Environment=XDG_STATE_HOME=/home/me/s
Environment=XDG_CACHE_HOME=/home/me/k
# SIGTERM is not a failure.
SuccessExitStatus=143
TimeoutStartSec=2min
SyslogIdentifier=pypi-insiders-notify
UMask=0077
# A program whose files or interpreter are missing cannot report that itself, and clients would wait
# for an index that never answers. After five attempts the socket is closed, with one message.
ExecStopPost=-/bin/sh -c '\\
  [ "$$SERVICE_RESULT" != success ] || exit 0; \\
  gone=$$RUNTIME_DIRECTORY/gone socket=pypi-insiders-server.socket; \\
  for attempt in 1 2 3 4 5; do \\
    [ "$$attempt" = 1 ] || sleep 1; \\
    ! "$$@" --version >/dev/null 2>&1 || exit 0; \\
  done; \\
  state=$$(systemctl --user is-active "$$socket"); \\
  systemctl --user stop "$$socket" pypi-insiders-server.service; \\
  text="$$* cannot be run any more, so the index is stopped. Install it again, and run\\
pypi-insiders server start."; \\
  echo "<3>$$text"; \\
  [ ! -f "$$gone" ] || exit 0; \\
  rm -rf "$$gone"; \\
  echo "$$state" >"$$gone"; \\
  subject="pypi-insiders: the program cannot be run"; \\
  if [ -z "$${PYPI_INSIDERS_NOTIFY_COMMAND+set}" ]; then \\
    exec notify-send --app-name=pypi-insiders -- "$$subject" "$$text"; \\
  fi; \\
  PYPI_INSIDERS_NOTIFY_COMMAND=$$(echo "$$PYPI_INSIDERS_NOTIFY_COMMAND" | \\
    sed "s/{subject}/$$subject/g"); \\
  export PYPI_INSIDERS_NOTIFY_COMMAND; \\
  echo "$$text" | systemd-run --user --pipe --wait --collect --quiet \\
    --description="Notification of pypi-insiders" --setenv=PYPI_INSIDERS_NOTIFY_COMMAND \\
    /bin/sh -c "$$0"' 'eval "$$PYPI_INSIDERS_NOTIFY_COMMAND"' /opt/bin/pypi-insiders
"""
    )


def test_all_other_units_are_what_is_shipped() -> None:
    """And with default settings there is no drop-in."""
    shipped = ROOT / "systemd"
    units = (*_triggers(), REQUESTS, ONE.trigger)
    others = {unit: (shipped / unit).read_text() for unit in units}
    written = _unhashed(TEXTS)
    assert {unit: text for unit, text in written.items() if not unit.endswith(".service")} == others
    with_hooks = _unhashed(render(COMMAND, PATHS, HOOKED))
    hooks = {unit: (shipped / unit).read_text() for unit in OF_HOOKS}
    assert {unit: with_hooks[unit] for unit in OF_HOOKS} == hooks
    others |= hooks
    assert [text.startswith(_head(unit, "pypi-insiders")) for unit, text in others.items()] == (
        7 * [True]
    )


def _triggers() -> tuple[str, str]:
    return SERVER.trigger, WATCHER.trigger


def _drop_ins(settings: Settings) -> dict[str, str]:
    texts = render(COMMAND, PATHS, settings)
    assert {unit: texts.pop(unit) for unit in USUAL} == TEXTS
    return _unhashed(texts)


@pytest.mark.parametrize(
    ("server", "listen"),
    [
        (ServerSettings(port=8080), "ListenStream=127.0.0.1:8080\nListenStream=[::1]:8080\n"),
        (ServerSettings(host="0.0.0.0"), "ListenStream=0.0.0.0:31411\n"),
        (ServerSettings(host="2001:db8::1", port=1), "ListenStream=[2001:db8::1]:1\n"),
    ],
)
def test_host_and_port_make_a_drop_in_of_the_socket(server: ServerSettings, listen: str) -> None:
    assert _drop_ins(Settings(server=server)) == {
        SOCKET_DROP_IN: "# Installed by pypi-insiders, from config.toml.\n"
        f"[Socket]\nListenStream=\n{listen}"
        + ("" if server.host == "localhost" else "FreeBind=no\n")
    }


@pytest.mark.parametrize(
    ("interval_s", "event", "delay_s", "accuracy_s"),
    [
        (5, "*:*:0/5", 0, 1),
        (30, "*:*:0/30", 3, 3),
        (300, "*:0/5", 30, 30),
        (3600, "0/1:00", 360, 60),
        (21600, "0/6:00", 2160, 60),
    ],
)
def test_the_interval_makes_a_drop_in_of_the_timer(
    interval_s: int, event: str, delay_s: int, accuracy_s: int
) -> None:
    assert _drop_ins(Settings(watcher=WatcherSettings(interval_s))) == {
        TIMER_DROP_IN: "# Installed by pypi-insiders, from config.toml.\n"
        f"[Timer]\nOnCalendar=\nOnCalendar={event}\nRandomizedDelaySec={delay_s}\n"
        f"AccuracySec={accuracy_s}\n"
    }


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (("mail", "-s", "{subject} 100%", "me"), """"{}=mail -s '{{subject}} 100%%' me\""""),
        ((), "{}="),
    ],
)
def test_the_command_makes_a_drop_in_for_when_the_settings_cannot_be_read(
    command: tuple[str, ...], line: str
) -> None:
    assert _drop_ins(Settings(watcher=WatcherSettings(notify_command=command))) == {
        f"{NOTIFIER}.d/10-config.conf": "# Installed by pypi-insiders, from config.toml.\n"
        f"[Service]\nEnvironment={line.format('PYPI_INSIDERS_NOTIFY_COMMAND')}\n"
    }


def test_the_fallback_url_makes_a_drop_in_of_the_service_that_systemd_ignores() -> None:
    """By its change it is known that the service must be restarted."""
    assert _drop_ins(Settings(ServerSettings(fallback_url="https://index.example/%20"))) == {
        SERVICE_DROP_IN: "# Installed by pypi-insiders, from config.toml.\n"
        "[Service]\nX-FallbackURL=https://index.example/%20\n"
    }


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("/plain/$HOME", "/plain/$HOME"),
        ("/a b", '"/a b"'),
        ("/a\tb", '"/a\tb"'),
        ("/100%n", "/100%%n"),
        ('/a"b', '"/a\\"b"'),
        ("/a'b", '"/a\'b"'),
        ("/a\\nb", '"/a\\\\nb"'),
        ("/a;b", '"/a;b"'),
    ],
)
def test_quote(word: str, quoted: str) -> None:
    assert quote(word) == quoted


def _verify(analyze: str, runtime: Path, texts: dict[str, str]) -> tuple[int, str]:
    """Have systemd read units, without a manager; return its status and all that it says."""
    directory = runtime / "units"
    for name, text in texts.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    done = subprocess.run(
        [analyze, "--user", "--man=no", "verify",
         *(str(directory / unit) for unit in texts if "/" not in unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime), "HOME": str(runtime),
             "LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("settings", "intervals"),
    [
        (Settings(), {}),
        (Settings(ServerSettings("::1", 8080, "https://h/%20"), WatcherSettings(300)), {}),
        (HOOKED, INTERVALS),
    ],
    ids=["default", "drop-ins", "hooks"],
)
def test_systemd_has_nothing_to_say_about_the_units(
    analyze: str, tmp_path: Path, settings: Settings, intervals: dict[str, int]
) -> None:
    texts = render(installed_command(), PATHS, settings, intervals=intervals)
    assert _verify(analyze, tmp_path, texts) == (0, "")


def test_systemd_reads_a_quoted_command_back_unchanged(analyze: str, tmp_path: Path) -> None:
    """It looks whether the program is there; so it finds the strangest one that it allows."""
    program = tmp_path / "a  b %n $HOME ;é"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    home = tmp_path / 'with space, % and "quotes"'
    paths = PATHS._replace(config=home / "pypi-insiders")
    texts = render(quote(str(program)), paths, Settings())
    assert _verify(analyze, tmp_path, texts) == (0, "")
    program.unlink()
    status, output = _verify(analyze, tmp_path, texts)
    assert (status, f"Command {program} is not executable" in output) == (1, True)


def _accepted() -> dict[int, str]:
    """Every interval that config.toml may have, in seconds, and one way to write it."""
    spans: dict[int, str] = {}
    for unit, most in (("d", 2), ("h", 25), ("min", 1441), ("s", 3601)):
        for number in range(1, most):
            try:
                spans.setdefault(parse_interval(f"{number}{unit}"), f"{number}{unit}")
            except ValueError:
                continue
    return spans


def test_systemd_elapses_at_every_interval_that_can_be_set(analyze: str) -> None:
    accepted = _accepted()
    assert {1, 30, 60, 300, 1800, 3600, 7200, 21600, 43200, 86400} <= set(accepted)
    wrong = {text: why for span, text in accepted.items() if (why := _distances(analyze, span))}
    assert wrong == {}


def _distances(analyze: str, span_s: int) -> str | None:
    """Say what is wrong with the calendar event of an interval; `None`: nothing."""
    event = calendar_event(span_s)
    done = subprocess.run(
        [analyze, "calendar", "--iterations=4", "--base-time=2024-01-01 00:00:00 UTC", event],
        env={**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return f"{event} is refused"
    elapses = [
        datetime.strptime(line.partition(": ")[2], "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
        for line in map(str.strip, done.stdout.splitlines())
        if line.startswith(("Next elapse:", "Iter. #", "Iteration #"))  # systemd 252, 257
    ]
    between = {later - sooner for sooner, later in pairwise(elapses)}
    if len(elapses) == 4 and between == {timedelta(seconds=span_s)}:
        return None
    return f"{event} elapses every {', '.join(map(str, sorted(between)))}"


def _content(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


def _put(directory: Path, **files: str) -> None:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)


def _only(part: Part, texts: dict[str, str] = TEXTS) -> dict[str, str]:
    units = (*part.units, *SHARED)
    return {name: text for name, text in texts.items() if name.partition(".d/")[0] in units}


@pytest.mark.parametrize("part", [SERVER, WATCHER])
def test_install_writes_the_units_of_one_part_and_the_notifier(directory: Path, part: Part) -> None:
    change = install(directory, TEXTS, part)
    assert _content(directory) == _only(part)
    assert change.before == dict.fromkeys(map(directory.joinpath, (*part.units, *USUAL_SHARED)))
    assert change.units == {*part.units, *USUAL_SHARED}
    assert [is_installed([directory], each) for each in (SERVER, WATCHER)] == [
        part == SERVER,
        part == WATCHER,
    ]


def test_installing_again_touches_nothing(directory: Path) -> None:
    texts = render(COMMAND, PATHS, Settings(ServerSettings(port=8080), WatcherSettings(300)))
    install(directory, texts, SERVER)
    install(directory, texts, WATCHER)
    assert _content(directory) == texts
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    for part in (SERVER, WATCHER):
        change = install(directory, texts, part)
        assert (change.before, change.units) == ({}, frozenset())
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before


def test_the_units_of_the_other_part_are_left_alone(directory: Path) -> None:
    """Stale, of the person, or masked: they are no matter of this part."""
    other = {
        WATCHER.service: "# Installed by pypi-insiders 0.0.1\n",
        TIMER_DROP_IN: "[Timer]\n# mine\n",
    }
    _put(directory, **other)
    masked = directory / WATCHER.trigger
    masked.symlink_to("/dev/null")
    change = install(directory, TEXTS, SERVER)
    assert _content(directory) == _only(SERVER) | other
    assert masked.readlink() == Path("/dev/null")
    assert change.units == {*SERVER.units, *USUAL_SHARED}
    change.undo()
    assert _content(directory) == other


def test_a_drop_in_goes_with_the_setting_and_the_change_can_be_undone(directory: Path) -> None:
    texts = render(COMMAND, PATHS, Settings(ServerSettings(port=8080)))
    install(directory, texts, SERVER)
    change = install(directory, TEXTS, SERVER)
    assert change.before == {directory / SOCKET_DROP_IN: texts[SOCKET_DROP_IN]}
    assert change.units == {SERVER.trigger}
    assert _content(directory) == _only(SERVER)
    assert not (directory / SOCKET_DROP_IN).parent.exists()
    change.undo()
    assert _content(directory) == _only(SERVER, texts)


def test_undoing_the_first_installation_leaves_an_empty_directory(directory: Path) -> None:
    texts = render(COMMAND, PATHS, Settings(ServerSettings(port=8080)))
    install(directory, texts, SERVER).undo()
    assert list(directory.iterdir()) == []


def test_drop_ins_of_the_person_survive_it_all(directory: Path) -> None:
    override = f"{SERVER.trigger}.d/override.conf"
    _put(directory, **{override: "[Socket]\nFreeBind=no\n"})
    mine = _content(directory)
    texts = render(COMMAND, PATHS, Settings(ServerSettings(port=8080)))
    install(directory, texts, SERVER)
    assert _content(directory) == _only(SERVER, texts) | mine
    install(directory, TEXTS, SERVER)
    assert _content(directory) == _only(SERVER) | mine
    uninstall(directory)
    assert _content(directory) == mine


@pytest.mark.parametrize(
    "name", [SERVER.service, SERVER.trigger, NOTIFIER, REQUESTS, SOCKET_DROP_IN]
)
def test_a_file_that_is_not_ours_is_refused_and_all_is_as_it_was(
    directory: Path, name: str
) -> None:
    old = {SERVER.service: "# Installed by pypi-insiders 0.0.1\n", name: "[Unit]\n# mine\n"}
    _put(directory, **old)
    with pytest.raises(InsidersError) as caught:
        install(directory, render(COMMAND, PATHS, Settings(ServerSettings(port=1))), SERVER)
    assert (caught.value.message, caught.value.hint) == (
        f"{directory / name} already exists, and was not written by pypi-insiders",
        "move that file away",
    )
    assert _content(directory) == old


@pytest.mark.parametrize("unit", [*SERVER.units, REQUESTS])
def test_a_masked_unit_is_refused_and_all_is_as_it_was(directory: Path, unit: str) -> None:
    directory.mkdir(parents=True)
    (directory / unit).symlink_to("/dev/null")
    with pytest.raises(InsidersError) as caught:
        install(directory, TEXTS, SERVER)
    assert (caught.value.message, caught.value.hint) == (
        f"{unit} is masked",
        f"`systemctl --user unmask {unit}`",
    )
    assert [(path.name, path.readlink()) for path in directory.iterdir()] == [
        (unit, Path("/dev/null"))
    ]


def test_a_drop_in_that_is_switched_off_cannot_be_unmasked(directory: Path) -> None:
    """`systemctl unmask` knows only units: that hint led nowhere."""
    link = directory / SERVICE_DROP_IN
    link.parent.mkdir(parents=True)
    link.symlink_to("/dev/null")
    with pytest.raises(InsidersError) as caught:
        install(directory, TEXTS, SERVER)
    assert (caught.value.message, caught.value.hint) == (
        f"{link} is a link, which was not created by pypi-insiders",
        "move that link away",
    )


def test_a_link_to_elsewhere_is_refused_and_its_target_kept(
    directory: Path, tmp_path: Path
) -> None:
    target, link = tmp_path / "mine", directory / SERVER.service
    target.write_text(TEXTS[SERVER.service])
    directory.mkdir(parents=True)
    link.symlink_to(target)
    with pytest.raises(InsidersError) as caught:
        install(directory, {**TEXTS, SERVER.service: "# Installed by pypi-insiders 9\n"}, SERVER)
    assert caught.value.message == f"{link} is a link, which was not created by pypi-insiders"
    assert (list(directory.iterdir()), target.read_text()) == ([link], TEXTS[SERVER.service])


def test_uninstall_removes_and_names_all_that_is_ours(directory: Path) -> None:
    texts = render(COMMAND, PATHS, Settings(ServerSettings(port=8080), WatcherSettings(300)))
    install(directory, texts, SERVER)
    install(directory, texts, WATCHER)
    assert sorted(uninstall(directory)) == sorted(directory / name for name in texts)
    assert (list(directory.iterdir()), uninstall(directory)) == ([], [])


def test_uninstall_names_a_file_that_is_not_ours_and_still_removes_the_rest(
    directory: Path,
) -> None:
    install(directory, TEXTS, WATCHER)
    mine = {SERVER.trigger: "[Socket]\n", "other.service": "# Installed by pypi-insiders\n"}
    _put(directory, **mine)
    with pytest.raises(InsidersError) as caught:
        uninstall(directory)
    assert caught.value.message == (
        f"{directory / SERVER.trigger} already exists, and was not written by pypi-insiders"
    )
    assert _content(directory) == mine


def test_a_unit_of_an_older_version_that_cannot_be_read_keeps_no_other(directory: Path) -> None:
    """It cannot be known whether it is ours; so it stays, and is named."""
    install(directory, TEXTS, WATCHER)
    (directory / "pypi-insiders.slice").write_bytes(b"\xff")
    with pytest.raises(InsidersError, match=r"pypi-insiders\.slice: it is not UTF-8"):
        uninstall(directory)
    assert [path.name for path in directory.iterdir()] == ["pypi-insiders.slice"]


def test_uninstall_leaves_a_masked_unit_masked(directory: Path) -> None:
    install(directory, TEXTS, WATCHER)
    masked = directory / SERVER.trigger
    masked.symlink_to("/dev/null")
    assert sorted(uninstall(directory)) == sorted(map(directory.joinpath, _only(WATCHER)))
    assert (list(directory.iterdir()), masked.readlink()) == ([masked], Path("/dev/null"))


def test_without_a_directory_nothing_is_installed(directory: Path) -> None:
    assert (is_installed([directory], SERVER), uninstall(directory)) == (False, [])


def test_the_path_by_which_the_program_was_called_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Path(sys.executable).with_name("pypi-insiders")
    link = tmp_path / "a bin/pypi-insiders"
    link.parent.mkdir()
    link.symlink_to(script)
    monkeypatch.setattr(sys, "argv", [str(link), "server", "start"])
    assert installed_command() == f'"{link}"'
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest"])
    assert installed_command() == str(script)


def test_services_of_a_package_are_told_only_what_they_would_not_find() -> None:
    """What the manager hands to them, or where files lie by default, needs no drop-in."""
    home = Paths(*(Path("/home/me", base, "pypi-insiders") for base in
                   (".config", ".local/share", ".local/state", ".cache")))  # fmt: skip
    environment = {"HOME": "/home/me"}
    assert render_drop_ins(home, Settings(), environment) == {}
    environment |= {"XDG_DATA_HOME": "/home/me/d", "XDG_STATE_HOME": "/home/me/s"}
    text = (
        "# Installed by pypi-insiders, from config.toml.\n[Service]\n"
        "Environment=XDG_CONFIG_HOME=/home/me/c\nEnvironment=XDG_CACHE_HOME=/home/me/k\n"
    )
    services = [unit for unit in USUAL if unit.endswith(".service")]
    assert _unhashed(render_drop_ins(PATHS, Settings(), environment)) == {
        f"{unit}.d/10-config.conf": text for unit in services
    }


def test_units_of_a_package_are_used_if_all_are_as_they_would_be_written(tmp_path: Path) -> None:
    """Each in the first directory that has it."""
    first, second = tmp_path / "first", tmp_path / "second"
    texts = render(COMMAND, None, Settings())
    assert not are_packaged([first, second], COMMAND)
    _put(second, **texts)
    assert are_packaged([first, second], COMMAND)
    assert not are_packaged([first, second], "/usr/bin/pypi-insiders")
    _put(first, **{SERVER.trigger: "[Socket]\n"})
    assert not are_packaged([first, second], COMMAND)
    assert is_installed([first, second], SERVER)
    assert not is_installed([first], SERVER)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_an_edit_of_what_was_written_is_known(name: str) -> None:
    """Whatever command, version or directories it was written for."""
    for text in (TEXTS[name], render("/other", None, Settings())[name]):
        assert not is_edited(text)
        assert is_edited(f"{text}\n")
        assert is_edited(text.replace("Insiders", "insiders"))
        assert not is_edited("\n".join(_unhashed({name: text})[name].splitlines()[:-1]))


def test_the_service_of_new_releases() -> None:
    """Not confined: the command has the permissions of the user."""
    assert [name for name in TEXTS if name.startswith("pypi-insiders-released")] == [RELEASED]
    text = _unhashed(TEXTS)[RELEASED]
    assert text.startswith(_head(RELEASED, f"pypi-insiders {__version__}"))
    assert text.partition("[Unit]\n")[2] == (
        """\
Description=Run release-command for new Insiders releases of %I
Documentation=man:pypi-insiders-released(1)

[Service]
Type=oneshot
# With the words of a command behind it, such as `-- %h/bin/rebuild`, it runs that instead.
ExecStart=/opt/bin/pypi-insiders released %I
Environment=XDG_CONFIG_HOME=/home/me/c
Environment=XDG_DATA_HOME=/home/me/d
Environment=XDG_STATE_HOME=/home/me/s
Environment=XDG_CACHE_HOME=/home/me/k
# SIGTERM is not a failure.
SuccessExitStatus=143
# The command may run for an hour, and several releases at once are one start.
TimeoutStartSec=6h
SyslogIdentifier=pypi-insiders-released
Slice=background.slice
MemoryMax=50%
TasksMax=4096
OOMPolicy=continue
CPUSchedulingPolicy=batch
IOSchedulingClass=idle
"""
    )


@pytest.mark.parametrize(("project", "instance"), [("app", "app"), ("my-app-2", r"my\x2dapp\x2d2")])
def test_a_project_is_escaped_as_systemd_does(project: str, instance: str) -> None:
    assert of_project(project) == f"pypi-insiders-released@{instance}.service"


@pytest.mark.parametrize(
    ("state", "wanted_by", "link", "expected"),
    [
        ("enabled", "sockets.target", "sockets.target.wants", True),
        ("disabled", "", None, False),
        # Removed by hand, of which systemd does not know yet.
        ("enabled", "sockets.target", None, False),
        # By a drop-in of the user for the target.
        ("disabled", "default.target", None, True),
        # For another target; and of a unit without [Install].
        ("enabled", "default.target sockets.target", "default.target.wants", True),
        ("static", "", None, True),
    ],
)
def test_a_unit_is_enabled_if_something_starts_it_with_the_manager(
    state: str, wanted_by: str, link: str | None, expected: bool, tmp_path: Path
) -> None:
    unit = SERVER.trigger
    if link:
        (tmp_path / link).mkdir()
        (tmp_path / link / unit).symlink_to(tmp_path / "gone" / unit)
    has = {"UnitFileState": state, "WantedBy": wanted_by}
    assert is_enabled((tmp_path / "other", tmp_path), unit, has) is expected
