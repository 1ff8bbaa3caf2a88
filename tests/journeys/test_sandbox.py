"""sandbox: what the code of a project can do while it is built, under a real user manager."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures import MakeMachine, need, untimed
from machine import Background, Machine
from projects import Project, create

_INDEX = ".local/share/pypi-insiders/dists"

# Runs as a build hook. Whatever it manages to do is told in the wheel.
_BURGLAR = r"""
import glob, json, os, socket, subprocess, time
report = {}

def attempt(name):
    def decorate(call):
        try:
            report[name] = f"did it: {call()!r}"[:200]
        except BaseException as error:
            report[name] = f"{type(error).__name__}"
    return decorate

def read(path):
    with open(path) as file:
        return file.read()

def write(path):
    with open(path, "w") as file:
        file.write("was here")
    return path

def run(*argv):
    subprocess.run(argv, check=True, capture_output=True)

for path in READ:
    attempt(f"read {path}")(lambda: read(path))
for path in WRITE:
    attempt(f"write {path}")(lambda: write(path))
for path in LIST:
    attempt(f"list {path}")(lambda: os.listdir(path) or 1 / 0)
for address in CONNECT:
    attempt(f"connect {address}")(lambda: socket.create_connection(address, timeout=5).close())
for path in SOCKETS:
    @attempt(f"socket {path}")
    def _():
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
attempt("resolve")(lambda: socket.getaddrinfo("pypi.org", 443))
attempt("unit")(lambda: run("systemd-run", "--user", "true"))
attempt("set-user")(lambda: os.setuid(0) or os.getuid() == 0 or 1 / 0)
attempt("root")(lambda: os.chroot("/"))
attempt("unhide")(
    lambda: run("unshare", "--user", "--map-root-user", "--mount", "umount", "/home")
)
attempt("kill")(lambda: [os.kill(int(pid), 0) for pid in PIDS if int(pid) > 40 or 1 / 0])
report["processes"] = sorted(read(path).strip() for path in glob.glob("/proc/[0-9]*/comm"))
report["variables"] = sorted(os.environ)
report["directory"] = os.getcwd()
report["umask"] = oct(os.umask(0o22))
report["group"] = read("/proc/self/cgroup").split("0::")[-1].strip()
report["descriptors"] = [
    number for number in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{number}")
]
report["policy"] = os.sched_getscheduler(0) == os.SCHED_IDLE
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "31411.5"])
    os._exit(0)
with open("probe/report.json", "w") as file:
    json.dump(report, file)
