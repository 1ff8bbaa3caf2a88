"""An export of a large index to a directory: only what has changed is looked at."""

import os
import re
import shutil
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import wheels
from auditing import audited
from exports import dists
from fixtures import Person

from pypi_insiders.index.release_lists import YANKED
from pypi_insiders.repositories import state
from pypi_insiders.repositories.state import Check
from pypi_insiders.server.exporting import changes, directory, record
from pypi_insiders.server.exporting.contents import ExportResult
from pypi_insiders.server.exporting.directory import export
from pypi_insiders.server.web import feed
from pypi_insiders.util.errors import InsidersError

__all__ = ["dists"]

Results = list[ExportResult | None]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Results:
    """Take any index for a large one; what each export of changes returned."""
    found: Results = []
    real = changes.export

    def noted(*arguments: Any) -> ExportResult | None:
        found.append(real(*arguments))
        return found[-1]

    monkeypatch.setattr(directory, "COMPARED_AT_ONCE", 0)
    monkeypatch.setattr(changes, "export", noted)
    return found


@pytest.fixture
def target(person: Person, dists: Path, quick: object, tmp_path: Path) -> Path:
    """An export, with a record."""
    found = tmp_path / "web"
    export(person.paths, found, None)
    return found


def contents(place: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file()
    }


def is_complete(person: Person, target: Path) -> bool:
    """Whether it is what a new export would be."""
    other = target.with_name("other")
    shutil.rmtree(other, ignore_errors=True)
    export(person.paths, other, None)
    return contents(other) == contents(target)


def test_nothing_new_is_nothing_written(person: Person, target: Path, quick: Results) -> None:
    assert export(person.paths, target, None) == ExportResult(2, 4, 0, 0, 0)
    assert len(quick) == 1


@pytest.mark.parametrize("version", ["1.2", "0.1"])
def test_a_new_file_of_a_project(
    person: Person, dists: Path, target: Path, quick: Results, version: str
) -> None:
    """Once more after it, nothing is new."""
    new = wheels.wheel(dists, "one", version)
    assert export(person.paths, target, None) == ExportResult(2, 5, 1, 0, 4)
    assert b"Name: one" in (target / "packages" / f"{new.name}.metadata").read_bytes()
    assert is_complete(person, target)
    assert export(person.paths, target, None) == ExportResult(2, 5, 0, 0, 0)
    assert len([result for result in quick if result]) == 2


def test_why_a_name_has_no_release_is_written_again(
    person: Person, dists: Path, quick: Results, tmp_path: Path
) -> None:
    """It is in files of which an export of changes notices nothing else."""
    target = tmp_path / "web"
    person.paths.config.mkdir(parents=True)
    person.paths.repositories.write_text('["me/secret"]\nproject = "secret"\n')
    export(person.paths, target, None)
    state.save_checks(person.paths.state, {"me/secret": Check(1, errors=["no such host"])})
    result = export(person.paths, target, None)
    assert quick == [result]
    assert "no such host" in (target / "simple/secret/problem.json").read_text()
    assert is_complete(person, target)


def test_a_release_that_was_unpublished(
    person: Person, dists: Path, target: Path, quick: Results
) -> None:
    """Its page goes first, and the feed no longer has it."""
    person.run("unpublish", "--yes", "one", "1.0")
    export(person.paths, target, None)
    assert is_complete(person, target)
    assert not list((target / "packages").glob("one-1.0*"))


