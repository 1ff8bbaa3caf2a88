"""What the man page of each command says beside its help: exit status, environment, files, example.

A table of texts has a row a line: a term, three blanks and its meaning.
"""

from dataclasses import dataclass

_ENVIRONMENT = {
    "config": "XDG_CONFIG_HOME   Where the settings are, instead of ~/.config.",
    "data": "XDG_DATA_HOME   Where the distributions are, instead of ~/.local/share.",
    "state": "XDG_STATE_HOME   Where the state is, instead of ~/.local/state.",
    "cache": "XDG_CACHE_HOME   Where the caches are, instead of ~/.cache.",
    "password": "PYPI_INSIDERS_INDEX_PASSWORD   The password for the index to upload to.",
    "editor": "VISUAL, EDITOR   The editor.",
    "shell": "SHELL   The shell whose syntax is printed.",
    "pager": "PAGER   What shows a page of the manual on a terminal.",
    "color": "NO_COLOR   If set, nothing is coloured.",
}
_FILES = {
    "settings": "~/.config/pypi-insiders/config.toml   Settings, written by you.",
    "repos": "~/.config/pypi-insiders/repos.toml   The watched repositories.",
    "passwords": "~/.config/pypi-insiders/passwords   Who may read or upload, hashed.",
    "dists": "~/.local/share/pypi-insiders/dists/   The distributions that the index serves.",
    "state": "~/.local/state/pypi-insiders/   What was built from what.",
    "cache": "~/.cache/pypi-insiders/   Git mirrors, build trees and the output of failed builds; "
    "may be deleted at any time.",
    "environment": "~/.config/environment.d/60-pypi-insiders.conf   What `env --install` wrote.",
    "units": "~/.config/systemd/user/   The units, or only drop-ins if a package has the units.",
}
_FIRST = "0   success"
_LAST = """\
1   failure; one line says why, and a hint what to do
2   wrong usage
128+N   ended by signal N"""
_SERVICE = """\
0   success; `status`: running
1   failure; one line says why, and a hint what to do
2   wrong usage
3   `status`: stopped
4   `status`: not installed
128+N   ended by signal N"""


@dataclass(frozen=True)
class Facts:
    """What a page says of one command."""

    example: str
    """Rows of what it is for and the command."""
    environment: str = "config data state cache color"
    """Keys of the variables that concern it."""
    files: str = ""
    """Keys of the files that concern it."""
    status: str = f"{_FIRST}\n{_LAST}"
    """Rows of the exit status."""

    def environment_rows(self) -> str:
        """Return the variables that concern it."""
        return "\n".join(map(_ENVIRONMENT.__getitem__, self.environment.split()))

    def file_rows(self) -> str:
        """Return the files that concern it."""
        return "\n".join(map(_FILES.__getitem__, self.files.split()))