"""


@pytest.fixture
def project(machine: Machine, tmp_path: Path) -> Project:
    """A project that the person of the machine watches."""
    machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
    project = create(tmp_path, "probe")
    machine.run("pypi-insiders", "repos", "add", "me/probe:probe", "--url", project.url)
    return project


@pytest.fixture
def listener(machine: Machine) -> Iterator[tuple[Background, int]]:
    """A server on the loopback, and its port."""
    code = (
        "import socket; server = socket.create_server(('127.0.0.1', 0))\n"
        "print(server.getsockname()[1], flush=True)\n"
        "while True: server.accept()[0].sendall(b'secret')"
    )
    server = machine.start("python3", "-u", "-c", code)
    yield server, int(next(server.lines()))
    server.stop()


def hostile(project: Project, code: str, version: str = "1.0") -> None:
    """Release a version whose build runs some code."""
    project.write(version)
    project.hook(textwrap.dedent(code))
    project.push(f"v{version}")


def test_a_burglar_finds_every_door_closed(
    machine: Machine, project: Project, listener: tuple[Background, int], tmp_path: Path
) -> None:
    """It reads no key, reaches no network, writes nowhere else and leaves no process behind."""
    home = machine.home
    machine.write_text(".ssh/id_ed25519", "secret", mode=0o600)
    machine.write_text(f"{_INDEX}/theirs-1.0.tar.gz", "secret")
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    runtime = machine.run("printenv", "XDG_RUNTIME_DIR").stdout.strip()
    # An agent's, and as that of a shared connection, with which ssh gives access to the host.
    own = [f"{outside}/agent.sock", f"{runtime}/pypi-insiders/ssh-1/git@github.com:22-0"]
    machine.run("mkdir", "-p", f"{runtime}/pypi-insiders/ssh-1")
    agents = [machine.start("systemd-socket-activate", "--listen", at, "cat") for at in own]
    for at in own:
        machine.wait_for(["test", "-S", at], lambda done: done.returncode == 0)
    machine.run("sh", "-c", "echo secret >/boot/key")
    constants: dict[str, list[object]] = {
        "READ": [
            f"{home}/.ssh/id_ed25519", f"{home}/.config/pypi-insiders/repos.toml",
            f"{home}/{_INDEX}/theirs-1.0.tar.gz", "/boot/key", "/etc/shadow", "/proc/kcore",
        ],
        "WRITE": [
            f"{home}/{_INDEX}/pip-99.tar.gz", f"{home}/.bashrc", f"{outside}/here",
            "/usr/lib/here", "/etc/here", "/sys/fs/cgroup/cgroup.procs", "/run/here",
            "/proc/sys/kernel/hostname",
        ],
        "LIST": [
            "/var/log", "/var/lib", "/srv", "/mnt", "/media", "/boot", f"{home}/.ssh",
            f"{home}/.config", "/root/.ssh", runtime, str(tmp_path),
        ],
        "CONNECT": [("127.0.0.1", listener[1]), ("::1", listener[1]), ("192.0.2.1", 443)],
        "SOCKETS": [f"{runtime}/bus", f"{runtime}/systemd/private", *own],
        "PIDS": [str(pid) for pid in range(41, 400)],
    }  # fmt: skip
    hostile(project, "".join(f"{key} = {value!r}\n" for key, value in constants.items()) + _BURGLAR)
    done = machine.run("pypi-insiders", "update", env={"SECRET_TOKEN": "secret"})
    for agent in agents:
        agent.stop()
    assert "not sandboxed" not in done.stderr
    machine.run("cp", f"{_INDEX}/probe-1.0-py3-none-any.whl", str(outside))
    with zipfile.ZipFile(outside / "probe-1.0-py3-none-any.whl") as archive:
        report = json.loads(archive.read("probe/report.json"))
    kept = ("processes", "variables", "directory", "umask", "policy", "group", "descriptors")
    told = {name: report.pop(name) for name in kept}
    assert {name: outcome for name, outcome in report.items() if "did it" in outcome} == {}
    tried = sum(len(values) for name, values in constants.items() if name != "PIDS")
    assert len(report) == tried + 6
    assert set(told["processes"]) <= {"unshare", "env", "python", "python3", "sh"}
    assert not {"SECRET_TOKEN", "SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS"} & {*told["variables"]}
    # Which ends at once what has no network.
    assert {"CARGO_NET_RETRY", "UV_HTTP_RETRIES", "npm_config_fetch_retries"} < {*told["variables"]}
    assert told["directory"].startswith("/run/build/")
    assert (told["umask"], told["policy"]) == ("0o22", True)
    assert sorted(told["descriptors"]) == ["0", "1", "2"]
    assert "/background.slice/pypi-insiders-build-" in told["group"]
    assert sorted(path.name for path in outside.iterdir()) == [
        "agent.sock", "probe-1.0-py3-none-any.whl",
    ]  # fmt: skip
    names = machine.run("ls", "-A", "-I", ".held.json", _INDEX).stdout.split()
    assert sorted(names) == ["probe-1.0-py3-none-any.whl", "probe-1.0.tar.gz", "theirs-1.0.tar.gz"]
    assert machine.processes("sleep 31411") == []
    units = machine.run("systemctl", "--user", "list-units", "--all", "pypi-insiders-build*")
    assert "pypi-insiders-build" not in units.stdout


def test_what_is_mounted_below_opt_is_hidden() -> None:
    """Elsewhere in the system's directories it is the system's, such as a disk of `/usr` alone."""
    code = """
        import subprocess
        from pypi_insiders.builder import sandbox
        for path in ("/opt", "/opt/a b/c"):
            subprocess.run(["mkdir", "-p", path], check=True)
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], check=True)
        print(*sandbox._foreign_directories(), sep="\\n")
    """
    shown = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount",
         sys.executable, "-c", textwrap.dedent(code)],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert [path for path in shown if path.startswith("/opt")] == ["/opt/a b/c"]
    assert {"/boot", "/srv", "/var"} < set(shown)
    assert not {"/", "/usr", "/usr/local", "/etc", "/proc", "/dev"} & set(shown)


def test_forks_without_end_end(machine: Machine, project: Project) -> None:
    """At some number of processes there are no more, and none of them outlives the build.

    A user namespace in the one of the build is no way out.
    """
    code = """
        import ctypes, os, signal, sys
        if ctypes.CDLL(None).unshare(0x10000000):
            sys.exit("no namespace")
        count = 0
        try:
            while count < 20_000:
                if os.fork() == 0:
                    signal.pause()
                count += 1
        except OSError as error:
            words = f"{os.path.basename(sys.argv[0])} {sys.argv[1]}"
            sys.exit(f"no more than {count} processes like {words}: {error.strerror}")
    """
    hostile(project, code)
    failed = machine.run("pypi-insiders", "update", check=False, timeout_s=240)
    assert failed.returncode == 1
    limit = re.search(
        r"no more than (\d+) processes like (hook\.py build_wheel): Resource temporarily",
        failed.stderr,
    )
    assert limit
    assert 100 < int(limit[1]) <= 1024
    assert machine.processes(limit[2]) == []
    assert "me/probe: tag v1.0: Backend subprocess exited when trying to invoke" in failed.stderr


# What a hook does, and what is said of it.
_PLANTED = [
    (
        "open(os.path.join(directory, 'pip-99.0-py3-none-any.whl'), 'w').close()",
        "the build produced pip-99.0-py3-none-any.whl, probe-{}-py3-none-any.whl "
        "instead of one wheel",
    ),
    (
        "os.symlink('/etc/passwd', os.path.join(directory, 'probe-{}-py3-none-any.whl'))\n"
        "return 'probe-{}-py3-none-any.whl'",
        "the build produced probe-{}-py3-none-any.whl, which is not a regular file",
    ),
    (
        "open(os.path.join(directory, 'pip-99.0-py3-none-any.whl'), 'w').close()\n"
        "return '../../pip-99.0-py3-none-any.whl'",
        'the build backend returned "../../pip-99.0-py3-none-any.whl" from build_wheel, '
        "expected a file name",
    ),
    (
        "open(os.path.join(directory, 'probe-{}.tar.gz'), 'w').close()\nreturn 'probe-{}.tar.gz'",
        "the build produced probe-{}.tar.gz instead of one wheel",
    ),
    (
        "import zipfile\n"
        "name = buildapi.build_wheel(directory, settings, metadata)\n"
        "with zipfile.ZipFile(os.path.join(directory, name), 'a') as archive:\n"
        "    archive.writestr('../../pip/evil.py', '')\n"
        "return name",
        "probe-{}-py3-none-any.whl contains '../../pip/evil.py', a path outside the archive",
    ),
    (
        "import zipfile\n"
        "name = buildapi.build_wheel(directory, settings, metadata)\n"
        "with zipfile.ZipFile(os.path.join(directory, name), 'a') as archive:\n"
        "    archive.writestr('pip/evil.py', '')\n"
        "return name",
        "probe-{}-py3-none-any.whl: pip/evil.py is not mentioned in RECORD",
    ),
]


def test_what_is_planted_is_refused(machine: Machine, project: Project) -> None:
    """Nothing gets into the index, and the log says what it was."""
    expected = []
    for number, (planting, complaint) in enumerate(_PLANTED):
        version = f"1.{number}"
        hostile(project, "import os\n" + planting.replace("{}", version), version)
        expected.append(f"error: me/probe: tag v{version}: {complaint.replace('{}', version)}")
    failed = machine.run("pypi-insiders", "update", "me/probe", "--all-tags", check=False)
    told = [line for line in failed.stderr.splitlines() if line.startswith("error: me/probe: tag")]
    assert sorted(told) == expected
    assert machine.run("ls", "-A", _INDEX, check=False).stdout == ""


# Runs as a build hook that may use the network, and raises what it should not have reached.
_EXPLORER = r"""
import os, socket, subprocess, urllib.error, urllib.request
reached = []

