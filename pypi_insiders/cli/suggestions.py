"""Suggest what to type where a command or an option does not exist."""

from collections.abc import Iterable, Iterator, Sequence

import click

_PROGRAM = "pypi-insiders"
_EDIT = f"`{_PROGRAM} config edit`"
# What users type who know the original of the same name, pip, apt, Docker or git. Nothing here
# leads to a command that deletes but from a word that means deleting.
_SYNONYMS: dict[str, tuple[str, ...]] = {
    "install": ("server enable", "watcher enable"),
    "run": ("server run",),
    "watch": ("repos add", "watcher start"),
    "log": ("server logs", "watcher logs"),
    "new": ("repos add",),
    "ls": ("repos list",),
    "rm": ("repos remove",),
    "delete": ("repos remove",),
    "del": ("repos remove",),
    "unwatch": ("repos remove",),
    "build": ("update",),
    "check": ("update", "doctor"),
    "sync": ("update",),
    "fetch": ("update",),
    "publish": ("update",),
    "info": ("show",),
    "settings": ("config show",),
    "passwd": ("server password",),
    "version": ("--version",),
}
_IN_GROUP: dict[tuple[str, str], tuple[str, ...]] = {
    # The original looped there, and slept in between.
    ("watcher", "run"): ("watcher start", "update"),
    ("watcher", "log"): ("watcher logs",),
    ("watcher", "install"): ("watcher enable",),
    ("server", "log"): ("server logs",),
    ("server", "install"): ("server enable",),
    ("repos", "uninstall"): ("repos remove",),
    ("repos", "edit"): ("repos set",),
    ("config", "set"): ("config edit",),
    ("config", "list"): ("config show",),
    ("repos", "status"): ("status", "repos list"),
}
# Options of the original, of which some had two meanings, by the group in which they are typed.
_OPTIONS: dict[tuple[str, ...], dict[str, str]] = {
    ("--debug-info",): {"": f"`{_PROGRAM} doctor`"},
    ("-V", "--version"): {"": f"`{_PROGRAM} --version`"},
    ("-c", "--conf-path"): {
        "": f"`{_PROGRAM} config show` lists the files; `{_PROGRAM} repos import FILE` takes over "
        "the repos.json of the original"
    },
    ("-L", "--log-level"): {"": "use -v to show each step, or -q to show only warnings and errors"},
    ("-P", "--log-path"): {
        "": f"the log is in the journal: `{_PROGRAM} server logs`, `{_PROGRAM} watcher logs`"
    },
    ("-r", "--repo-dir"): {
        "": f"repositories are fetched into the cache, see `{_PROGRAM} config show`"
    },
    ("-d", "--dist-dir"): {
        "server run": "use --dist-dir",
        "server": f"`{_PROGRAM} server run --dist-dir DIR`",
    },
    ("-p", "--port"): {
        "server run": "use --port",
        "exec": "use --port",
        "server": f"set `port` under [server]: {_EDIT}",
    },
    ("-i", "--index-url"): {
        "update": "use --index-url",
        "watcher": f"set `index-url` under [publish]: {_EDIT}",
    },
    ("-u", "--index-user"): {
        "update": "use --index-user",
        "watcher": f"set `user` under [publish]: {_EDIT}",
    },
    # On the command line each user of the machine could read it. Source: ps(1).
    ("-p", "--index-password"): {
        "update": "set PYPI_INSIDERS_INDEX_PASSWORD, see `pypi-insiders help publishing`",
        "watcher": "store it as a credential, see `pypi-insiders help publishing`",
    },
    ("-s", "--sleep"): {"watcher": f"set `interval` under [watcher]: {_EDIT}"},
}
_NEAR = 0.75
"""How much a word must be like another one to be taken for it, as `difflib` measures it."""


def for_option(ctx: click.Context, option: str) -> str | None:
    """Return what takes the place of an option of the original; `None`: it had no such option."""
    words = ctx.command_path.removeprefix(_PROGRAM).strip()
    for spellings, by_command in _OPTIONS.items():
        if option in spellings:
            for command, hint in by_command.items():
                if f"{words} ".startswith(f"{command} " if command else ""):
                    return hint
    return None


def for_command(ctx: click.Context, typed: str) -> str | None:
    """Return the commands that were probably meant, as a hint; `None`: there are none."""
    group = ctx.command_path.removeprefix(_PROGRAM).strip()
    names = ctx.command.list_commands(ctx) if isinstance(ctx.command, click.Group) else []
    # From certain to vague: that a word looks like another one says least.
    found = (
        _IN_GROUP.get((group, typed))
        or _in_place(group, typed, names)
        or _SYNONYMS.get(typed)
        or tuple(_elsewhere(ctx.find_root(), typed))
        or [f"{group} {name}".strip() for name in near(typed, names)]
    )
    commands = [f"`{_PROGRAM} {words}`" for words in found]
    return f"did you mean {' or '.join(commands)}?" if commands else None


def _in_place(group: str, typed: str, names: Sequence[str]) -> list[str]:
    """Find the synonym that the group itself has: `remove` in `repos` for `rm`."""
    meant = [words.rpartition(" ")[2] for words in _SYNONYMS.get(typed, ())]
    return [f"{group} {name}" for name in meant if group and name in names][:1]


def _elsewhere(root: click.Context, typed: str) -> Iterator[str]:
    """Find the commands of exactly this name at other places."""
    if not isinstance(root.command, click.Group):
        return
    for name in root.command.list_commands(root):
        if name == typed:
            yield name
    for name in ("server", "watcher", "repos", "config"):
        group = root.command.get_command(root, name)
        if isinstance(group, click.Group) and typed in group.list_commands(root):
            yield f"{name} {typed}"


def near(typed: str, names: Iterable[str]) -> list[str]:
    """Find the name that is most like what was typed, but not its opposite."""
    # Here, as only wrong words need it.
    import difflib

    found = difflib.get_close_matches(typed, names, n=1, cutoff=_NEAR)
    # `uninstall` is the last thing that a user wants who types `install`.
    return [name for name in found if not name.startswith("un") or typed.startswith("un")]
