"""cli: what a person types and reads; the table of everything that can go wrong."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from fixtures import COMMAND, Person, free_port, need

from pypi_insiders import __version__
from pypi_insiders.cli import cli

USAGE = 2


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        (("nonsense",), "no such command 'nonsense'", "see `pypi-insiders --help`"),
        (("updat",), "no such command 'updat'", "did you mean update?"),
        (
            ("server", "nonsense"),
            "no such command 'nonsense'",
            "see `pypi-insiders server --help`",
        ),
        (
            ("server", "strat"),
            "no such command 'strat'",
            "did you mean start or status or restart?",
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
            "invalid value for '--shell': 'csh' is not one of 'sh', 'bash', 'zsh', 'fish'",
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
        f"error: cannot read {path}: Is a directory\nhint: move away what is in its place\n"
    )


def test_where_nothing_is_watched_update_says_how_to_begin(person: Person) -> None:
    """The first command of a new user ends 0, with the next one to type."""
    done = person.run("update")
    line = "no repositories are watched; `pypi-insiders repos add NS/PROJ`\n"
    assert (done.stdout, done.stderr) == ("", line)
    listed = person.run("repos", "list")
    assert (listed.stdout, listed.stderr) == ("", line)
    assert person.run("repos", "list", "--json").stdout == "[]\n"


def test_several_repositories_are_added_at_once_and_again(person: Person) -> None:
    """Adding is all or nothing, and what is there already is no error."""
    done = person.run("repos", "add", "--no-check", "me/a:A_a", "me/b")
    assert done.stdout == "watching me/a as a-a\nwatching me/b\n"
    assert person.run("repos", "add", "--no-check", "ME/A:a-a", "me/c").stdout == (
        "ME/A is watched already\nwatching me/c\n"
    )
    failed = person.run("repos", "add", "me/d", "me/a:other", status=1)
    assert failed.stderr == (
        "error: me/a is watched already, as a-a from git@github.com:me/a.git\n"
        "hint: to change that: `pypi-insiders repos set me/a distribution=other`\n"
    )
    listed = json.loads(person.run("repos", "list", "--json").stdout)
    assert [row["name"] for row in listed] == ["me/a", "me/b", "me/c"]
    person.run("repos", "remove", "me/a", "me/c")
    assert person.run("repos", "list").stdout == (
        "name  distribution  version  url\nme/b  -             -        git@github.com:me/b.git\n"
        "  not served: no release yet: it was not built\n"
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
        '["me/a"]\ndistribution = "a"\n\n["me/d"]\ndistribution = "d"\n'
    )


def in_shell(person: Person, shell: str, *lines: str, **given: str) -> str:
    """Run lines in a shell on whose PATH the command is; return what they print."""
    done = subprocess.run(
        [need(shell), "-c", "\n".join(lines)],
        env={
            "PATH": f"{COMMAND.parent}:{os.environ['PATH']}",
            "HOME": str(person.home),
            **given,
        },
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def evaluated(shell: str, *options: str) -> str:
    """Write the line that README.md gives for a shell."""
    command = " ".join(("pypi-insiders env", *options))
    return f"{command} | source" if shell == "fish" else f'eval "$({command})"'


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish"])
@pytest.mark.parametrize("told", ["--shell", "$SHELL", "login"])
def test_env_leads_a_shell_to_the_index_and_back(person: Person, shell: str, told: str) -> None:
    """What `env` prints is understood by the shell; `--unset` takes it back."""
    person.paths.config.mkdir(parents=True)
    port = free_port()
    (person.paths.config / "config.toml").write_text(f"[server]\nport = {port}\n")
    names = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PDM_PYPI_URL")
    given = ("--shell", shell) if told == "--shell" else ()
    variable = {"--shell": "/bin/csh", "$SHELL": f"/usr/bin/{shell}", "login": f"-{shell}"}[told]
    url = f"http://127.0.0.1:{port}/simple/"
    shown = in_shell(
        person, shell,
        evaluated(shell, *given), f"echo {' '.join(f'${name}' for name in names)}",
        evaluated(shell, *given, "--unset"), "/usr/bin/env",
        SHELL=variable,
    )  # fmt: skip
    assert shown.startswith(f"{url} {url} {url}\n")
    assert not any(name in shown for name in (*names, "PIP_TRUSTED_HOST", "PYPI_INSIDERS"))


PROXIED = {"http_proxy": "http://192.0.2.1:3128"}


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("host", "before", "ways"),
    [
        ("localhost", {}, [()]),
        ("localhost", {}, [(), ("--uv-index",), ()]),
        ("192.0.2.2", {"PIP_TRUSTED_HOST": "a:1 b"}, [(), ()]),
        (
            "localhost",
            {
                "PIP_INDEX_URL": "https://u:p@example.org/'simple'/",
                "UV_INDEX": "x=https://example.org/ https://example.com/",
                "PIP_EXTRA_INDEX_URL": "https://example.org/",
            },
            [("--uv-index",), (), ("--uv-index",)],
        ),
        ("localhost", {**PROXIED}, [()]),
        ("localhost", {**PROXIED, "no_proxy": "a.example, .b.example"}, [(), ()]),
        ("localhost", {**PROXIED, "NO_PROXY": "127.0.0.1,a", "no_proxy": "b"}, [("--uv-index",)]),
        ("localhost", {**PROXIED, "no_proxy": "*"}, [()]),
        ("::1", {**PROXIED, "NO_PROXY": "a"}, [(), ("--uv-index",)]),
    ],
)
def test_env_takes_back_all_that_it_set_and_nothing_else(
    person: Person, shell: str, host: str, before: dict[str, str], ways: list[tuple[str, ...]]
) -> None:
    """However often and with whatever options it was called, all is as it was before."""
    person.paths.config.mkdir(parents=True)
    text = f'[server]\nhost = "{host}"\nport = {free_port()}\n'
    (person.paths.config / "config.toml").write_text(text)
    of_shell = ("_", "SHLVL", "PWD", "OLDPWD")
    given = {**before, "SHELL": f"/bin/{shell}"}
    lines = [
        "/usr/bin/env -0", *(evaluated(shell, *way) for way in ways), "/usr/bin/env -0",
        evaluated(shell, "--unset"), "/usr/bin/env -0",
    ]  # fmt: skip
    marked = [line for each in lines for line in (each, "printf '=\\0'")]
    shown = in_shell(person, shell, *marked, **given).split("=\0")
    first, during, after = (
        {word for word in part.split("\0") if word.partition("=")[0] not in of_shell}
        for part in (shown[0], shown[len(ways) + 1], shown[len(ways) + 3])
    )
    assert during != first
    assert after == first


@pytest.mark.parametrize("shell", ["sh", "fish"])
def test_env_unset_keeps_what_the_user_set_since(person: Person, shell: str) -> None:
    """Other indexes and hosts, before, behind and in place of ours."""
    port = free_port()
    person.paths.config.mkdir(parents=True)
    (person.paths.config / "config.toml").write_text(f"[server]\nport = {port}\n")
    ours = f"http://127.0.0.1:{port}"
    # As after a login with the variables that an older `env --install` wrote.
    now = {
        "PIP_INDEX_URL": f"{ours}/simple/",
        "UV_DEFAULT_INDEX": "https://example.org/simple/",
        "UV_INDEX": f"a=https://example.org/ {ours}/insiders/simple/ https://example.com/",
        "no_proxy": "127.0.0.1,a",
        "SHELL": f"/bin/{shell}",
    }
    assert (
        person.run("env", "--unset", status=0, **now).stdout
        == {
            "sh": "unset PIP_INDEX_URL;\n"
            "export UV_INDEX='a=https://example.org/ https://example.com/';\n",
            "fish": "set -e PIP_INDEX_URL;\n"
            "set -gx UV_INDEX 'a=https://example.org/ https://example.com/';\n",
        }[shell]
    )
    changed = 'NO_PROXY="first,$NO_PROXY,last"'
    assign = f"set -gx {changed.replace('=', ' ')}" if shell == "fish" else f"export {changed}"
    shown = in_shell(
        person, shell, evaluated(shell), assign, evaluated(shell), evaluated(shell, "--unset"),
        "echo $NO_PROXY; echo $no_proxy",
        **PROXIED, NO_PROXY="a", no_proxy="a", SHELL=f"/bin/{shell}",
    )  # fmt: skip
    assert shown == "first,a,last\na\n"


def test_env_unset_works_where_config_toml_cannot_be_read(person: Person) -> None:
    """By what the shell remembers; the reason is a note."""
    person.paths.config.mkdir(parents=True)
    settings = person.paths.config / "config.toml"
    given = dict(
        line.removeprefix("export ").removesuffix(";").replace("'", "").split("=", 1)
        for line in person.run("env", "--shell", "sh").stdout.splitlines()
    )
    settings.write_text("nonsense\n")
    done = person.run("env", "--unset", "--shell", "sh", status=0, **given)
    assert done.stdout == "".join(f"unset {name};\n" for name in given)
    assert done.stderr.startswith(f"note: {settings} is not valid TOML: ")


@pytest.mark.parametrize(
    ("variable", "name"),
    [("/bin/csh", "csh"), ("-tcsh", "tcsh"), ("/usr/bin/nu", "nu"), ("pwsh", "pwsh")],
)
def test_env_writes_no_syntax_that_the_shell_does_not_read(
    person: Person, variable: str, name: str
) -> None:
    """It says so instead, and what works anywhere."""
    for option in ("-v", "--unset"):
        failed = person.run("env", option, status=1, SHELL=variable)
        assert (failed.stdout, failed.stderr) == (
            "",
            f"error: $SHELL is {name}, and its syntax is not known here\n"
            "hint: --shell sh shows what to set; or `pypi-insiders exec -- COMMAND`\n",
        )


@pytest.mark.parametrize("shell", ["", "/bin/ash", "dash", "/usr/bin/ksh"])
def test_env_knows_more_shells_by_their_name(person: Person, shell: str) -> None:
    """All of them read what sh reads, which is what there is without $SHELL, too."""
    assert person.run("env", SHELL=shell).stdout == person.run("env", "--shell", "sh").stdout


@pytest.mark.parametrize(
    ("shell", "set_"), [("zsh", "export {}={};\n"), ("fish", "set -gx {} {};\n")]
)
def test_env_leads_past_a_proxy(person: Person, shell: str, set_: str) -> None:
    """Where one is set, this machine is excepted from it; what was excepted stays so."""
    shown = person.run(
        "env", "--uv-index", "--shell", shell,
        http_proxy="http://192.0.2.1:3128", NO_PROXY="localhost,example.org",
    )  # fmt: skip
    lines = set_.format("UV_INDEX", "http://127.0.0.1:31411/insiders/simple/") + (
        "".join(
            set_.format(name, "localhost,example.org,127.0.0.1")
            for name in ("no_proxy", "NO_PROXY")
        )
    )
    assert shown.stdout.startswith(lines)
    (memory,) = shown.stdout.removeprefix(lines).splitlines()
    assert memory.startswith(set_.format("PYPI_INSIDERS_ENV", "").rstrip(";\n"))


@pytest.mark.parametrize(
    ("options", "others"),
    [
        (("--install", "--unset"), ("--install", "--unset")),
        (("--install", "--shell", "sh"), ("--install", "--shell")),
        (("--uninstall", "--unset"), ("--uninstall", "--unset")),
        (("--install", "--uninstall"), ("--install", "--uninstall")),
    ],
)
def test_env_installs_for_no_shell(
    person: Person, options: tuple[str, ...], others: tuple[str, str]
) -> None:
    """One line, exit status 2, and nothing is written."""
    failed = person.run("env", *options, status=USAGE)
    assert (failed.stdout, failed.stderr) == (
        "",
        f"error: {others[0]} and {others[1]} exclude each other\nhint: give one of them\n",
    )
    assert list(person.home.iterdir()) == []


def test_env_installs_nothing_where_nobody_would_read_it(person: Person) -> None:
    """Without a user manager there are no units that could have the variables."""
    failed = person.run("env", "--install", status=1, PATH="/nonexistent")
    assert (failed.stdout, failed.stderr) == (
        "",
        "error: systemctl was not found: this system does not run systemd\n"
        'hint: for this shell: `eval "$(pypi-insiders env)"`\n',
    )
    assert list(person.home.iterdir()) == []
    gone = person.run("env", "--uninstall", PATH="/nonexistent")
    assert (gone.stdout, gone.stderr) == ("nothing was installed\n", "")


@pytest.mark.parametrize("shell", ["sh", "fish"])
def test_env_leads_uv_to_what_the_index_holds(person: Person, shell: str) -> None:
    """Only to that, beside its usual index; and back."""
    set_ = person.run("env", "--uv-index", "--shell", shell).stdout
    word = "UV_INDEX=http%3A%2F%2F127.0.0.1%3A31411%2Finsiders%2Fsimple%2F"
    assert (
        set_
        == {
            "sh": (
                "export UV_INDEX=http://127.0.0.1:31411/insiders/simple/;\n"
                f"export PYPI_INSIDERS_ENV={word};\n"
            ),
            "fish": (
                "set -gx UV_INDEX http://127.0.0.1:31411/insiders/simple/;\n"
                f"set -gx PYPI_INSIDERS_ENV {word};\n"
            ),
        }[shell]
    )


def test_without_systemd_that_is_said(person: Person) -> None:
    """Where no manager answers, units cannot be had, and the foreground works."""
    failed = person.run("server", "start", status=1, PATH="/nonexistent")
    assert failed.stderr == (
        "error: systemctl was not found: this system does not run systemd\n"
        "hint: `pypi-insiders exec`, `server run` and `update` work without it\n"
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
        f"hint: see who has it: `ss -ltnp 'sport = :{port}'`; or choose another port\n"
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
        "error: the fallback URL must be another index than this one, which would redirect to "
        f"itself, not {url!r}\n"
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
def test_help_and_version_are_everywhere(person: Person, command: tuple[str, ...]) -> None:
    """`-h`, `--help` and `--version` work at each level, without touching anything."""
    helps = {person.run(*command, option).stdout for option in ("-h", "--help")}
    assert len(helps) == 1
    assert helps.pop().startswith(f"Usage: {' '.join(('pypi-insiders', *command))} ")
    assert person.run(*command, "--version").stdout == f"pypi-insiders {__version__}\n"
    assert list(person.home.iterdir()) == []


def test_verbose_and_quiet(person: Person) -> None:
    """`-v` shows the commands that are run, `-q` only what is wrong; both left or right."""
    person.run("repos", "add", "me/probe", "--url", "file:///nowhere/probe.git")
    for typed in (("-v", "update"), ("update", "-v")):
        told = person.run(*typed, status=1).stderr
        assert re.search(
            r"^\+ git -c core.hooksPath=/dev/null .* ls-remote --tags", told, re.MULTILINE
        )
    quiet = person.run("update", "-q", status=1).stderr
    assert quiet.startswith("error: me/probe: no such repository")
    assert quiet.count("\n") == 1


def test_a_command_that_needs_no_library_imports_none(tmp_path: Path) -> None:
    """The command line starts without git, pypiserver, build, rich and waitress."""
    code = (
        "import sys; from pypi_insiders.cli import cli\n"
        "for command in cli.list_commands(None):\n"
        "    cli.get_command(None, command)\n"
        "print([m for m in ('git', 'pypiserver', 'build', 'rich', 'waitress', 'tomllib',"
        " 'platformdirs', 'packaging', 'subprocess', 'sqlite3', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


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
    done = person.run("uninstall", "--purge", PATH="/nonexistent")
    assert done.stderr == "note: systemctl was not found: this system does not run systemd\n"
    assert done.stdout.splitlines() == [
        f"removed {person.paths.config}",
        f"removed {person.paths.state}",
    ]
    again = person.run("uninstall", "--purge", PATH="/nonexistent")
    assert again.stdout == "nothing was installed\n"
    assert not person.paths.state.exists()


def test_env_makes_pip_trust_another_host_that_was_configured(person: Person) -> None:
    """pip would ignore an index over http elsewhere than on this machine."""
    person.paths.config.mkdir(parents=True)
    (person.paths.config / "config.toml").write_text('[server]\nhost = "192.0.2.2"\n')
    shown = person.run("env", "--shell", "sh").stdout
    assert "export PIP_TRUSTED_HOST=192.0.2.2:31411;\n" in shown
