"""What all commands have in common: their options, and how they fail."""

import gc
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from pypi_insiders import __version__
from pypi_insiders.cli import suggestions
from pypi_insiders.util.plain_text import printable
from pypi_insiders.util.without_credentials import without_passwords

_VERBOSITY = "pypi_insiders.verbosity"

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


class CommonCommand(click.Command):
    """A command that has `-h`, `-v` and `-q`."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        _add_common(self)

    def invoke(self, ctx: click.Context) -> Any:
        """Set up the log as the options say, and run."""
        # Here, as --help, --version and TAB log nothing and start faster without logging.
        from pypi_insiders.util import log

        log.setup(verbosity(ctx))
        return super().invoke(ctx)


class Group(click.Group):
    """A group of such commands."""

    command_class = CommonCommand

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        _add_common(self)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order in which they were added."""
        return list(self.commands)


class LazyGroup(Group):
    """A group that imports a command when it is run, and not to list it.

    Args:
        commands_at: name to `MODULE:OBJECT` and the first sentence of the help, in the order of
            the help.
    """

    def __init__(
        self, *arguments: Any, commands_at: Mapping[str, tuple[str, str]], **keywords: Any
    ) -> None:
        super().__init__(*arguments, **keywords)
        self.commands_at = commands_at

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands."""
        return list(self.commands_at)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List all commands, as click does."""
        limit = formatter.width - 6 - max(map(len, self.commands_at))
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, _shown(sentence, limit))
                    for name, (_, sentence) in self.commands_at.items()
                ]
            )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Complete a command, or an option."""
        found = [
            CompletionItem(name, help=_shown(sentence))
            for name, (_, sentence) in self.commands_at.items()
            if name.startswith(incomplete)
        ]
        # Not that of click.Group, which would import each command for its help.
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command, if there is one of that name."""
        return self.load(cmd_name) if cmd_name in self.commands_at else None

    def load(self, command_name: str) -> click.Command:
        """Import one command."""
        module, _, name = self.commands_at[command_name][0].partition(":")
        # What is imported stays: to look for garbage in it takes a tenth of the time.
        gc.disable()
        try:
            command: click.Command = getattr(importlib.import_module(module), name)
        finally:
            gc.freeze()
            gc.enable()
        return command


def _shown(sentence: str, limit: int = 200) -> str:
    """Return the first sentence of a help, shortened where it does not fit."""
    return click.Command(None, help=sentence).get_short_help_str(limit)


def _add_common(command: click.Command) -> None:
    command.context_settings.setdefault("help_option_names", ["-h", "--help"])
    command.params += [
        click.Option(
            ["-v", "--verbose"], count=True, expose_value=False, callback=_louder,
            help="Show each step.",
        ),
        click.Option(
            ["-q", "--quiet"], count=True, expose_value=False, callback=_quieter,
            help="Show only warnings and errors.",
        ),
    ]  # fmt: skip


def version_option() -> click.Option:
    """Return the option of the program that shows its version."""
    return click.Option(
        ["-V", "--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_version,
        help="Show the version and exit.",
    )


def _louder(ctx: click.Context, _parameter: click.Parameter, count: int) -> None:
    # All nested contexts share `meta`, so `-v` counts before a command as well as after it.
    ctx.meta[_VERBOSITY] = verbosity(ctx) + count


def _quieter(ctx: click.Context, _parameter: click.Parameter, count: int) -> None:
    ctx.meta[_VERBOSITY] = verbosity(ctx) - count


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    # TAB parses the words too, and must not print the version at the prompt.
    if wanted and not ctx.resilient_parsing:
        click.echo(f"pypi-insiders {__version__}")
        ctx.exit()


def verbosity(ctx: click.Context) -> int:
    """Return how often `-v` was given, less how often `-q`, here or further left."""
    count: int = ctx.meta.get(_VERBOSITY, 0)
    return count


def checked(parse: Callable[[object], Any]) -> Callable[..., Any]:
    """Check an option as the setting of the same name is checked."""

    def callback(ctx: click.Context, parameter: click.Parameter, value: object) -> Any:
        # The option is not given: the setting counts, which is checked where it is read.
        if value is None:
            return None
        try:
            return parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, parameter) from error

    return callback


def colour() -> bool | None:
    """Return `False` for no colours; `None`: a terminal shows them.

    Source: https://no-color.org/; terminfo(5) on `dumb`.
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return False if plain else None


def is_live() -> bool:
    """Return whether standard error is a terminal on which lines can change."""
    # Not standard output: that may be piped to a script while progress is on the terminal.
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def in_words(error: click.ClickException) -> tuple[str, str | None]:
    """Return what click found wrong as everything else is reported: one line, and a hint."""
    near = getattr(error, "possibilities", None)
    # click appends the near names to the message; here they are the hint.
    message = error.message if near else error.format_message()
    message = " ".join(message.split())  # choices come one a line
    message = message[:1].lower() + message[1:].removesuffix(".")
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is None:
        return message, None
    hint = f"see `{ctx.command_path} --help`"
    if isinstance(error, click.NoSuchOption):
        # An option of the original first: a name that is only near may mean something else.
        meant = suggestions.for_option(ctx, error.option_name)
        return message, meant or (f"did you mean {' or '.join(near)}?" if near else hint)
    if isinstance(error, click.exceptions.NoSuchCommand):
        return message, suggestions.for_command(ctx, error.command_name) or hint
    return message, hint


def complain(message: str, hint: str | None) -> None:
    """Print an error and its hint to standard error."""
    error, hint_word = click.style("error:", fg="red", bold=True), click.style("hint:", fg="cyan")
    # Addresses are typed and pasted with passwords in them, and each message may repeat one.
    message, hint = without_passwords(message), without_passwords(hint or "")
    lines = [f"{error} {printable(message)}", *([f"{hint_word} {printable(hint)}"] if hint else [])]
    # In one piece: in the journal the hint would be an entry of its own otherwise, in between
    # others.
    _say("\n".join(lines), is_error=True)


def is_quiet() -> bool:
    """Return whether the command that runs is to show only warnings and errors."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and verbosity(ctx) < 0


def report(text: str) -> None:
    """Print what a command has done, unless it is to be quiet; what is asked for is echoed."""
    if not is_quiet():
        click.echo(text)


def none_watched() -> None:
    """Print how to begin where no repositories are watched."""
    if not is_quiet():
        # On standard error: for a script that reads the list, it is empty.
        _say("no repositories are watched; `pypi-insiders repos add NS/PROJ`")


def note(message: str) -> None:
    """Print something beside the result on standard error, unless the command is to be quiet."""
    if not is_quiet():
        _say(f"{click.style('note:', fg='yellow')} {printable(message)}")


def warn(message: str) -> None:
    """Warn of something beside the result, on standard error."""
    _say(f"{click.style('warning:', fg='yellow', bold=True)} {printable(message)}")


def result(text: str) -> None:
    """Print what came of a command whose log is read together with it."""
    _say(printable(text), err=False)


def _say(text: str, *, err: bool = True, is_error: bool = False) -> None:
    """Print; in the journal among the records of the log, which go another way than the streams."""
    from pypi_insiders.util import log

    if log.is_journal(sys.stderr if err else sys.stdout):
        log.tell(click.unstyle(text), is_error=is_error)
    else:
        click.echo(text, err=err, color=colour())
