"""Measure how `status` and `doctor` grow with the repositories."""

from pathlib import Path

import bench_status
import growth
from bench_tools import COMMAND, Goal, costs, home_environment
from fixtures import Person

AT = 1000
GOALS_S = {"status": 0.3, "doctor": 2}
ROUNDS = 3


def measure(directory: Path) -> None:
    """Measure both with 20 releases of two files each, everything unchanged since the last run."""
    used: dict[str, dict[int, float]] = {command: {} for command in GOALS_S}
    took: dict[str, dict[int, float]] = {command: {} for command in GOALS_S}
    for count in growth.repository_counts():
        person = Person(directory / str(count))
        bench_status.furnish(person, count)
        found = costs(
            [(COMMAND, command) for command in GOALS_S], home_environment(person.home), ROUNDS
        )
        for command, (processor_s, elapsed_s) in zip(GOALS_S, found, strict=True):
            used[command][count], took[command][count] = processor_s, elapsed_s
    for command, goal_s in GOALS_S.items():
        growth.row(f"{command}, processor", "s", used[command])
        growth.row_with_goal(f"{command}, elapsed", "s", took[command], AT, Goal(goal_s))
