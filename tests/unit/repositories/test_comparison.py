"""comparison: what is advised where the index and the state differ."""

from pathlib import Path

from pypi_insiders.repositories.comparison import Comparison, Kind, Strangers
from pypi_insiders.repositories.state import Build, RepositoryState


def test_a_tag_in_a_hint_is_one_word() -> None:
    """Its repository chooses it, and `$(reboot)` is a name for a tag."""
    for tag, word in {"v1.0": "v1.0", "v1.0-$(reboot)": "'v1.0-$(reboot)'"}.items():
        found = Strangers("me/probe", "probe 1.0", tag, ["probe-1.0.tar.gz"])
        assert found.hint(Path("/d")) == (
            f"move that file out of /d, then `pypi-insiders update me/probe --tag {word} --force`"
        )


def test_the_recorded_hash_of_an_unchanged_file_is_compared() -> None:
    """Without a look at the file; which here is missing."""
    file = "probe-1.0.tar.gz"
    compared = Comparison(Path("/missing"), {}, {}, unchanged={file: "b"})
    for recorded, expected in {"a": [("b", Kind.CHANGED)], "b": []}.items():
        known = RepositoryState("probe", [Build("v1.0", "0" * 40, "1.0", 1, {file: recorded})])
        found = [(item.found_sha256, item.kind) for item in compared.of("me/probe", known)]
        assert found == expected
