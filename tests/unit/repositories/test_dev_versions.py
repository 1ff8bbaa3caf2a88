"""dev_versions: the numbers of development releases."""

import pytest
from packaging.version import Version

from pypi_insiders.repositories.dev_versions import Numbering

COMMIT = "1a2b3c4d5e" * 4


def numbering(
    last: str | None, count: int = 57, *earlier: str, exact: str | None = None
) -> Numbering:
    """Number a head."""
    return Numbering(
        COMMIT,
        Version(last) if last else None,
        count,
        tuple(map(Version, earlier)),
        Version(exact) if exact else None,
    )


@pytest.mark.parametrize(
    ("last", "stated", "expected"),
    [
        ("1.2.3", None, "1.2.4.dev57"),
        ("1.2.3", "1.3.0", "1.3.0.dev57"),
        ("1.2.3", "1.2.3", "1.2.4.dev57"),
        ("1.2.3", "1.2.0", "1.2.4.dev57"),
        ("1.2.3", "1.3.0.dev0", "1.3.0.dev57"),
        ("1.2.3", "1.2.3.dev9", "1.2.4.dev57"),
        ("1.2.3", "1.3.0rc1", "1.3.0rc1.dev57"),
        ("1.2.3", "1.2.3.post5", "1.2.4.dev57"),
        ("1.2.3", "1.2.3+local", "1.2.4.dev57"),
        ("1.2.3.post1", None, "1.2.4.dev57"),
        ("1.2.3.4", None, "1.2.3.5.dev57"),
        ("2024.1", None, "2024.1.1.dev57"),
        ("2", None, "2.0.1.dev57"),
        ("1!1.0", None, "1!1.0.1.dev57"),
        ("1.3.0rc1", None, "1.3.0rc2.dev57"),
        ("1.3.0rc1", "1.3.0", "1.3.0rc2.dev57"),
        ("1.3.0.dev3", None, "1.3.0.dev57"),
        ("1.3.0.dev99", None, "1.3.0.dev100"),
        ("9.5.3+insiders.4.49.0", "9.5.3", "9.5.4.dev57"),
        (None, "0.5", "0.5.dev57"),
        (None, None, "0.0.0.dev57"),
    ],
)
def test_a_head_is_above_the_last_release_and_below_the_next(
    last: str | None, stated: str | None, expected: str
) -> None:
    version = numbering(last).version(Version(stated) if stated else None)
    assert str(version) == f"{expected}+g1a2b3c4"
    assert version.is_devrelease
    assert last is None or version > Version(last)
    assert numbering(last).fits(version)


@pytest.mark.parametrize(
    ("found", "fits", "instead"),
    [
        ("1.2.4.dev57+g1a2b3c4", True, None),
        ("1.2.4.dev57+g1a2b3c4d5e", True, None),
        ("1.2.3.post57.dev0+1a2b3c4", True, None),
        ("1.3.0.dev57+g1a2b3c4", True, None),
        ("1.2.4.dev57", False, "1.2.4.dev57+g1a2b3c4"),
        ("1.2.4.dev57+g1a2b3c", False, "1.2.4.dev57+g1a2b3c4"),
        ("1.2.4.dev57+gffffff1", False, "1.2.4.dev57+g1a2b3c4"),
        ("1.2.4.dev57+g1a2b3c4.d20240101", False, "1.2.4.dev57+g1a2b3c4"),
        ("1.2.4.dev57+g1a2b3c4.dirty", False, "1.2.4.dev57+g1a2b3c4"),
        ("1.2.3.post57+g1a2b3c4", False, "1.2.4.dev57+g1a2b3c4"),
        ("1.2.3", False, "1.2.4.dev57+g1a2b3c4"),
        ("1.3.0", False, "1.3.0.dev57+g1a2b3c4"),
        ("1.2.3.dev57+g1a2b3c4", False, "1.2.4.dev57+g1a2b3c4"),
        ("0.0.0.dev57+g1a2b3c4", False, "1.2.4.dev57+g1a2b3c4"),
    ],
)
def test_the_version_of_a_tool_is_published_only_if_it_is_a_development_release_of_the_commit(
    found: str, fits: bool, instead: str | None
) -> None:
    numbers = numbering("1.2.3")
    assert numbers.fits(Version(found)) is fits
    if instead:
        assert str(numbers.instead_of(Version(found))) == instead


@pytest.mark.parametrize("count", [57, 50, 58])
def test_after_a_force_push_the_numbers_go_on(count: int) -> None:
    """Whatever the count is now: none is given twice, and the new head is the newest."""
    earlier = "1.2.4.dev58+gaaaaaaa", "1.2.4.dev57+gbbbbbbb", "1.3.0.dev90+gccccccc"
    numbers = numbering("1.2.3", count, *earlier)
    assert str(numbers.version()) == "1.2.4.dev59+g1a2b3c4"
    found = Version(f"1.2.4.dev{count}+g1a2b3c4")
    assert not numbers.fits(found)
    assert str(numbers.instead_of(found)) == "1.2.4.dev59+g1a2b3c4"


def test_a_commit_keeps_its_version() -> None:
    """Whatever was tagged or built since."""
    exact = "1.2.4.dev57+g1a2b3c4"
    numbers = numbering("1.3.0", 3, "1.2.4.dev90+gaaaaaaa", exact=exact)
    assert str(numbers.version(Version("2.0"))) == exact
    assert numbers.fits(Version(exact))
    assert not numbers.fits(Version("1.3.1.dev3+g1a2b3c4"))
    assert str(numbers.instead_of(Version("1.3.1.dev3+g1a2b3c4"))) == exact
