"""exec: one command with the index, in a bare environment without a user manager."""

import contextlib
import errno
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fixtures import COMMAND, Person, Watch, free_port, need
from wheels import wheel

from pypi_insiders.util.files import locked

BIN = Path(sys.executable).parent
INSIDERS = "1.0.0+insiders.0.9.0"
NONE_WATCHED = "no repositories are watched; `pypi-insiders repos add NS/PROJ`\n"
STOPPED = "the command would be stopped"
TOOK = re.compile(r" in \d+\.\d s(?=,|;|$)", re.MULTILINE)


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """A PATH on which there is little: git, uv, and nothing of systemd."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for program in ("git", "sh", "env", BIN / "uv"):
        (directory / Path(program).name).symlink_to(need(str(program)))
    return str(directory)


@pytest.fixture
def held(person: Person) -> Path:
    """The index holds an Insiders release, put there by hand, that needs a public package."""
    dists = person.paths.distributions
    return wheel(dists, "iniconfig", INSIDERS, "Requires-Dist: pluggy>=1.5")


def index_of(process: "subprocess.Popen[str]", command: str) -> int:
    """Find the process of the index: the one of our children that is not the command."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (index,) = set(children) - {command}
    return int(index)


def wait_for_end(pidfd: int) -> None:
    """Wait until a process is gone. Source: pidfd_open(2)."""
    assert select.select([pidfd], [], [], 60) == ([pidfd], [], [])
    os.close(pidfd)


@contextlib.contextmanager
def started(person: Person, *argv: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a command with the index, until it says that it is ready, or at least something."""
    with subprocess.Popen(
        [COMMAND, "exec", "--no-update", "--", *argv],
        env={**person.environment, **environment},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def first_line(process: "subprocess.Popen[str]") -> str:
    """Wait for the first line that the command writes."""
    assert process.stdout
    return process.stdout.readline().rstrip("\n")


def is_refused(url: str) -> bool:
    """Tell whether nobody listens there."""
    with socket.socket() as client:
        parts = urlsplit(url)
        return client.connect_ex((parts.hostname, parts.port)) == errno.ECONNREFUSED


def installed(directory: Path) -> dict[str, str]:
    """Tell which versions of which distributions are somewhere below a directory."""
    names = [path.name.removesuffix(".dist-info") for path in directory.rglob("*.dist-info")]
    return dict(name.split("-") for name in names)


# --- journeys ---


def test_uv_sync_gets_the_insiders_version_and_the_rest_from_the_public_index(
    person: Person, watch: Watch, bare: str, tmp_path: Path
) -> None:
    """From a tag to an environment in one command; nothing is on stdout but the command's own."""
    project = watch("iniconfig")
    project.write(INSIDERS, dependencies=["pluggy>=1.5"])
    project.push("1.0.0-insiders-0.9.0")
    app = tmp_path / "app"
    app.mkdir()
    (app / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["iniconfig"]\n'
    )
    done = person.run(
        "exec", "--", "uv", "sync", "--directory", app, PATH=bare, UV_PYTHON=sys.executable
    )
    assert done.stdout == ""
    assert "me/iniconfig: building tag 1.0.0-insiders-0.9.0" in done.stderr
    assert re.search(
        r"^Checked 1 repository, published 2 files in \d+\.\d s$", done.stderr, re.MULTILINE
    )
    found = installed(app)
    assert (found["iniconfig"], sorted(found)) == (INSIDERS, ["iniconfig", "pluggy"])


def test_pip_install_gets_the_insiders_version(person: Person, held: Path, tmp_path: Path) -> None:
    """Though the public index has a higher one."""
    assert held.exists()
    pip = ("pip", "install", "--quiet", "--disable-pip-version-check", "--target", tmp_path / "app")
    done = person.run("exec", "--no-update", BIN / pip[0], *pip[1:], "iniconfig")
    assert done.stdout == ""
    assert done.stderr.startswith(NONE_WATCHED)
    found = installed(tmp_path / "app")
    assert (found["iniconfig"], sorted(found)) == (INSIDERS, ["iniconfig", "pluggy"])


def test_with_uv_index_only_what_is_held_is_locked_to_ours(
    person: Person, held: Path, tmp_path: Path
) -> None:
    """With a port of one's own the lock is the same the next time."""
    assert held.exists()
    port = str(free_port())
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["iniconfig"]\n'
    )
    lock = ("exec", "--no-update", "--uv-index", "--port", port, "--", BIN / "uv", "lock")
    person.run(*lock, "--directory", tmp_path)
    locked_as = tomllib.loads((tmp_path / "uv.lock").read_text())
    sources = {item["name"]: item["source"].get("registry") for item in locked_as["package"]}
    assert sources["iniconfig"] == f"http://127.0.0.1:{port}/insiders/simple/"
    assert "127.0.0.1" not in sources["pluggy"]
    person.run(*lock, "--directory", tmp_path, "--check")


