"""cli: what a person types and reads; the table of everything that can go wrong."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from fixtures import COMMAND, Person, free_port, run_command

from pypi_insiders import __version__
from pypi_insiders.cli import cli
from pypi_insiders.cli.common import LazyGroup

USAGE = 2


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        (("nonsense",), "no such command 'nonsense'", "see `pypi-insiders --help`"),
        (("updat",), "no such command 'updat'", "did you mean `pypi-insiders update`?"),
        (
            ("server", "nonsense"),
            "no such command 'nonsense'",
            "see `pypi-insiders server --help`",
        ),
        (
            ("server", "strat"),
            "no such command 'strat'",
            "did you mean `pypi-insiders server start`?",
        ),
        (
            ("update", "--nonsense"),
            "no such option '--nonsense'",
            "see `pypi-insiders update --help`",
        ),
        (("status", "--jsn"), "no such option '--jsn'", "did you mean --json?"),
        (
            ("repos", "add"),
            "missing argument 'NS/PROJ[:PROJECT]...'",
            "see `pypi-insiders repos add --help`",
        ),
        (
            ("server", "run", "--host", "example.org"),
            "invalid value for '--host': must be \"localhost\" or an IP address, not 'example.org'",
            "see `pypi-insiders server run --help`",
        ),
        (
            ("server", "run", "--port", "65536"),
            "invalid value for '--port': 65536 is not in the range 0<=x<=65535",
            "see `pypi-insiders server run --help`",
        ),
        (
            ("server", "run", "--fallback-url", "ftp://example.org/"),
            "invalid value for '--fallback-url': must be the URL of an index such as "
            "\"https://pypi.org/simple/\", not 'ftp://example.org/'",
            "see `pypi-insiders server run --help`",
        ),
        (
            ("env", "--shell", "csh"),
            "invalid value for '--shell': 'csh' is not one of 'sh', 'bash', 'zsh', 'fish', 'nu', "
            "'powershell'",
            "see `pypi-insiders env --help`",
        ),
    ],
)
def test_wrong_usage_ends_2(
    person: Person, typed: tuple[str, ...], message: str, hint: str
) -> None:
    """It is said as all that is wrong is said: one line and a hint."""
    failed = person.run(*typed, status=USAGE)
    assert (failed.stdout, failed.stderr) == ("", f"error: {message}\nhint: {hint}\n")


@pytest.mark.parametrize(
    ("file", "text", "typed", "message"),
    [
        (
            "config.toml", "[server", ("env",),
            "{file} is not valid TOML: Expected ']' at the end of a table declaration "
            "(at end of document)",
        ),
        (
            "config.toml", '[server]\nprot = 1\nport = "x"\n[wacher]\n', ("server", "start"),
            "{file}: unknown key server.prot (did you mean port?); server.port must be a port from "
            "1 to 65535, not 'x'; unknown table wacher (did you mean watcher?)",
        ),
        (
            "repos.toml", "me/probe", ("repos", "add", "me/other"),
            "{file} is not valid TOML: Expected '=' after a key in a "
            "key/value pair (at line 1, column 3)",
        ),
        (
            "repos.toml", '["../x"]\n["me/probe"]\nurl = "ext::sh"\n', ("update",),
            "{file}: '../x' is not a repository of the form NS/PROJ; me/probe: 'ext::sh' is not "
            "the URL of a Git repository",
        ),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_and_left_alone(
    person: Person, file: str, text: str, typed: tuple[str, ...], message: str
) -> None:
    """All that is wrong is said at once, with the way to the file."""
    path = person.paths.config / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    failed = person.run(*typed, status=1)
    assert failed.stderr == f"error: {message.format(file=path)}\nhint: edit {path}\n"
    assert path.read_text() == text


@pytest.mark.parametrize("file", ["config.toml", "repos.toml"])
def test_an_unreadable_file_is_named(person: Person, file: str) -> None:
    """A directory in its place stands for all that cannot be read."""
    path = person.paths.config / file
    path.mkdir(parents=True)
    failed = person.run("update", status=1)
    assert failed.stderr == (
        f"error: cannot read {path}: Is a directory\nhint: move that file or directory away\n"
    )


def test_where_nothing_is_watched_update_says_how_to_begin(person: Person) -> None:
    """The first command of a new user ends 0, with the next one to type."""
    done = person.run("update")
    line = "no repositories are watched; `pypi-insiders repos add NS/PROJ`\n"
    assert (done.stdout, done.stderr) == ("", line)
    listed = person.run("repos", "list")
    assert (listed.stdout, listed.stderr) == ("", line)
    listed = json.loads(person.run("repos", "list", "--json").stdout)
    assert listed == {"version": 1, "repositories": []}


def test_several_repositories_are_added_at_once_and_again(person: Person) -> None:
    """Adding is all or nothing, and what is there already is no error."""
    done = person.run("repos", "add", "--no-check", "me/a:A_a", "me/b")
    assert done.stdout == "watching me/a as a-a\nwatching me/b\n"
    assert person.run("repos", "add", "--no-check", "ME/A:a-a", "me/c").stdout == (
        "ME/A is already watched\nwatching me/c\n"
    )
    failed = person.run("repos", "add", "me/d", "me/a:other", status=1)
    assert failed.stderr == (
        "error: me/a is already watched: project a-a, url git@github.com:me/a.git\n"
        "hint: change it: `pypi-insiders repos set me/a project=other`\n"
    )
    listed = json.loads(person.run("repos", "list", "--json").stdout)["repositories"]
    assert [row["name"] for row in listed] == ["me/a", "me/b", "me/c"]
    person.run("repos", "remove", "me/a", "me/c")
    assert person.run("repos", "list").stdout == (
        "repository  project  version  url\nme/b        -        -        git@github.com:me/b.git\n"
        "  not served: no release yet: not built\n"
    )


def test_commands_keep_what_a_user_wrote(person: Person, tmp_path: Path) -> None:
    """Each command that changes repos.toml leaves its comments, order and layout."""
    path = person.paths.repositories
    path.parent.mkdir(parents=True)
    path.write_text("# mine\n\n['me/b'] # fork\n  keep = 5 # why\n\n# on c\n['me/c']\n# the end\n")
    original = tmp_path / "repos.json"
    original.write_text('{"me/d": "d"}')
    person.run("repos", "add", "--no-check", "me/a:a")
    person.run("repos", "set", "me/b", "keep=6", "pre=true")
    person.run("repos", "add", "--no-check", "--keep", "7", "me/b")
    person.run("repos", "import", "--no-check", original)
    person.run("repos", "remove", "me/c")
    assert path.read_text() == (
        "# mine\n\n['me/b'] # fork\n  keep = 7 # why\n  pre = true\n\n# on c\n\n# the end\n\n"
        '["me/a"]\nproject = "a"\n\n["me/d"]\nproject = "d"\n'
    )


def test_without_systemd_that_is_said(person: Person) -> None:
    """Where no manager answers, units cannot be had, and the foreground works."""
    failed = person.run("server", "start", status=1, PATH="/nonexistent")
    assert failed.stderr == (
        "error: systemctl not found: systemd is not running here\n"
        "hint: `pypi-insiders exec`, `server run` and `update` work without systemd\n"
    )


def test_without_git_that_is_said(person: Person) -> None:
    """A missing git is no traceback."""
    person.run("repos", "add", "me/probe", "--url", "file:///nowhere/probe.git")
    failed = person.run("update", status=1, PATH="/nonexistent")
    assert failed.stderr == "error: me/probe: git was not found\nhint: install git\n"


def test_a_taken_port_is_said(person: Person) -> None:
    """`server run` names the port."""
    import socket

    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        failed = person.run("server", "run", "--port", str(port), status=1)
    assert failed.stderr == (
        f"error: cannot listen on 127.0.0.1:{port}: the port is taken\n"
        f"hint: find its process: `ss -ltnp 'sport = :{port}'`; or choose another port\n"
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_an_index_does_not_start_as_its_own_fallback(person: Person, host: str) -> None:
    """Where it really listens counts, whatever config.toml says."""
    port = free_port()
    url = f"http://{host}:{port}/simple/"
    options = ("--port", str(port), "--host", "::1" if host == "[::1]" else "localhost")
    failed = person.run("server", "run", *options, "--fallback-url", url, status=1)
    assert (failed.stdout, failed.stderr) == (
        "",
        "error: the fallback URL must not be this index itself, which would redirect in a loop: "
        f"{url!r}\n"
        'hint: set another `fallback-url` under [server], such as "https://pypi.org/simple/"\n',
    )
    person.paths.config.mkdir(parents=True)
    (person.paths.config / "config.toml").write_text(f'[server]\nfallback-url = "{url}"\n')
    if host != "[::1]":  # where `exec` does not listen
        again = person.run("exec", "--no-update", "--port", str(port), "true", status=1)
        assert again.stderr.endswith(failed.stderr)


def commands(command: click.Command = cli, *words: str) -> list[tuple[str, ...]]:
    """Name every command and group, each by the words that lead to it."""
    found = [words]
    if isinstance(command, click.Group):
        with click.Context(command) as ctx:
            for name in command.list_commands(ctx):
                inner = command.get_command(ctx, name)
                assert inner is not None
                found += commands(inner, *words, name)
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_help_and_version_are_everywhere(
    person: Person, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-h` and `--help` work at each level, without touching anything."""
    monkeypatch.setenv("HOME", str(person.home))
    monkeypatch.setenv("COLUMNS", "80")

    def told(option: str, status: int = 0) -> str:
        # As `main` does, without a process for each: whether one starts is for the other tests.
        done = CliRunner().invoke(cli, [*command, option], prog_name="pypi-insiders")
        assert done.exit_code == status
        return done.output

    assert told("-h") == told("--help")
    assert told("--help").startswith(f"Usage: {' '.join(('pypi-insiders', *command))} ")
    assert [line for line in told("--help").splitlines() if len(line) > 80] == []
    # The name of a unit stays in one piece, to be copied.
    assert [line for line in told("--help").splitlines() if line.endswith("pypi-insiders-")] == []
    if command:
        told("--version", USAGE)
    else:
        assert told("--version") == f"pypi-insiders {__version__}\n"
    assert list(person.home.iterdir()) == []


