"""What is told of a name is true: who has it, what is lost, and what the next command does."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from fixtures import Person, Watch
from wheels import wheel

from pypi_insiders.index import store
from pypi_insiders.index.metadata_cache import MetadataCache, Origin
from pypi_insiders.repositories import held_names, no_release, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, Check, RepositoryState
from pypi_insiders.util.files import sha256


def watch_default(person: Person, *names: str, project: str | None = None) -> None:
    """Watch repositories at their default URLs, the last one as a project."""
    person.paths.config.mkdir(parents=True, exist_ok=True)
    tables = [f'["{name}"]\n' for name in names]
    if project is not None:
        tables[-1] += f'project = "{project}"\n'
    person.paths.repositories.write_text("".join(tables))


def built(person: Person, project: str, version: str, *, is_there: bool = True) -> Build:
    """Have a release in the index, or only say so."""
    person.paths.distributions.mkdir(parents=True, exist_ok=True)
    file = wheel(person.paths.distributions, project, version)
    build = Build(f"v{version}", "c" * 40, version, 1, {file.name: sha256(file)})
    if not is_there:
        file.unlink()
    return build


def remember(
    person: Person, name: str, project: str | None, *builds: Build, former: tuple[str, ...] = ()
) -> None:
    """Write the state of a repository."""
    remote = Repository(name).remote
    known = RepositoryState(project, list(builds), remote, list(former))
    state.save(person.paths.state, name, known)


def problem(person: Person) -> tuple[str, str]:
    """Read the text and the hint of the one problem."""
    (found,) = json.loads(person.run("status", "--json", status=1).stdout)["problems"]
    return found["text"], found["hint"]


def test_the_hint_of_status_is_that_of_the_update(person: Person, watch: Watch) -> None:
    """Another attempt would fail in the same way; with the key set back nothing is in the way."""
    person.paths.config.mkdir(parents=True)
    person.paths.settings.write_text("[watcher]\npublic-versions = false\n")
    watch("probe").release("1.0")
    person.run("repos", "set", "me/probe", "project=wrong")
    person.run("update", status=1)
    text, hint = problem(person)
    assert text == ("wrong has no release: tag v1.0: the build is of project probe, expected wrong")
    assert hint == "if this is correct: `pypi-insiders repos set me/probe project=probe`"
    told = person.run("update", status=1).stderr
    assert "(failed before" in told
    assert f"hint: {hint}\n" in told
    person.run("repos", "set", "me/probe", "project=probe")
    person.run("update")


def test_the_hint_of_an_error_is_remembered_with_it(person: Person) -> None:
    """Of what is no failure of a tag, with a release and without one, named or not."""
    watch_default(person, "me/named", "me/unnamed", project=None)
    hints = {"it failed": "`do that`"}
    check = Check(1, errors=["it failed"], hints=hints)
    state.save_checks(person.paths.state, {"me/named": check, "me/unnamed": check})
    remember(person, "me/named", "named", built(person, "named", "1.0"))
    found = json.loads(person.run("status", "--json", status=1).stdout)["problems"]
    assert [(item["subject"], item["hint"]) for item in found] == [
        ("me/named", "`do that`"), ("me/unnamed", "`do that`"),
    ]  # fmt: skip


def test_a_lost_list_is_made_again_with_the_urls(person: Person) -> None:
    """The state remembers those that are not the default one."""
    watch_default(person)
    for name, remote in (("me/k1", "https://git.example/k1.git"), ("me/k2", None)):
        project = name.partition("/")[2]
        known = RepositoryState(
            project, [built(person, project, "1.0")], remote or Repository(name).remote
        )
        state.save(person.paths.state, name, known)
    found = json.loads(person.run("status", "--json", status=3).stdout)["warnings"]
    assert [item["hint"] for item in found if item["subject"] == "repos.toml"] == [
        "`pypi-insiders repos add me/k1 --url https://git.example/k1.git`, or "
        "`pypi-insiders repos remove me/k1`",
        "`pypi-insiders repos add me/k2`, or `pypi-insiders repos remove me/k2`",
    ]
    assert (
        "hint: restore that file, or `pypi-insiders repos add me/k1 --url "
        "https://git.example/k1.git`, `pypi-insiders repos add me/k2`\n"
    ) in person.run("update").stderr
    (person.paths.distributions / "k1-1.0-py3-none-any.whl").unlink()
    text = person.run("status", status=1).stdout
    assert text.count("watch it again: `pypi-insiders repos add me/k1 --url ") == 1


def test_what_the_record_knows_is_told_where_the_state_is_lost(
    person: Person, tmp_path: Path
) -> None:
    """Of a repository that nobody named: the name is held, and its release is served."""
    watch_default(person, "me/probe")
    origin = Origin("me/probe", "v1.0", "c" * 40)
    person.paths.state.mkdir(parents=True)
    with closing(MetadataCache(person.paths.record, person.paths.distributions)) as record:
        file = wheel(tmp_path, "probe", "1.0")
        store.publish(person.paths.distributions, record, [file], origin)
    (listed,) = json.loads(person.run("repos", "list", "--json").stdout)["repositories"]
    assert (listed["project"], listed["served_version"], listed["reason"]) == ("probe", "1.0", None)
    found = json.loads(person.run("status", "--json", status=3).stdout)
    assert found["problems"] == []
    assert [item["subject"] for item in found["warnings"]] == ["server"]


@pytest.mark.parametrize(
    ("backend", "cause"),
    [
        ("import nowhere", "No module named 'nowhere'"),
        (
            "class UnsupportedOperation(Exception):\n    pass\n\n"
            "def build_sdist(*_):\n    raise UnsupportedOperation('not from here')",
            "not from here",
        ),
    ],
)
def test_a_traceback_is_cut_to_its_last_line(
    person: Person, watch: Watch, backend: str, cause: str
) -> None:
    """The log has all of it."""
    project = watch("probe")
    project.write("1.0")
    project.hook("")
    (project.tree / "backend.py").write_text(f"{backend}\n")
    project.push("v1.0")
    person.run("update", status=1)
    text, _ = problem(person)
    assert text.endswith(cause)
    assert ("Traceback" in text, len(text) < 200) == (False, True)


def reason(person: Person) -> str | None:
    """Read why the one repository is not served."""
    (found,) = json.loads(person.run("repos", "list", "--json").stdout)["repositories"]
    return found["reason"]  # type: ignore[no-any-return]


def test_a_release_of_another_repository_is_not_called_yanked(person: Person) -> None:
    """It is served; yanked is only what somebody yanked."""
    watch_default(person, "me/cc2", project="cc")
    remember(person, "me/cc", "cc", built(person, "cc", "1.0"))
    assert reason(person) == "the releases of cc that are served were not built from me/cc2"
    person.run("yank", "cc", "1.0")
    assert reason(person) == "every release is yanked"


def test_what_is_lost_of_a_former_name_is_told_as_that(person: Person) -> None:
    """No update builds it again; the hint gives the name up."""
    watch_default(person, "me/aa", project="aa")
    gone, new = built(person, "aa", "1.0", is_there=False), built(person, "aaa", "2.0")
    remember(person, "me/aa", "aa", gone)
    held_names.sync(person.paths)
    watch_default(person, "me/aa", project="aaa")
    remember(person, "me/aa", "aaa", new, former=tuple(gone.files))
    held_names.sync(person.paths)
    found = no_release.find(person.paths, held_names.load(person.paths), "aa", None)
    assert found is not None
    assert found.text == (
        f"the files of aa 1.0 are missing from {person.paths.distributions}, "
        "and me/aa now builds aaa"
    )
    assert (
        found.hint == "restore the files, or give up the name: `pypi-insiders unpublish aa --all`"
    )
    person.run("unpublish", "--yes", "aa", "--all")
    names = held_names.load(person.paths).repositories
    assert dict(names) == {"aaa": "me/aa"}


def test_a_name_that_stays_held_is_not_called_free(person: Person) -> None:
    """Of a watched repository that nobody named, too."""
    watch_default(person, "me/probe")
    remember(person, "me/probe", "probe", built(person, "probe", "1.0"))
    told = person.run("unpublish", "--yes", "probe", "--all").stdout
    assert told == "removed probe-1.0-py3-none-any.whl from the index\n"
    assert held_names.load(person.paths).repositories == {"probe": "me/probe"}
