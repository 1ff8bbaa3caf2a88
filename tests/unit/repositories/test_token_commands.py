"""token_commands, git_access: programs that print tokens, and to whom those go."""

import logging
import os
import select
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from githost import TOKEN, GitHost, make_host
from projects import create

from pypi_insiders import git
from pypi_insiders.git import credentials
from pypi_insiders.repositories import token_commands
from pypi_insiders.repositories.git_access import access_to
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.util.errors import InsidersError

__all__ = ["make_host"]  # a fixture

pytestmark = pytest.mark.usefixtures("gitconfig")


def _shell(tmp_path: Path, script: str) -> tuple[str, ...]:
    # The directory makes it another command in each test: it runs once in a process.
    return ("sh", "-c", script, "sh", str(tmp_path))


def _token(tmp_path: Path, token: str = TOKEN) -> tuple[str, ...]:
    return _shell(tmp_path, f"echo run >>$1/runs; echo '  {token}'; echo")


def test_a_command_runs_once_however_many_repositories_ask(tmp_path: Path) -> None:
    """The token is trimmed, in memory, and readable by the programs of this user only."""
    command = _token(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        (found,) = {item.result() for item in [
            pool.submit(token_commands.token, command) for _ in range(8)
        ]}  # fmt: skip
    assert (tmp_path / "runs").read_text() == "run\n"
    assert isinstance(found, Path)
    assert subprocess.run(["cat", found], capture_output=True, check=True).stdout == TOKEN.encode()
    assert (found.stat().st_mode & 0o777, found.stat().st_nlink) == (0o600, 0)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 0", "it printed nothing"),
        ("echo; echo", "it printed nothing"),
        ("echo a; echo s3cret", "it printed more than one line"),
        (r"printf 'a\rs3cret'", "it printed more than one line"),
        ("echo s3cret b", "what it printed is not a token"),
        (r"printf 's3cret\000'", "what it printed is not a token"),
        (r"head -c 20000 /dev/zero | tr '\0' s", "what it printed is not a token"),
        ("yes s3cret", "what it printed is not a token"),
        ("echo s3cret; echo not signed in >&2; exit 3", "it exited with 3: not signed in"),
        ("echo https://me:s3cret@host/x >&2; exit 1", "it exited with 1: https://host/x"),
        ("echo s3cret | tee /dev/stderr; exit 1", "it exited with 1: ***"),
        ("echo + echo ghp_abc glpat-d.e >&2; exit 1", "it exited with 1: + echo *** ***"),
        (
            "echo CERTIFICATE_VERIFY_FAILED at 0123456789abcdefabcd. >&2; exit 1",
            "it exited with 1: CERTIFICATE_VERIFY_FAILED at ***.",
        ),
        ("echo s3cret; kill -9 $$", "it exited with -9"),
        ("cat; read -r line || exit 4", "it exited with 4"),
        ("sleep 1000", "it took longer than 0.5 s"),
        ("sleep 1000 & wait", "it took longer than 0.5 s"),
        ("sleep 0.1 & echo; exit 5", "it exited with 5"),
    ],
)
def test_what_is_no_token_is_told_once_with_a_hint(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    script: str,
    reason: str,
) -> None:
    """In one line, without anything that it printed as a token."""
    monkeypatch.setattr(token_commands, "TIMEOUT_S", 0.5 if "sleep 1000" in script else 60)
    caplog.set_level(logging.DEBUG)
    command = _shell(tmp_path, script)
    found = [token_commands.token(command) for _ in range(2)]
    assert found[0] is found[1]
    assert isinstance(found[0], InsidersError)
    assert found[0].message == f"`token-command` returned no token: sh: {reason}"
    hint = "run the command in a terminal; it is `token-command` in config.toml or repos.toml"
    assert found[0].hint == hint
    assert [line for line in caplog.messages if "getting" not in line] == [
        found[0].message, f"hint: {hint}",
    ]  # fmt: skip
    assert "s3cret" not in caplog.text


def test_a_command_that_hangs_ends_with_all_of_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_commands, "TIMEOUT_S", 0.5)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    command = _shell(tmp_path, "exec 3>$1/pipe; sleep 1000 & wait")
    assert isinstance(token_commands.token(command), InsidersError)
    # At its end once no process has it open any more.
    assert select.select([reader], [], [], 60)[0] == [reader]
    os.close(reader)


def test_a_missing_program_is_named() -> None:
    found = token_commands.token(("/nowhere/gh", "s3cret"))
    assert isinstance(found, InsidersError)
    assert found.message == "`token-command` returned no token: gh: /nowhere/gh was not found"


@pytest.mark.parametrize(
    ("url", "has_token"),
    [
        ("https://git.example/me/probe.git", True),
        ("https://me@Git.Example:443/me/probe.git", True),
        ("https://git.example:8443/me/probe.git", False),
        ("https://api.git.example/me/probe.git", False),
        ("https://git.example.org/me/probe.git", False),
        ("https://example/me/probe.git", False),
        ("https://git.example@example.org/me/probe.git", False),
        ("http://git.example/me/probe.git", False),
        ("ssh://git@git.example/me/probe.git", False),
        ("git@git.example:me/probe.git", False),
        ("/git.example/me/probe.git", False),
    ],
)
def test_the_token_of_a_host_is_for_that_host_over_https_only(
    tmp_path: Path, url: str, has_token: bool
) -> None:
    """The program does not even run for another one, nor for git over ssh."""
    repository = Repository("me/probe", url=url, insecure_http=True)
    access = access_to(repository, {"git.example": _token(tmp_path)})
    assert (access.token_file is not None, (tmp_path / "runs").exists()) == (has_token, has_token)
    assert access_to(repository, None).token_file is None


