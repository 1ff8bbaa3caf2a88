"""The command line: parse, call, print; everything else is imported when it is needed."""

import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from pypi_insiders.cli import streams
from pypi_insiders.cli.common import LazyGroup, colour, complain, in_words, version_option
from pypi_insiders.util.errors import InsidersError

# Each sentence is here as well as at its command: `--help` and TAB import no command for it.
COMMANDS = {
    "status": ("pypi_insiders.cli.status:status", "Show the state of everything."),
    "server": (
        "pypi_insiders.cli.server:server",
        "Manage the index and its systemd units.",
    ),
    "watcher": (
        "pypi_insiders.cli.watcher:watcher",
        "Manage the watcher and its systemd units.",
    ),
    "repos": ("pypi_insiders.cli.repos:repos", "Manage watched repositories."),
    "update": ("pypi_insiders.cli.update:update", "Build and publish new releases."),
    "show": ("pypi_insiders.cli.show:show", "Show details of a repository."),
    "yank": (
        "pypi_insiders.cli.releases:yank",
        "Yank a release: installers skip it unless pinned exactly.",
    ),
    "unyank": ("pypi_insiders.cli.releases:unyank", "Undo the yank of a release."),
    "unpublish": ("pypi_insiders.cli.releases:unpublish", "Remove releases from the index."),
    "prune": (
        "pypi_insiders.cli.releases:prune",
        "Remove all but the newest versions from the index.",
    ),
    "config": ("pypi_insiders.cli.config:config", "Show or edit the settings."),
    "env": (
        "pypi_insiders.cli.env:env",
        "Print the variables that point pip, uv and PDM to the index.",
    ),
    "exec": ("pypi_insiders.cli.exec:exec_", "Run a command with the index, without systemd."),
    "export": (
        "pypi_insiders.cli.export:export",
        "Write the index to DIR, or to a bucket, as plain files.",
    ),
    "doctor": ("pypi_insiders.cli.doctor:doctor", "Check for common problems."),
    "notify": ("pypi_insiders.cli.notify:notify", "Send failure and recovery notifications."),
    "released": (
        "pypi_insiders.cli.released:released",
        "Run `release-command` for the new releases of PROJECT.",
    ),
    "completion": (
        "pypi_insiders.cli.completion:completion",
        "Print the completion script of a shell.",
    ),
    "uninstall": (
        "pypi_insiders.cli.uninstall:uninstall",
        "Remove the units and what `env --install` wrote.",
    ),
    "help": (
        "pypi_insiders.cli.help:help_",
        "Show a page of the manual, or the help of a command.",
    ),
}


@click.pass_context
def _alone(ctx: click.Context) -> None:
    """Show the state of everything where no command is named."""
    if ctx.invoked_subcommand is None:
        status = cli.load("status")
        # Not ctx.invoke(): the command sets up the log from a context of its own.
        with status.make_context("status", [], parent=ctx) as inner:
            status.invoke(inner)


cli = LazyGroup(
    name="pypi-insiders",
    commands_at=COMMANDS,
    help="""Depend on private "Insiders" releases by their public name.

    Watches private Git repositories, builds each new release and serves it from an index on this
    machine. Installers get the projects of these repositories from there, and are redirected to
    PyPI for all others. The index and the watcher are systemd user units. Without a command, shows
    the status.
    """,
    callback=_alone,
    invoke_without_command=True,
)
cli.params.append(version_option())


def main() -> NoReturn:
    """Run the command line and end the process with its exit status.

    0 done, 1 failed, 2 wrong usage, 128 and the number of a signal that ended it; `status` ends
    as `systemctl status` does.
    """
    ended_by: int = signal.SIGINT

    def terminate(number: int, _frame: FrameType | None) -> None:
        nonlocal ended_by
        ended_by = number
        # As for Ctrl-C, so that all that cleans up after that does so after SIGTERM too.
        raise KeyboardInterrupt

    try:
        # Before anything is opened: the next file would get the number of a closed stream.
        streams.guard()
        # Where it is ignored, as some supervisors leave it, no status of a program is ever known.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup(1)
                signal.signal(number, terminate)
        status = _run()
    except (KeyboardInterrupt, click.Abort):
        # A second one, while that is printed, ends the process at once, and without a traceback.
        _die_by_signals()
        complain("interrupted", None)
        status = 128 + ended_by
    _die_by_signals()
    sys.exit(status)


def _run() -> int:
    """Run the command that was typed, report what failed, and return the exit status."""
    try:
        # In standalone mode click prints errors in its own way, and ends the process.
        status = cli.main(prog_name="pypi-insiders", standalone_mode=False, color=colour())
    # Before ClickException, which it is too: its text is a whole help and no line for `complain`.
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = error.exit_code
    except click.ClickException as error:
        complain(*in_words(error))
        status = error.exit_code
    except InsidersError as error:
        complain(error.message, error.hint)
        status = error.exit_status
    try:
        # After an error too: a result that is lost is reported in any case.
        streams.demand_written()
    except InsidersError as error:
        complain(error.message, error.hint)
        # What the command itself returned says more: a full disk does not turn a 3 into a 1.
        return int(status or error.exit_status)
    return int(status or 0)


def _die_by_signals() -> None:
    """End by the next signal at once: an interpreter that ends shows a traceback of it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A signal that is ignored, as by nohup(1), stays so: SIG_IGN is not callable.
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
