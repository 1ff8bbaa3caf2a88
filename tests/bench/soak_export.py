"""Kill exports of a large index to a directory, again and again. Run by `make soak`.

`SOAK_SIGKILLS` sets how many are killed, at most 30: each is compared with a fresh export.
"""

import json
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from fixtures import Person
from growth_export import NEW, VERSIONS, furnish, publish
from soak_update import begin, end

from pypi_insiders.server.exporting.directory import COMPARED_AT_ONCE

pytestmark = pytest.mark.timeout(0)

KILLS = min(30, int(os.environ.get("SOAK_SIGKILLS", "30")))
_HELD = "secret"
_Change = Callable[[Person, int], object]


def _hold(person: Person, number: int, name: str = _HELD) -> None:
    person.run(
        "repos", "add", f"me/{name}-{number}:{name}-{number}", "--no-check",
        "--url", f"file:///nowhere/{name}-{number}.git",
    )  # fmt: skip


def _project(person: Person, number: int) -> None:
    _hold(person, number, "new")
    publish(person, f"new-{number}", "1.0")


CHANGES: dict[str, _Change] = {
    # The first is exported as a change; the others as everything.
    "file": lambda person, number: publish(person, NEW, f"{VERSIONS + number + 1}.0"),
    "project": _project,
    "held name": _hold,
    "unpublish": lambda person, number: person.run("unpublish", "--yes", NEW, f"{number + 1}.0"),
    "yank": lambda person, number: person.run("yank", "proj-1", f"{number + 1}.0"),
}
# Every other one is of the first kind.
_ORDER = [name for other in list(CHANGES)[1:] for name in ("file", other)]


def contents(place: Path) -> dict[str, bytes]:
    """Return all files of a directory, also hidden ones."""
    found = {}
    for directory, _, names in os.walk(place):
        for name in names:
            path = Path(directory, name)
            found[str(path.relative_to(place))] = path.read_bytes()
    return found


def pages(web: Path) -> set[str]:
    """Return the projects that have pages; each file on one is there."""
    found = set()
    for page in web.glob("simple/*/index.json"):
        assert page.with_name("index.html").is_file()
        found.add(page.parent.name)
        for file in json.loads(page.read_bytes())["files"]:
            path = web / "packages" / file["filename"]
            assert path.stat().st_size == file["size"]
            assert path.with_name(f"{path.name}.metadata").is_file()
    listed = json.loads((web / "simple/index.json").read_bytes())["projects"]
    assert {item["name"] for item in listed} <= found
    return found


def test_killed_exports(person: Person, tmp_path: Path) -> None:
    """No name leads to the fallback index, no page to a missing file; the next one completes."""
    web, other, steps = (tmp_path / name for name in ("web", "other", "steps"))
    furnish(person, COMPARED_AT_ONCE + VERSIONS)
    _hold(person, 0)
    person.run("export", web)
    configuration = (web / "nginx.conf").read_bytes()
    export = ("export", web)
    usual_s, known, seen = dict[str, float](), dict[str, list[str]](), Counter[str]()

    def run(at_step: int | None, after_s: float) -> int:
        process_id = begin(person, export, at_step, steps, is_group=False)
        return end(process_id, after_s, is_group=False)

    def change(kind: str) -> None:
        seen[kind] += 1
        CHANGES[kind](person, seen[kind])

    for kind in CHANGES:
        change(kind)
        begun = datetime.now()
        assert run(None, 600) == 0
        usual_s[kind] = (datetime.now() - begun).total_seconds()
        known[kind] = steps.read_text().splitlines()
        steps.unlink()
        # Where all is exported, also the directories that have not changed.
        is_change = f"os.mkdir {web}/simple/proj-50" not in known[kind]
        assert is_change == (kind == "file"), kind
        print(f"{kind}: {len(known[kind])} steps, {usual_s[kind]:.2f} s")
    ended = Counter[tuple[str, int]]()
    chance = random.Random(KILLS)
    for number in range(KILLS):
        kind = _ORDER[number % len(_ORDER)]
        before = pages(web)
        change(kind)
        # At one of its steps, or at any moment.
        at_step = chance.randint(1, len(known[kind])) if number % 4 < 2 else 0
        after_s = 600 if at_step else chance.uniform(0, usual_s[kind])
        status = run(at_step, after_s)
        assert status in (0, -signal.SIGKILL), (person.home / "soak.log").read_text()
        ended[kind, status] += 1
        at = f"{kind}, step {at_step} of {len(known[kind])}, {after_s:.3f} s"
        assert before <= pages(web), at
        assert (web / "nginx.conf").read_bytes() == configuration, at
        person.run("export", web)
        person.run("export", other)
        assert contents(web) == contents(other), at
        shutil.rmtree(other)
    print(f"{KILLS} exports: {dict(ended)}")
