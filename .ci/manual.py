"""Write the man pages: of the commands, from their help, and of the manual, from its Markdown.

click-man writes pages too. It sees no command that is imported when it is needed, and knows neither
arguments nor files, exit status and variables.

Source: man(7), man-pages(7), groff_char(7).
"""

import datetime
import re
import textwrap
from collections.abc import Iterator, Mapping

import click
import manual_facts

NAME = "pypi-insiders"
_COMMON = ("--verbose", "--quiet", "--version", "--help")
_SPECIAL = {
    "\\": r"\e", "-": r"\-", "~": r"\(ti", "^": r"\(ha", "`": r"\(ga", "'": r"\(aq", '"': r"\(dq",
}  # fmt: skip

_SEE_ALSO = ("git(1)", "journalctl(1)", "loginctl(1)", "systemctl(1)", "systemd.unit(5)")


def pages(
    cli: click.Group, version: str, epoch_s: int, topics: Mapping[str, str]
) -> dict[str, str]:
    """Write all pages: of the program, of each of its commands, and of each topic of the manual.

    Args:
        cli: the program.
        version: of the program.
        epoch_s: the time that the pages bear.
        topics: topic to its page, in Markdown.

    Returns:
        Path, such as `man1/pypi-insiders-update.1`, to its text, in ASCII.

    Raises:
        ValueError: a page has Markdown that cannot be converted.
    """
    top = _context(cli, NAME, None)
    named = [(name, cli.get_command(top, name)) for name in cli.list_commands(top)]
    commands = [(name, command) for name, command in named if command and not command.hidden]
    date = datetime.datetime.fromtimestamp(epoch_s, datetime.UTC).date()
    first = [*_head(top, []), *_commands(commands), *_topics(topics), *_tail(top, commands)]
    texts = {(NAME, "1", "User Commands"): first}
    for name, command in commands:
        ctx = _context(command, name, top)
        parts = [_context(item, word, ctx) for word, item in _parts(ctx)]
        lines = [*_head(ctx, parts)]
        for part in parts:
            words = [part.info_name or "", *part.command.collect_usage_pieces(part)]
            heading = " ".join(word for word in words if word != part.command.options_metavar)
            lines += [f".SS {_escape(heading)}", *_text(part.command)]
            lines += _options(part, common=False)
        texts[f"{NAME}-{name}", "1", "User Commands"] = [*lines, *_tail(ctx, [])]
    for topic, markdown in topics.items():
        texts[f"{NAME}-{topic}", "7", "Manual"] = [*_converted(topic, markdown)]
    return {
        f"man{section}/{name}.{section}": "\n".join(
            [
                f'.TH "{_escape(name.upper())}" "{section}" "{date}" "{NAME} {version}" "{volume}"',
                ".nh",  # commands and names are copied from the pages
                *lines,
            ]
        )
        + "\n"
        for (name, section, volume), lines in texts.items()
    }


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return click.Context(command, info_name=name, parent=parent, **command.context_settings)


def _parts(ctx: click.Context) -> Iterator[tuple[str, click.Command]]:
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            command = ctx.command.get_command(ctx, name)
            if command and not command.hidden:
                yield name, command


def _head(ctx: click.Context, parts: list[click.Context]) -> Iterator[str]:
    title = ctx.command_path.replace(" ", "-")
    yield ".SH NAME"
    yield from _lines(rf"{_escape(title)} \- {_escape(_first_line(ctx.command))}")
    yield ".SH SYNOPSIS"
    for number, item in enumerate(parts or [ctx]):
        yield from [".br"] * bool(number)
        yield from _synopsis(item)
    yield from (".SH DESCRIPTION", *_text(ctx.command))
    if parts:
        yield ".SH COMMANDS"


def _commands(commands: list[tuple[str, click.Command]]) -> Iterator[str]:
    yield ".SH COMMANDS"
    for name, command in commands:
        yield from (".TP", _reference(f"{NAME}-{name}(1)"), *_wrapped(_first_line(command)))


def _topics(topics: Mapping[str, str]) -> Iterator[str]:
    yield ".SH MANUAL"
    for topic, markdown in topics.items():
        summary = _inline(_blocks(markdown)[1])
        yield from (".TP", _reference(f"{NAME}-{topic}(7)"), *_lines(summary))


def _converted(topic: str, markdown: str) -> Iterator[str]:
    """Convert a page: headings, paragraphs, lists and code, each apart from the next by a blank."""
    _, summary, *blocks = _blocks(markdown)
    yield ".SH NAME"
    yield from _lines(rf"{_escape(f'{NAME}-{topic}')} \- {_inline(summary).rstrip('.')}")
    is_after_heading = True
    for block in blocks:
        if heading := re.fullmatch(r"(##+) (.+)", block):
            yield f"{'.SH' if heading[1] == '##' else '.SS'} {_inline(heading[2])}"
        elif code := re.fullmatch(r"```\w*\n(.*)\n```", block, re.DOTALL):
            lines = code[1].split("\n")
            yield from [".PP"] * (not is_after_heading)
            yield from (".RS 4", ".nf", *map(_escape, lines), ".fi", ".RE")
        elif re.search(r"^([|#>]|```| +(-|\d+\.) )", block, re.MULTILINE):
            raise ValueError(f"{topic}: no way to convert: {block}")
        elif re.match(r"- |1\. ", block):
            yield from _list(block)
        else:
            yield from [".PP"] * (not is_after_heading)
            yield from _lines(_inline(" ".join(block.split())))
        is_after_heading = heading is not None
    yield ".SH SEE ALSO"
    yield _reference(f"{NAME}(1)")