@pytest.mark.parametrize(
    ("interval_s", "is_unit", "hint"),
    [
        (None, False, "run an update in the watcher: `pypi-insiders watcher start`"),
        (300, False, "run an update in the watcher: `pypi-insiders watcher start me/probe`"),
        (300, True, "`systemctl --user edit pypi-insiders-watcher.service "
         "pypi-insiders-watcher@.service`"),
    ],
)  # fmt: skip
def test_a_credential_is_of_two_units(
    monkeypatch: pytest.MonkeyPatch, interval_s: int | None, is_unit: bool, hint: str
) -> None:
    """What is lacking is named in a shell, and in the unit that lacks it."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    # A shell has the variable of the unit of its terminal.
    monkeypatch.setenv("SYSTEMD_EXEC_PID", str(os.getpid() if is_unit else os.getppid()))
    item = Repository("me/probe", token_credential="forge", interval_s=interval_s)
    with pytest.raises(InsidersError, match="its token is the credential forge") as raised:
        access_to(item, None)
    assert (raised.value.hint or "").endswith(hint)


def test_a_repository_s_own_token_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever of the three it is; and it goes over http if that is allowed."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/credentials")
    everywhere = {"h": _token(tmp_path)}
    item = Repository("me/probe", url="https://h/me/probe.git")
    of_file = access_to(item._replace(token_file="/t"), everywhere)
    of_unit = access_to(item._replace(token_credential="forge"), everywhere)
    assert [of_file.token_file, of_unit.token_file] == [Path("/t"), Path("/credentials/forge")]
    item = item._replace(token_command=("echo", "own-token"))
    over_http = item._replace(url="http://h/me/probe.git", insecure_http=True)
    over_ssh = item._replace(url="git@h:me/probe.git")
    found = [
        access_to(item, everywhere), access_to(over_http, everywhere),
        # The API of its host is another matter.
        access_to(over_ssh, everywhere, url="https://h/me/probe"),
    ]  # fmt: skip
    tokens = [access.token_file and access.token_file.read_text() for access in found]
    assert tokens == ["own-token"] * 3
    assert access_to(over_ssh, everywhere).token_file is None
    assert not (tmp_path / "runs").exists()


def test_git_gets_the_token_in_neither_argument_nor_variable(
    tmp_path: Path, make_host: Callable[..., GitHost], caplog: pytest.LogCaptureFixture
) -> None:
    """And of a host that rejects it the program that printed it is named."""
    caplog.set_level(logging.DEBUG)
    commit = create(tmp_path, "probe").release("1.0")
    host = make_host(token=TOKEN)
    item = Repository("me/probe", url=f"{host.url}/me/probe.git")
    access = access_to(item, {host.url.removeprefix("https://"): _token(tmp_path)})
    assert git.list_tags(item.remote, access) == {"v1.0": commit}
    settings = credentials.settings(item.remote, access)
    assert TOKEN not in f"{settings.options} {settings.environment} {caplog.text} {access}"
    host.token = "another"
    with pytest.raises(InsidersError) as caught:
        git.list_tags(item.remote, access)
    assert caught.value.hint == "check that the token of sh is valid for this repository"


def test_without_a_token_git_s_own_access_is_used(
    tmp_path: Path, make_host: Callable[..., GitHost]
) -> None:
    """A public repository needs none; where one is refused, the reason is why there is none."""
    commit = create(tmp_path, "probe").release("1.0")
    host = make_host()
    item = Repository("me/probe", url=f"{host.url}/me/probe.git")
    item = item._replace(token_command=_shell(tmp_path, "echo expired >&2; exit 1"))
    access = access_to(item, None)
    assert git.list_tags(item.remote, access) == {"v1.0": commit}
    host.token = TOKEN
    with pytest.raises(InsidersError) as caught:
        git.list_tags(item.remote, access)
    assert caught.value.hint == (
        "`token-command` returned no token: sh: it exited with 1: expired; run the command in a "
        "terminal; it is `token-command` in config.toml or repos.toml"
    )


def test_a_command_in_text_is_split_as_by_a_shell() -> None:
    """As `repos set` takes it; without a shell, so nothing in it is expanded."""
    item = Repository("a/b")
    for text in ("gh auth 'to ken' $HOME", '["gh", "auth", "to ken", "$HOME"]'):
        assert item.with_text("token-command", text).token_command == (
            "gh", "auth", "to ken", "$HOME",
        )  # fmt: skip
    assert item.with_text("token-command", "").token_command is None
    with pytest.raises(ValueError, match=r"^token-command must be a list$"):
        item.with_text("token-command", "gh 'auth")
