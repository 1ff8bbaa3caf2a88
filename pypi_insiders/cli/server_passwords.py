"""`pypi-insiders server password` and `token`."""

import secrets
import sys

import click

from pypi_insiders.cli.common import CommonCommand, report
from pypi_insiders.config import passwords
from pypi_insiders.config.paths import default_paths
from pypi_insiders.util.errors import UsageError
from pypi_insiders.util.files import locked


@click.command("password", cls=CommonCommand)
@click.argument("user")
@click.option("--remove", is_flag=True, help="Remove this user.")
def password(user: str, remove: bool) -> None:
    """Set the password of a user who may read the index.

    Asks for the password on a terminal; otherwise reads it from the first line of standard input.
    It takes effect at once if `auth = true` is set.
    """
    paths = default_paths()
    if remove:
        _remove(user)
        return
    # Not an option: ps(1) shows those to other users. And before the lock, which would be held
    # while the user types.
    secret = _read_secret()
    with locked(paths.locks.passwords):
        passwords.save(paths.passwords, user, secret)
    report(f"{user} has a password, in {paths.passwords}")


def _remove(user: str) -> None:
    paths = default_paths()
    with locked(paths.locks.passwords):
        was_there = passwords.remove(paths.passwords, user)
    report(f"removed the password of {user}" if was_there else f"{user} has no password")


def _read_secret() -> str:
    if sys.stdin.isatty():
        secret: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        try:
            # Bytes, as UTF-8 whatever the locale is: so it is hashed, and sent by clients.
            secret = sys.stdin.buffer.readline().decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UsageError("the password is not UTF-8", "write it as UTF-8") from error
    if not secret:
        raise UsageError("the password is empty", "write it on standard input")
    return secret


@click.command("token", cls=CommonCommand)
@click.option("--remove", is_flag=True, help="Revoke the token.")
def token(remove: bool) -> None:
    """Create a token for uploads and print it.

    The token is stored hashed, so it is shown only once; it replaces the previous token. If
    `uploads = true` is set, upload as user `__token__` with the token as the password.
    """
    if remove:
        _remove(passwords.UPLOADER)
        return
    paths, secret = default_paths(), secrets.token_urlsafe(32)
    with locked(paths.locks.passwords):
        passwords.save(paths.passwords, passwords.UPLOADER, secret)
    # Not by `report`: with -q the only copy would be lost.
    click.echo(secret)