@pytest.mark.parametrize("is_gone", [False, True])
def test_no_page_ever_lists_a_missing_file(
    person: Person, dists: Path, target: Path, quick: Results, is_gone: bool
) -> None:
    """New files, then the pages, and then files go; also where only changes are looked at."""
    steps = list[str]()
    if is_gone:
        person.run("unpublish", "--yes", "one", "1.0")
    wheels.wheel(dists, "one", "1.2")

    def note(event: str, details: tuple[Any, ...]) -> None:
        path = Path(str(details[event == "os.rename"])) if details else target
        if event in ("os.rename", "os.remove") and target in path.parents:
            steps.append(f"{event} {path.relative_to(target).parts[0]}")

    with audited(note):
        export(person.paths, target, None)
    assert len([result for result in quick if result]) == (not is_gone)
    assert [step for step, _ in groupby(steps)] == [
        "os.rename packages", "os.rename simple", "os.rename -", "os.rename project",
        *is_gone * ["os.remove packages"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    ["project", "yank", "all gone", "lost", "rejected", "page", "package", "other", "record"],
)
def test_any_other_change_is_a_comparison_of_everything(  # noqa: C901
    person: Person, dists: Path, target: Path, quick: Results, change: str
) -> None:
    """What is damaged in the export is mended, and what is lost in the index stays."""
    kept = contents(target)
    (known,) = (person.paths.cache / "exports").glob("*.json")
    match change:
        case "project":
            wheels.wheel(dists, "three", "1.0")
        case "yank":
            YANKED.save(dists, {"one": {"1.1": ""}}, person.paths.state)
        case "all gone":
            person.run("unpublish", "--yes", "two-three", "--all")
        case "lost":
            (dists / "one-1.1-py3-none-any.whl").unlink()
        case "rejected":
            (dists / "one-1.3-py3-none-any.whl").write_bytes(b"no wheel")
        case "page":
            (target / "simple/one/index.html").write_bytes(b"")
        case "package":
            (target / "packages/one-1.0.tar.gz").unlink()
        case "other":
            (dists / "notes.txt").unlink()
        case "record":
            known.write_bytes(known.read_bytes()[:-9])
    export(person.paths, target, None)
    assert not any(quick)
    if change == "lost":
        assert {name: kept[name] for name in kept if "packages" in name}.items() <= (
            contents(target).items()
        )
    else:
        assert is_complete(person, target)


def test_a_rejected_file_that_is_completed_in_place_is_exported(
    person: Person, dists: Path, target: Path, tmp_path: Path
) -> None:
    """Neither its directory nor its inode has changed."""
    whole = wheels.wheel(tmp_path, "one", "1.3").read_bytes()
    path = dists / "one-1.3-py3-none-any.whl"
    path.write_bytes(whole[:50])
    export(person.paths, target, None)
    path.write_bytes(whole)
    export(person.paths, target, None)
    assert (target / "packages" / path.name).read_bytes() == whole
    assert is_complete(person, target)


def test_a_lost_file_of_an_old_release_is_kept(
    person: Person, dists: Path, quick: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of one that is in no feed."""
    monkeypatch.setattr(feed, "_MOST_ENTRIES", 1)
    target = tmp_path / "web"
    export(person.paths, target, None)
    (dists / "one-1.0.tar.gz").unlink()
    export(person.paths, target, None)
    assert not any(quick)
    assert (target / "packages/one-1.0.tar.gz").is_file()


def test_each_export_warns_of_a_page_without_a_published_file(
    person: Person, dists: Path, target: Path, quick: Results, caplog: pytest.LogCaptureFixture
) -> None:
    """It is as complete as the index, which has lost it: that is no success without a word."""
    (dists / "one-1.0.tar.gz").unlink()
    for _ in range(2):
        export(person.paths, target, None)
    assert not any(quick)
    text = "one-1.0.tar.gz is missing, so the exported page of one leaves it out"
    assert caplog.messages == [text] * 2


def test_after_a_day_or_a_restart_everything_is_compared(
    person: Person, target: Path, quick: Results, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file that was damaged in place, with its directory as it was, is mended then."""
    damaged = target / "packages/one-1.0.tar.gz"
    before = damaged.read_bytes()
    for name, value in (("VALID_FOR_S", 0), ("_BOOT", tmp_path / "boot")):
        damaged.write_bytes(b"")
        with monkeypatch.context() as patch:
            patch.setattr(record, name, value)
            export(person.paths, target, None)
        assert damaged.read_bytes() == before
    assert quick == []


def test_a_damaged_file_of_the_index_is_not_spread(
    person: Person, dists: Path, target: Path, quick: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old state stays."""
    before = contents(target)
    new = wheels.sdist(dists, "one", "2.0")
    person.run("export", target.with_name("other"))  # it is known by its size and time
    status = new.stat()
    new.write_bytes(bytes(status.st_size))
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(InsidersError, match="one of its files is damaged"):
        export(person.paths, target, None)
    assert contents(target) == before


def test_another_configuration_of_nginx_is_written_at_once(
    person: Person, target: Path, quick: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade, which may mend it."""
    former = directory._configuration(None)
    monkeypatch.setattr(directory, "_configuration", lambda _url: f"{former}# mended\n")
    export(person.paths, target, None)
    assert (target / "nginx.conf").read_text().endswith("# mended\n")
    assert quick == []


def test_after_the_only_file_is_damaged_its_page_stays_and_is_listed(
    person: Person, dists: Path, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In place, so that the damage is seen only when the file is read again."""
    pages = ("simple/two-three/index.json", "simple/index.json", "simple/index.html")
    before = [(target / page).read_bytes() for page in pages]
    next(dists.glob("two*")).write_bytes(b"damaged")
    export(person.paths, target, None)
    assert [(target / page).read_bytes() for page in pages] == before
    assert "its exported files stay" in caplog.text


@pytest.mark.parametrize(
    "name", ["simple/one/index.json", "packages/one-1.0-py3-none-any.whl.metadata"]
)
def test_a_fifo_in_the_target_is_not_waited_for(
    person: Person, dists: Path, target: Path, name: str
) -> None:
    (target / name).unlink()
    os.mkfifo(target / name)
    with pytest.raises(InsidersError, match=rf"it is a FIFO, not a file \({target / name}\)"):
        export(person.paths, target, None)


@pytest.mark.parametrize("place", ["simple", "simple/inner", "packages/far/inner"])
def test_where_an_export_removes_files_no_other_one_is_made(
    person: Person, target: Path, place: str
) -> None:
    """The next export would remove it, and a web server stops the project of its name."""
    before = contents(target)
    expected = re.escape(f"cannot export to {target / place}: the export in {target} removes ")
    with pytest.raises(InsidersError, match=expected):
        export(person.paths, target / place, None)
    assert contents(target) == before


def test_beside_the_files_of_an_export_is_room_for_another_one(
    person: Person, target: Path
) -> None:
    export(person.paths, target / "inner/simple", None)
    before = contents(target)
    export(person.paths, target, None)
    assert contents(target) == before


def test_without_the_index_nothing_is_created(person: Person, dists: Path, tmp_path: Path) -> None:
    dists.rename(dists.with_name("away"))
    with pytest.raises(InsidersError, match="cannot read"):
        export(person.paths, tmp_path / "web", None)
    assert not (tmp_path / "web").exists()


def test_an_exported_name_stays_held(person: Person, target: Path) -> None:
    """Also if no update has run since it was listed, and the list is lost."""
    person.paths.config.mkdir(parents=True)
    person.paths.repositories.write_text('["me/secret"]\nproject = "secret"\n')
    for _ in range(2):
        export(person.paths, target, None)
        assert (target / "simple/secret/index.html").is_file()
        person.paths.repositories.write_text("")


def test_each_export_warns_of_a_lost_project(
    person: Person, dists: Path, target: Path, quick: Results, caplog: pytest.LogCaptureFixture
) -> None:
    """Not only the first one."""
    for path in dists.glob("two*"):
        path.unlink()
    for _ in range(2):
        export(person.paths, target, None)
    assert len([line for line in caplog.messages if "its exported files stay" in line]) == 2
    assert not any(quick)
    # Nor is there a record, by which a later one would look at changes only.
    assert list((person.paths.cache / "exports").iterdir()) == []


def test_with_an_invalid_list_everything_is_compared(
    person: Person, target: Path, quick: Results
) -> None:
    """The names in it are held nevertheless."""
    person.paths.config.mkdir(parents=True)
    person.paths.repositories.write_text('["me/secret"]\nproject = "secret"\nkeep = "x"\n')
    for _ in range(2):
        export(person.paths, target, None)
    assert quick == []
    assert (target / "simple/secret/index.html").is_file()


def test_where_names_are_lost_nothing_is_exported(person: Person, target: Path) -> None:
    """The page of one of them could be missing."""
    before = contents(target)
    person.paths.config.mkdir(parents=True)
    person.paths.repositories.write_text('["me/secret"]\nproject = "secret"\n["me/broken"')
    with pytest.raises(InsidersError, match="is not valid TOML"):
        export(person.paths, target, None)
    assert contents(target) == before


def test_a_small_index_is_compared_each_time(
    person: Person, target: Path, quick: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "COMPARED_AT_ONCE", 5)
    export(person.paths, target, None)
    assert quick == []