def test_a_fork_is_as_a_new_process(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `Person.run` runs has nothing of the tests' and nothing of another fork."""
    monkeypatch.chdir(person.home)
    line = (
        "pwd; umask; readlink /proc/self/fd/0; ls /proc/self/fd; env | sed 's/=.*//' | sort; "
        "grep -E '^(SigBlk|SigIgn|SigCgt|Cap)' /proc/self/status; ulimit -a; "
        "echo told >&2; kill -TERM $$"
    )
    # Not SigQ, which counts the signals of all processes of the user. Source: proc_pid_status(5).
    words = ("exec", "--no-update", "sh", "-c", line)
    environment = {**person.environment, "A_VARIABLE": "of one"}
    person.run("--version", ANOTHER_VARIABLE="of another")
    mask = os.umask(0o027)
    try:
        fork = run_command(words, environment)
        new = subprocess.run(
            [COMMAND, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True,
        )  # fmt: skip
    finally:
        os.umask(mask)
    assert "A_VARIABLE" in fork.stdout
    assert (fork.returncode, fork.stdout) == (new.returncode, new.stdout)
    assert "told\n" in fork.stderr


def test_verbose_and_quiet(person: Person) -> None:
    """`-v` shows the commands that are run, `-q` only what is wrong; both left or right."""
    person.run("repos", "add", "me/probe", "--url", "file:///nowhere/probe.git")
    for typed in (("-v", "update"), ("update", "-v")):
        told = person.run(*typed, status=1).stderr
        assert re.search(
            r"^\+ git -c core.hooksPath=/dev/null .* ls-remote --tags", told, re.MULTILINE
        )
    quiet = person.run("update", "-q", status=1).stderr
    assert quiet.startswith("error: me/probe: repository not found")
    assert quiet.count("\n") == 1


@pytest.mark.parametrize(
    "typed", [["--help"], ["--version"], ["repos", "--help"], ["server", "--help"]]
)
def test_what_needs_no_library_imports_none(typed: list[str]) -> None:
    """Help and version need click, and nothing of what the commands need."""
    code = (
        "import sys; before = set(sys.modules); from pypi_insiders.cli import cli\n"  # of coverage
        "cli.main(sys.argv[1:], standalone_mode=False)\n"
        "print([m for m in ('git', 'pypiserver', 'build', 'rich', 'waitress', 'tomllib', 'logging',"
        " 'packaging', 'subprocess', 'sqlite3', 'jinja2') if m in sys.modules and m not in before])"
    )
    argv = [sys.executable, "-c", code, *typed]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


@pytest.mark.parametrize("group", [cli, *map(cli.load, ("server", "watcher", "repos"))])
def test_a_command_is_listed_by_the_first_sentence_of_its_help(group: LazyGroup) -> None:
    """A group lists its commands without importing them; what it says is what each says."""
    for name, (_, sentence) in group.commands_at.items():
        command = group.load(name)
        assert command.name == name
        listed = click.Command(None, help=sentence)
        assert listed.get_short_help_str(200) == command.get_short_help_str(200)


@pytest.mark.parametrize("group", ["", "server", "watcher", "repos", "config"])
def test_a_list_of_commands_fits_a_terminal(person: Person, group: str) -> None:
    """In whole sentences, also on the usual 80 columns."""
    shown = person.run(*group.split(), "--help", COLUMNS="80").stdout
    lines = shown.partition("\nCommands:\n")[2].splitlines()
    assert lines
    assert [line for line in lines if len(line) > 80 or not line.endswith(".")] == []
    assert [line for line in lines if line.endswith("...")] == []


def test_a_module_can_be_run(person: Person) -> None:
    """`python -m pypi_insiders` is the same command."""
    done = subprocess.run(
        [COMMAND.with_name("python"), "-m", "pypi_insiders", "--version"],
        env=person.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"pypi-insiders {__version__}\n"


def test_purge_works_without_a_user_manager_and_says_when_there_is_nothing(person: Person) -> None:
    """In a container it takes what `update` has made."""
    person.run("repos", "add", "--no-check", "me/probe")
    done = person.run("uninstall", "--purge", "--yes", PATH="/nonexistent")
    assert done.stderr == "note: systemctl not found: systemd is not running here\n"
    assert done.stdout.splitlines() == [
        f"removed {person.paths.config}",
        f"removed {person.paths.state}",
    ]
    again = person.run("uninstall", "--purge", "--yes", PATH="/nonexistent")
    assert again.stdout == "nothing was installed\n"
    assert not person.paths.state.exists()


@pytest.mark.parametrize(
    "typed",
    [
        "unpublish https://user:s3cret@host.invalid/ns/proj",
        "yank https://user:s3cret@host.invalid/ns/proj 1.0",
        "show https://user:s3cret@host.invalid",
        "show user:s3cret@host.invalid/ns/p",
        "update ssh://user:s3cret@host.invalid/ns",
        "repos list https://user:s3cret@host.invalid/ns/proj",
        "repos set https://user:s3cret@host.invalid/ns/proj keep=5",
    ],
)
def test_a_password_in_a_pasted_address_is_never_printed(person: Person, typed: str) -> None:
    """Neither in a message nor in the hint that repeats what was typed."""
    done = subprocess.run(
        [COMMAND, *typed.split()], env=person.environment, capture_output=True, text=True
    )
    assert done.returncode in (1, 2)
    assert "error:" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr
