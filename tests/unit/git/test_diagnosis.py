"""diagnosis: what is made of the messages of git, ssh, curl and Git hosts."""

import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures import need

from pypi_insiders.git import local_ssh
from pypi_insiders.git.diagnosis import Remote, explain, ssh_address
from pypi_insiders.git.errors import UnexplainedError, UnreachableError
from pypi_insiders.git.meanings import MEANINGS

# What git 2.39 to 2.55 add to whatever ssh says.
_LAST = """\
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists."""
_URLS = {
    "ssh": "git@git.example:me/probe.git",
    "https": "https://git.example/me/probe.git",
    "git": "git://git.example/probe.git",
    "file": "file:///srv/git/probe.git",
}


def _rows() -> Iterator[pytest.ParameterSet]:
    text = Path(__file__).with_name("messages.txt").read_text()
    form = r"^# (.*) \| (.*) \| (.*)\n((?:(?:  .*)?\n)*?)= (.*)\n> (.*)$"
    rows = re.findall(form, text, re.MULTILINE)
    assert len(rows) == text.count("\n# ") > 130
    for number, (source, way, kind, message, said, hint) in enumerate(rows):
        lines = [line.removeprefix("  ") for line in message.splitlines()]
        whole = "\n".join(_LAST if line == "..." else line for line in lines)
        yield pytest.param(_URLS[way], whole, kind, said, hint, id=f"{number} {source}")


_SETTINGS = """\
user git
hostname git.example
port 22
identityfile /home/me/.ssh/id_ed25519
identityfile ~/.ssh/id_rsa
identityfile %d/.ssh/%h-%r
identityfile ~/.ssh/forge"""


@pytest.fixture(autouse=True)
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in place of ssh that prints settings as `ssh -G` does, and does not connect."""
    program = tmp_path / "ssh"
    told = "Bad owner or permissions on /home/me/.ssh/config"
    program.write_text(f"#!/bin/sh\necho {told!r} >&2\ncat <<'END'\n{_SETTINGS}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", f"{shlex.quote(str(program))} -v")
    monkeypatch.setenv("HOME", "/home/me")
    return program


@pytest.mark.parametrize(("url", "message", "kind", "said", "hint"), list(_rows()))
def test_what_the_host_says_is_said(
    url: str, message: str, kind: str, said: str, hint: str
) -> None:
    """The reason and not git's last line; whether it will pass; and what helps."""
    error = explain(message, "ls-remote", Remote(url, "me/probe"))
    passing = "passing" if isinstance(error, UnreachableError) else "lasting"
    assert (error.message, error.hint, passing) == (said, hint, kind)
    assert not isinstance(error, UnexplainedError), "the mirror is not at fault"


@pytest.mark.parametrize(
    "line",
    [
        "error: refs/tags/v1 does not point to a valid object!",
        "fatal: bad object refs/tags/v1",
        "error: object file ./objects/7a/1f is empty",
        "fatal: loose object 7a1f (stored in ./objects/7a/1f) is corrupt",
        "error: inflate: data stream error (incorrect header check)",
        "error: packfile ./objects/pack/pack-1.pack does not match index",
        "fatal: pack has 3 unresolved deltas",
        "fatal: failed to traverse parents of commit 7a1f",
        "error: https://git.example/me/probe.git did not send all necessary objects",
        "error: cannot lock ref 'refs/tags/v1': unable to resolve reference 'refs/tags/v1'",
        "fatal: Unable to create '/mirror/packed-refs.lock': File exists.",
        "fatal: unexpected line in ./packed-refs: x",
    ],
)
def test_only_objects_and_refs_are_damage(line: str) -> None:
    """Of the mirror, that is: what the host says of its own repository is not."""
    remote = Remote("https://git.example/me/probe.git")
    assert isinstance(explain(line, "fetch", remote), UnexplainedError)
    told = explain(f"remote: {line}\nfatal: early EOF", "fetch", remote)
    assert (type(told), told.message) == (
        UnreachableError, "the connection to the host broke (early EOF)"
    )  # fmt: skip
    assert not isinstance(explain(f"remote: {line}", "fetch", remote), UnexplainedError)


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("ssh://git@ssh.example:2222/me/probe", "-p 2222 git@ssh.example"),
        ("work:me/probe.git", "work"),
        ("git@ssh.dev.azure.com:v3/org/My%20Project/probe", "git@ssh.dev.azure.com"),
    ],
)
def test_a_hint_has_the_address_of_ssh(url: str, hint: str) -> None:
    """A name of ~/.ssh/config too, of which no URL of https is known."""
    denied = "git@x: Permission denied (publickey)."
    error = explain(denied, "ls-remote", Remote(url, "me/probe"))
    assert f"until `ssh -T {hint}` works" in (error.hint or "")
    https = {
        "work:me/probe.git": None,
        "ssh://git@ssh.example:2222/me/probe": "https://ssh.example/me/probe.git",
    }.get(url, "https://dev.azure.com/org/My%20Project/_git/probe")
    instead = f"; or use https: `pypi-insiders repos set me/probe url={https}`"
    assert (instead in (error.hint or "")) == (https is not None)
    # A submodule is not watched, so its URL cannot be set.
    of_submodule = explain(denied, "fetch", Remote(url))
    assert "pypi-insiders" not in (of_submodule.hint or "")


@pytest.mark.parametrize("way", list(_URLS))
@pytest.mark.parametrize(
    "form",
    [
        "fatal: remote error: {}",
        "fatal: remote error: no\n{}",
        "fatal: invalid ls-refs response: 0 x\n{}",
        "fatal: invalid shallow line: x\n{}",
        "fatal: error in object: x\n{}",
        "fatal: object not found: x\n{}",
        "remote: {}",
        "remote: no\r{}",
        "fatal: protocol error: got '\n{}",
        "error: * Ignoring funny ref 'refs/tags/x\n{}",
        "fatal: unknown object format 'x\n{}",
        "fatal: unexpected acknowledgment line: 'x\n{}",
        "error: refusing to update ref with bad name 'x\n{}",
    ],
)
@pytest.mark.parametrize(
    "line",
    [
        "detected dubious ownership in repository at '*'",
        "Host key for github.com has changed",
        "No space left on device",
        "error: unable to write file x",
        "died of signal 9",
        "Bad owner or permissions on $HOME/.bashrc",
        'Load key "FILE": incorrect passphrase',
        "git: 'credential-x' is not a git command",
        "x get: 1: x: not found",
    ],
)  # fmt: skip
def test_what_a_host_sends_is_no_message_of_this_machine(way: str, form: str, line: str) -> None:
    """It would write the command of a hint."""
    error = explain(form.format(line), "ls-remote", Remote(_URLS[way], "me/probe"))
    commands = r"safe\.directory|ssh-keygen|chmod|ssh-add|show-origin|free space"
    assert not re.search(commands, error.hint or "")
    assert not re.search(r"is full|was killed", error.message)


@pytest.mark.parametrize("way", ["https", "git"])
@pytest.mark.parametrize(
    "line",
    ["fatal: detected dubious ownership in repository at '*'", "Host key for x.org has changed"],
)
def test_messages_of_another_transport_have_no_meaning(way: str, line: str) -> None:
    error = explain(line, "ls-remote", Remote(_URLS[way], "me/probe"))
    assert error.hint == "the next update tries again"


def test_a_changed_key_is_told_also_where_git_goes_another_way() -> None:
    """`url.git@x.org:.insteadOf` makes https of ssh: the warning of ssh must not be lost."""
    banner = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @"
    text = f"{banner}\nHost key verification failed.\nfatal: Could not read from remote repository."
    why = explain(text, "ls-remote", Remote("https://x.org/me/probe"))
    assert why.message.startswith("the host's ssh key has changed, or another host answers")
    assert "ssh-keygen" not in (why.hint or "")


_NAMES = {
    'Load key "{}": incorrect passphrase': ("/home/me/.ssh/git.example-git", "/home/me/.bashrc"),
    'Load key "{}": error in libcrypto': ("/home/me/.ssh/id_rsa", "-s/x.so"),
    'Load key "{}": bad permissions': ("/home/me/.ssh/id_rsa", "/home/me/.ssh/../x"),
    "Permissions 0644 for '{}' are too open": ("/home/me/.ssh/id_rsa", "/home/me/.ssh/other"),
    "Bad owner or permissions on {}": ("/home/me/.ssh/config", "/home/me/.bashrc"),
    "no such identity: {}: No": ("/home/me/.ssh/forge", "/home/me/.ssh/id_rsa;x"),
    "Host key for {} has changed": ("git.example", "github.com"),
    "Host key for {} has changed and": ("git.example", "-f/home/me/.ssh/id_rsa"),
}  # fmt: skip