def test_where_passwords_are_wanted_the_command_has_one_of_its_own(
    person: Person, held: Path, tmp_path: Path
) -> None:
    """pip and uv are let in, others on this machine are not; no password has to be set before."""
    assert held.exists()
    person.paths.config.mkdir(parents=True)
    (person.paths.config / "config.toml").write_text("[server]\nauth = true\nuploads = true\n")
    code = (
        "import os, urllib.error, urllib.request\n"
        "url = os.environ['PYPI_INSIDERS_URL']\n"
        "bare = 'http://' + url.partition('@')[2] + '/simple/'\n"
        "try:\n    urllib.request.urlopen(bare)\n"
        "except urllib.error.HTTPError as error:\n    print(error.code)\n"
    )
    assert person.run("exec", "--no-update", sys.executable, "-c", code).stdout == "401\n"
    for client in (("uv", "pip", "install"), ("pip", "install")):
        target = tmp_path / client[0]
        line = (BIN / client[0], *client[1:], "--quiet", "--target", target, "iniconfig")
        person.run("exec", "--no-update", "--", *line)
        assert installed(target)["iniconfig"] == INSIDERS
    assert sorted(installed(tmp_path / "uv")) == ["iniconfig", "pluggy"]


@pytest.mark.parametrize(
    ("client", "set_"),
    [
        ("uv pip", {"http_proxy": "http://127.0.0.1:9"}),
        ("uv pip", {"ALL_PROXY": "http://127.0.0.1:9", "NO_PROXY": "localhost"}),
        ("pip", {"ALL_PROXY": "http://127.0.0.1:9", "NO_PROXY": "localhost"}),
    ],
)
def test_a_proxy_is_not_asked_for_what_is_on_this_machine(
    person: Person, client: str, set_: dict[str, str], tmp_path: Path
) -> None:
    """Nobody listens where the proxy should be, and what the index holds is installed."""
    wheel(person.paths.distributions, "probe", "1.0")
    program, *words = client.split()
    target = ("--target", tmp_path / "app")
    line: list[str | Path] = [BIN / program, *words, "install", "--quiet", *target, "probe"]
    person.run("exec", "--no-update", "--", *line, status=0, **set_)
    assert installed(tmp_path / "app") == {"probe": "1.0"}


# --- what the command gets ---


def shown(text: str) -> dict[str, str]:
    """Read what `env -0` wrote."""
    return dict(item.split("=", 1) for item in text.split("\0") if item)


