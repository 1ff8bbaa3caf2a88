"""`pypi-insiders env`."""

import os

import click

from pypi_insiders.cli.common import CommonCommand, note, warn
from pypi_insiders.config import client_variables
from pypi_insiders.config.paths import default_paths
from pypi_insiders.systemd import environment_d, index_address, systemctl
from pypi_insiders.systemd.index_address import Address
from pypi_insiders.util import shell_words
from pypi_insiders.util.errors import InsidersError, UsageError

_HELP = """\
Print the environment variables that point pip, uv and PDM to the index.

The address is the one at which the index listens. All three clients get a variable, for others run
one of them: pipx runs uv where it finds it. With --uv-index uv asks this index first and then its
usual one, so that in a uv.lock only Insiders releases have the URL of this index. Where a proxy is
set, this machine is added to no_proxy.

--unset takes back all that `env` has set in a shell, whatever the options were, and restores what
was set before. Variables that point elsewhere, and other hosts and indexes in a list, stay.

\b
For sh, bash and zsh:  eval "$(pypi-insiders env)"
For fish:              pypi-insiders env | source

With --install the user's service manager has them: its new units at once, desktops from the next
login. Shells over ssh or on a console do not: there, put the line above into the profile.
"""


@click.command(cls=CommonCommand, help=_HELP)
@click.option(
    "--shell", type=click.Choice(["sh", "bash", "zsh", "fish"]), help="By default that of $SHELL."
)
@click.option("--unset", is_flag=True, help="Print the commands that take all of it back.")
@click.option(
    "--uv-index", is_flag=True, help="For uv, and only for what the index holds; see above."
)
@click.option("--install", is_flag=True, help="Write them to environment.d, for whole logins.")
@click.option("--uninstall", is_flag=True, help="Remove what --install wrote.")
def env(shell: str | None, unset: bool, uv_index: bool, install: bool, uninstall: bool) -> None:
    """Print the environment variables that point pip, uv and PDM to the index."""
    if install or uninstall:
        _refuse_more(install, uninstall, shell, unset)
    if uninstall:
        _uninstall()
        return
    if unset:
        _unset(is_fish=_is_fish(shell))
        return
    is_fish = not install and _is_fish(shell)
    address = index_address.find(default_paths().settings)
    if install:
        _install(address, uv_index=uv_index)
        return
    _warn(address)
    for name, value in _values(address, uv_index=uv_index).items():
        click.echo(shell_words.assign(name, value, fish=is_fish))


def _warn(address: Address) -> None:
    """Tell what is not as it seems: another address than the configured one, another user."""
    if address.note:
        note(address.note)
    for user in address.strangers:
        warn(f"{address.url} belongs to the user {user}: clients would install what {user} serves")


def _values(address: Address, *, uv_index: bool) -> dict[str, str]:
    """Put together what is to be set in this shell, and what it takes to undo that."""
    ours = {address.url, address.configured}
    values = client_variables.leading_to(address.url, for_uv=uv_index)
    values = client_variables.beside_own(values, os.environ, ours)
    values |= client_variables.past_proxies(os.environ, address.host)
    return {**values, client_variables.MEMORY: client_variables.remember(values, os.environ)}


def _unset(*, is_fish: bool) -> None:
    try:
        address = index_address.find(default_paths().settings)
        ours = {address.url, address.configured}
    except InsidersError as error:  # then only what this shell remembers is known
        note(error.message)
        ours = set()
    for name, value in client_variables.taken_back(os.environ, ours).items():
        if value is None:
            # With `;`, for `eval $(...)` without quotes makes one line of all.
            click.echo(f"{shell_words.unset((name,), fish=is_fish)};")
        else:
            click.echo(shell_words.assign(name, value, fish=is_fish))


def _is_fish(shell: str | None) -> bool:
    """Tell in which of the two syntaxes to write.

    Raises:
        InsidersError: the person's shell has another one.
    """
    name = shell or shell_words.name(os.environ)
    if name not in (*shell_words.SH, shell_words.FISH):
        raise InsidersError(
            f"$SHELL is {name}, and its syntax is not known here",
            "--shell sh shows what to set; or `pypi-insiders exec -- COMMAND`",
        )
    return name == shell_words.FISH


def _refuse_more(install: bool, uninstall: bool, shell: str | None, unset: bool) -> None:
    this = "--install" if install else "--uninstall"
    given = {"--uninstall": install and uninstall, "--unset": unset, "--shell": shell is not None}
    for other in (name for name, is_given in given.items() if is_given):
        raise UsageError(f"{this} and {other} exclude each other", "give one of them")


def _install(address: Address, *, uv_index: bool) -> None:
    try:
        systemctl.manager()
    except InsidersError as error:
        # Nobody else reads that file, and who finds it would think that it is in force.
        hint = f"for this shell: `{shell_words.evaluated(fish=shell_words.is_fish(os.environ))}`"
        raise InsidersError(error.message, hint) from error
    _warn(address)
    values = client_variables.leading_to(address.url, for_uv=uv_index)
    excepted = {
        name: address.host
        for name, hosts in client_variables.past_proxies(os.environ, address.host).items()
        if not client_variables.is_everything(hosts)
    }
    path, is_new = environment_d.install(values, excepted)
    click.echo(f"installed {path}" if is_new else f"{path} is there already")
    note("new units have the variables now, desktops from the next login, this shell by `env`")


def _uninstall() -> None:
    path = environment_d.uninstall(default_paths())
    click.echo(f"removed {path}" if path else "nothing was installed")
    if path:
        command = shell_words.evaluated("--unset", fish=shell_words.is_fish(os.environ))
        note(f"what runs keeps the variables; for this shell: `{command}`")