PROGRAM = Facts(
    """\
Serve the index, now and at every login:   pypi-insiders server enable
Watch a repository that builds mkdocs-material:   pypi-insiders repos add \
squidfunk/mkdocs-material-insiders:mkdocs-material
Update now, and every 30 minutes:   pypi-insiders watcher enable
Point pip, uv and PDM to the index:   eval "$(pypi-insiders env)\"""",
    files=" ".join(_FILES),
)
COMMANDS = {
    "status": Facts(
        "Show the state, for a script:   pypi-insiders status --json",
        files="settings repos dists state units",
        status="""\
0   all is well
1   there is a problem
2   wrong usage
3   something is stopped
128+N   ended by signal N""",
    ),
    "server": Facts(
        """\
Serve the index, now and at every login:   pypi-insiders server enable
Follow the log, from warnings on:   pypi-insiders server logs -f -p warning""",
        "config data color",
        "settings passwords dists units",
        _SERVICE,
    ),
    "watcher": Facts(
        """\
Update now, every 30 minutes and at every login:   pypi-insiders watcher enable
Show the log of one repository since yesterday:   pypi-insiders watcher logs --since=yesterday \
squidfunk/mkdocs-material-insiders""",
        "config state color",
        "settings repos state units",
        _SERVICE,
    ),
    "repos": Facts(
        """\
Watch a repository:   pypi-insiders repos add squidfunk/mkdocs-material-insiders:mkdocs-material
Keep its five newest versions:   pypi-insiders repos set squidfunk/mkdocs-material-insiders keep=5
Stop watching it, and remove its releases:   pypi-insiders repos remove --purge \
squidfunk/mkdocs-material-insiders""",
        files="repos dists state",
    ),
    "update": Facts(
        """\
Build an old tag:   pypi-insiders update squidfunk/mkdocs-material-insiders --tag 9.5.0
Update from cron, which mails only what fails:   pypi-insiders update -q""",
        "config data state cache password color",
        "settings repos dists state cache",
        """\
0   success
1   a repository failed, published files are lost, or a project has no release
2   wrong usage
128+N   ended by signal N""",
    ),
    "show": Facts(
        "Show also what was installed for each build:   pypi-insiders show -v "
        "squidfunk/mkdocs-material-insiders",
        files="repos dists state cache",
    ),
    "yank": Facts(
        "Yank a release:   pypi-insiders yank mkdocs-material 9.5.3 --reason='broken search'",
        "data state color",
        "dists state",
    ),
    "unyank": Facts(
        "Undo a yank:   pypi-insiders unyank mkdocs-material 9.5.3",
        "data state color",
        "dists state",
    ),
    "unpublish": Facts(
        """\
Show what would be removed:   pypi-insiders unpublish mkdocs-material 9.5.3 --dry-run
Remove a release from a script:   pypi-insiders unpublish mkdocs-material 9.5.3 --yes""",
        "data state color",
        "dists state",
    ),
    "prune": Facts(
        "Show what goes if three versions stay:   pypi-insiders prune --keep 3 --dry-run",
        "config data state color",
        "settings repos dists state",
    ),
    "config": Facts(
        "Set the editor for once:   EDITOR=nano pypi-insiders config edit",
        "config editor color",
        "settings",
    ),
    "env": Facts(
        """\
Point a shell to the index:   eval "$(pypi-insiders env)"
Restore what was set before:   eval "$(pypi-insiders env --unset)\"""",
        "config shell color",
        "settings environment",
    ),
    "exec": Facts(
        """\
Install from the index in CI:   pypi-insiders exec -- uv sync
Run a line for a shell:   pypi-insiders exec -- sh -c 'pip install . && make'""",
        "config data state cache password color",
        "settings repos dists state cache",
        """\
1   the index has no release of a watched repository, or another failure; the command was not run
2   wrong usage; the command was not run
126   the command cannot be run
127   the command was not found
128+N   the command, or this program, was ended by signal N
other   the exit status of the command""",
    ),
    "export": Facts(
        "Export after each update:   pypi-insiders update && pypi-insiders export /srv/packages",
        "config data color",
        "settings dists",
    ),
    "doctor": Facts(
        "Compare each published file with its hash:   pypi-insiders doctor --verify",
        files=" ".join(_FILES),
        status="""\
0   no problem was found; there may be warnings
1   a problem was found
2   wrong usage
128+N   ended by signal N""",
    ),
    "notify": Facts(
        "Send a test message:   pypi-insiders notify --test", "config state color", "settings state"
    ),
    "released": Facts(
        """\
Run it again for a release for which it has failed:   pypi-insiders released --retry my-docs
Run another command for new releases:   pypi-insiders released my-docs -- make -C /srv/docs""",
        "config data state color",
        "settings dists state",
    ),
    "completion": Facts(
        'Complete at the prompt of bash:   eval "$(pypi-insiders completion bash)"', ""
    ),
    "uninstall": Facts(
        """\
Show what would be removed:   pypi-insiders uninstall --purge --dry-run
Remove all of it from a script:   pypi-insiders uninstall --purge --yes""",
        files=" ".join(_FILES),
    ),
    "help": Facts("Show the page on clients:   pypi-insiders help clients", "pager"),
}
