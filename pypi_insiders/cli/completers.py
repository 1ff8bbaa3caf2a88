"""Find what completes a word at the prompt of a shell, for `shell_complete=` of arguments."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import click
from click.shell_completion import CompletionItem

from pypi_insiders.config.paths import default_paths
from pypi_insiders.config.toml_fields import parse_toml
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import list_names, read_text

_TAGS = "refs/tags/"

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]


def completer(find: Callable[[click.Context], Iterable[str]]) -> Completer:
    """Offer of the names that are found those that begin with what was typed, in any case.

    Those that were given already are left out.
    """

    def complete(
        ctx: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        given = ctx.params.get(parameter.name or "") if parameter.nargs == -1 else None
        taken = {name.casefold() for name in given or ()}
        try:
            return [
                CompletionItem(name)
                for name in find(ctx)
                if name.casefold().startswith(incomplete.casefold())
                and name.casefold() not in taken
            ]
        except InsidersError:
            return []  # a prompt is no place for messages

    return complete


@completer
def repositories(_ctx: click.Context) -> Iterable[str]:
    """Name the watched repositories, also where something else in `repos.toml` is wrong.

    Reading it in earnest would take a third longer, of a time that is felt.
    """
    path = default_paths().repositories
    return parse_toml(path, read_text(path) or "")


@completer
def priorities(_ctx: click.Context) -> Iterable[str]:
    """Name the levels of the journal. Source: journalctl(1), `--priority=`."""
    return ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


@completer
def commands(ctx: click.Context) -> Iterable[str]:
    """Name the programs on `$PATH`, for the first word of a command."""
    # Only the first word is a program; the others are its own arguments.
    if ctx.params.get("argv"):
        return ()
    return sorted({name for place in os.get_exec_path() for name in _programs(place)})


def _programs(place: str) -> Iterator[str]:
    # $PATH may name directories that are gone; an empty entry is the current one.
    with suppress(OSError), os.scandir(place or ".") as entries:
        yield from (entry.name for entry in entries if os.access(entry.path, os.X_OK))


@completer
def tags(ctx: click.Context) -> Iterable[str]:
    """Name the tags that were fetched of the repository that is named, the last one first.

    Git is not run, and its host is not asked: a mirror has its tags in a file.
    """
    # click takes no arguments from before an option that has no value yet; they are left over.
    names = [*(ctx.params.get("names") or ()), *(word for word in ctx.args if "/" in word)]
    mirror = default_paths().mirror(names[0]) if names else None
    if mirror is None:
        return ()
    packed = read_text(mirror / "packed-refs") or ""
    found = [name for name in packed.split() if name.startswith(_TAGS)]
    # A tag that git has not packed yet is a file of its own.
    loose = [f"{_TAGS}{name}" for name in list_names(mirror / _TAGS)]
    return [
        name.removeprefix(_TAGS) for name in sorted({*found, *loose}, key=_natural, reverse=True)
    ]


def _natural(tag: str) -> list[tuple[int, str]]:
    """Return by what v1.9 is before v1.10; versions are slow to import."""
    # By the number of digits, and not as numbers: Python reads none of thousands of digits.
    parts = (part.lstrip("0") if part.isdecimal() else part for part in re.split(r"(\d+)", tag))
    return [(len(part) if number % 2 else 0, part) for number, part in enumerate(parts)]


def keys(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the keys of a repository, each with its `=`."""
    # Here, as TAB completes all other words without these.
    from pypi_insiders.config import toml_fields
    from pypi_insiders.repositories.repository import Repository

    given = {word.partition("=")[0] for word in ctx.params.get("assignments") or ()}
    names = toml_fields.write(Repository("me/probe"))
    return [
        CompletionItem(f"{name}=")
        for name in names
        if name.startswith(incomplete) and name not in given
    ]


def files(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Let the shell name files."""
    return [CompletionItem(incomplete, type="file")]


def directories(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Let the shell name directories."""
    return [CompletionItem(incomplete, type="dir")]
