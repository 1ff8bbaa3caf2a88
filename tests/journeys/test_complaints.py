"""Everything that can go wrong, as a person meets it: situation, exact line, hint, exit status."""

import os
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fixtures import COMMAND, Person
from machine import Machine

PORT = re.compile(r":\d+(?= is reachable)")
FOUND = r"%p %y %m %s %T@\n"
COUNTED = "Checked 1 repository, published 0 files; 1 failed: me/probe\n"
WATCH = "pypi-insiders repos add --no-check --url file:///nowhere/probe.git"
NAME_HINT = "for example squidfunk/mkdocs-material-insiders; for other hosts than GitHub add --url"
URL_HINT = (
    "use https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH, git://HOST/PATH or file:///PATH"
)
UNWATCHED = "me/probe is not a watched repository"
LIST_HINT = "`pypi-insiders repos add NS/PROJ`"
WITHOUT = "`pypi-insiders exec`, `server run` and `update` work without systemd"
CONFIG = ".config/pypi-insiders"
DISTS = ".local/share/pypi-insiders/dists"
STATE = ".local/state/pypi-insiders"
UNITS = ".config/systemd/user"
SERVER = "pypi-insiders-server"


@dataclass(frozen=True)
class Complaint:
    """A way in which a command fails; `{home}` stands for the person's home."""

    situation: str
    typed: str
    """After `pypi-insiders`."""
    message: str
    hint: str | None
    status: int = 1
    given: str = ""
    """Shell commands that bring the situation about, in the home."""
    environment: dict[str, str] = field(default_factory=dict)
    stdin: str = ""

    def stderr(self, home: Path) -> str:
        """Write what the person reads."""
        lines = [f"error: {self.message}", *([f"hint: {self.hint}"] if self.hint else [])]
        return "".join(f"{line}\n" for line in lines).replace("{home}", str(home))


