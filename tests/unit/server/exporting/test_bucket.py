"""An export to an object store: what is written, in which order, and what is left alone."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import obstore
import pytest
import wheels
from exports import JSON, dists
from fixtures import Person
from obstore.store import MemoryStore

from pypi_insiders.index import distribution
from pypi_insiders.index.release_lists import YANKED
from pypi_insiders.repositories import held_names
from pypi_insiders.server.exporting import bucket
from pypi_insiders.server.exporting.bucket import MARK, export_to
from pypi_insiders.server.exporting.contents import ExportResult
from pypi_insiders.server.exporting.object_store import ObjectStore, Stored
from pypi_insiders.util.errors import InsidersError, UsageError

__all__ = ["dists"]

URL = "s3://bucket/index"


class Bucket(ObjectStore):
    """A bucket in memory that is looked at by a reader after each step."""

    def __init__(self) -> None:
        self.memory = MemoryStore()
        super().__init__(URL, self.memory)
        self.steps: list[str] = []
        self.broken = ""
        self._lock = threading.Lock()

    def put(self, key: str, content: Any, headers: Mapping[str, str]) -> str:
        if key == self.broken:
            raise InsidersError("the network is gone")
        with self._lock:
            self.steps.append(key)
            etag = super().put(key, content, headers)
            self.read()
        return etag

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.steps.append(f"-{key}")
            super().delete([key])
            self.read()

    def get(self, key: str) -> bytes:
        return bytes(obstore.get(self.memory, key).bytes())

    def read(self) -> None:
        """Whoever reads now finds all that each page names."""
        keys = self.list().keys()
        for page in (key for key in keys if re.fullmatch(r"simple/[^/]+/index\.json", key)):
            for file in json.loads(self.get(page))["files"]:
                path = file["url"].removeprefix("../../").replace("%2B", "+")
                assert path in keys
                if "core-metadata" in file:
                    assert f"{path}.metadata" in keys
        if "simple/index.json" in keys:
            for project in json.loads(self.get("simple/index.json"))["projects"]:
                assert f"simple/{project['name']}/index.html" in keys
                assert f"simple/{project['name']}/index.json" in keys


class HashingBucket(Bucket):
    """With MD5 as ETags, as S3 has them."""

    def list(self) -> dict[str, Stored]:
        return {
            key: Stored(stored.size_bytes, hashlib.md5(self.get(key)).hexdigest())
            for key, stored in super().list().items()
        }

    def put(self, key: str, content: Any, headers: Mapping[str, str]) -> str:
        super().put(key, content, headers)
        return self.list()[key].etag


@pytest.fixture
def objects() -> Bucket:
    return Bucket()


def steps(objects: Bucket, person: Person) -> tuple[ExportResult, list[str]]:
    """Export; what was written and deleted, in this order."""
    objects.steps.clear()
    return export_to(objects, person.paths), objects.steps


def test_files_come_before_pages_and_the_list_comes_last(
    objects: Bucket, person: Person, dists: Path
) -> None:
    result, done = steps(objects, person)
    assert result == ExportResult(2, 4, 4, 0, 9)
    kinds = ["files" if "packages" in key else key.count("/") < 2 for key in done[1:]]
    assert done[0] == MARK
    assert kinds == ["files"] * 7 + [False] * 6 + [True] * 3
    assert steps(objects, person) == (ExportResult(2, 4, 0, 0, 0), [])


def test_only_what_has_changed_is_written(objects: Bucket, person: Person, dists: Path) -> None:
    export_to(objects, person.paths)
    new = f"packages/{wheels.wheel(dists, 'one', '1.2').name}"
    _, done = steps(objects, person)
    assert done[:2] == [new, f"{new}.metadata"]
    assert set(done[2:]) == {
        "simple/one/index.html", "simple/one/index.json", "project/one/releases.atom",
        "-/releases.atom",
    }  # fmt: skip


def test_pages_go_before_their_files(objects: Bucket, person: Person, dists: Path) -> None:
    """The list first names the project no more, then its pages go, then its files."""
    export_to(objects, person.paths)
    person.run("unpublish", "--yes", "two-three", "--all")
    result, done = steps(objects, person)
    assert (result.files, result.removed) == (3, 1)
    kinds = [re.sub(r"(simple|packages|project)/(two.three)?.*", r"\1/\2", step) for step in done]
    lists, gone = [kind for kind in kinds if kind[0] != "-"], kinds[-5:]
    assert set(lists) == {"simple/"}
    assert kinds[: len(lists)] == lists or "-/releases.atom" in kinds
    assert sorted(gone[:3]) == ["-project/two-three", "-simple/two-three", "-simple/two-three"]
    assert gone[3:] == ["-packages/two_three"] * 2


def test_what_is_lost_stays(objects: Bucket, person: Person, dists: Path) -> None:
    """As in a directory: files that were not unpublished may be on a disk that is not mounted."""
    export_to(objects, person.paths)
    before = objects.list()
    for path in dists.glob("two*"):
        path.unlink()
    assert steps(objects, person)[0].removed == 0
    assert {key for key in before if "packages" in key} <= objects.list().keys()
    assert json.loads(objects.get("simple/two-three/index.json"))["files"]


def test_headers_are_those_of_the_live_index(person: Person, dists: Path) -> None:
    objects = Bucket()
    export_to(objects, person.paths)
    for_ever, at_once = "max-age=31536000, immutable", "no-cache"
    for key, kind, cache in (
        ("packages/one-1.0.tar.gz", "application/octet-stream", for_ever),
        ("packages/one-1.0-py3-none-any.whl", "application/octet-stream", for_ever),
        ("packages/one-1.0-py3-none-any.whl.metadata", "text/plain; charset=utf-8", for_ever),
        ("simple/one/index.json", JSON, at_once),
        ("simple/index.html", "text/html; charset=utf-8", at_once),
        ("-/releases.atom", "application/atom+xml; charset=utf-8", at_once),
    ):
        found = obstore.head(objects.memory, key), obstore.get(objects.memory, key).attributes
        assert found[1] == {"Content-Type": kind, "Cache-Control": cache}


def test_changes_of_others_are_undone_and_told(
    objects: Bucket, person: Person, dists: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not of the export, beside it, stays."""
    export_to(objects, person.paths)
    page, gone, stray = "simple/one/index.json", "packages/one-1.0.tar.gz", "packages/stray.whl"
    before = objects.get(page)
    for key in (page, stray, "robots.txt"):
        obstore.put(objects.memory, key, b'{"files": []}')
    obstore.delete(objects.memory, gone)
    _, done = steps(objects, person)
    assert (set(done), objects.get(page)) == ({page, gone, f"-{stray}"}, before)
    assert "2 objects of s3://bucket/index differ from the last recorded export" in caplog.text
    assert objects.get("robots.txt") == b'{"files": []}'