def _blocks(markdown: str) -> list[str]:
    """Split a page at its blank lines, but for those in code."""
    return [
        block.rstrip("\n")
        for block in re.findall(r"```.*?\n```(?:\n|$)|[^\n]+(?:\n[^\n]+)*", markdown, re.DOTALL)
    ]


def _list(block: str) -> Iterator[str]:
    """Convert a list; what begins with code and a colon is a term and its meaning."""
    for item in re.split(r"\n(?=- |\d+\. )", block):
        mark, _, text = item.partition(" ")
        text = " ".join(text.split())
        if term := re.fullmatch(r"((?:`[^`]+`(?:, )?)+)(?: (\(\d+\.\d+\)))?: (.+)", text):
            yield from (".TP", " ".join(filter(None, (_inline(term[1]), term[2]))))
            yield from _lines(_inline(term[3]))
        else:
            bullet = r"\(bu" if mark == "-" else mark
            yield f'.IP "{bullet}" 4'
            yield from _lines(_inline(text))


def _inline(text: str) -> str:
    """Convert what is within a line: code, bold, emphasis and links."""
    parts = re.split(r"(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s]+[^*]*\*|\[[^]]+\]\([^)]+\))", text)
    return "".join(map(_span, parts))


def _span(part: str) -> str:
    if part.startswith("**"):
        return rf"\fB{_escape(part[2:-2])}\fR"
    if link := re.fullmatch(r"\[([^]]+)\]\(([^)]+)\)", part):
        words, target = link.groups()
        if page := re.fullmatch(r"([a-z]+)\.md(#.*)?", target):
            reference = _reference(f"{NAME}-{page[1]}(7)")
            return reference if words == page[1] else f"{_escape(words)} ({reference})"
        return _escape(f"{words} <{target}>")
    if re.fullmatch(r"\*[^*]+\*", part):
        return rf"\fI{_escape(part[1:-1])}\fR"
    return _escape(part)


def _tail(ctx: click.Context, commands: list[tuple[str, click.Command]]) -> Iterator[str]:
    yield from (".SH OPTIONS", *_options(ctx, common=True))
    is_program = ctx.parent is None
    facts = manual_facts.PROGRAM if is_program else manual_facts.COMMANDS[ctx.info_name or ""]
    for heading, rows in {
        "EXIT STATUS": facts.status,
        "ENVIRONMENT": facts.environment_rows(),
        "FILES": facts.file_rows(),
        "EXAMPLES": facts.example,
    }.items():
        yield from (f".SH {heading}", *_table(rows)) if rows else ()
    yield ".SH SEE ALSO"
    own = [f"{NAME}-{name}(1)" for name, _ in commands] if is_program else [f"{NAME}(1)"]
    *others, last = (*own, *_SEE_ALSO)
    yield from (*(f"{_reference(page)}," for page in others), _reference(last))


def _reference(page: str) -> str:
    """Name a page, in one piece."""
    name, bracket, section = page.partition("(")
    return rf"\%\fB{_escape(name)}\fR{bracket}{section}"


def _synopsis(ctx: click.Context) -> Iterator[str]:
    pieces = " ".join(ctx.command.collect_usage_pieces(ctx))
    yield rf"\fB{_escape(ctx.command_path)}\fR {_escape(pieces)}"


def _options(ctx: click.Context, *, common: bool) -> Iterator[str]:
    """Describe the options of a command, with or without those that every command has."""
    for parameter in ctx.command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        is_option = isinstance(parameter, click.Option)
        if record and is_option and (common or not set(parameter.opts) & set(_COMMON)):
            yield from (".TP", rf"\fB{_escape(record[0])}\fR", *_wrapped(record[1]))


def _first_line(command: click.Command) -> str:
    """Say in one line what a command does, without a full stop."""
    return _paragraphs(command)[0].split(". ")[0].rstrip(".")


def _paragraphs(command: click.Command) -> list[str]:
    """Split the help of a command; what is to stay in its lines begins with a backspace."""
    return [
        part if part.startswith("\b") else " ".join(part.split())
        for part in re.split(r"\n\s*\n", textwrap.dedent(command.help or "").strip())
    ]


def _text(command: click.Command) -> Iterator[str]:
    for number, part in enumerate(_paragraphs(command)):
        yield from [".PP"] * bool(number)
        if part.startswith("\b"):
            lines = part.removeprefix("\b").strip("\n").splitlines()
            yield from (".nf", *(_escape(line) for line in lines), ".fi")
        else:
            yield from _wrapped(part)


def _table(rows: str) -> Iterator[str]:
    """Write rows of a term, three blanks and what it means."""
    for row in rows.splitlines():
        term, _, meaning = row.partition("   ")
        yield from (".TP", rf"\fB{_escape(term)}\fR", *_wrapped(meaning))


def _escape(text: str) -> str:
    """Have a text printed as it is; what is in backticks is bold."""
    plain = "".join(
        _SPECIAL.get(character, character) if character.isascii() else rf"\[u{ord(character):04X}]"
        for character in text
    )
    plain = re.sub(r"\\\(ga(.*?)\\\(ga", r"\\fB\1\\fR", plain)
    return rf"\&{plain}" if plain.startswith(".") else plain


def _wrapped(text: str) -> Iterator[str]:
    """Have a text printed in lines as wide as the page."""
    yield from _lines(_escape(text))


def _lines(escaped: str) -> Iterator[str]:
    for line in textwrap.wrap(escaped, 79, break_long_words=False, break_on_hyphens=False):
        yield rf"\&{line}" if line.startswith(".") else line