def attempt(name, call):
    try:
        reached.append((name, call()))
    except OSError:
        pass

def connect(family, address):
    with socket.socket(family) as client:
        client.settimeout(5)
        client.connect(address)

def ask(url):
    with urllib.request.urlopen(url, timeout=100) as answer:
        return answer.status, answer.read(100)

def tunnel(host):
    with socket.create_connection(("127.0.0.1", 3128)) as client:
        client.sendall(f"CONNECT {host}:{PORT} HTTP/1.1\r\n\r\n".encode())
        answer = client.recv(1000)
        if b" 403 " not in answer:
            raise RuntimeError(f"{host}: {answer}")

for address in ADDRESSES:
    attempt(address, lambda: connect(socket.AF_INET, (address, PORT)))
attempt("::1", lambda: connect(socket.AF_INET6, ("::1", PORT)))
attempt("abstract", lambda: connect(socket.AF_UNIX, "\0" + ABSTRACT))
attempt("key", lambda: os.stat(KEY))
os.environ["no_proxy"] = ""
for host in (*ADDRESSES, *NAMES):
    tunnel(host)
    try:
        reached.append((host, ask(f"http://{host}:{PORT}/")))
    except urllib.error.HTTPError as error:
        if error.code != 403:
            raise
if reached:
    raise RuntimeError(f"reached {reached}")
"""


def test_with_the_network_no_service_of_this_machine_is_reached(
    machine: Machine, project: Project, listener: tuple[Background, int]
) -> None:
    """`network = true` leads to other machines: not to our own index, nor to an abstract socket."""
    abstract = machine.start(
        "python3", "-u", "-c",
        "import socket; server = socket.socket(socket.AF_UNIX)\n"
        "server.bind('\\0an agent'); server.listen(); print(); server.accept()",
    )  # fmt: skip
    assert next(abstract.lines()) == ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        own = probe.getsockname()[0]
    constants = {
        "PORT": listener[1],
        "ADDRESSES": ["127.0.0.1", "127.1.2.3", "0.0.0.0", own, "169.254.169.254"],
        "NAMES": ["localhost", "[::1]", "[::]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"],
        "ABSTRACT": "an agent",
        "KEY": str(machine.write_text(".ssh/id_ed25519", "secret", mode=0o600)),
    }
    hostile(
        project, "".join(f"{key} = {value!r}\n" for key, value in constants.items()) + _EXPLORER
    )
    path = ".config/pypi-insiders/repos.toml"
    machine.write_text(path, machine.read_text(path) + "network = true\n")
    done = machine.run("pypi-insiders", "update")
    assert untimed(done.stdout) == "Checked 1 repository, published 2 files\n"
    assert "not sandboxed" not in done.stderr


_WAY_OUT = r"""
import socket, ssl, urllib.request
URL = {url!r}
try:
    with urllib.request.urlopen(URL, timeout=60) as answer:
        heard = answer.read(100)
except Exception as error:
    heard = repr(error).encode()
with open("probe/heard", "wb") as file:
    file.write(heard)