@pytest.mark.parametrize("message", _NAMES)
def test_a_host_chooses_no_file_of_a_hint(message: str) -> None:
    """Over ssh, it can print any line that ssh prints: only what ssh uses here is named."""
    remote = Remote("git@git.example:me/probe.git")
    own, foreign = _NAMES[message]
    assert own in (explain(message.format(own), "fetch", remote).hint or "")
    why = explain(message.format(foreign), "fetch", remote)
    assert (type(why), why.hint) == (UnreachableError, "the next update tries again")
    # Neither does it hide what ssh itself says.
    denied = "git@git.example: Permission denied (publickey)."
    why = explain(f"{message.format(foreign)}\n{denied}", "fetch", remote)
    assert why.message.startswith("no access: the host does not accept the credentials")
    why = explain(f"{message.format(foreign)}\n{message.format(own)}\n{denied}", "fetch", remote)
    assert own in (why.hint or "")


@pytest.mark.parametrize("word", ["ERROR: ", "conq: ", "remote: ", "fatal: remote error: ", "x"])
def test_what_a_host_sends_is_read_in_linear_time(word: str) -> None:
    """Each pattern by itself took up to 11 s for a line of this length."""
    line = word * (32_000 // len(word))
    started_s = time.process_time()
    for meaning in MEANINGS:
        assert not re.search(meaning.pattern, line, re.MULTILINE)
    assert time.process_time() - started_s < 3


def test_a_host_of_ssh_chooses_no_program_to_install() -> None:
    """Credential helpers are for https."""
    for line in ("git: 'credential-evil' is not a git command", "x get: 1: evil: not found"):
        why = explain(line, "fetch", Remote("git@git.example:me/probe.git"))
        assert "evil" not in (why.hint or "") + why.message.partition("(")[0].replace(line, "")
        assert why.hint == "the next update tries again"


def test_a_repository_on_this_machine_chooses_no_other_directory() -> None:
    line = "fatal: detected dubious ownership in repository at '*'"
    for url in ("/srv/git/probe.git", "file:///srv/git/probe.git"):
        assert explain(line, "fetch", Remote(url)).hint == (
            f"check the connection: `git ls-remote {url}`"
        )


def test_a_repository_on_this_machine_is_found_as_git_finds_it(tmp_path: Path) -> None:
    """Through a link, and without its ending."""
    real = tmp_path / "real/probe.git"
    real.mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    for named in (real, tmp_path / "link/probe.git"):
        line = f"fatal: detected dubious ownership in repository at '{named}'"
        hint = explain(line, "fetch", Remote(f"file://{tmp_path}/link/probe")).hint or ""
        assert hint.endswith(f"--add safe.directory {named}`")


def test_what_ssh_uses_is_asked_of_ssh_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the options of git's setting, and its tokens in the names of files."""
    need("ssh")
    settings = tmp_path / "settings"
    settings.write_text(
        "Host work\n HostName git.example\n User git\n Port 2222\n IdentityFile ~/.ssh/%h-%r\n"
    )
    monkeypatch.delenv("GIT_SSH_COMMAND")
    (tmp_path / ".gitconfig").write_text(
        f'[core]\n sshCommand = ssh -F "{settings}" -i /keys/one\n'.replace('"', "'")
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    found = local_ssh.names("work")
    wanted = {"[git.example]:2222", f"{tmp_path}/.ssh/git.example-git", "/keys/one"}
    assert wanted <= found
    assert local_ssh.names("'x\0'") == frozenset()


@pytest.mark.parametrize(
    "url", ["https://[evil/x", "ssh://a:b/x", "ssh://h:99999/x", "[x:y", "ssh://-oProxy/x"]
)
def test_a_malformed_url_is_no_bug(url: str) -> None:
    """Such as one of a submodule, which its repository chooses."""
    for line in ("fatal: x", "x: Permission denied (publickey).", "Host key for x has changed"):
        assert "ssh -T" not in (explain(line, "fetch", Remote(url)).hint or "")


def test_the_host_of_a_submodule_adds_no_command() -> None:
    why = explain("SSL certificate problem", "fetch", Remote("https://x;reboot;/me/probe"))
    assert "`git config --global 'http.https://x;reboot;.sslCAInfo' FILE`" in (why.hint or "")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("git@Forge:x/y", "git@Forge"),
        ("ssh://Git@Forge:22/x", "-p 22 Git@Forge"),
        ("ssh://[FE80::1]:22/x", "-p 22 FE80::1"),
        ("ssh://[fe80::1%25Eth0]/x", "fe80::1%25Eth0"),
        ("ssh://user:password@Forge/x", "user@Forge"),
        ("ssh://-oProxyCommand=x/y", None),
        ("ssh:///x", None),
        ("https://forge/x", None),
    ],
)
def test_the_address_for_ssh(url: str, address: str | None) -> None:
    """It is as the user has written it, without a password."""
    assert ssh_address(url) == address