@pytest.mark.parametrize(
    ("options", "given", "added"),
    [
        (
            (), {},
            {
                "PIP_INDEX_URL": "{url}/simple/",
                "UV_DEFAULT_INDEX": "{url}/simple/",
                "PDM_PYPI_URL": "{url}/simple/",
            },
        ),
        (("--uv-index",), {}, {"UV_INDEX": "{url}/insiders/simple/"}),
        (
            ("--uv-index",), {"UV_INDEX": "https://example.org/simple/"},
            {"UV_INDEX": "{url}/insiders/simple/ https://example.org/simple/"},
        ),
        (
            ("--uv-index",), {"HTTP_PROXY": "http://192.0.2.1:3128", "NO_PROXY": "localhost"},
            {
                "UV_INDEX": "{url}/insiders/simple/",
                "no_proxy": "localhost,127.0.0.1",
                "NO_PROXY": "localhost,127.0.0.1",
            },
        ),
        (
            ("--uv-index",), {"https_proxy": "http://192.0.2.1:3128"},
            {"UV_INDEX": "{url}/insiders/simple/"},
        ),
        (
            ("--uv-index",), {"http_proxy": "http://192.0.2.1:3128", "no_proxy": "*"},
            {"UV_INDEX": "{url}/insiders/simple/", "no_proxy": "*", "NO_PROXY": "*,127.0.0.1"},
        ),
    ],
)  # fmt: skip
def test_the_command_gets_our_environment_and_the_variables(
    person: Person, options: tuple[str, ...], given: dict[str, str], added: dict[str, str]
) -> None:
    """Nothing else is in it and nothing is missing."""
    done = person.run("exec", "--no-update", *options, "--", "env", "-0", status=0, **given)
    environment = shown(done.stdout)
    url = environment["PYPI_INSIDERS_URL"]
    assert url.startswith("http://127.0.0.1:")
    assert environment == {
        **person.environment,
        **given,
        **{name: value.format(url=url) for name, value in added.items()},
        "PYPI_INSIDERS_URL": url,
    }


@pytest.mark.parametrize(
    ("variable", "what"),
    [
        ("PIP_EXTRA_INDEX_URL", "pip takes the highest version, from there or from the index"),
        ("UV_INDEX", "uv asks it before the index"),
        ("UV_EXTRA_INDEX_URL", "uv asks it before the index"),
        ("PIP_FIND_LINKS", "pip takes the highest version, from there or from the index"),
        ("UV_FIND_LINKS", "uv takes the highest version, from there or from the index"),
    ],
)
def test_an_index_that_could_get_in_between_is_named(
    person: Person, variable: str, what: str
) -> None:
    """It is the person's own, so it stays."""
    done = person.run(
        "exec", "--no-update", "printenv", variable,
        status=0, **{variable: "https://example.org/simple/"},
    )  # fmt: skip
    assert done.stdout == "https://example.org/simple/\n"
    assert done.stderr == f"{NONE_WATCHED}note: {variable} is set: {what}\n"


@pytest.mark.parametrize(
    ("options", "given", "told"),
    [
        ((), {"PIP_NO_INDEX": "0", "UV_OFFLINE": "false", "UV_INDEX_STRATEGY": "first-index"}, []),
        ((), {"UV_INDEX_STRATEGY": "unsafe-best-match"}, []),
        (
            ("--uv-index",), {"UV_INDEX_STRATEGY": "unsafe-best-match", "PIP_NO_INDEX": "1"},
            ["UV_INDEX_STRATEGY is set: uv may take a version from another index than the first"],
        ),
        ((), {"UV_OFFLINE": "1", "PIP_NO_INDEX": "yes"},
         ["PIP_NO_INDEX is set: pip uses no index", "UV_OFFLINE is set: uv uses no index"]),
    ],
)  # fmt: skip
def test_only_what_bends_the_address_is_named(
    person: Person, options: tuple[str, ...], given: dict[str, str], told: list[str]
) -> None:
    """A switch that is off does nothing, and one index alone has no order."""
    done = person.run("exec", "--no-update", *options, "true", status=0, **given)
    assert done.stderr == NONE_WATCHED + "".join(f"note: {line}\n" for line in told)


@pytest.mark.parametrize(
    "words",
    [
        ("-v", "--help", "a  b", "", "--", "*", "$HOME", "é"),
        ("exec", "--no-update", "--version"),
    ],
)
@pytest.mark.parametrize("dashes", [("--",), ()])
def test_arguments_arrive_as_they_were_given(
    person: Person, words: tuple[str, ...], dashes: tuple[str, ...]
) -> None:
    """Spaces, options and what a shell would replace; the first `--` is ours, if it is there."""
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    done = person.run("exec", "--no-update", *dashes, sys.executable, "-c", code, *words)
    assert json.loads(done.stdout) == list(words)


