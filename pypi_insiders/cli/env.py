"""`pypi-insiders env`."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pypi_insiders.cli.common import Command, note

if TYPE_CHECKING:
    from pypi_insiders.config import ServerSettings

# All of these read `export NAME=VALUE`.
_OF_SH = ("sh", "bash", "zsh", "ash", "dash", "ksh", "mksh")
_FISH = "fish"

_HELP = """\
Print the variables that lead to the index.

They are for pip, uv and PDM. With --uv-index uv asks our index first and its usual one for all that
ours does not hold, so that a uv.lock has our URL for Insiders releases only. Where a proxy is set,
this machine is excepted from it (NO_PROXY), which --unset leaves as it is.

\b
For sh, bash and zsh:  eval "$(pypi-insiders env)"
For fish:              pypi-insiders env | source

With --install the user's service manager has them: its new units at once, desktops from the next
login. Shells over ssh or on a console do not: there, put the line above into the profile.
"""


@click.command(cls=Command, help=_HELP)
@click.option(
    "--shell", type=click.Choice(["sh", "bash", "zsh", _FISH]), help="By default that of $SHELL."
)
@click.option("--unset", is_flag=True, help="Take the variables back.")
@click.option(
    "--uv-index", is_flag=True, help="For uv, and only for what the index holds; see above."
)
@click.option("--install", is_flag=True, help="Write them to environment.d, for whole logins.")
@click.option("--uninstall", is_flag=True, help="Remove what --install wrote.")
def env(shell: str | None, unset: bool, uv_index: bool, install: bool, uninstall: bool) -> None:
    """Print the variables that lead to the index."""
    from pypi_insiders import config, variables
    from pypi_insiders.paths import default_paths

    if install or uninstall:
        _refuse_more(install, uninstall, shell, unset)
    if uninstall:
        _uninstall()
        return
    if unset:
        is_fish = _is_fish(shell)
        names = (*variables.INDEX, variables.TRUSTED_HOST)
        for name in (variables.UV_INDEX,) if uv_index else names:
            click.echo(f"set -e {name};" if is_fish else f"unset {name};")
        return
    server = config.load(default_paths().settings).server
    if install:
        _install(server, uv_index=uv_index)
        return
    is_fish = _is_fish(shell)
    values = variables.leading_to(server.url, for_uv=uv_index, is_loopback=server.is_loopback)
    for name, value in (values | variables.past_proxies(os.environ)).items():
        quoted = shlex.quote(value)
        click.echo(f"set -gx {name} {quoted};" if is_fish else f"export {name}={quoted};")


def _is_fish(shell: str | None) -> bool:
    """Tell in which of the two syntaxes to write.

    Raises:
        InsidersError: the person's shell has another one.
    """
    from pypi_insiders.errors import InsidersError

    # A login shell has a dash before its name.
    name = shell or Path(os.environ.get("SHELL") or "sh").name.removeprefix("-")
    if name not in (*_OF_SH, _FISH):
        raise InsidersError(
            f"$SHELL is {name}, and its syntax is not known here",
            "--shell sh shows what to set; or `pypi-insiders exec -- COMMAND`",
        )
    return name == _FISH


def _refuse_more(install: bool, uninstall: bool, shell: str | None, unset: bool) -> None:
    from pypi_insiders.errors import UsageError

    this = "--install" if install else "--uninstall"
    given = {"--uninstall": install and uninstall, "--unset": unset, "--shell": shell is not None}
    for other in (name for name, is_given in given.items() if is_given):
        raise UsageError(f"{this} and {other} exclude each other", "give one of them")


def _install(server: "ServerSettings", *, uv_index: bool) -> None:
    from pypi_insiders import session, systemctl, variables
    from pypi_insiders.errors import InsidersError

    try:
        systemctl.manager()
    except InsidersError as error:
        # Nobody else reads that file, and who finds it would think that it is in force.
        hint = 'for this shell: `eval "$(pypi-insiders env)"`'
        raise InsidersError(error.message, hint) from error
    values = variables.leading_to(server.url, for_uv=uv_index, is_loopback=server.is_loopback)
    path, is_new = session.install(values, is_past_proxies=bool(variables.past_proxies(os.environ)))
    click.echo(f"installed {path}" if is_new else f"{path} is there already")
    note("new units have the variables now, desktops from the next login, this shell by `env`")


def _uninstall() -> None:
    from pypi_insiders import session
    from pypi_insiders.paths import default_paths

    path = session.uninstall(default_paths())
    click.echo(f"removed {path}" if path else "nothing was installed")
    if path:
        note("what runs keeps the variables; for this shell: `pypi-insiders env --unset`")
