"""What completes a word at the prompt."""

from pathlib import Path

import click
import pytest

from pypi_insiders.cli import completers
from pypi_insiders.config.paths import default_paths


def test_tags_are_in_the_order_of_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with a number that Python does not read: a prompt is no place for a traceback."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    long = "9" * 5000
    names = ("v1.9", "v1.10", f"v{long}", "1.0", "v1.09.1")
    mirror = default_paths().mirror("me/probe")
    mirror.mkdir(parents=True)
    lines = "".join(f"{'0' * 40} refs/tags/{name}\n" for name in names)
    (mirror / "packed-refs").write_text(lines)
    command = click.Command("update", params=[click.Argument(["names"], nargs=-1)])
    context = click.Context(command)
    context.params["names"] = ("me/probe",)
    found = completers.tags(context, click.Option(["--tag"]), "")
    assert [item.value for item in found] == [f"v{long}", "v1.10", "v1.09.1", "v1.9", "1.0"]
