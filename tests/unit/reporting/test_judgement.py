"""reporting.judgement: what is told of what files say."""

from datetime import UTC, datetime

import wheels
from fixtures import Person

from pypi_insiders.reporting import snapshot
from pypi_insiders.reporting.judgement import judge
from pypi_insiders.repositories import state
from pypi_insiders.repositories.state import Check
from pypi_insiders.util.plain_text import one_line


def test_no_file_writes_to_the_terminal(person: Person) -> None:
    """Neither by a message in it nor by a name."""
    directory = person.paths.distributions
    directory.mkdir(parents=True)
    (directory / ".taken-back.json").write_text(r'{"x\u001b[2J\n": {"1.0": "unpublished"}}')
    problems = judge(snapshot.take(person.paths, datetime.now(UTC))).problems
    assert [item.line for item in problems] == [one_line(item.line) for item in problems]
    assert len(problems) == 1


def test_a_message_of_nothing_that_can_be_shown(person: Person) -> None:
    """It is still a warning, with a text."""
    person.paths.config.mkdir(parents=True)
    person.paths.repositories.write_text('["me/probe"]\nproject = "probe"\n')
    state.save_checks(person.paths.state, {"me/probe": Check(1, warnings=["\n\x1b[2J"])})
    warnings = judge(snapshot.take(person.paths, datetime.now(UTC))).warnings
    assert "me/probe: no reason given" in [item.line for item in warnings]


def test_releases_of_a_repository_without_any_state_are_not_well(person: Person) -> None:
    """They were lost, with the hashes by which a changed file would be seen."""
    person.paths.config.mkdir(parents=True)
    person.paths.distributions.mkdir(parents=True)
    person.paths.repositories.write_text('["me/probe"]\nproject = "probe"\n')
    wheels.sdist(person.paths.distributions, "probe", "1.0")

    def warnings() -> list[str]:
        return [it.line for it in judge(snapshot.take(person.paths, datetime.now(UTC))).warnings]

    assert warnings() == [
        "me/probe: never checked, so it is unknown whether the releases of probe that are served "
        "are its own"
    ]
    state.save_checks(person.paths.state, {"me/probe": Check(1, tried_at=1)})
    assert warnings() == []