WORDS = [
    Complaint(
        "a wrong command", "updat", "no such command 'updat'",
        "did you mean `pypi-insiders update`?", 2
    ),
    Complaint(
        "a command of nothing that exists", "frobnicate", "no such command 'frobnicate'",
        "see `pypi-insiders --help`", 2,
    ),
    Complaint(
        "a wrong option", "update --frce", "no such option '--frce'", "did you mean --force?", 2
    ),
    Complaint(
        "a word too many", "doctor now", "got unexpected extra argument (now)",
        "see `pypi-insiders doctor --help`", 2,
    ),
    Complaint(
        "a word too few", "yank probe", "missing argument 'VERSION'",
        "see `pypi-insiders yank --help`", 2,
    ),
    Complaint(
        "a repository without its owner", "repos add probe",
        "'probe' is not a repository of the form NS/PROJ", NAME_HINT, 2,
    ),
    Complaint(
        "a URL in place of a name", "repos add https://github.com/probe",
        "'https://github.com/probe' is not NS/PROJ",
        "name the repository NS/PROJ, and add its URL: --url URL", 2,
    ),
    Complaint(
        "a name that leaves its directory", "repos add me/..",
        "'me/..' is not a repository of the form NS/PROJ", NAME_HINT, 2,
    ),
    Complaint(
        "a name like an option", "repos add -- -x/y",
        "'-x/y' is not a repository of the form NS/PROJ", NAME_HINT, 2,
    ),
    Complaint(
        "what cannot be the name of a distribution", "repos add me/probe:-x",
        "'-x' is not a project name",
        "use letters, digits, '.', '_' and '-', such as mkdocs-material", 2,
    ),
    Complaint(
        "a URL that would run a program", "repos add me/probe --url 'ext::sh -c id'",
        "'ext::sh -c id' is not the URL of a Git repository", URL_HINT, 2,
    ),
    Complaint(
        "a URL that others could change on its way", "repos add me/probe --no-pre --url http://h/probe.git",
        "http://h/probe.git is not encrypted: others on the network can read and change the code, "
        "and read the credentials",
        "use https, or accept that: "
        "`pypi-insiders repos add me/probe --no-pre --url http://h/probe.git --insecure-http`", 2,
    ),
    Complaint(
        "a URL with a password",
        "repos add me/probe --url https://me:s3cret@example.org/probe.git",
        "'https://example.org/probe.git' contains a credential, "
        "which would be stored in plain text",
        "remove it from the URL and store it in git: `git help credentials`", 2,
    ),
    Complaint(
        "a URL without a host", "repos add me/probe --url https:///probe.git",
        "'https:///probe.git' has no host or no path", URL_HINT, 2,
    ),
    Complaint(
        "one URL for two repositories", "repos add me/a me/b --url https://example.org/a",
        "--url requires exactly one repository", "add them one by one", 2,
    ),
    Complaint(
        "one distribution from two repositories", "repos add me/a:probe me/b:probe",
        "probe already belongs to me/a", "a project can belong to one repository only",
    ),
    Complaint(
        "a directory outside the repository", "repos add me/probe --subdirectory ../x",
        "subdirectory must be a path below the repository, not '../x'",
        "such as packages/server", 2,
    ),
    Complaint(
        "another name for what is watched", "repos add me/probe:other",
        "me/probe is already watched: project probe, url file:///nowhere/probe.git",
        "change it: `pypi-insiders repos set me/probe project=other`",
        given=f"{WATCH} me/probe:probe",
    ),
    Complaint(
        "a list of the original that is not there", "repos import /nowhere/repos.json",
        "/nowhere/repos.json not found",
        "name the file: `pypi-insiders repos import FILE`",
    ),
    Complaint(
        "a key of what is not watched", "repos set me/probe keep=5", UNWATCHED,
        LIST_HINT,
    ),
    Complaint(
        "a key of what is no repository", "repos set probe keep=5",
        "'probe' is not a repository of the form NS/PROJ", NAME_HINT, 2,
    ),
    Complaint(
        "a key without a value", "repos set me/probe keep", "'keep' is not KEY=VALUE",
        "for example keep=5", 2,
    ),
    Complaint(
        "a URL in place of a key", "repos set me/probe https://me:s3cret@h/x",
        "'https://h/x' is not KEY=VALUE", "for example keep=5", 2,
    ),
    Complaint(
        "a key twice", "repos set me/probe keep=1 keep=2", "keep is set twice",
        "set each key once", 2,
    ),
    Complaint(
        "no terminal to edit on", "config edit", "not a terminal",
        "set EDITOR to a program that needs none", environment={"VISUAL": "", "EDITOR": ""},
    ),
    Complaint(
        "removing what is not watched", "repos remove me/probe", UNWATCHED, LIST_HINT
    ),
    Complaint(
        "updating what is not watched", "update me/probe me/other",
        "me/probe, me/other are not watched repositories", LIST_HINT,
    ),
    Complaint("showing what is not known", "show me/probe", UNWATCHED, LIST_HINT),
    Complaint(
        "showing what is not known", "show me/probe",
        "me/probe is not a watched repository", LIST_HINT,
    ),
    Complaint(
        "a tag of no repository", "update --tag v1", "--tag requires exactly one repository",
        "`pypi-insiders update NS/PROJ --tag v1`", 2,
    ),
    Complaint(
        "all tags of all repositories", "update --all-tags",
        "--all-tags requires a repository, and excludes --tag",
        "`pypi-insiders update NS/PROJ --all-tags`", 2,
    ),
    Complaint(
        "force without a tag", "update --force", "--force requires --tag or --all-tags",
        "`pypi-insiders update NS/PROJ --tag TAG --force`", 2,
    ),
    Complaint(
        "yanking what is not there", "yank probe 1.0", "probe has no releases here",
        "list the watched repositories: `pypi-insiders repos list`",
    ),
    Complaint(
        "running for the releases of no project", "released probe", "probe has no releases here",
        "list the watched repositories: `pypi-insiders repos list`",
    ),
    Complaint(
        "yanking another version", "yank probe 2.0", "probe 2.0 not found in the index",
        "its versions: 1.0", given=f"mkdir -p {DISTS} && touch {DISTS}/probe-1.0.tar.gz",
    ),
    Complaint(
        "a project that cannot be", "yank '?' 1.0", "'?' is not the name of a project",
        "such as mkdocs-material", 2,
    ),
    Complaint(
        "a version that cannot be", "unpublish probe latest", "'latest' is not a version",
        "such as 9.5.3+insiders.4.49.0", 2,
    ),
    Complaint(
        "an export of nothing", "export out",
        f"cannot read {{home}}/{DISTS}: No such file or directory",
        "publish releases: `pypi-insiders update`",
    ),
    Complaint(
        "an export over something else", "export out",
        "out is not empty, and was not created by `pypi-insiders export`",
        "name a new or an empty directory", given=f"mkdir -p {DISTS} out && touch out/thesis.tex",
    ),
    Complaint(
        "a password of nothing", "server password me", "the password is empty",
        "write it on standard input", 2,
    ),
    Complaint(
        "a shell that is not known", "completion tcsh",
        "invalid value for 'bash|zsh|fish': 'tcsh' is not one of 'bash', 'zsh', 'fish'",
        "see `pypi-insiders completion --help`", 2,
    ),
    Complaint(
        "no shell", "completion",
        "missing argument 'bash|zsh|fish'. Choose from: bash, zsh, fish",
        "see `pypi-insiders completion --help`", 2,
    ),
    Complaint(
        "a shell of another syntax", "env", "$SHELL is csh, whose syntax is not known",
        "`pypi-insiders env --shell sh` shows what to set; or `pypi-insiders exec -- COMMAND`",
        environment={"SHELL": "/bin/csh"},
    ),
    Complaint(
        "two things at once", "env --install --unset", "--install and --unset exclude each other",
        "give one of them", 2,
    ),
    Complaint(
        "a key without a value", "repos set me/probe keep", "'keep' is not KEY=VALUE",
        "for example keep=5", 2, given=f"{WATCH} me/probe",
    ),
    Complaint(
        "a key that is none", "repos set me/probe kep=1", "unknown key kep (did you mean keep?)",
        "see `pypi-insiders repos set --help`", 2, given=f"{WATCH} me/probe",
    ),
    Complaint(
        "a value that is none", "repos set me/probe keep=-1",
        "keep must be 0 for all or a number of versions, not -1", "such as 5", 2,
        given=f"{WATCH} me/probe",
    ),
    Complaint(
        "one wrong value among right ones", "repos set me/probe keep=3 pre=perhaps",
        "pre must be true or false", "see `pypi-insiders repos set --help`", 2,
        given=f"{WATCH} me/probe",
    ),
    Complaint(
        "no list of the original", "repos import", f"{{home}}/{CONFIG}/repos.json not found",
        "name the file: `pypi-insiders repos import FILE`",
    ),
    Complaint(
        "a list of something else", "repos import list.json",
        "list.json is not a list of repositories",
        'it maps each repository to its project: {"NS/PROJ": "PROJECT"}',
        given="echo '[]' >list.json",
    ),
    Complaint(
        "a command that is not there", "exec -- nosuch", "nosuch was not found",
        "check its spelling and $PATH", 127,
    ),
    Complaint(
        "a command that cannot be run", "exec --no-update -- ./script",
        "./script is not executable", "run `chmod +x`, or name its interpreter", 126,
        given="touch script",
    ),
    Complaint(
        "a command that would get public packages", "exec --no-update -- true",
        "the index has no release of me/probe, and the project name is unknown: the command could "
        "get a public package of that name",
        "`pypi-insiders update me/probe`, or `pypi-insiders repos set me/probe "
        "project=PROJECT`",
        given=f"{WATCH} me/probe",
    ),
    Complaint(
        "nothing to edit with", "config edit", "not a terminal",
        "set EDITOR to a program that needs none", environment={"EDITOR": "", "VISUAL": ""},
    ),
    Complaint(
        "an editor that fails", "config edit", "false exited with 1", "nothing was changed",
        given=f"mkdir -p {CONFIG}", environment={"EDITOR": "false", "VISUAL": ""},
    ),
    Complaint(
        "a user that cannot be", "server password a:b", "'a:b' is not a valid user name",
        "use letters, digits, '.', '_', '-' and '@'", 2, stdin="secret\n",
    ),
]  # fmt: skip