"""


def test_with_the_network_other_machines_are_reached(machine: Machine, project: Project) -> None:
    """By HTTP and HTTPS, also where a proxy of this machine leads there."""
    proxy = machine.start(
        "python3", "-u", "-c",
        "import http.server\n"
        "class Proxy(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers()\n"
        "        word = self.headers['Proxy-Authorization']\n"
        "        self.wfile.write(f'{self.path} {word}'.encode())\n"
        "server = http.server.HTTPServer(('127.0.0.1', 0), Proxy)\n"
        "print(server.server_port, flush=True); server.serve_forever()",
    )  # fmt: skip
    port = next(proxy.lines())
    path = ".config/pypi-insiders/repos.toml"
    machine.write_text(path, machine.read_text(path) + "network = true\n")
    heard = []
    for version, url, environment in (
        ("1.0", "https://pypi.org/simple/", {}),
        ("1.1", "http://192.0.2.7/x?y", {"http_proxy": f"http://me:secret@127.0.0.1:{port}"}),
    ):
        hostile(project, _WAY_OUT.format(url=url), version)
        machine.run("pypi-insiders", "update", env=environment)
        name = f"{_INDEX}/probe-{version}-py3-none-any.whl"
        code = f"import zipfile; print(zipfile.ZipFile({name!r}).read('probe/heard').decode())"
        heard.append(machine.run("python3", "-c", code).stdout.strip())
    assert heard[0].startswith("<!DOCTYPE html>")
    assert heard[1] == "http://192.0.2.7:80/x?y Basic bWU6c2VjcmV0"


_GUEST = r"""
import os, pathlib, subprocess, urllib.request
report = []

def attempt(name, call):
    try:
        report.append(f"{name}: {str(call()).strip()}")
    except Exception as error:
        report.append(f"{name}: {type(error).__name__}")

def run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

home = pathlib.Path(HOME)
for name in ("data/file", "link/file", "real/deep/file", ".ssh/key", ".cargo/credentials.toml",
             "other", ".rustup/settings.toml", "certificates.pem"):
    attempt(name, (home / name).read_text)
attempt("write", lambda: (home / "data/new").write_text(""))
for program in ("tool", "cargo", "true", "of-nix"):
    attempt(program, lambda: run(program))
