"""Show the main job on real input: a project is watched, built, served and installed.

All of it happens in a throw-away home, on a free port and, where one can be had, under a user
manager of its own with real units. Nothing outside is touched. Run by `make demo`.
"""

import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.append(str(Path(__file__).with_name("support")))

from machine import Machine, Unavailable
from projects import create, unpack_sdist

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
REPOSITORY = "facelessuser/pymdown-extensions-insiders"
DISTRIBUTION = "pymdown-extensions"
VERSION = "10.9"
TAG = VERSION  # of the sources: another version would be a warning, which is another story

MERGED = "exec 2>&1; "

Shell = Callable[..., str]


def main() -> None:
    """Run the demonstration, with units where that is possible."""
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pypi-insiders-demo-") as name, ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)  # as root, the units run under another user ID
        say(
            f"A private repository, {REPOSITORY}. Its stand-in for this demo: the sources of "
            f"{DISTRIBUTION} {VERSION} from the package index, committed and tagged {TAG}."
        )
        project = create(directory, DISTRIBUTION, REPOSITORY)
        unpack_sdist(DISTRIBUTION, VERSION, project.tree)
        project.push(TAG)
        port = free_port()
        environment = {"PATH": f"{BIN}:{os.environ['PATH']}"}
        try:
            machine = stack.enter_context(Machine([directory, ROOT], env=environment))
        except Unavailable as reason:
            say(f"No user manager can be had here ({reason}): the foreground server does it.")
            with_foreground_server(directory, project.url, port, environment)
        else:
            with_units(machine, project.url, port)
    say(f"Done in {time.monotonic() - started_s:.0f} s; nothing is left behind.")


def with_units(machine: Machine, url: str, port: int) -> None:
    """Walk through the main job with systemd units."""

    def shell(command: str, *, allow: tuple[int, ...] = (0,)) -> str:
        done = machine.run("bash", "-c", MERGED + show(command), check=False, timeout_s=300)
        return shown(done.returncode, done.stdout, allow)

    say("A home, a user manager (systemd --user) and a journal of its own; a free port.")
    machine.write_text(".gitconfig", "[safe]\n\tdirectory = *\n")
    shell(f"mkdir -p ~/.config/pypi-insiders && printf '[server]\\nport = {port}\\n' "
          "| tee ~/.config/pypi-insiders/config.toml")  # fmt: skip
    shell("pypi-insiders server start")
    shell(f"pypi-insiders repos add {REPOSITORY} --url {url}")
    shell("pypi-insiders watcher start")
    shell("pypi-insiders watcher logs")
    install(shell)
    shell("pypi-insiders status")
    shell("systemctl --user --no-pager --lines=0 status 'pypi-insiders*'", allow=(0, 3))
    shell("pypi-insiders uninstall")


def with_foreground_server(
    directory: Path, url: str, port: int, environment: dict[str, str]
) -> None:
    """Walk through the main job without systemd."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
    environment = {**inherited, **environment, "HOME": str(directory), "LC_ALL": "C.UTF-8"}

    def shell(command: str, *, allow: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            ["bash", "-c", MERGED + show(command)],
            env=environment, cwd=directory, stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )  # fmt: skip
        return shown(done.returncode, done.stdout, allow)

    shell(f"mkdir -p ~/.config/pypi-insiders && printf '[server]\\nport = {port}\\n' "
          "| tee ~/.config/pypi-insiders/config.toml")  # fmt: skip
    shell(f"pypi-insiders repos add {REPOSITORY} --url {url}")
    shell("pypi-insiders update")
    shell("pypi-insiders repos list")
    command = "pypi-insiders server run"
    show(f"{command} &")
    server = subprocess.Popen(
        shlex.split(command), env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout
        print(server.stdout.readline(), end="", flush=True)
        install(shell)
    finally:
        server.terminate()
        server.wait()


def install(shell: Shell) -> None:
    """Install by the public name, and show where what came from."""
    shell(
        'eval "$(pypi-insiders env --shell sh)" && env | grep -E "^(PIP|UV|PDM)_.*(INDEX|PYPI)" && '
        f"uv pip install --no-progress --target installed {DISTRIBUTION}"
    )
    metadata = shell(
        f"grep -E '^(Name|Version):' installed/pymdown_extensions-{VERSION}.dist-info/METADATA"
    )
    assert f"Version: {VERSION}\n" in metadata
    say(f"PyPI has a higher version; the Insiders version {VERSION} won. The rest came from PyPI.")


def say(text: str) -> None:
    """Tell the reader what comes next."""
    print(f"\n# {text}", flush=True)


def show(command: str) -> str:
    """Show a command as typed."""
    print(f"\n$ {command}", flush=True)
    return command


def shown(status: int, output: str, allow: tuple[int, ...]) -> str:
    """Show what a command printed; stop the demonstration if it failed."""
    print(output, end="", flush=True)
    if status not in allow:
        sys.exit(f"this ended with status {status}, which it should not")
    return output


def free_port() -> int:
    """Find a free port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


if __name__ == "__main__":
    main()