FILES = [
    Complaint(
        "config.toml is no TOML", "env",
        f"{{home}}/{CONFIG}/config.toml is not valid TOML: Expected ']' at the end of a table "
        "declaration (at end of document)",
        f"edit {{home}}/{CONFIG}/config.toml",
        given=f"mkdir -p {CONFIG} && printf '[server' >{CONFIG}/config.toml",
    ),
    Complaint(
        "config.toml has wrong words", "server run",
        f"{{home}}/{CONFIG}/config.toml: unknown key server.prot (did you mean port?); server.port "
        "must be a port from 1 to 65535, not 'x'; unknown table wacher (did you mean watcher?)",
        f"edit {{home}}/{CONFIG}/config.toml",
        given=f"mkdir -p {CONFIG} && printf '[server]\\nprot = 1\\nport = \"x\"\\n[wacher]\\n'"
        f" >{CONFIG}/config.toml",
    ),
    Complaint(
        "config.toml is not UTF-8", "update",
        f"cannot read {{home}}/{CONFIG}/config.toml: it is not UTF-8 (byte 2)", "save it as UTF-8",
        given=f"mkdir -p {CONFIG} && printf '# \\377' >{CONFIG}/config.toml",
    ),
    Complaint(
        "config.toml is a directory", "update",
        f"cannot read {{home}}/{CONFIG}/config.toml: Is a directory",
        "move that file or directory away", given=f"mkdir -p {CONFIG}/config.toml",
    ),
    Complaint(
        "repos.toml is wrong", "update",
        f"{{home}}/{CONFIG}/repos.toml: '../x' is not a repository of the form NS/PROJ; me/probe: "
        "'ext::sh' is not the URL of a Git repository",
        f"edit {{home}}/{CONFIG}/repos.toml",
        given=f"mkdir -p {CONFIG} && printf '[\"../x\"]\\n[\"me/probe\"]\\nurl = \"ext::sh\"\\n'"
        f" >{CONFIG}/repos.toml",
    ),
    Complaint(
        "repos.toml leads to itself", "repos add me/probe",
        f"cannot read {{home}}/{CONFIG}/repos.toml: Too many levels of symbolic links",
        "move that file or directory away",
        given=f"mkdir -p {CONFIG} && ln -s repos.toml {CONFIG}/repos.toml",
    ),
    Complaint(
        "the home is no directory", "repos add me/probe",
        f"cannot create the directory {{home}}/{STATE}: Not a directory",
        "move that file or directory away", given="mkdir .local && touch .local/state",
    ),
    Complaint(
        "what is remembered is of a newer version", "show me/probe",
        f"{{home}}/{STATE}/repositories/me/probe.json was written by a newer version of this "
        "program", "install that version again; the file is left unchanged",
        given=f"{WATCH} me/probe; mkdir -p {STATE}/repositories/me; "
        f"echo '{{\"format\": 99}}' >{STATE}/repositories/me/probe.json",
    ),
]  # fmt: skip

