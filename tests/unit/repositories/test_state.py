"""What is remembered of each repository between two updates."""

import tempfile
import time
from functools import partial
from pathlib import Path

import pytest
from fuzzing import fuzzed
from hypothesis import given
from hypothesis import strategies as st

from pypi_insiders.config.paths import Paths, build_logs
from pypi_insiders.index.metadata_cache import Origin
from pypi_insiders.repositories import sandbox_state
from pypi_insiders.repositories.published_assets import PublishedAsset
from pypi_insiders.repositories.state import (
    Build,
    Check,
    Failure,
    RepositoryState,
    everything,
    forget,
    load,
    load_checks,
    origins,
    save,
    save_checks,
)
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.parsed_once import parsed_once

# Of all characters, few are halves of others.
_HALVES = st.sampled_from("a\ud800\udbff\udc00\udcff\udfff\U0001f600")
_TEXT = st.text(st.characters(exclude_categories=()), max_size=9) | st.text(_HALVES, max_size=9)
_TIMES = st.integers(0, 1_700_000_000)
_TABLES = st.dictionaries(_TEXT, _TEXT, max_size=3)
_LISTS = st.lists(_TEXT, max_size=3)


def _build(version: str, **files: str) -> Build:
    return Build(f"v{version}", f"commit of {version}", version, 1_700_000_000, files)


def _path(directory: Path) -> Path:
    return directory / "repositories/ns/proj.json"


def test_a_name_of_any_depth_has_files_of_its_own(tmp_path: Path) -> None:
    """Also where the name of another one is its beginning, or looks like a file of it."""
    names = ["ns/proj", "ns/proj/sub", "ns/proj.json/sub", "ns/proj.git/sub", "ns/sub/a/B"]
    for name in names:
        save(tmp_path, name, RepositoryState(name.replace("/", "-")))
    assert {name: known.project for name, known in everything(tmp_path)} == {
        name: name.replace("/", "-") for name in names
    }
    paths = Paths(tmp_path, tmp_path, tmp_path, tmp_path)
    for place in (paths.mirror, partial(build_logs, paths)):
        places = [place(name) for name in names]
        assert not any(one in other.parents for one in places for other in places)
        assert len(set(places)) == len(names)
    assert paths.mirror("NS/proj") == tmp_path / "mirrors/ns/proj.git"