attempt("proxies", lambda: len({os.environ[name] for name in ("https_proxy", "YARN_HTTPS_PROXY")}))
attempt("resolver", lambda: "nameserver" in pathlib.Path("/etc/resolv.conf").read_text())
page = "https://pypi.org/simple/six/"
attempt("by name", lambda: urllib.request.urlopen(page, timeout=60).status)
pathlib.Path("probe/report").write_text("\n".join(report))
"""


def test_files_and_programs_of_the_user_are_seen_where_they_are_named(
    make_machine: MakeMachine, tmp_path: Path
) -> None:
    """With what links lead to, Rust by itself, and the files of the system that are links."""
    with make_machine(linked_resolver=True) as machine:
        machine.write_text(".gitconfig", "[safe]\n  directory = *\n")
        for name in ("data/file", "real/deep/file", ".ssh/key", ".cargo/credentials.toml", "other",
                     ".rustup/settings.toml", "certificates.pem", "node/lib/words"):  # fmt: skip
            machine.write_text(name, f"of {name}")
        for name, code in {
            "nix/sw/bin/of-nix": "echo there",
            "node/lib/tool": 'cat "$(dirname "$(readlink -f "$0")")/words"',
            ".cargo/bin/cargo": 'cat "$RUSTUP_HOME/settings.toml"',
            ".cargo/bin/true": "echo not of the system",
        }.items():
            machine.write_text(name, f"#!/bin/sh\n{code}\n", mode=0o755)
        machine.run("sh", "-c", "mkdir node/bin; ln -s ../lib/tool node/bin; ln -s real/deep link")
        machine.run("ln", "-s", f"{machine.home}/nix", "/run/current-system")
        project = create(tmp_path, "probe")
        machine.run("pypi-insiders", "repos", "add", "me/probe:probe", "--url", project.url)
        machine.run(
            "pypi-insiders", "repos", "set", "me/probe", "network=true", "readable=~/data,~/link",
            "path=~/node/bin",
        )  # fmt: skip
        hostile(project, f"HOME = {str(machine.home)!r}\n{_GUEST}")
        certificates = {"NODE_EXTRA_CA_CERTS": f"{machine.home}/certificates.pem"}
        done = machine.run("pypi-insiders", "update", env=certificates)
        assert "not sandboxed" not in done.stderr
        name = f"{_INDEX}/probe-1.0-py3-none-any.whl"
        code = f"import zipfile; print(zipfile.ZipFile({name!r}).read('probe/report').decode())"
        report = machine.run("python3", "-c", code).stdout.splitlines()
        assert report == [
            "data/file: of data/file", "link/file: of real/deep/file",
            "real/deep/file: of real/deep/file", ".ssh/key: FileNotFoundError",
            ".cargo/credentials.toml: FileNotFoundError", "other: FileNotFoundError",
            ".rustup/settings.toml: of .rustup/settings.toml",
            "certificates.pem: of certificates.pem", "write: OSError",
            "tool: of node/lib/words", "cargo: of .rustup/settings.toml", "true: ",
            "of-nix: there", "proxies: 1",
            "resolver: True", "by name: 200",
        ]  # fmt: skip
        # By the time of a build a path may lead elsewhere.
        machine.run("sh", "-c", "rm link; ln -s .ssh link")
        project.release("1.1")
        failed = machine.run("pypi-insiders", "update", check=False)
        assert failed.stderr.splitlines()[-2:] == [
            f"error: me/probe: tag v1.1: readable: ~/link leads to {machine.home}/.ssh, which may "
            "contain credentials",
            "hint: set it again: `pypi-insiders repos set me/probe readable=PATH,...`",
        ]


def test_a_hook_that_takes_too_long_is_ended(machine: Machine, tmp_path: Path) -> None:
    """With all that it started, and the output says so."""
    code = """
        import pathlib, sys
        from pypi_insiders.util.process_group import Command, ProcessGroup
        from pypi_insiders.builder.sandbox import Sandbox
        from pypi_insiders.builder.launcher import Mounts
        root = pathlib.Path.home() / "work"
        root.mkdir()
        argv = ["sh", "-c", "setsid sleep 16180.5 & echo begun; sleep 16180.5"]
        sandbox = Sandbox(ProcessGroup(), [pathlib.Path.home()])
        result = sandbox.run(Command(argv, {}, root, 5), Mounts(root, (root,)))
        print(result.status, result.stdout)
    """
    done = machine.run("python", "-c", textwrap.dedent(code))
    assert done.stdout.startswith("-9 begun\n\nkilled after 5 s")
    assert machine.processes("sleep 16180") == []


def test_without_a_sandbox_one_warning_says_so(machine: Machine, project: Project) -> None:
    """Builds work; with `required` they are refused, with `off` nothing is said."""
    settings = ".config/pypi-insiders/config.toml"
    project.release("1.0")
    project.release("1.1")
    without = {"XDG_RUNTIME_DIR": "", "DBUS_SESSION_BUS_ADDRESS": ""}
    machine.write_text(settings, '[build]\nsandbox = "required"\n')
    refused = machine.run("pypi-insiders", "update", env=without, check=False)
    assert refused.returncode == 1
    assert re.search(
        r"^error: me/probe: tag v1.1: the sandbox is unavailable: ", refused.stderr, re.MULTILINE
    )
    machine.write_text(settings, "")
    done = machine.run("pypi-insiders", "update", "me/probe", "--all-tags", env=without)
    assert untimed(done.stdout) == "Checked 1 repository, published 4 files\n"
    assert done.stderr.count("warning: builds are not sandboxed: no session with a user") == 1
    told = json.loads(machine.run("pypi-insiders", "status", "--json", check=False).stdout)
    text = "not sandboxed, builds run with your permissions: no session with a user manager here"
    assert [item["text"] for item in told["warnings"] if item["subject"] == "builds"] == [
        f"{text}: XDG_RUNTIME_DIR is not set"
    ]
    machine.write_text(settings, '[build]\nsandbox = "off"\n')
    project.release("1.2")
    assert "sandbox" not in machine.run("pypi-insiders", "update").stderr
    machine.write_text(settings, '[build]\nsandbox = "required"\n')
    project.release("1.3")
    machine.run("pypi-insiders", "update")
    state = json.loads(machine.read_text(".local/state/pypi-insiders/repositories/me/probe.json"))
    assert [build["sandboxed"] for build in state["builds"]] == [False, False, False, True]


_STATE = ".local/state/pypi-insiders/repositories/me/probe.json"


def failing_at(machine: Machine, calls: range, status: int) -> dict[str, str]:
    """Let some calls of systemd-run end as under load; return the environment in which they do.

    The first is that of the probe.
    """
    path = machine.write_text(
        "shim/systemd-run",
        f"""#!/bin/sh
            count=$(cat {machine.home}/count)
            echo $((count + 1)) >{machine.home}/count
            if [ "$count" -ge {calls.start} ] && [ "$count" -lt {calls.stop} ]; then
                echo "Failed to set up user namespacing: Resource temporarily unavailable"
                exit {status}
            fi
            exec /usr/bin/systemd-run "$@"
        """,
        mode=0o755,
    )
    machine.write_text("count", "1\n")
    search = machine.run("printenv", "PATH").stdout.strip()
    return {"PATH": f"{path.parent}:{search}"}


def test_what_systemd_cannot_set_up_is_no_failure_of_a_tag(
    machine: Machine, project: Project
) -> None:
    """Under load a unit ends 217 at times; the hook has not run then, and the next try may.

    After some tries it is an error of ours, and the next update tries again at once.
    """
    project.release("1.0")
    environment = failing_at(machine, range(2, 100), 217)
    failed = machine.run("pypi-insiders", "update", env=environment, check=False)
    assert failed.returncode == 1
    assert (
        "error: me/probe: tag v1.0: systemd could not set up the unit of the build: Failed to set "
        "up user namespacing: Resource temporarily unavailable"
    ) in failed.stderr.splitlines()
    assert machine.read_text("count") == "7\n"
    assert machine.run("cat", _STATE, check=False).stdout.count('"commit"') == 0
    done = machine.run("pypi-insiders", "update", env=failing_at(machine, range(2, 4), 217))
    assert untimed(done.stdout) == "Checked 1 repository, published 2 files\n"
    assert done.stderr.count("systemd could not set up the unit of a build, trying again") == 2
    state = json.loads(machine.read_text(_STATE))
    assert [build["sandboxed"] for build in state["builds"]] == [True]


_CROWD = """
import os, signal
for _ in range(1100):
    if os.fork() == 0:
        signal.pause()