UPDATES = [
    Complaint(
        "git is not installed", "update", "me/probe: git was not found", "install git",
        given=f"{WATCH} me/probe", environment={"PATH": "/nonexistent"},
    ),
    Complaint(
        "a repository that is not there", "update",
        "me/probe: repository not found, or no access to it ('/nowhere/probe.git' does not appear "
        "to be a git repository)",
        "check the name, and that your sponsorship or account gives access",
        given=f"{WATCH} me/probe",
    ),
    Complaint(
        "a branch that is not there", "update", "me/probe: branch main not found",
        "list its branches: `git ls-remote --heads file://{home}/probe.git`",
        given="git init -q --bare probe.git; "
        f"{WATCH.replace('/nowhere', '$PWD')} me/probe --branch main",
    ),
]  # fmt: skip

PLACES = [
    Complaint(
        "a container, or a system without systemd", "server start",
        "systemctl not found: systemd is not running here", WITHOUT,
        environment={"PATH": "/nonexistent"},
    ),
    Complaint(
        "an address of another machine", "server run --host 192.0.2.7",
        "cannot listen on 192.0.2.7:31411: Cannot assign requested address",
        "list the addresses of this machine: `ip address`",
    ),
    Complaint(
        "an index that all could read", "server run --host 0.0.0.0 --port 0",
        "0.0.0.0:PORT is reachable from other machines without a password",
        "set `auth = true` under [server], and run `pypi-insiders server password USER`",
    ),
    Complaint(
        "nobody who may read", "server run --port 0",
        f"`auth` is set, but {{home}}/{CONFIG}/passwords has no user",
        "`pypi-insiders server password USER`",
        given=f"mkdir -p {CONFIG} && printf '[server]\\nauth = true\\n' >{CONFIG}/config.toml",
    ),
    Complaint(
        "uploads without a token", "server run --port 0",
        f"`uploads` is set, but {{home}}/{CONFIG}/passwords has no token",
        "`pypi-insiders server token`",
        given=f"mkdir -p {CONFIG} && printf '[server]\\nuploads = true\\n' >{CONFIG}/config.toml",
    ),
    Complaint(
        "passwords that others may read", "server run --port 0",
        f"{{home}}/{CONFIG}/passwords is accessible by other users (mode 0644)",
        f"`chmod 600 {{home}}/{CONFIG}/passwords`",
        given=f"mkdir -p {CONFIG} && printf '[server]\\nauth = true\\n' >{CONFIG}/config.toml && "
        f"(umask 022; touch {CONFIG}/passwords)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    "complaint", [*WORDS, *FILES, *UPDATES, *PLACES], ids=lambda item: item.situation
)
def test_what_goes_wrong_is_one_line_and_a_hint(person: Person, complaint: Complaint) -> None:
    """On standard error; nothing on standard output, and no file of the person is changed."""
    environment = {**person.environment, "LC_ALL": "de_DE.UTF-8"}
    before = _prepare(person, complaint, environment)
    failed = subprocess.run(
        [COMMAND, *shlex.split(complaint.typed)],
        env={**environment, **complaint.environment},
        cwd=person.home, input=complaint.stdin, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    shown = PORT.sub(":PORT", failed.stderr) if "PORT" in complaint.message else failed.stderr
    assert (failed.returncode, shown) == (complaint.status, complaint.stderr(person.home))
    assert failed.stdout in ("", COUNTED)
    assert _files(person) == before


def _prepare(
    person: Person, complaint: Complaint, environment: dict[str, str]
) -> dict[str, bytes | None]:
    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-ec", complaint.given],
        env={**environment, "PATH": path}, cwd=person.home, check=True, capture_output=True,
    )  # fmt: skip
    return _files(person)


def _files(person: Person) -> dict[str, bytes | None]:
    """Read all that a person has, but for what the program keeps for itself."""
    own = (person.paths.state, person.paths.cache)
    return {
        str(path): path.read_bytes() if path.is_file() else None
        for path in sorted(person.home.rglob("*"))
        if not any(path.is_relative_to(place) or place.is_relative_to(path) for place in own)
    }


MANAGER = [
    Complaint(
        "no session", "watcher enable",
        "no session with a user manager here: XDG_RUNTIME_DIR is not set",
        f"log in as insider with ssh or `machinectl shell insider@`, not with `su`; {WITHOUT}",
        environment={"XDG_RUNTIME_DIR": "", "DBUS_SESSION_BUS_ADDRESS": ""},
    ),
    Complaint(
        "the session of another user", "server status",
        "XDG_RUNTIME_DIR is /usr, which belongs to another user",
        "log in as insider (`machinectl shell insider@`), not with `su` or `sudo`",
        environment={"XDG_RUNTIME_DIR": "/usr", "DBUS_SESSION_BUS_ADDRESS": ""},
    ),
    Complaint(
        "a user manager that is not running", "server logs",
        "no user manager is running for insider (no socket in /nonexistent)",
        f"start one: `sudo loginctl enable-linger insider`; {WITHOUT}",
        environment={"XDG_RUNTIME_DIR": "/nonexistent", "DBUS_SESSION_BUS_ADDRESS": ""},
    ),
    Complaint(
        "a masked unit", "server start", f"{SERVER}.socket is masked",
        f"`systemctl --user unmask {SERVER}.socket`",
        given=f"systemctl --user mask {SERVER}.socket",
    ),
    Complaint(
        "a unit of somebody else", "server start",
        f"{{home}}/{UNITS}/{SERVER}.socket already exists, and was not written by pypi-insiders",
        "move that file away",
        given=f"mkdir -p {UNITS} && echo '[Socket]' >{UNITS}/{SERVER}.socket",
    ),
    Complaint(
        "a unit that is a link", "server start",
        f"{{home}}/{UNITS}/{SERVER}.socket is a link, which was not created by pypi-insiders",
        "move that link away",
        given=f"mkdir -p {UNITS} && touch other && ln -s ~/other {UNITS}/{SERVER}.socket",
    ),
    Complaint(
        "a port for root", "server run --port 80",
        "cannot listen on 127.0.0.1:80: Permission denied",
        "choose a port above 1023; lower ones are reserved for root",
    ),
    Complaint(
        "a file that is closed", "env",
        f"cannot read {{home}}/{CONFIG}/config.toml: Permission denied",
        f"check its owner and mode: `namei -l {{home}}/{CONFIG}/config.toml`",
        given=f"mkdir -p {CONFIG} && touch {CONFIG}/config.toml && chmod 0 {CONFIG}/config.toml",
    ),
    Complaint(
        "a directory that is closed", "repos add --no-check me/probe",
        f"cannot write {{home}}/{CONFIG}/repos.toml: Permission denied",
        f"check its owner and mode: `namei -l {{home}}/{CONFIG}/repos.toml`",
        given=f"mkdir -p {CONFIG} && chmod 500 {CONFIG}",
    ),
    Complaint(
        "no sandbox where one is required", "update",
        "me/probe: tag v1.0: the sandbox is unavailable: no session with a user manager here: "
        "XDG_RUNTIME_DIR is not set",
        'with `sandbox = "required"`, nothing is built without it',
        given=f"mkdir -p {CONFIG} && printf '[build]\\nsandbox = \"required\"\\n'"
        f" >{CONFIG}/config.toml && git init -q probe && git -C probe -c user.name=A "
        "-c user.email=a@example.org commit -q --allow-empty -m 1 && git -C probe tag v1.0 && "
        f"{WATCH.replace('/nowhere/probe.git', '$PWD/probe')} me/probe",
        environment={"XDG_RUNTIME_DIR": "", "DBUS_SESSION_BUS_ADDRESS": ""},
    ),
]  # fmt: skip


@pytest.mark.parametrize("complaint", MANAGER, ids=lambda item: item.situation)
def test_what_goes_wrong_with_a_user_manager(machine: Machine, complaint: Complaint) -> None:
    """The same, for somebody who is not root and has units; none of them is changed."""
    machine.run("bash", "-ec", complaint.given)
    before = machine.run("find", ".config", "-printf", FOUND, check=False).stdout
    failed = machine.run(
        "pypi-insiders", *shlex.split(complaint.typed), check=False, env=complaint.environment
    )
    # What an update says before is said elsewhere.
    shown = "".join(failed.stderr.splitlines(keepends=True)[-2:])
    assert (failed.returncode, shown) == (complaint.status, complaint.stderr(machine.home))
    assert failed.stdout in ("", COUNTED)
    assert machine.run("find", ".config", "-printf", FOUND, check=False).stdout == before
