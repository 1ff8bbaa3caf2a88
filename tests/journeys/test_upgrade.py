"""What the program wrote before its packages were moved is read by this one: an upgrade in place.

`older/` is what it left after three updates of five repositories, one of them removed since: its
state, its record of files, its distributions and `repos.toml`, and the repositories as bundles.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
from fixtures import Person
from projects import git

_OLDER = Path(__file__).parent / "older"
_PLACE = "file:///srv/git"


@pytest.fixture
def upgraded(person: Person, tmp_path: Path) -> Person:
    """Somebody whose files are from then."""
    paths = person.paths
    for name, place in (
        ("config", paths.config),
        ("state", paths.state),
        ("dists", paths.distributions),
    ):
        shutil.copytree(_OLDER / name, place)
    for bundle in (_OLDER / "git").iterdir():
        remote = tmp_path / "git" / "me" / f"{bundle.stem}.git"
        git(tmp_path, "clone", "--quiet", "--bare", str(bundle), str(remote))
    for path in (paths.repositories, *(paths.state / "repositories").rglob("*.json")):
        path.write_text(path.read_text().replace(_PLACE, f"file://{tmp_path}/git"))
    return person


def test_nothing_is_forgotten(upgraded: Person) -> None:
    """What is served, yanked, taken back, held, given up or failing."""
    told = json.loads(upgraded.run("status", "--json", status=1).stdout)
    assert {item["name"]: item["served_version"] for item in told["repositories"]} == {
        "me/probe": "1.1", "me/taken": None, "me/unbuilt": None, "me/failing": None,
    }  # fmt: skip
    assert [(item["subject"], item["text"].partition(":")[0]) for item in told["problems"]] == [
        ("me/taken", "taken has no release"),
        ("me/unbuilt", "unbuilt has no release yet"),
        ("me/failing", "failing has no release"),
    ]
    before = upgraded.distributions()
    done = upgraded.run("update", status=1)
    assert re.sub(r" in [\d.]+ s", "", done.stdout) == (
        "Checked 4 repositories, published 2 files; 1 failed: me/failing\n"
    )
    new = ["unbuilt-1.0-py3-none-any.whl", "unbuilt-1.0.tar.gz"]
    assert upgraded.distributions() == sorted([*before, *new])
    for name in ("probe-1.0.tar.gz", "probe-1.1-py3-none-any.whl"):
        served = upgraded.paths.distributions / name
        assert served.read_bytes() == (_OLDER / "dists" / name).read_bytes()
    state = json.loads((upgraded.paths.state / "repositories/me/failing.json").read_text())
    assert list(state["failures"]) == ["v1.0"]
    shown = json.loads(upgraded.run("show", "me/probe", "--json").stdout)
    assert [(item["version"], item["yank_reason"]) for item in shown["builds"]] == [
        ("1.1", None), ("1.0", "a reason"),
    ]  # fmt: skip