def test_an_export_that_breaks_off_is_finished_by_the_next(
    objects: Bucket, person: Person, dists: Path
) -> None:
    """What was written before is not written again."""
    objects.broken = "simple/one/index.json"
    with pytest.raises(InsidersError, match="network"):
        export_to(objects, person.paths)
    first = set(objects.steps)
    assert "simple/index.json" not in first
    objects.broken = ""
    _, done = steps(objects, person)
    assert not first & set(done)
    assert {"simple/one/index.json", "simple/index.json"} <= set(done)


def test_an_export_that_was_killed_is_not_taken_for_others(
    person: Person, dists: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It has no record of the pages that it wrote; the next export completes it."""
    objects = HashingBucket()
    export_to(objects, person.paths)
    (record,) = (person.paths.cache / "exports").iterdir()
    before = record.read_bytes()
    YANKED.save(dists, {"one": {"1.1": "broken"}}, person.paths.state)
    export_to(objects, person.paths)
    after = record.read_bytes()
    record.write_bytes(before)
    assert steps(objects, person)[1] == []
    assert (caplog.text, record.read_bytes()) == ("", after)


def test_after_the_only_file_is_damaged_its_page_stays_and_is_listed(
    objects: Bucket, person: Person, dists: Path
) -> None:
    """In place, so that the damage is seen only when the file is read again."""
    export_to(objects, person.paths)
    pages = ("simple/two-three/index.json", "simple/index.json", "simple/index.html")
    before = [objects.get(page) for page in pages]
    next(dists.glob("two*")).write_bytes(b"damaged")
    assert steps(objects, person)[0].removed == 0
    assert [objects.get(page) for page in pages] == before


def test_a_damaged_file_of_the_index_is_not_spread(
    objects: Bucket, person: Person, dists: Path
) -> None:
    """Also where size and time are the same: it is hashed before it is sent."""
    export_to(objects, person.paths)
    damaged = wheels.sdist(dists, "one", "2.0")
    export_to(Bucket(), person.paths)
    status = damaged.stat()
    damaged.write_bytes(bytes(status.st_size))
    os.utime(damaged, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(InsidersError, match="one of its files is damaged"):
        steps(objects, person)
    assert [step for step in objects.steps if "2.0" in step or "simple" in step] == []


def test_each_object_is_looked_at_once_however_many_names_are_held(
    objects: Bucket, person: Person, dists: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be the product of both, for thousands of repositories without a release."""
    held_names.hold(person.paths, {f"held-{number}": "me/held" for number in range(3)})
    export_to(objects, person.paths)
    asked: list[str] = []

    def projects_of(name: str) -> frozenset[str]:
        asked.append(name)
        return distribution.projects_of(name)

    monkeypatch.setattr(bucket, "distribution", SimpleNamespace(projects_of=projects_of))
    assert steps(objects, person)[1] == []
    assert sorted(asked) == sorted(path.name for path in dists.glob("*-*"))


def test_a_bucket_of_others_is_refused(objects: Bucket, person: Person, dists: Path) -> None:
    obstore.put(objects.memory, "packages/mine.whl", b"mine")
    with pytest.raises(InsidersError, match="is not empty, and was not created by"):
        export_to(objects, person.paths)
    assert objects.steps == []


@pytest.mark.parametrize("place", ["simple/two-three/", "packages/", "other/"])
def test_an_export_inside_another_one_stays(
    objects: Bucket, person: Person, dists: Path, place: str
) -> None:
    """Several machines may export to one bucket, and a prefix may have any name."""
    export_to(objects, person.paths)
    inner = {f"{place}{key}": objects.get(key) for key in objects.list()}
    for key, content in inner.items():
        obstore.put(objects.memory, key, content)
    assert export_to(objects, person.paths).removed == 0
    assert all(objects.get(key) == content for key, content in inner.items())


def test_a_yank_changes_pages_alone(objects: Bucket, person: Person, dists: Path) -> None:
    export_to(objects, person.paths)
    YANKED.save(dists, {"one": {"1.1": "broken"}}, person.paths.state)
    _, done = steps(objects, person)
    assert {"simple/one/index.html", "simple/one/index.json"} <= set(done)
    assert not any("packages" in step for step in done)


@pytest.mark.parametrize(
    "target",
    [
        "s3://key:secret@bucket/x",
        "ftp://host/x",
        "s3://",
        "s3://b/x?y=z",
        "s3://b/x//y",
        "S3://b",
        "s3://b/..",
        "s3://b/x/../y",
        "s3://b/./x",
    ],
)
def test_other_urls_are_wrong_usage(target: str) -> None:
    """A password in it is not shown."""
    with pytest.raises(UsageError) as error:
        bucket.is_url(target)
    assert "secret" not in f"{error.value.message} {error.value.hint}"


def test_targets() -> None:
    found = {it: bucket.is_url(it) for it in ("web", "/srv/s3:", "s3:/x", "s3://b", "gs://b/x/y/")}
    assert found == {"web": False, "/srv/s3:": False, "s3:/x": False, "s3://b": True,
                     "gs://b/x/y/": True}  # fmt: skip


def test_without_the_library_there_is_a_hint(person: Person, dists: Path) -> None:
    """It is an extra; everything else works without it."""
    program = (
        "import sys; sys.modules['obstore'] = None\n"
        "from pypi_insiders.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "export", URL],
        env=person.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        [
            f"error: cannot export to {URL}: obstore is not installed",
            "hint: in the clone, `uv tool install --reinstall '.[object-store]'`",
        ],
    )