def test_input_output_and_other_files_are_the_commands(person: Person, tmp_path: Path) -> None:
    """What comes in on stdin, goes out on both outputs, and a file that we were given."""
    other = tmp_path / "other"
    line = 'cat; echo err >&2; echo x >"/proc/self/fd/$1"'
    with other.open("w") as file:
        done = subprocess.run(
            [COMMAND, "exec", "--no-update", "sh", "-c", line, "sh", str(file.fileno())],
            env=person.environment, input="in", capture_output=True, text=True, timeout=60,
            pass_fds=[file.fileno()],
        )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "in", f"{NONE_WATCHED}err\n")
    assert other.read_text() == "x\n"


@pytest.mark.parametrize("options", [(), ("--no-update",)])
def test_the_service_manager_hears_of_the_command_only(
    person: Person, watch: Watch, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """In a unit of `Type=notify` it is the command that tells when it is ready."""
    watch("probe").release("1.0")
    person.run("update")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        path = str(tmp_path / "notify")
        done = person.run("exec", *options, "printenv", "NOTIFY_SOCKET", NOTIFY_SOCKET=path)
        assert done.stdout == f"{path}\n"
        with pytest.raises(BlockingIOError):
            manager.recv(4096)


# --- how it ends ---


@pytest.mark.parametrize(
    ("line", "status"),
    [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143), ("kill -KILL $$", 137)],
)
def test_the_status_is_that_of_the_command(person: Person, line: str, status: int) -> None:
    """128 and the number of the signal, if one ended it; nothing is said about that."""
    done = person.run("exec", "--no-update", "--", "sh", "-c", line, status=status)
    assert (done.stdout, done.stderr) == ("", NONE_WATCHED)


def test_the_status_is_known_whatever_we_inherit(person: Person) -> None:
    """Who ignores that children end, as some supervisors do, would never hear how."""
    code = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    line = [str(COMMAND), "exec", "--no-update", "sh", "-c", "exit 3"]
    done = subprocess.run(
        [sys.executable, "-c", code, *line], env=person.environment, capture_output=True, timeout=60
    )
    assert done.returncode == 3


@pytest.mark.parametrize(
    ("command", "status", "message", "hint"),
    [
        ("nope", 127, "nope was not found", "check its spelling and $PATH"),
        (
            "uv sync", 127, "uv sync was not found",
            "to run a shell command line, use `sh -c 'uv sync'`",
        ),
        ("{home}/nope", 127, "{home}/nope was not found", "check its spelling and $PATH"),
        (
            "{home}/plain", 126, "{home}/plain is not executable",
            "run `chmod +x`, or name its interpreter",
        ),
        ("{home}", 126, "{home} is not executable", "run `chmod +x`, or name its interpreter"),
        ("plain", 126, "plain is not executable", "run `chmod +x`, or name its interpreter"),
        ("garbage", 126, "cannot run garbage: Exec format error", "check its type with `file`"),
    ],
)  # fmt: skip
def test_a_command_that_cannot_be_run(
    person: Person, command: str, status: int, message: str, hint: str
) -> None:
    """As env(1) ends; said before an update begins, where that can be."""
    (person.home / "plain").write_text("echo hello\n")
    (person.home / "garbage").write_bytes(b"\0")
    (person.home / "garbage").chmod(0o755)
    wheel(person.paths.distributions, "probe", "1.0")
    person.run("repos", "add", "me/probe:probe", "--url", "file:///nowhere/probe.git")
    path = f"{person.home}:{os.environ['PATH']}"
    options = ["--no-update"] if command == "garbage" else []
    failed = person.run(
        "exec", *options, "--", command.format(home=person.home), status=status, PATH=path
    )
    said = f"error: {message}\nhint: {hint}\n".format(home=person.home)
    assert (failed.stdout, failed.stderr) == ("", said)


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "QUIT", "USR1"])
def test_a_signal_is_handed_to_the_command_and_it_decides(person: Person, name: str) -> None:
    """It can clean up and end as it likes; the index is there meanwhile."""
    code = (
        "import os, signal, urllib.request\n"
        f"signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIG{name}])\n"
        "print('ready', flush=True)\n"
        f"signal.sigwait([signal.SIG{name}])\n"
        "print(urllib.request.urlopen(os.environ['PIP_INDEX_URL']).status)\n"
        "raise SystemExit(5)\n"
    )
    with started(person, sys.executable, "-c", code) as process:
        assert first_line(process) == "ready"
        process.send_signal(getattr(signal, f"SIG{name}"))
        assert process.communicate(timeout=60) == ("200\n", NONE_WATCHED)
        assert process.returncode == 5


