"""`pypi-insiders completion`."""

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from pypi_insiders.cli.common import CommonCommand

SHELLS = ("bash", "zsh", "fish")

_HELP = """\
Print the completion script of a shell.

It completes commands, options, repositories, projects and versions at the prompt.

\b
bash, in ~/.bashrc:    eval "$(pypi-insiders completion bash)"
zsh, in ~/.zshrc:      eval "$(pypi-insiders completion zsh)"
fish, in config.fish:  pypi-insiders completion fish | source

In ~/.zshrc, the line has to come after compinit.
"""


@click.command(cls=CommonCommand, help=_HELP)
@click.argument("shell", metavar="|".join(SHELLS), type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script of a shell."""
    click.echo(script(shell, click.get_current_context().find_root().command), nl=False)


def script(shell: str, program: click.Command) -> str:
    """Write the script by which a shell asks this program what completes a word.

    Args:
        shell: one of `SHELLS`.
        program: the whole of it.
    """
    asked = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell](
        program, {}, "pypi-insiders", "_PYPI_INSIDERS_COMPLETE"
    )
    # Not the `source` of bash, which would first run bash to see how old it is.
    text = ShellComplete.source(asked)
    # The script of click 8.5 cuts each description at its first comma.
    return text.replace('string split ","', 'string split --max 1 ","')
