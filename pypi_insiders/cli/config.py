"""`pypi-insiders config`."""

import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from pypi_insiders.cli.common import Group, complain, json_option, note, report
from pypi_insiders.config.editor import Draft
from pypi_insiders.config.paths import Paths, default_paths
from pypi_insiders.config.settings import Settings, parse_settings, template
from pypi_insiders.config.toml_fields import as_toml
from pypi_insiders.reporting import json_output
from pypi_insiders.reporting.effective_settings import Effective
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.formatting import two_columns

config = Group("config", help="Show or edit the settings.")


@config.command("show")
@json_option
def show(as_json: bool) -> None:
    """Show all settings, and where each comes from.

    A setting comes from a line of config.toml or is the default. Your own drop-ins that override a
    setting (`systemctl --user edit`) are shown.
    """
    from pypi_insiders.reporting import effective_settings

    paths = default_paths()
    found = effective_settings.settings(paths)
    if as_json:
        _print_json(paths, found)
    else:
        _print_toml(paths, found)


def _files(paths: Paths) -> dict[str, str]:
    return {
        "settings": str(paths.settings),
        "repositories": str(paths.repositories),
        "distributions": str(paths.distributions),
        "state": str(paths.state),
        "cache": str(paths.cache),
    }


def _print_toml(paths: Paths, found: list[Effective]) -> None:
    places = [
        (f"# {what}", path if Path(path).exists() else f"{path} (not found)")
        for what, path in _files(paths).items()
    ]
    for line in two_columns(places):
        click.echo(line)
    for table, items in groupby(found, lambda item: item.table):
        rows = [
            (f"# {item.key} is not set", "")
            if item.value is None
            else (f"{item.key} = {as_toml(item.value)}", f"# {_origin(paths, item)}")
            for item in items
        ]
        click.echo(f"\n[{table}]")
        for line in two_columns(rows):
            click.echo(line)


def _origin(paths: Paths, item: Effective) -> str:
    said = f"{paths.settings.name}:{item.line}" if item.line else "default"
    return f"{said}, overridden in {', '.join(item.drop_ins)}" if item.drop_ins else said


def _print_json(paths: Paths, found: list[Effective]) -> None:
    settings: dict[str, dict[str, Any]] = {}
    for item in found:
        settings.setdefault(item.table, {})[item.key] = {
            "value": item.value,
            "from": "config.toml" if item.line else "default",
            "line": item.line,
            "drop_ins": item.drop_ins,
            # Deprecated (`help json`).
            "drop-ins": item.drop_ins,
        }
    click.echo(json_output.document({"files": _files(paths), "settings": settings}))


@config.command("edit")
def edit() -> None:
    """Edit config.toml, and check it before it is saved.

    The editor is $VISUAL, $EDITOR or an installed one. If the text is invalid, the problems are
    reported and you can edit it again; an invalid config.toml is never saved.
    """
    # Here, as TAB and `config show` need no editor.
    from pypi_insiders.config import editor

    words = editor.editor(on_terminal=_is_terminal())
    draft = editor.Draft.begin(default_paths().settings, template())
    try:
        _edit(draft, words)
    finally:
        if kept := draft.close():
            note(f"your text is kept in {kept}")


def _is_terminal() -> bool:
    # Standard error and not standard output: there the question is asked.
    return sys.stdin.isatty() and sys.stderr.isatty()


def _edit(draft: Draft, words: tuple[str, ...]) -> None:
    """Edit until the text is valid, or the user gives up."""
    while True:
        text = draft.edit(words)
        # Where there is no file, the draft is the template: unchanged, it creates no file.
        if text in (draft.begun_as, draft.original):
            report("nothing changed")
            return
        try:
            settings = parse_settings(draft.of, text)
        except InsidersError as error:
            # A script cannot answer the question below; its text is kept as a draft.
            if not _is_terminal():
                raise InsidersError(error.message, "nothing was changed") from error
            complain(error.message, None)
            if not click.confirm("Edit it again?", default=True, err=True):
                draft.discard()
                raise InsidersError("nothing was changed") from error
        else:
            draft.save(text)
            report(f"saved {draft.of}")
            _report_when(_before(draft), settings)
            return


def _before(draft: Draft) -> Settings | None:
    """Return the settings before; `None`: they were wrong."""
    try:
        return parse_settings(draft.of, draft.original or "")
    except InsidersError:
        return None


def _report_when(before: Settings | None, now: Settings) -> None:
    if before is None or before.server != now.server:
        note("[server] takes effect at the next `pypi-insiders server restart`")
    # The interval is part of the timer unit, which an update does not write.
    if before is None or before.watcher.interval_s != now.watcher.interval_s:
        note("interval takes effect at the next `pypi-insiders watcher restart`")
    known = now if before is None else before
    watcher = known.watcher._replace(interval_s=now.watcher.interval_s)
    for table, has_changed in {
        "watcher": watcher != now.watcher,
        "build": known.build != now.build,
        "publish": known.publish != now.publish,
    }.items():
        if has_changed:
            note(f"[{table}] takes effect at the next update")
