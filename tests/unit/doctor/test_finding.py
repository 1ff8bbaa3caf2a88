"""finding: which findings are the same, and how they are printed."""

import json

import pytest
from fixtures import Person

from pypi_insiders.doctor.finding import Finding, Verdict, grouped, warning


@pytest.mark.parametrize(("count", "lines"), [(5, 7), (6, 3)])
def test_what_is_the_same_for_many_repositories_is_one_line(count: int, lines: int) -> None:
    many = [
        Finding("access", Verdict.OK, "is readable by the watcher", None, f"me/p-{number}")
        for number in range(count)
    ]
    first = Finding("access", Verdict.PROBLEM, "cannot be read by the watcher", "try", "me/first")
    last = warning("access", "is readable by the watcher", None)
    found = list(grouped([first, *many, last]))
    assert (found[0], found[-1], len(found)) == (first, last, lines)
    if lines == 3:
        named = "me/p-0, me/p-1, me/p-2 and 3 more"
        assert found[1].line == f"access: each of {named} is readable by the watcher"


def test_what_is_the_same_for_many_subjects_is_one_line() -> None:
    found = list(grouped([warning(f"me/p-{number}", "not asked", "try") for number in range(7)]))
    assert [item.line for item in found] == ["me/p-0, me/p-1, me/p-2 and 4 more: not asked"]


def test_doctor_prints_one_line_for_many_and_all_in_json(person: Person) -> None:
    """A thousand repositories of a host that is down would hide everything else."""
    nowhere = '["me/p-{0}"]\nurl = "https://127.0.0.1:9/p"\nproject = "p-{0}"\n'
    person.paths.repositories.parent.mkdir(parents=True, exist_ok=True)
    person.paths.repositories.write_text("".join(map(nowhere.format, range(6))))
    lines = person.run("doctor", status=1).stdout.splitlines()
    (access,) = [line for line in lines if "access: " in line]
    assert access.startswith("warning  access: each of me/p-0, me/p-1, me/p-2 and 3 more cannot be")
    found = json.loads(person.run("doctor", "--json", status=1).stdout)["findings"]
    names = [item["repository"] for item in found if item["check"] == "access"]
    assert names == [f"me/p-{number}" for number in range(6)]
