"""diagnosis: what is made of the messages of git, ssh, curl and Git hosts."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypi_insiders.git.diagnosis import Remote, explain
from pypi_insiders.git.errors import UnexplainedError, UnreachableError

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


def test_what_a_host_names_is_no_option() -> None:
    """Over ssh, a host can write any line; `ssh-add -s` would load a library."""
    why = explain('Load key "-s/x.so": incorrect passphrase', "fetch", Remote("git@x.org:me/probe"))
    assert why.hint == "add it to the ssh agent: `ssh-add ./-s/x.so`"
