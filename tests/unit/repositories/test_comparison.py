"""comparison: what is advised where the index and the state differ."""

from pathlib import Path

from pypi_insiders.repositories.comparison import Strangers


def test_a_tag_in_a_hint_is_one_word() -> None:
    """Its repository chooses it, and `$(reboot)` is a name for a tag."""
    for tag, word in {"v1.0": "v1.0", "v1.0-$(reboot)": "'v1.0-$(reboot)'"}.items():
        found = Strangers("me/probe", "probe 1.0", tag, ["probe-1.0.tar.gz"])
        assert found.hint(Path("/d")) == (
            f"move that file out of /d, then `pypi-insiders update me/probe --tag {word} --force`"
        )
