"""`pypi-insiders env`."""

import os
import shlex
from pathlib import Path

import click

from pypi_insiders.cli.common import Command

VARIABLES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PDM_PYPI_URL")
"""Where pip, uv and PDM look for the index."""
UV_INDEX = "UV_INDEX"
"""Where uv looks before it asks its default index."""
TRUSTED = "PIP_TRUSTED_HOST"
"""What lets pip use http with another host than this machine."""

_HELP = """\
Print the variables that lead to the index.

They are for pip, uv and PDM. With --uv-index uv asks our index first and its usual one for all that
ours does not hold, so that a uv.lock has our URL for Insiders releases only.

\b
For sh, bash and zsh:  eval "$(pypi-insiders env)"
For fish:              pypi-insiders env | source
"""


@click.command(cls=Command, help=_HELP)
@click.option("--shell", type=click.Choice(["sh", "fish"]), help="By default that of $SHELL.")
@click.option("--unset", is_flag=True, help="Take the variables back.")
@click.option(
    "--uv-index", is_flag=True, help="For uv, and only for what the index holds; see above."
)
def env(shell: str | None, unset: bool, uv_index: bool) -> None:
    """Print the variables that lead to the index."""
    from pypi_insiders import config
    from pypi_insiders.paths import default_paths

    fish = (shell or Path(os.environ.get("SHELL", "sh")).name) == "fish"
    if unset:
        for variable in (UV_INDEX,) if uv_index else (*VARIABLES, TRUSTED):
            click.echo(f"set -e {variable};" if fish else f"unset {variable};")
        return
    server = config.load(default_paths().settings).server
    values = dict.fromkeys(VARIABLES, f"{server.url}/simple/")
    if uv_index:
        values = {UV_INDEX: f"{server.url}/insiders/simple/"}
    elif not server.is_loopback:
        values[TRUSTED] = server.url.partition("//")[2]
    for variable, value in values.items():
        quoted = shlex.quote(value)
        click.echo(f"set -gx {variable} {quoted};" if fish else f"export {variable}={quoted};")
