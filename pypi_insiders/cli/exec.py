"""`pypi-insiders exec`."""

import os
import secrets

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import CommonCommand, none_watched, note, verbosity
from pypi_insiders.config import client_variables
from pypi_insiders.config.paths import Paths, default_paths
from pypi_insiders.config.settings import Settings, load_settings
from pypi_insiders.repositories import no_release, registry
from pypi_insiders.server.run import served_beside
from pypi_insiders.systemd import sockets
from pypi_insiders.util import foreground
from pypi_insiders.util.errors import InsidersError

_HELP = """\
Run a command with the index, without systemd.

Updates, then serves the index on a free port of this machine while the command runs, with the
variables of `env` set for the command.

Exits with the exit status of the command, with 128 and the number of the signal if a signal ended
it, with 127 if the command is not found, and with 126 if it cannot be run. If the index has no
release of a watched repository, the command is not run, and the exit status is 1. If the update
fails but there is an older release, that is noted and the command runs.

If `auth = true` is set, only the command gets a password. If a proxy is set, this machine is added
to `no_proxy`. A running index and the watcher are not disturbed. Waits for another update to end,
unless --no-update is given.

\b
pypi-insiders exec -- uv sync
pypi-insiders exec --no-update -- sh -c 'pip install "$PACKAGE" && make'
"""


@click.command(
    "exec",
    cls=CommonCommand,
    help=_HELP,
    # What comes after the command belongs to it, `--help` included.
    context_settings={"allow_interspersed_args": False},
)
@click.option("--no-update", is_flag=True, help="Serve the index as it is, without an update.")
@click.option("--uv-index", is_flag=True, help="Set only UV_INDEX, as `env --uv-index` does.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=0,
    help="Port to serve on, which a uv.lock names (default: a free one).",
)
@click.argument(
    "argv",
    metavar="[--] COMMAND [ARG]...",
    nargs=-1,
    required=True,
    shell_complete=completers.commands,
)
@click.pass_context
def exec_(
    ctx: click.Context, argv: tuple[str, ...], no_update: bool, uv_index: bool, port: int
) -> None:
    """Run a command with the index, without systemd."""
    paths = default_paths()
    settings = load_settings(paths.settings)
    foreground.find_command(argv[0])  # reported at once, and not after an update
    _provide(paths, settings, no_update=no_update, is_quiet=verbosity(ctx) < 0)
    # With `auth = true`, the command gets a password of its own: no other user can read the index.
    password = secrets.token_urlsafe(24) if settings.server.auth else None
    # The loopback address alone, whatever the settings say: nobody else is to ask this index.
    with sockets.bind("127.0.0.1", port) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with served_beside(paths, settings.server, listening, password):
            listening.close()  # when the index ends, nobody is to wait for it
            if password is not None:
                url = url.replace("//", f"//pypi-insiders:{password}@")
            status = foreground.run_foreground(argv, _environment(url, uv_index=uv_index))
    ctx.exit(status)


def _environment(url: str, *, uv_index: bool) -> dict[str, str]:
    values = client_variables.leading_to(url, for_uv=uv_index)
    for name, what in client_variables.rivals(os.environ, for_uv=uv_index).items():
        note(f"{name} is set: {what}")
    # Behind the index: uv takes a project from the first index that has it.
    if uv_index and (others := os.environ.get(client_variables.UV_INDEX)):
        values[client_variables.UV_INDEX] += f" {others}"
    proxies = client_variables.past_proxies(os.environ)
    return {**os.environ, **values, **proxies, client_variables.URL: url}


def _provide(paths: Paths, settings: Settings, *, no_update: bool, is_quiet: bool) -> None:
    """Update, and demand that the index has a release of each repository.

    Raises:
        InsidersError: it has none of one.
    """
    watched = registry.load(paths.repositories)
    if not watched:
        none_watched()
        return
    unhealthy: list[str] = []
    if not no_update:
        from pypi_insiders import remote_index

        password = remote_index.take_password()  # before a program is started

        # Here, as --no-update needs nothing that builds.
        from pypi_insiders.cli.run_update import run, summary
        from pypi_insiders.update.request import UpdateRequest

        request = UpdateRequest(index_password=password)
        outcomes, elapsed_s = run(paths, settings, request, is_quiet=is_quiet)
        if password is not None:
            os.environ[remote_index.VARIABLE] = password  # the command gets what we were given
        if not is_quiet:
            # On standard error: standard output belongs to the command.
            click.echo(summary(outcomes, elapsed_s), err=True)
        unhealthy = [
            item.repository
            for item in outcomes
            if item.is_watched and (item.errors or item.unreachable)
        ]
    missing = no_release.of_watched(paths)
    # Unknown names first, as the graver case: the index redirects a name that it does not know, and
    # the command could install a public package.
    if unnamed := [name for name, is_named in missing.items() if not is_named]:
        set_name = f"`pypi-insiders repos set {unnamed[0]} project=PROJECT`"
        raise InsidersError(
            f"the index has no release of {', '.join(unnamed)}, and the project name is unknown: "
            "the command could get a public package of that name",
            f"`pypi-insiders update {' '.join(unnamed)}`, or {set_name}",
        )
    if missing:
        raise InsidersError(
            f"the index has no release of {', '.join(missing)}: the command would be stopped",
            f"`pypi-insiders update {' '.join(missing)}`, or `repos remove` what is not needed",
        )
    if unhealthy:
        note(f"the command gets older releases of {', '.join(unhealthy)}, which the index has")
