"""parsed_once: files that are looked at many times."""

from dataclasses import dataclass, field
from pathlib import Path

from pypi_insiders.util.parsed_once import own_copy, parsed_once, unchanged


def test_a_file_is_parsed_again_only_once_it_has_changed(tmp_path: Path) -> None:
    """Replaced, as this program writes, or written in place, as an editor may; or outside."""
    path, reads = tmp_path / "file", list[str]()

    def read() -> str | None:
        if not path.exists():
            return None
        reads.append(path.read_text())
        return reads[-1]

    with parsed_once():
        assert [unchanged(path, read) for _ in range(2)] == [None, None]
        path.write_text("one")
        with parsed_once():
            assert [unchanged(path, read) for _ in range(2)] == ["one", "one"]
        other = tmp_path / "other"
        other.write_text("two")
        other.replace(path)
        assert [unchanged(path, read) for _ in range(2)] == ["two", "two"]
        path.write_text("three")
        assert unchanged(path, read) == "three"
        path.unlink()
        assert unchanged(path, read) is None
    path.write_text("four")
    assert [unchanged(path, read) for _ in range(2)] == ["four", "four"]
    assert reads == ["one", "two", "three", "four", "four"]


@dataclass
class Known:
    """Something with lists."""

    names: list[str] = field(default_factory=list)
    table: dict[str, str] = field(default_factory=dict)


def test_a_copy_can_be_changed() -> None:
    """What others have of the same file stays."""
    known = Known(["a"], {"a": "b"})
    copied = own_copy(known)
    copied.names.append("c")
    copied.table.clear()
    assert (known, copied) == (Known(["a"], {"a": "b"}), Known(["a", "c"], {}))
