"""Format commands for the user's shell: sh, bash, zsh and the like, or fish."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import PurePath

SH = ("sh", "bash", "zsh", "ash", "dash", "ksh", "mksh")
"""Shells with `export NAME=VALUE`."""
FISH = "fish"


def name(environment: Mapping[str, str]) -> str:
    """Return the name of the shell in `$SHELL`."""
    # A login shell has a dash before its name.
    return PurePath(environment.get("SHELL") or "sh").name.removeprefix("-")


def is_fish(environment: Mapping[str, str]) -> bool:
    """Return whether `$SHELL` is fish; other shells are treated as sh."""
    return name(environment) == FISH


def assign(variable: str, value: str, *, fish: bool) -> str:
    """Return the line that sets and exports a variable."""
    if fish:  # a backslash escapes between single quotes there, too
        return f"set -gx {variable} {shlex.quote(value.replace(chr(92), chr(92) * 2))};"
    return f"export {variable}={shlex.quote(value)};"


def unset(variables: Iterable[str], *, fish: bool) -> str:
    """Return the command that unsets variables, without a semicolon."""
    return f"{'set -e' if fish else 'unset'} {' '.join(variables)}"


def evaluated(*options: str, fish: bool) -> str:
    """Return the command that evaluates the output of `pypi-insiders env` in a shell."""
    command = " ".join(("pypi-insiders", "env", *options))
    return f"{command} | source" if fish else f'eval "$({command})"'
