"""What is remembered of each repository between two updates."""

from pathlib import Path

import pytest

from pypi_insiders.repositories.state import Build, RepositoryState, forget, load, save
from pypi_insiders.util.errors import InsidersError


def _build(version: str, **files: str) -> Build:
    return Build(f"v{version}", f"commit of {version}", version, 1_700_000_000, files)


def _path(directory: Path) -> Path:
    return directory / "repositories/ns/proj.json"


@pytest.mark.parametrize(
    "state",
    [
        RepositoryState(),
        RepositoryState(
            "grüße",
            [_build("1.10"), _build("1.9", a="1", b="2")],
            "file:///x",
            ["old"],
            ["latest", "ü"],
        ),
    ],
    ids=["empty", "full"],
)
def test_what_is_saved_is_loaded(tmp_path: Path, state: RepositoryState) -> None:
    save(tmp_path, "ns/proj", state)
    assert load(tmp_path, "ns/proj") == state


def test_the_file_as_other_programs_see_it(tmp_path: Path) -> None:
    save(tmp_path, "NS/Proj", RepositoryState("dist", [_build("1.0", **{"d-1.0.tar.gz": "ab"})]))
    assert (
        _path(tmp_path).read_text()
        == """\
{
 "format": 3,
 "distribution": "dist",
 "builds": [
  {
   "tag": "v1.0",
   "commit": "commit of 1.0",
   "version": "1.0",
   "built_at": 1700000000,
   "files": {
    "d-1.0.tar.gz": "ab"
   },
   "requirements": {},
   "sandboxed": null,
   "uploaded_to": [],
   "local": true
  }
 ],
 "remote": null,
 "former_files": [],
 "passed_over": [],
 "left_out": [],
 "failures": {},
 "unsigned": {},
 "signers": null,
 "name": "NS/Proj"
}
"""
    )


def test_nothing_is_known_without_a_file(tmp_path: Path) -> None:
    assert load(tmp_path, "ns/proj") == RepositoryState(None, [], None, [], [])


def test_built_tags_and_files_are_in_the_order_of_the_builds() -> None:
    state = RepositoryState(builds=[_build("2.0", b="1", a="2"), _build("1.0", c="3")])
    assert list(state.built.items()) == [("v2.0", "commit of 2.0"), ("v1.0", "commit of 1.0")]
    assert state.files == ["b", "a", "c"]


def test_a_name_is_the_same_in_any_case(tmp_path: Path) -> None:
    state = RepositoryState("dist")
    save(tmp_path, "Ns/PROJ", state)
    assert load(tmp_path, "nS/proj") == state
    assert [forget(tmp_path, "NS/proj"), forget(tmp_path, "ns/proj")] == [True, False]
    assert load(tmp_path, "Ns/PROJ") == RepositoryState()


def test_forgetting_one_repository_keeps_the_others(tmp_path: Path) -> None:
    kept = RepositoryState("kept")
    save(tmp_path, "ns/other", kept)
    save(tmp_path, "ns/proj", RepositoryState())
    assert forget(tmp_path, "ns/proj")
    assert load(tmp_path, "ns/other") == kept


def _written(directory: Path, text: str) -> Path:
    path = _path(directory)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ('{"format": 1, "bui', "Unterminated string starting at: line 1 column 15 (char 14)"),
        ('{"format": "1", "builds": []}', "its format is '1'"),
        ('{"format": 1, "builds": [], "news": 1}', "RepositoryState: unknown key 'news'"),
        ('{"format": 1, "builds": [5]}', "Build: it is no table"),
        ('{"format": 1, "builds": [{"tag": "v1"}]}', "Build: a key is missing"),
        ('{"format": 1, "builds": [], "distribution": 5}',
         "RepositoryState: distribution has another type"),
        ('{"format": 1, "builds": [], "name": "\\ud800"}',
         "RepositoryState: name has another type"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_understood_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, why: str
) -> None:
    """One line names it and says why; then nothing is known."""
    path = _written(tmp_path, text)
    assert load(tmp_path, "NS/PROJ") == RepositoryState()
    assert path.with_name("proj.json.damaged").read_text() == text
    assert caplog.messages == [f"{path} is damaged ({why}); it is set aside as proj.json.damaged"]


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", "null", "5", '{"format": 1}', '{"format": 1, "builds": null}', "[" * 100_000,
     '{"format": 1, "builds": {"a": 1}}', '{"format": true, "builds": []}'],
)  # fmt: skip
def test_other_json_is_set_aside_too(tmp_path: Path, text: str) -> None:
    path = _written(tmp_path, text)
    assert load(tmp_path, "ns/proj") == RepositoryState()
    assert not path.exists()


def test_a_file_of_a_newer_version_is_named_and_kept(tmp_path: Path) -> None:
    text = '{"format": 4, "builds": [], "news": 1}'
    path = _written(tmp_path, text)
    with pytest.raises(InsidersError) as caught:
        load(tmp_path, "NS/PROJ")
    assert (caught.value.message, caught.value.hint) == (
        f"{path} was written by a newer version of this program",
        "install that version again; the file is left as it is",
    )
    assert path.read_text() == text
