"""What the doctor says of the files that a user writes."""

from pathlib import Path

from pypi_insiders.doctor.examination import former_keys
from pypi_insiders.doctor.finding import Finding, warning


def _found(path: Path, text: str) -> list[Finding]:
    path.write_text(text)
    return list(former_keys(path))


def test_keys_by_their_former_names_are_warned_of_once(tmp_path: Path) -> None:
    """However many repositories have them; a file that is wrong is reported elsewhere."""
    path = tmp_path / "repos.toml"
    assert _found(path, '["a/b"]\nproject = "b"\n') == []
    assert _found(path, '["a/b"\n') == []
    assert _found(path, '["a/b"]\ndistribution = "b"\n["c/d"]\ndistribution = "d"\n') == [
        warning(
            "repos.toml",
            "`distribution` is the former name of `project`, "
            "and will be refused in a later version",
            f"replace it in {path}",
        )
    ]
