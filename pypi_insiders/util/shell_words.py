"""Write commands for the shell of the user: that of sh, bash and zsh, or that of fish."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import PurePath

SH = ("sh", "bash", "zsh", "ash", "dash", "ksh", "mksh")
"""All of these read `export NAME=VALUE`."""
FISH = "fish"


def name(environment: Mapping[str, str]) -> str:
    """Return the name of the shell in `$SHELL`, without the dash of a login shell."""
    return PurePath(environment.get("SHELL") or "sh").name.removeprefix("-")


def is_fish(environment: Mapping[str, str]) -> bool:
    """Tell whether `$SHELL` is fish; what is neither fish nor known is taken for sh."""
    return name(environment) == FISH


def assign(variable: str, value: str, *, fish: bool) -> str:
    """Write the line that sets and exports a variable."""
    if fish:  # where a backslash escapes between single quotes, too
        return f"set -gx {variable} {shlex.quote(value.replace(chr(92), chr(92) * 2))};"
    return f"export {variable}={shlex.quote(value)};"


def unset(variables: Iterable[str], *, fish: bool) -> str:
    """Write the command that unsets variables, without what would end it."""
    return f"{'set -e' if fish else 'unset'} {' '.join(variables)}"


def evaluated(*options: str, fish: bool) -> str:
    """Write the command by which a shell takes over what `pypi-insiders env` prints."""
    command = " ".join(("pypi-insiders", "env", *options))
    return f"{command} | source" if fish else f'eval "$({command})"'
