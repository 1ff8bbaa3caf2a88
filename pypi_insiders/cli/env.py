"""`pypi-insiders env`."""

import os
from collections.abc import Mapping

import click

from pypi_insiders.cli import pointing
from pypi_insiders.cli.common import CommonCommand, json_option, note, report, warn
from pypi_insiders.config import client_variables
from pypi_insiders.config.paths import default_paths
from pypi_insiders.reporting import json_output
from pypi_insiders.systemd import environment_d, index_address, systemctl
from pypi_insiders.systemd.index_address import Address
from pypi_insiders.util import shell_words
from pypi_insiders.util.errors import InsidersError, UsageError
from pypi_insiders.util.shell_words import Writer

_HELP = """\
Print the variables that point pip, uv and PDM to the index.

The address is the one at which the index listens. Other clients run one of the three: pipx runs uv
if it is installed. With --uv-index, uv asks this index before its default index, so that a uv.lock
has the URL of this index only for the projects that it serves. If a proxy is set, this machine is
added to `no_proxy`.

With --unset, all that `env` has set in this shell is restored to what was set before, whatever the
options were. Variables that point elsewhere, and other hosts and indexes in a list, stay.

\b
sh, bash and zsh:  eval "$(pypi-insiders env)"
fish:              pypi-insiders env | source
nu:                pypi-insiders env --json | from json | get variables
                   | load-env
PowerShell:        pypi-insiders env --shell powershell | Out-String | iex

With --install, your service manager gets the variables: new units have them at once, desktops
from the next login. Shells over ssh or on a console do not; put the line above into their profile.
"""
_WRITERS = {
    **dict.fromkeys(("sh", "bash", "zsh"), shell_words.SH_WRITER),
    "fish": shell_words.FISH_WRITER,
    "nu": shell_words.NU_WRITER,
    "powershell": shell_words.POWERSHELL_WRITER,
}


@click.command(cls=CommonCommand, help=_HELP)
@click.option(
    "--shell", type=click.Choice(list(_WRITERS)), help="Shell to write for (default: $SHELL)."
)
@json_option
@click.option("--unset", is_flag=True, help="Print the commands that unset them.")
@click.option("--uv-index", is_flag=True, help="Set only UV_INDEX, see above.")
@click.option("--install", is_flag=True, help="Write them to environment.d, for all logins.")
@click.option("--uninstall", is_flag=True, help="Remove what --install wrote.")
def env(shell: str | None, as_json: bool, uv_index: bool, **how: bool) -> None:
    """Print the variables that point pip, uv and PDM to the index."""
    install, uninstall, unset = how["install"], how["uninstall"], how["unset"]
    if install or uninstall:
        given = {"--unset": unset, "--shell": shell is not None, "--json": as_json}
        _refuse_more(install, uninstall, given)
    if shell and as_json:
        raise UsageError("--shell and --json exclude each other", "give one of them")
    if uninstall:
        _uninstall()
        return
    # Before `find`, which fails where config.toml is wrong: the undo works there too.
    if unset:
        writer = None if as_json else _writer(shell)
        _print(client_variables.taken_back(os.environ, _own_urls()), writer)
        return
    # Neither --install nor --json writes in the syntax of a shell, so $SHELL may be csh.
    writer = None if install or as_json else _writer(shell)
    address = index_address.find(default_paths().settings)
    if install:
        _install(address, uv_index=uv_index)
        return
    _warn(address)
    _print(_values(address, uv_index=uv_index), writer)


def _print(values: Mapping[str, str | None], writer: Writer | None) -> None:
    """Print variables for a shell, or as JSON; `None` is a variable to unset."""
    if writer is None:
        click.echo(json_output.document({"variables": values}))
        return
    for name, value in values.items():
        click.echo(writer.unset(name) if value is None else writer.assign(name, value))


def _warn(address: Address) -> None:
    """Warn of an address other than the configured one, and of other users who listen there."""
    # On standard error: the shell evaluates what is on standard output.
    if address.note:
        note(address.note)
    for user in address.strangers:
        warn(f"{address.url} belongs to the user {user}: clients would install what {user} serves")


def _values(address: Address, *, uv_index: bool) -> dict[str, str]:
    """Return what is to be set in this shell, and what it takes to undo that."""
    ours = {address.url, address.configured}
    values = client_variables.leading_to(address.url, for_uv=uv_index)
    values = client_variables.beside_own(values, os.environ, ours)
    values |= client_variables.past_proxies(os.environ, address.host)
    return {**values, client_variables.MEMORY: client_variables.remember(values, os.environ)}


def _own_urls() -> set[str]:
    try:
        return pointing.addresses(default_paths())
    except InsidersError as error:  # then only what this shell remembers is known
        note(error.message)
        return set()


def _writer(shell: str | None) -> Writer:
    """Return what writes in the syntax of a shell.

    Raises:
        InsidersError: the syntax of the user's shell is not known.
    """
    name = shell or shell_words.name(os.environ)
    name = "sh" if name in shell_words.SH else {"pwsh": "powershell"}.get(name, name)
    if name not in _WRITERS:
        raise InsidersError(
            f"$SHELL is {name}, whose syntax is not known",
            "`pypi-insiders env --shell sh` shows what to set; or `pypi-insiders exec -- COMMAND`",
        )
    return _WRITERS[name]


def _refuse_more(install: bool, uninstall: bool, others: Mapping[str, bool]) -> None:
    this = "--install" if install else "--uninstall"
    given = {"--uninstall": install and uninstall, **others}
    for other in (name for name, is_given in given.items() if is_given):
        raise UsageError(f"{this} and {other} exclude each other", "give one of them")


def _install(address: Address, *, uv_index: bool) -> None:
    try:
        systemctl.manager()
    except InsidersError as error:
        # Nothing else reads that file, and a user who finds it would think that it is in force.
        hint = f"for this shell: `{shell_words.evaluated(fish=shell_words.is_fish(os.environ))}`"
        raise InsidersError(error.message, hint) from error
    _warn(address)
    values = client_variables.leading_to(address.url, for_uv=uv_index)
    excepted = {
        name: address.host
        for name, hosts in client_variables.past_proxies(os.environ, address.host).items()
        # pip knows `*` only alone: with a host beside it, all requests would take the proxy again.
        if not client_variables.is_everything(hosts)
    }
    path, is_new = environment_d.install(values, excepted)
    report(f"installed {path}" if is_new else f"{path} is up to date")
    note("new units have the variables now, desktops from the next login, this shell by `env`")


def _uninstall() -> None:
    # Unlike --install, this needs no service manager: it only removes a file.
    path = environment_d.uninstall(default_paths())
    report(f"removed {path}" if path else "nothing was installed")
    if path:
        command = shell_words.evaluated("--unset", fish=shell_words.is_fish(os.environ))
        note(f"what runs keeps the variables; for this shell: `{command}`")