print("there", flush=True)
signal.pause()
"""


def test_a_build_runs_beside_very_many_processes(machine: Machine, project: Project) -> None:
    """Of the user, or of another build: they are not counted as its own."""
    crowd = machine.start("python3", "-S", "-c", _CROWD)
    assert next(crowd.lines()) == "there"
    hostile(project, "import subprocess\nsubprocess.run(['sh', '-c', 'true | true'], check=True)")
    done = machine.run("pypi-insiders", "update", timeout_s=240)
    crowd.stop()
    assert "not sandboxed" not in done.stderr
    assert untimed(done.stdout) == "Checked 1 repository, published 2 files\n"


def test_what_a_hook_closes_is_opened(machine: Machine, project: Project) -> None:
    """Or else each update would build it anew, and find that it cannot be read."""
    build = "name = buildapi.build_wheel(directory, settings, metadata)"
    close = "os.chmod(f'{directory}/{name}', 0)\nos.chmod(directory, 0)"
    hostile(project, f"import os\n{build}\n{close}\nreturn name")
    done = machine.run("pypi-insiders", "update")
    assert untimed(done.stdout) == "Checked 1 repository, published 2 files\n"


_HOARDER = r"""
import ctypes, errno, os, re, signal
libc = ctypes.CDLL(None, use_errno=True)
for name, arguments in (("inotify_init", ()), ("inotify_init1", (0,))):
    print("told", name, getattr(libc, name)(*arguments), ctypes.get_errno() == errno.EMFILE)
is_amd = os.uname().machine == "x86_64"
keyctl, pkey_alloc, ptrace = (250, 330, 101) if is_amd else (219, 289, 117)
for name, number in (("keys", keyctl), ("pkey_alloc", pkey_alloc), ("ptrace", ptrace)):
    ctypes.set_errno(0)
    print("told", name, libc.syscall(number, 0, 0, 0, 0), ctypes.get_errno() == errno.EPERM)
status = open("/proc/self/status").read()
print("told tracer", re.search(r"TracerPid:\s*(\d+)", status)[1])
print("told unknown", libc.syscall(9999), ctypes.get_errno() in (errno.EPERM, errno.ENOSYS))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
count = 0
while libc.sigqueue(os.getpid(), signal.SIGRTMIN, ctypes.c_void_p(0)) == 0:
    count += 1
    if count > 5000:
        break
print("told signals", count, flush=True)
raise SystemExit("told")
"""


def test_a_build_takes_nothing_of_which_its_user_has_few(
    machine: Machine, project: Project
) -> None:
    """Watches of files, keys and waiting signals are counted by user, whoever holds them.

    System calls that are refused, or that nobody knows, do nothing and end no process.
    """
    hostile(project, _HOARDER)
    failed = machine.run("pypi-insiders", "update", check=False)
    told = [line for line in failed.stderr.splitlines() if line.startswith("told ")]
    assert told == [
        "told inotify_init -1 True", "told inotify_init1 -1 True", "told keys -1 True",
        "told pkey_alloc -1 True", "told ptrace -1 True", "told tracer 0", "told unknown -1 True",
        "told signals 1024",
    ]  # fmt: skip


# Tries to look like a unit that could not be set up, or was ended by somebody else.
_PRETENDER = """
import glob, os, signal
for number in sorted(os.listdir("/proc/self/fd"), key=int):
    if os.path.exists(f"/proc/self/fd/{number}"):
        print("descriptor", number, os.readlink(f"/proc/self/fd/{number}"))
for path in glob.glob("/run/build/*") + glob.glob("/run/build/run-*/**", recursive=True):
    if os.path.basename(path).startswith("env-") or "/run-" in path:
        for do in (os.unlink, lambda path: os.chmod(path, 0), lambda path: open(path, "w")):
            try:
                do(path)
                print("changed", path)
            except OSError:
                pass
