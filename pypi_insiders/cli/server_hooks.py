"""`pypi-insiders server hook`."""

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import CommonCommand, note
from pypi_insiders.config import hook_secret
from pypi_insiders.config.paths import Paths, default_paths
from pypi_insiders.config.settings import ServerSettings, load_settings
from pypi_insiders.repositories import lookup, registry
from pypi_insiders.systemd import server_secrets
from pypi_insiders.util.errors import UsageError
from pypi_insiders.util.files import is_there, locked


@click.command("hook", cls=CommonCommand)
@click.argument("names", metavar="[NS/PROJ]...", nargs=-1, shell_complete=completers.repositories)
@click.option("--new", is_flag=True, help="Create a new secret, which replaces the former one.")
def hook(names: tuple[str, ...], new: bool) -> None:
    """Print what to paste into the form for hooks of a forge.

    Prints the URL of each repository and the secret, which is created if there is none. A signed
    hook starts an update of its repository, if `hooks = true` is set.
    """
    paths = default_paths()
    settings = load_settings(paths.settings).server
    chosen = lookup.select(registry.load(paths.repositories), names)
    secret = _secret(paths, is_new=new)
    base = f"https://{settings.names[0]}" if settings.names else settings.url
    for item in chosen:
        click.echo(f"{base}/hooks/{item.name}")
    # Not by `report`: with -q there would be nothing to paste.
    if secret is not None:
        click.echo(f"secret: {secret}")
    _note_settings(settings)


def _secret(paths: Paths, *, is_new: bool) -> str | None:
    """Return the first secret; `None`: it is a credential of the server."""
    if server_secrets.has_credential(hook_secret.CREDENTIAL):
        if is_new:
            raise UsageError(
                f"the secret is the credential {hook_secret.CREDENTIAL} of the server",
                "change it where it is stored, and `pypi-insiders server restart`",
            )
        note(f"the secret is the credential {hook_secret.CREDENTIAL} of the server")
        return None
    with locked(paths.locks.passwords):
        if is_new or not is_there(paths.hook_secret):
            return hook_secret.create(paths.hook_secret)
        return hook_secret.load(paths.hook_secret)[0]


def _note_settings(settings: ServerSettings) -> None:
    if not settings.hooks:
        note("hooks are off: set `hooks = true` under [server], and `pypi-insiders server restart`")
    if not settings.names:
        note("forges need a host name of this index: set `names` under [server]")
