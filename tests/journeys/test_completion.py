"""Completion: what the Tab key makes of a line, in real shells."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures import COMMAND, Person, need, unavailable

SHELLS = ("bash", "zsh", "fish")
TIMEOUT_S = 60
COMMIT = "0" * 40
REPOS = '["me/Probe"]\n["me/probe-two"]\n["you/other"]\nkeep = "not a number"\n'


class Terminal:
    """A shell at whose prompt keys are pressed."""

    def __init__(self, argv: list[str], environment: dict[str, str], directory: Path) -> None:
        """Start the shell."""
        self._keys, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *argv], cwd=directory,
            env={**environment, "TERM": "dumb", "LC_ALL": "C.UTF-8"},
            stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        self.shown = ""

    def press(self, keys: str) -> None:
        """Send what a keyboard would."""
        os.write(self._keys, keys.encode())

    def wait_for(self, pattern: str) -> "re.Match[str]":
        """Read on until something is shown, and forget what was shown up to there."""
        deadline = time.monotonic() + TIMEOUT_S
        while (match := re.search(pattern, self.shown)) is None:
            left_s = deadline - time.monotonic()
            ready = left_s > 0 and select.select([self._keys], [], [], left_s)[0]
            assert ready, f"no {pattern!r} in {self.shown!r}"
            self.shown += os.read(self._keys, 65536).decode(errors="replace").replace("\r", "")
        self.shown = self.shown[match.end() :]
        return match

    def completed(self, typed: str, key: str = "\t") -> list[str]:
        """Press a key after what was typed; return the words that are on the line then.

        The line is then made one that prints its own words.
        """
        self.press(f"{typed}{key}\x01printf '<%s>' BEGIN \x05 END\n")
        said = self.wait_for(r"<BEGIN>(.*?)<END>")[1]
        return re.findall(r"<([^>]*)>", said)

    def close(self) -> None:
        """End the shell."""
        self._process.kill()
        self._process.wait()
        os.close(self._keys)


START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "bind 'set bell-style none'"),
    "zsh": (["zsh", "-f", "-i"], "bindkey -e; autoload -Uz compinit; compinit -u -D"),
    "fish": (["fish", "-i"], "set fish_greeting"),
}


@contextmanager
def at_prompt(shell: str, person: Person, *commands: str, **variables: str) -> Iterator[Terminal]:
    """Start a shell, and have it run commands first."""
    argv, first = START[shell]
    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    environment = {**person.environment, "PATH": path, **variables}
    terminal = Terminal([need(argv[0]), *argv[1:]], environment, person.home)
    try:
        terminal.press("".join(f"{line}\n" for line in (first, *commands)))
        terminal.press("printf '<%s>' READY\n")
        terminal.wait_for("<READY>")
        yield terminal
    finally:
        terminal.close()


def load(shell: str) -> str:
    """Give the line that the help tells to load the completion."""
    if shell == "fish":
        return "pypi-insiders completion fish | source"
    return f'eval "$(pypi-insiders completion {shell})"'


@pytest.fixture
def filled(person: Person) -> Person:
    """Somebody who watches repositories and has an index."""
    person.paths.config.mkdir(parents=True)
    person.paths.repositories.write_text(REPOS)
    person.paths.distributions.mkdir(parents=True)
    for name in ("probe-1.0.tar.gz", "probe-1.10+insiders.2-py3-none-any.whl", "Other_x-3.tar.gz",
                 ".upload-x", "no distribution"):  # fmt: skip
        (person.paths.distributions / name).touch()
    (person.paths.distributions / ".yanked.json").write_text('{"other-x": {"3": "broken"}}')
    mirror = person.paths.mirror("me/probe")
    (mirror / "refs/tags").mkdir(parents=True)
    (mirror / "refs/tags/v2.0").touch()
    lines = [f"{COMMIT} refs/{ref}\n" for ref in ("heads/main", "tags/v1.10", "tags/v1.9")]
    (mirror / "packed-refs").write_text("# pack-refs with: peeled\n" + "".join(lines))
    (person.home / "site-of-mine").mkdir()
    (person.home / "site-file").touch()
    return person


@pytest.mark.parametrize("shell", SHELLS)
def test_the_tab_key_completes(shell: str, filled: Person) -> None:
    """Commands, options, repositories in any case, releases and directories."""
    with at_prompt(shell, filled, load(shell)) as terminal:
        lines = {
            "upd": ["update"],
            "update --forc": ["update", "--force"],
            "update yo": ["update", "you/other"],
            "show YOU/O": ["show", "you/other"],
            "watcher rest": ["watcher", "restart"],
            "repos remove --purge you": ["repos", "remove", "--purge", "you/other"],
            "prune me/probe you/other me/": ["prune", "me/probe", "you/other", "me/probe-two"],
            "yank oth": ["yank", "other-x"],
            "unpublish probe 1.1": ["unpublish", "probe", "1.10+insiders.2"],
            "unyank o": ["unyank", "other-x"],
            "unyank other_x ": ["unyank", "other_x", "3"],
            "export site-": ["export", "site-of-mine"],
            "repos add --token-file site-f": ["repos", "add", "--token-file", "site-file"],
            "env --shell f": ["env", "--shell", "fish"],
        }
        found = {
            line: [word.rstrip("/") for word in terminal.completed(f"pypi-insiders {line}")]
            for line in lines
        }
    assert found == {line: ["pypi-insiders", *words] for line, words in lines.items()}


@pytest.mark.parametrize("shell", SHELLS)
def test_what_the_wheel_brings_is_found_by_the_shell(
    shell: str, filled: Person, installed: Path
) -> None:
    """In a `share/` that the shell knows, nothing needs to be evaluated."""
    share = installed.parent.parent / "share"
    commands = {
        "bash": ["source /usr/share/bash-completion/bash_completion"],
        "zsh": [f"fpath=({share}/zsh/site-functions $fpath); compinit -u -D"],
        "fish": [],
    }
    if shell == "bash" and not Path("/usr/share/bash-completion/bash_completion").exists():
        unavailable("bash-completion is not installed")
    data = f"{share}:/usr/local/share:/usr/share"
    with at_prompt(shell, filled, *commands[shell], XDG_DATA_DIRS=data) as terminal:
        if shell == "bash":  # it is loaded by the first Tab
            terminal.completed("pypi-insiders ")
        assert terminal.completed("pypi-insiders update YO") == [
            "pypi-insiders", "update", "you/other",
        ]  # fmt: skip


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_what_the_wheel_brings(
    shell: str, person: Person, installed: Path
) -> None:
    """One script, however it is come by; and its file name is what the shell looks for."""
    name = {
        "bash": "bash-completion/completions/pypi-insiders",
        "zsh": "zsh/site-functions/_pypi-insiders",
        "fish": "fish/vendor_completions.d/pypi-insiders.fish",
    }[shell]
    printed = person.run("completion", shell)
    assert (installed.parent.parent / "share" / name).read_text() == printed.stdout
    assert printed.stderr == ""


def asked(person: Person, *words: str) -> list[str]:
    """Ask for completions of the last word as bash does; nothing may be said beside them."""
    done = person.run(
        COMP_WORDS="\n".join(("pypi-insiders", *words)), COMP_CWORD=str(len(words)),
        _PYPI_INSIDERS_COMPLETE="bash_complete",
    )  # fmt: skip
    assert done.stderr == ""
    return [line.removeprefix("plain,") for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("update", ""), ["me/Probe", "me/probe-two", "you/other"]),
        (("update", "ME/P"), ["me/Probe", "me/probe-two"]),
        (("update", "ME/probe", "--force", ""), ["me/probe-two", "you/other"]),
        (("repos", "remove", "you/other", "me"), ["me/Probe", "me/probe-two"]),
        (("show", "x"), []),
        (("yank", ""), ["other-x", "probe"]),
        (("yank", "Probe", ""), ["1.10+insiders.2", "1.0"]),
        (("unpublish", "probe", "1.0", ""), ["1.10+insiders.2"]),
        (("unyank", ""), ["other-x"]),
        (("unyank", "probe", ""), []),
        (("export", "s"), ["dir,s"]),
        (("repos", "add", "--allowed-signers", ""), ["file,"]),
        (("server", "run", "--dist-dir", ""), ["dir,"]),
        (("completion", ""), list(SHELLS)),
        (("repos", "set", "me/probe", "ke"), ["keep="]),
        (("repos", "set", "me/probe", "keep=5", "ma"), ["max-new="]),
        (("repos", "set", "me/probe", "keep=5", "k"), []),
        (("update", "me/probe", "--tag", ""), ["v2.0", "v1.10", "v1.9"]),
        (("update", "ME/Probe", "--tag", "V1.1"), ["v1.10"]),
        (("update", "--tag", ""), []),
        (("exec", "unam"), ["uname"]),
        (("exec", "--", "unam"), ["uname"]),
        (("exec", "uname", "unam"), []),
        (("watcher", "logs", "-p", "e"), ["emerg", "err"]),
        (("server", "logs", "--priority", "warn"), ["warning"]),
    ],
    ids=" ".join,
)
def test_what_is_offered(filled: Person, words: tuple[str, ...], offered: list[str]) -> None:
    """Names in any case, those given already left out; the newest version first."""
    assert asked(filled, *words) == offered


def test_fish_shows_whole_descriptions(filled: Person) -> None:
    """Also behind a comma, of which most have one; each is a whole sentence."""
    lines = 'complete -C "pypi-insiders e"; complete -C "pypi-insiders watcher en"'
    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [need("fish"), "--no-config", "-c", f"{load('fish')}; {lines}"],
        env={**filled.environment, "PATH": path}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "env\tPrint the variables that point pip, uv and PDM to the index.",
        "exec\tRun a command with the index, without systemd.",
        "export\tWrite the index to DIR, or to a bucket, as plain files.",
        "enable\tStart the watcher now, with an update, and at every login.",
    ]


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("repositories", ("update", "")),
        ("distributions", ("yank", "")),
        ("distributions", ("unpublish", "probe", "")),
        ("distributions", ("unyank", "")),
    ],
)
@pytest.mark.parametrize("damage", ["missing", "broken", "of another kind"])
def test_what_cannot_be_read_completes_to_nothing(
    person: Person, file: str, words: tuple[str, ...], damage: str
) -> None:
    """Nothing is printed into the prompt."""
    path = getattr(person.paths, file)
    path.parent.mkdir(parents=True)
    if damage == "broken":
        path = path / ".yanked.json" if file == "distributions" else path
        path.parent.mkdir(exist_ok=True)
        path.write_text("[[")
    elif damage == "of another kind":
        path.touch() if file == "distributions" else path.mkdir()
    assert asked(person, *words) == []


def test_a_tab_loads_no_more_than_it_needs(filled: Person) -> None:
    """What takes time is not imported to complete the name of a repository."""
    done = subprocess.run(
        [COMMAND.with_name("python"), "-X", "importtime", "-m", "pypi_insiders"],
        env={**filled.environment, "COMP_WORDS": "pypi-insiders\nupdate\n", "COMP_CWORD": "2",
             "_PYPI_INSIDERS_COMPLETE": "bash_complete"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "plain,me/Probe\n" in done.stdout
    assert "pypi_insiders.cli.completers" in loaded
    assert loaded & {"git", "packaging", "subprocess", "sqlite3", "tomli_w"} == set()
