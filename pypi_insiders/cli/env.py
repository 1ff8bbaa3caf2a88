"""`pypi-insiders env`."""

import os
import shlex
from pathlib import Path

import click

from pypi_insiders.cli.common import Command

VARIABLES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PDM_PYPI_URL")
"""Where pip, uv and PDM look for the index."""
TRUSTED = "PIP_TRUSTED_HOST"
"""What lets pip use http with another host than this machine."""


@click.command(cls=Command)
@click.option("--shell", type=click.Choice(["sh", "fish"]), help="By default that of $SHELL.")
@click.option("--unset", is_flag=True, help="Take the variables back.")
def env(shell: str | None, unset: bool) -> None:
    r"""Print the variables that lead to the index.

    They are for pip, uv and PDM.

    \b
    For sh, bash and zsh:  eval "$(pypi-insiders env)"
    For fish:              pypi-insiders env | source
    """
    from pypi_insiders import config
    from pypi_insiders.paths import default_paths

    fish = (shell or Path(os.environ.get("SHELL", "sh")).name) == "fish"
    if unset:
        for variable in (*VARIABLES, TRUSTED):
            click.echo(f"set -e {variable};" if fish else f"unset {variable};")
        return
    server = config.load(default_paths().settings).server
    values = dict.fromkeys(VARIABLES, f"{server.url}/simple/")
    if not server.is_loopback:
        values[TRUSTED] = server.url.partition("//")[2]
    for variable, value in values.items():
        quoted = shlex.quote(value)
        click.echo(f"set -gx {variable} {quoted};" if fish else f"export {variable}={quoted};")
