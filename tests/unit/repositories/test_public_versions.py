"""public_versions: what is remembered of the fallback index, and compared as people mean it."""

from pathlib import Path

import pytest

from pypi_insiders.repositories import public_versions
from pypi_insiders.repositories.public_versions import Public


@pytest.mark.parametrize(
    ("final", "pre", "ours", "superseded_by"),
    [
        ("1.0", None, "1.0", "1.0"),
        ("1.0", None, "1.0+insiders.1", None),
        ("1.1", None, "1.0+insiders.1", "1.1"),
        ("0.9", None, "1.0", None),
        ("0.9", "2.0rc1", "1.0", None),
        ("0.9", "2.0rc1", "2.0b1", "2.0rc1"),
        ("2.0", "2.0rc1", "2.0b1", "2.0"),
        (None, None, "1.0", None),
    ],
)
def test_what_counts_as_released(
    final: str | None, pre: str | None, ours: str, superseded_by: str | None
) -> None:
    """Equal or newer, by the order of versions; a pre-release only for a pre-release."""
    assert Public("", 0, None, final, pre).supersedes(ours) == superseded_by


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{", '{"probe": {"final": "x"}}', '{"probe": 1}',
        '{"probe": {"url": "", "asked_at": "1"}}',
        '{"probe": {"url": "", "asked_at": 1, "absent_at": true}}',
    ],
)  # fmt: skip
def test_what_is_damaged_is_found_out_anew(tmp_path: Path, content: str) -> None:
    """It is no more than a memory."""
    (tmp_path / "public.json").write_text(content)
    assert public_versions.load(tmp_path) == {}


def test_what_is_damaged_takes_nothing_else_along(tmp_path: Path) -> None:
    """When a name was free cannot be found out anew."""
    (tmp_path / "public.json").write_text(
        '{"bad": 1, "mine": {"url": "u", "asked_at": 2, "absent_at": 1}}'
    )
    assert public_versions.load(tmp_path) == {"mine": Public("u", 2, absent_at=1)}
