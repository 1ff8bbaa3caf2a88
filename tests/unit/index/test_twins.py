"""twins: which of the names of one file of a release is served."""

import os
from collections.abc import Collection
from pathlib import Path

import pytest

from pypi_insiders.index.twins import served_instead


def _served(directory: Path, names: list[str], published: Collection[str] = ()) -> dict[str, str]:
    """Create files, each older than the next; return the new ones of which another is served."""
    for at, name in enumerate(names):
        (directory / name).touch()
        os.utime(directory / name, (10 + at, 10 + at))
    found = {
        name: served_instead(directory, name, names, published.__contains__)
        for name in names
        if name not in published
    }
    return {name: other for name, other in found.items() if other}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("probe-1.0-py3-none-any.whl", "Probe-1.0-py3-none-any.whl"),
        ("probe-1.0-py2.py3-none-any.whl", "probe-1.0.0-py3.py2-none-any.whl"),
        ("my_probe-1.0.tar.gz", "my.probe-1.0.tar.gz"),
        ("probe-1.0.tar.gz", "probe-1.0.zip"),
        ("probe-1.0a.tar.gz", "probe-01.0a0.tar.gz"),
    ],
)
def test_of_two_names_the_older_or_the_published_file_is_served(
    tmp_path: Path, first: str, second: str
) -> None:
    assert _served(tmp_path, [first, second]) == {second: first}
    assert _served(tmp_path, [first, second], [second]) == {first: second}
    assert _served(tmp_path, [first, second], [first, second]) == {}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("probe-1.0-py3-none-any.whl", "probe-1.0-1-py3-none-any.whl"),
        ("probe-1.0-cp311-cp311-linux_x86_64.whl", "probe-1.0-cp311-cp311-win_amd64.whl"),
        ("probe-1.0.tar.gz", "probe-1.0-py3-none-any.whl"),
        ("probe-1.0.tar.gz", "probe-10.tar.gz"),
        ("probe-1.2.tar.gz", "probe-2.1.tar.gz"),
    ],
)
def test_other_files_are_served_beside_each_other(tmp_path: Path, first: str, second: str) -> None:
    assert _served(tmp_path, [first, second]) == {}


def test_of_three_one_is_served(tmp_path: Path) -> None:
    first, *others = ["probe-1.0.tar.gz", "probe-1.0.zip", "Probe-1.0.tar.gz"]
    assert _served(tmp_path, [first, *others]) == dict.fromkeys(others, first)