@pytest.mark.parametrize(
    "state",
    [
        RepositoryState(),
        RepositoryState(
            "grüße",
            [_build("1.10")._replace(message="grüße\n\n- x"), _build("1.9", a="1", b="2")],
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


def test_a_change_of_what_was_loaded_is_no_change_of_what_is_saved(tmp_path: Path) -> None:
    """In an update, which parses each file once."""
    state = RepositoryState("dist", [_build("1.0")], passed_over=["latest"])
    save(tmp_path, "ns/proj", state)
    with parsed_once():
        changed = load(tmp_path, "ns/proj")
        changed.builds.clear()
        changed.passed_over.append("other")
        assert load(tmp_path, "ns/proj") == state


def test_the_file_as_other_programs_see_it(tmp_path: Path) -> None:
    save(tmp_path, "NS/Proj", RepositoryState("dist", [_build("1.0", **{"d-1.0.tar.gz": "ab"})]))
    assert (
        _path(tmp_path).read_text()
        == """\
{
 "format": 5,
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
 "lower": null,
 "no_commits": {},
 "name": "NS/Proj"
}
"""
    )


def test_nothing_is_known_without_a_file(tmp_path: Path) -> None:
    assert load(tmp_path, "ns/proj") == RepositoryState(None, [], None, [], [])


def test_a_file_is_of_the_build_that_published_it(tmp_path: Path) -> None:
    """A later one of the same name was not published over it."""
    first, second = _build("1.0", file="one"), _build("2.0", file="two")
    save(tmp_path, "ns/proj", RepositoryState("probe", [first, second]))
    origin = Origin("ns/proj", first.tag, first.commit)
    assert origins(tmp_path) == {"file": ("one", origin, first.built_at)}


def test_times_in_the_future_count_as_now(tmp_path: Path) -> None:
    """Of a clock that was wrong: nothing waits for years."""
    now_s = int(time.time())
    later_s = now_s + 10**8
    build = _build("1.0")._replace(built_at=later_s)
    failures = {
        tag: Failure("c", "failed", 1, failed_s, next_s)
        for tag, failed_s, next_s in (("a", later_s, later_s + 60), ("b", now_s, later_s))
    }
    save(tmp_path, "ns/proj", RepositoryState("probe", [build], failures=failures))
    check = Check(later_s, unreachable_since=later_s, errors=["failed"], tried_at=now_s)
    save_checks(tmp_path, {"ns/proj": check})
    known, (seen,) = load(tmp_path, "ns/proj"), load_checks(tmp_path).values()
    read_s, due = int(time.time()), known.failures["a"]
    times_s = [known.builds[0].built_at, due.failed_at, due.next_at]
    times_s += filter(None, (seen.checked_at, seen.unreachable_since))
    assert (len(times_s), now_s <= min(times_s), max(times_s) <= read_s) == (5, True, True)
    assert known.failures["b"] == failures["b"]
    assert (seen.errors, seen.tried_at) == (["failed"], now_s)


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
    save_checks(tmp_path, {"ns/other": Check(1), "Ns/Proj": Check(2)})
    assert forget(tmp_path, "ns/proj")
    assert load(tmp_path, "ns/other") == kept
    assert load_checks(tmp_path) == {"ns/other": Check(1)}


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
        ('{"format": 1, "builds": [5]}', "Build: not a table"),
        ('{"format": 1, "builds": [{"tag": "v1"}]}', "Build: a key is missing"),
        ('{"format": 1, "builds": [], "distribution": 5}',
         "RepositoryState: project has the wrong type"),
        ('{"format": 1, "builds": [], "name": "\\ud800"}',
         "RepositoryState: name has the wrong type"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_understood_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, why: str
) -> None:
    """One line names it and says why; then nothing is known."""
    path = _written(tmp_path, text)
    assert load(tmp_path, "NS/PROJ") == RepositoryState()
    assert path.with_name("proj.json.damaged").read_text() == text
    assert caplog.messages == [f"{path} is damaged ({why}); set aside as proj.json.damaged"]


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
    text = '{"format": 6, "builds": [], "news": 1}'
    path = _written(tmp_path, text)
    with pytest.raises(InsidersError) as caught:
        load(tmp_path, "NS/PROJ")
    assert (caught.value.message, caught.value.hint) == (
        f"{path} was written by a newer version of this program",
        "install that version again; the file is left unchanged",
    )
    assert path.read_text() == text


_ASSETS = st.dictionaries(
    _TEXT,
    st.builds(PublishedAsset, st.none() | _TEXT, st.none() | _TIMES, _TEXT, st.booleans()),
    max_size=2,
)
_STATES = st.builds(
    RepositoryState,
    st.none() | _TEXT,
    st.lists(
        st.builds(
            Build, _TEXT, _TEXT, st.just("1.0"), _TIMES, _TABLES, _TABLES, st.none(), _LISTS,
            st.booleans(), _LISTS, _TEXT, _TEXT, _ASSETS, _ASSETS,
        ),
        max_size=3,
    ),
    st.none() | _TEXT,
    _LISTS,
    _LISTS,
    _LISTS,
    st.dictionaries(
        _TEXT,
        st.builds(Failure, _TEXT, _TEXT, st.just(1), _TIMES, _TIMES, _TEXT, _TEXT),
        max_size=3,
    ),
    _TABLES,
    st.none() | _TEXT,
)  # fmt: skip
_CHECKS = st.dictionaries(
    _TEXT, st.builds(Check, _TIMES, _TIMES, _LISTS, _LISTS, _TIMES, _TABLES), max_size=3
)


@fuzzed(5, usual=100)
@given(state=_STATES, checks=_CHECKS, trouble=_TEXT)
def test_what_is_saved_can_always_be_read(
    state: RepositoryState, checks: dict[str, Check], trouble: str
) -> None:
    """Whatever texts a hook or a host has made part of it; else all that is known would be lost."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for _ in range(2):  # what was read once is the same from then on
            save(directory, "ns/proj", state)
            save_checks(directory, checks)
            sandbox_state.save(directory, sandbox_state.Sandboxing(5, trouble))
            state_before, checks_before = state, checks
            state, checks = load(directory, "ns/proj"), load_checks(directory)
            trouble_before, trouble = trouble, str(sandbox_state.load(directory).trouble)
        assert (state, checks, trouble) == (state_before, checks_before, trouble_before)
        assert sorted(path.name for path in directory.rglob("*.json*")) == [
            "checks.json", "proj.json", "sandbox.json",
        ]  # fmt: skip


def test_only_what_cannot_be_written_is_replaced(tmp_path: Path) -> None:
    """Half a character becomes a question mark, and all else stays."""
    failure = Failure("c", "x\ud800y\udcff ü\U0001f600\n", 1, 2, 3, "\udfff")
    save(tmp_path, "ns/proj", RepositoryState(failures={"v\udcff": failure}))
    assert load(tmp_path, "ns/proj").failures == {
        "v?": Failure("c", "x?y? ü\U0001f600\n", 1, 2, 3, "?")
    }
