"""`pypi-insiders env`."""

import os
import shlex
from pathlib import Path

import click

from pypi_insiders.cli.common import Command

VARIABLES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PDM_PYPI_URL")
"""Where pip, uv and PDM look for the index."""


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
        for variable in VARIABLES:
            click.echo(f"set -e {variable};" if fish else f"unset {variable};")
        return
    url = f"{config.load(default_paths().settings).server.url}/simple/"
    for variable in VARIABLES:
        value = shlex.quote(url)
        click.echo(f"set -gx {variable} {value};" if fish else f"export {variable}={value};")