def test_a_command_that_a_handed_on_signal_ends(person: Person) -> None:
    """We end with 143, after it."""
    with started(person, "sh", "-c", "echo ready; exec sleep 600") as process:
        assert first_line(process) == "ready"
        process.terminate()
        assert process.communicate(timeout=60) == ("", NONE_WATCHED)
        assert process.returncode == 143


def test_an_interrupt_at_the_terminal_reaches_the_command_once(person: Person) -> None:
    """The terminal sends it to both of us; we wait for the command, and the index is there."""
    code = (
        "import os, signal, sys, urllib.request\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\n"
        "print('tty' if sys.stdin.isatty() else 'none', flush=True)\n"
        "for _ in range(9):\n"
        "    signal.sigwait([signal.SIGINT])\n"
        "    status = urllib.request.urlopen(os.environ['PIP_INDEX_URL']).status\n"
        "    again = signal.sigtimedwait([signal.SIGINT], 0.1)\n"
        "    print('again' if again else 'once', status, flush=True)\n"
        "raise SystemExit(7)\n"
    )
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [need("setsid"), "--ctty", "--wait", COMMAND, "exec", "--no-update",
         sys.executable, "-c", code],
        env=person.environment, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    with os.fdopen(ours, "rb") as terminal:
        assert terminal.readline() == b"tty\r\n"
        for _ in range(9):
            os.write(ours, b"\x03")
            assert terminal.readline() == b"^Conce 200\r\n"
        assert process.wait(60) == 7


def test_what_we_ignore_the_command_ignores(person: Person) -> None:
    """`nohup` is for the command."""
    line = f"trap '' HUP; exec {COMMAND} exec --no-update sh -c 'kill -HUP $$; echo alive'"
    done = subprocess.run(
        ["sh", "-c", line], env=person.environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "alive\n")


# --- what stays behind ---


def test_the_index_is_gone_afterwards(person: Person) -> None:
    """Also where the command has left something running."""
    line = 'sleep 600 >&- 2>&- & echo "$!"; echo "$PIP_INDEX_URL"'
    done = person.run("exec", "--no-update", "sh", "-c", line)
    left, url = done.stdout.split()
    try:
        assert is_refused(url)
    finally:
        os.kill(int(left), signal.SIGKILL)


def test_the_index_ends_when_we_are_killed(person: Person) -> None:
    """Though nobody could tell it to. It holds none of our files but standard error."""
    with started(person, "sh", "-c", 'echo "$$ $PIP_INDEX_URL"; exec sleep 600') as process:
        command, url = first_line(process).split()
        index = index_of(process, command)
        files = [Path(f"/proc/{index}/fd/{number}") for number in (0, 1)]
        assert [str(path.readlink()) for path in files] == [os.devnull] * 2
        watched = os.pidfd_open(index)
        assert not is_refused(url)
        process.kill()
        os.kill(int(command), signal.SIGKILL)
        wait_for_end(watched)
        assert is_refused(url)


def test_nobody_waits_for_an_index_that_has_ended(person: Person) -> None:
    """Its clients are refused, and the command goes on."""
    with started(person, "sh", "-c", 'echo "$$ $PIP_INDEX_URL"; exec sleep 600') as process:
        command, url = first_line(process).split()
        index = index_of(process, command)
        watched = os.pidfd_open(index)
        os.kill(index, signal.SIGKILL)
        wait_for_end(watched)
        assert is_refused(url)
        process.terminate()
        assert process.wait(60) == 143


def test_an_update_under_way_is_not_waited_for(person: Person) -> None:
    """With --no-update nothing is changed, so that need not be."""
    wheel(person.paths.distributions, "probe", "1.0")
    person.run("repos", "add", "me/probe:probe", "--url", "file:///nowhere/probe.git")
    with locked(person.paths.locks.updates):
        assert person.run("exec", "--no-update", "echo", "done").stdout == "done\n"


