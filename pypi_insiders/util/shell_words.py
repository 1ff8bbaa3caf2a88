"""Format commands for the user's shell."""

import json
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Writer:
    """Writes the lines that set and unset an exported variable in one shell."""

    assign: Callable[[str, str], str]
    """Name and value to a line."""
    unset: Callable[[str], str]
    """Name to a line."""


def _quoted(value: str, escaped: str, by: str) -> str:
    return f"'{value.replace(escaped, by)}'"


# With `;`, for `eval $(...)` without quotes makes one line of all.
SH_WRITER = Writer(
    lambda name, value: f"export {name}={shlex.quote(value)};", lambda name: f"unset {name};"
)
FISH_WRITER = Writer(
    # Where a backslash escapes between single quotes, too.
    lambda name, value: f"set -gx {name} {shlex.quote(value.replace(chr(92), chr(92) * 2))};",
    lambda name: f"set -e {name};",
)
# JSON has the escapes of a double-quoted string of Nushell. Source: the Nushell book, "Strings".
NU_WRITER = Writer(
    lambda name, value: f"$env.{name} = {json.dumps(value, ensure_ascii=False)}",
    lambda name: f"hide-env --ignore-errors {name}",
)
# Source: about_Quoting_Rules and about_Environment_Variables of PowerShell.
POWERSHELL_WRITER = Writer(
    lambda name, value: f"$env:{name} = {_quoted(value, chr(39), chr(39) * 2)}",
    lambda name: f"Remove-Item -ErrorAction Ignore Env:{name}",
)


def unset(variables: Iterable[str], *, fish: bool) -> str:
    """Return the command that unsets variables, without a semicolon."""
    return f"{'set -e' if fish else 'unset'} {' '.join(variables)}"


def evaluated(*options: str, fish: bool) -> str:
    """Return the command that evaluates the output of `pypi-insiders env` in a shell."""
    command = " ".join(("pypi-insiders", "env", *options))
    return f"{command} | source" if fish else f'eval "$({command})"'