print("was here", flush=True)
os.kill(0, signal.SIGKILL)  # the first process of a namespace is safe from itself
os._exit(217)
"""


def test_a_hook_does_not_pass_for_a_failure_of_systemd(machine: Machine, project: Project) -> None:
    """It finds no mark, no descriptor of ours and none of its way to the network, and kills none.

    It is run once, and its tag has failed, also if it ends with a status of systemd's.
    """
    machine.run("pypi-insiders", "repos", "set", "me/probe", "network=true")
    hostile(project, _PRETENDER)
    failed = machine.run("pypi-insiders", "update", check=False)
    assert failed.returncode == 1
    lines = failed.stderr.splitlines()
    assert lines.count("was here") == 1
    opened = [line.split(" ", 2) for line in lines if line.startswith("descriptor ")]
    assert [number for _, number, _ in opened] == ["0", "1", "2"]
    assert opened[0][2] == "/dev/null"
    assert [line for line in lines if line.startswith("changed ") and "/run-" in line] == []
    assert "error: me/probe: tag v1.0: Backend subprocess exited when trying to invoke" in (
        failed.stderr
    )
    state = json.loads(machine.read_text(_STATE))
    assert state["failures"]["v1.0"]["count"] == 1


def test_the_end_of_a_session_is_no_failure_of_a_tag(machine: Machine, project: Project) -> None:
    """The bus is gone in the middle of a build, and later the manager as well."""
    hostile(project, "import os\nos.execvp('sleep', ['sleep', '14142.5'])")
    environment = failing_at(machine, range(500, 1000), 1)
    update = machine.start("pypi-insiders", "update", env=environment)
    first = machine.wait_for_process("sleep 14142")
    for pid in machine.processes("dbus-daemon --session"):
        machine.kill(pid, signal.SIGKILL)
    machine.wait_for_other_process("sleep 14142", first)
    assert update.stop() == 143
    update = machine.start("pypi-insiders", "update", env=environment)
    machine.wait_for_process("sleep 14142")
    machine.write_text("count", "500\n")
    machine.run("systemctl", "--user", "kill", "--signal=KILL", "pypi-insiders-build-*")
    assert update.wait() == 1
    assert "error: me/probe: tag v1.0: systemd could not set up the unit" in update.stderr_text()
    assert machine.processes("sleep 14142") == []
    assert machine.run("cat", _STATE, check=False).stdout.count('"commit"') == 0


def test_what_is_ended_from_outside_is_tried_once_more(machine: Machine, project: Project) -> None:
    """A hook can bring the kernel to end its unit; each time, that is no accident."""
    hostile(project, "import os\nos.execvp('sleep', ['sleep', '14142.5'])")
    update = machine.start("pypi-insiders", "update")
    first = machine.wait_for_process("sleep 14142")
    kill = ("systemctl", "--user", "kill", "--signal=KILL", "pypi-insiders-build-*")
    machine.run(*kill)
    machine.wait_for_other_process("sleep 14142", first)
    machine.run(*kill)
    assert update.wait() == 1
    lines = update.stderr_text().splitlines()
    assert len([line for line in lines if line.endswith("; trying again")]) == 1
    error = "error: me/probe: tag v1.0: another process stopped the unit of the build: "
    told = [line for line in lines if line.startswith(error)]
    assert [line.endswith(" (twice)") for line in told] == [True]
    assert machine.processes("sleep 14142") == []
    state = json.loads(machine.read_text(_STATE))
    assert state["failures"]["v1.0"]["count"] == 1


def test_a_unit_that_begins_after_its_end_runs_nothing(machine: Machine) -> None:
    """Who started it was killed when systemd had the order, and did not heed it yet."""
    go, end = machine.home / "go", machine.home / "end"
    machine.run("mkfifo", str(go), str(end))
    late = f'read line <{go}; /usr/bin/systemd-run "$@"; echo ended >{end}'
    start = f"#!/bin/sh\nexec 3<&0\nsetsid sh -c '{late}' sh \"$@\" <&3 &\nwait\n"
    shim = machine.write_text("shim/systemd-run", start, mode=0o755).parent
    stop = f'#!/bin/sh\ncase "$*" in *" stop "*) echo go >{go}; read line <{end};; esac\n'
    machine.write_text("shim/systemctl", f'{stop}exec /usr/bin/systemctl "$@"\n', mode=0o755)
    code = """
        import pathlib
        from pypi_insiders.util.process_group import Command, ProcessGroup
        from pypi_insiders.builder.errors import SandboxError
        from pypi_insiders.builder.sandbox import Sandbox
        from pypi_insiders.builder.launcher import Mounts
        root = pathlib.Path.home() / "work"
        root.mkdir()
        command = Command(["touch", str(root / "ran")], {}, root, %s)
        try:
            Sandbox(ProcessGroup(), [], ()).run(command, Mounts(root, (root,)))
        except SandboxError as error:
            print(error.message)
        print((root / "ran").exists())
    """
    search = machine.run("printenv", "PATH").stdout.strip()
    environment = {"PATH": f"{shim}:{search}"}
    done = machine.run("python", "-c", textwrap.dedent(code % 1), env=environment)
    assert done.stdout.splitlines()[1:] == ["False"]
    assert done.stdout.startswith("systemd could not set up the unit of the build: killed after 1")


def test_a_build_is_left_behind_whatever_has_its_number_by_now(
    machine: Machine, project: Project
) -> None:
    """Numbers of processes come again."""
    unit = f"pypi-insiders-build-{os.getpid()}-1-1.service"
    machine.run("systemd-run", "--user", "--quiet", f"--unit={unit}", "sleep", "14144.5")
    project.release("1.0")
    done = machine.run("pypi-insiders", "update", "-v")
    assert f"stopping {unit}, left behind by a killed update" in done.stderr
    assert machine.processes("sleep 14144") == []


def test_a_build_leaves_room_on_the_disk(machine: Machine, project: Project) -> None:
    """Wherever it writes, and without reserving at once more than anybody can look after.

    Nor is it less to blame for a directory that nobody may read.
    """
    free = "import os; seen = os.statvfs('.'); print(seen.f_bavail * seen.f_frsize // 1024 ** 2)"
    free_mib = int(machine.run("python", "-c", free).stdout)
    machine.write_text(
        ".config/pypi-insiders/config.toml", f'[build]\ndisk-reserve = "{free_mib - 400}MiB"\n'
    )
    code = """
        import ctypes, os, signal, sys
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)  # as fast as a good disk
        os.mkdir("/tmp/room")
        number = os.open("/tmp/room/filling", os.O_CREAT | os.O_WRONLY)
        os.chmod("/tmp/room", 0)
        libc = ctypes.CDLL(None, use_errno=True)
        size = ctypes.c_long(1024 ** 2)
        if libc.fallocate(number, 0, ctypes.c_long(0), size) == 0:
            sys.exit("could take all room at once")
        for _ in range(2000):
            os.write(number, bytes(1024 * 1024))
            signal.pause()
    """
    hostile(project, code)
    failed = machine.run("pypi-insiders", "update", check=False)
    assert failed.returncode == 1
    assert "could take all room at once" not in failed.stderr
    assert re.search(
        r"^error: me/probe: tag v1\.0: the build was killed after writing \d+ MiB: less than the "
        r"`disk-reserve` of ", failed.stderr, re.MULTILINE,
    )  # fmt: skip
    assert list(json.loads(machine.read_text(_STATE))["failures"]) == ["v1.0"]
    assert int(machine.run("python", "-c", free).stdout) > free_mib - 100


def test_a_sandbox_that_is_lost_is_missed(machine: Machine, project: Project) -> None:
    """Where there was one, no build does without, and `status` says so until there is one again."""
    project.release("1.0")
    machine.run("pypi-insiders", "update")
    project.release("1.1")
    without = {"XDG_RUNTIME_DIR": "", "DBUS_SESSION_BUS_ADDRESS": ""}
    for _ in range(2):
        failed = machine.run("pypi-insiders", "update", env=without, check=False)
        assert failed.returncode == 1
        assert re.search(
            r"^error: me/probe: tag v1.1: the sandbox of builds has become unavailable: no se",
            failed.stderr, re.MULTILINE,
        )  # fmt: skip
    assert "probe-1.1" not in machine.run("ls", _INDEX).stdout
    assert json.loads(machine.read_text(_STATE))["failures"] == {}
    missed = machine.run("pypi-insiders", "status", "--json", check=False)
    assert missed.returncode == 1
    problems = json.loads(missed.stdout)["problems"]
    assert [item["subject"] for item in problems] == ["builds", "me/probe"]
    assert problems[0]["text"].startswith("nothing is built: the sandbox of builds has become")
    machine.run("pypi-insiders", "update")
    well = json.loads(machine.run("pypi-insiders", "status", "--json", check=False).stdout)
    assert [item["subject"] for item in (*well["problems"], *well["notes"])] == []
    assert "builds" not in [item["subject"] for item in well["warnings"]]


# Leaves the session and the group of the hook, and says what could make its end believed.
_STRAGGLER = """
import glob, os, signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for path in glob.glob("/run/build/**", recursive=True):
            if os.path.isdir(path) and os.path.basename(path) != "dist":
                try:
                    open(f"{path}/ended", "w").close()
                except OSError:
                    pass
        for number in range(3):
            try:
                os.write(number, b"begun\\nended\\n")
            except OSError:
                pass
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        os.execvp("sleep", ["sleep", "14143"])
    os._exit(0)