def test_a_taken_port_is_said(person: Person) -> None:
    """Before the command runs."""
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = str(taken.getsockname()[1])
        failed = person.run("exec", "--no-update", "--port", port, "echo", "no", status=1)
    assert failed.stdout == ""
    assert failed.stderr.startswith(
        f"{NONE_WATCHED}error: cannot listen on 127.0.0.1:{port}: the port is taken\n"
    )


def test_an_index_that_does_not_come_up_is_said(person: Person) -> None:
    """Before the command runs."""
    person.paths.data.mkdir(parents=True)
    person.paths.distributions.write_text("")
    failed = person.run("exec", "--no-update", "echo", "no", status=1)
    assert (failed.stdout, failed.stderr) == (
        "",
        f"{NONE_WATCHED}error: cannot read {person.paths.distributions}: Not a directory"
        "\nhint: move that file or directory away\n",
    )


# --- which package ---


def test_the_command_does_not_run_without_a_release_of_a_repository(
    person: Person, watch: Watch
) -> None:
    """It would get the public package; the repository is named, the other one is no reason."""
    watch("probe").release("1.0")
    person.run("repos", "add", "me/gone:gone", "--url", "file:///nowhere/gone.git")
    message = (
        f"error: the index has no release of me/gone: {STOPPED}\n"
        "hint: `pypi-insiders update me/gone`, or `repos remove` what is not needed\n"
    )
    failed = person.run("exec", "echo", "no", status=1)
    assert failed.stdout == ""
    assert "error: me/gone: repository not found" in failed.stderr
    told = TOOK.sub("", failed.stderr)
    assert told.endswith(f"Checked 2 repositories, published 2 files; 1 failed: me/gone\n{message}")
    again = person.run("exec", "--no-update", "echo", "no", status=1)
    assert (again.stdout, again.stderr) == ("", message)


def test_an_older_release_is_good_enough_and_said(person: Person, watch: Watch) -> None:
    """A host that is down does not stop who has built before."""
    project = watch("probe")
    project.release("1.0")
    person.run("update")
    project.remote.rename(project.remote.with_name("moved"))
    done = person.run("exec", "echo", "yes")
    assert done.stdout == "yes\n"
    assert TOOK.sub("", done.stderr).endswith(
        "Checked 1 repository, published 0 files; 1 failed: me/probe\n"
        "note: the command gets older releases of me/probe, which the index has\n"
    )


def test_a_repository_that_was_never_built_has_no_release(person: Person) -> None:
    """Nobody knows yet which distribution it is."""
    person.run("repos", "add", "me/probe", "--url", "file:///nowhere/probe.git")
    failed = person.run("exec", "--no-update", "echo", "no", status=1)
    assert failed.stderr == (
        "error: the index has no release of me/probe, and the project name is unknown: "
        "the command could get a public package of that name\n"
        "hint: `pypi-insiders update me/probe`, or `pypi-insiders repos set me/probe "
        "project=PROJECT`\n"
    )


def test_where_nothing_is_watched_the_command_runs(person: Person) -> None:
    """Contributors without access have nothing to watch, and get what is public."""
    done = person.run("exec", "echo", "yes")
    assert (done.stdout, done.stderr) == ("yes\n", NONE_WATCHED)


def test_an_update_that_is_the_command_builds_with_public_requirements(
    person: Person, watch: Watch
) -> None:
    """It does not take them from the index that serves it, though its variables are set."""
    watch("probe").release("1.0", backend="flit")
    wheel(person.paths.distributions, "flit-core", "99.0")
    wheel(person.paths.distributions, "probe", "0.1")
    person.run("exec", "--no-update", COMMAND, "update")
    shown_ = json.loads(person.run("show", "me/probe", "--json").stdout)
    (build,) = shown_["builds"]
    assert list(build["requirements"]) == ["flit-core"]
    assert build["requirements"]["flit-core"] != "99.0"


def test_the_command_must_be_given(person: Person) -> None:
    """One line, and the way to the help."""
    failed = person.run("exec", "--no-update", "--", status=2)
    assert failed.stderr == (
        "error: missing argument '[--] COMMAND [ARG]...'\nhint: see `pypi-insiders exec --help`\n"
    )