"""
_WAITS = "signal.pause()"


_UNITS = ("systemctl", "--user", "list-units", "--plain", "--no-legend", "pypi-insiders-build-*")


@pytest.mark.parametrize("end", ["success", "limit"])
def test_nothing_of_a_build_outlives_it(machine: Machine, project: Project, end: str) -> None:
    """However it ends: its unit is gone then, with whatever has left its session and its group."""
    if end == "limit":
        machine.write_text(
            ".config/pypi-insiders/config.toml", '[watcher]\nrepository-timeout = "10s"\n'
        )
    hostile(project, f"{_STRAGGLER}{_WAITS if end == 'limit' else ''}")
    done = machine.run("pypi-insiders", "update", check=False, timeout_s=200)
    assert done.returncode == (end == "limit")
    assert machine.run(*_UNITS).stdout == ""
    assert machine.processes("sleep 14143") == []


def test_an_update_that_is_stopped_takes_its_builds_along(
    machine: Machine, project: Project
) -> None:
    """`watcher stop` and Ctrl-C leave no unit; what a kill leaves the next update ends."""
    # Not by the words of the hook: systemd-run has them too, before there is a unit.
    hostile(project, f"{_STRAGGLER}{_WAITS}")
    machine.run("pypi-insiders", "watcher", "start", "--no-block")
    machine.wait_for_process("sleep 14143")
    assert machine.run(*_UNITS).stdout != ""
    machine.run("pypi-insiders", "watcher", "stop")
    assert machine.run(*_UNITS).stdout == ""
    assert machine.processes("sleep 14143") == []
    killed = machine.start("sh", "-c", "echo $$ >pid; exec pypi-insiders update")
    machine.wait_for_process("sleep 14143")
    machine.kill(int(machine.read_text("pid")), signal.SIGKILL)
    killed.wait()
    assert machine.run(*_UNITS).stdout != ""
    project.release("1.1")
    again = machine.run("pypi-insiders", "update", check=False, timeout_s=200)
    assert "left behind by a killed update" in again.stderr
    assert machine.run(*_UNITS).stdout == ""
    assert machine.processes("sleep 14143") == []


def test_an_extension_builds_with_what_it_sees(machine: Machine, project: Project) -> None:
    """The compiler needs nothing of what is hidden."""
    need("cc")
    project.write("1.0", backend="setuptools")
    project.extend()
    project.push("v1.0")
    done = machine.run("pypi-insiders", "update", timeout_s=240)
    assert untimed(done.stdout) == "Checked 1 repository, published 2 files\n"
    assert "not sandboxed" not in done.stderr
    assert "linux" in machine.run("ls", _INDEX).stdout
