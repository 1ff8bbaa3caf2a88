"""How the costs grow with the repositories and the files. Run by `make bench growth`.

A part is a module `growth_*` beside this one with `measure(directory)`; `bench.py growth update`
measures only `growth_update`. `GROWTH_SIZES=10,100` measures fewer repositories, and
`GROWTH_FILES=20,2000` fewer files.
"""

import math
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from bench_tools import Goal

REPOSITORIES = "10,100,1000,5000"
FILES = "20,2000,50000,200000"
_PREFIX = "growth_"


def repository_counts() -> list[int]:
    """Return how many repositories are measured, ascending."""
    return _numbers("GROWTH_SIZES", REPOSITORIES)


def file_counts() -> list[int]:
    """Return how many files are measured, ascending."""
    return _numbers("GROWTH_FILES", FILES)


def row(what: str, unit: str, measured: Mapping[int, float], *, goal: str = "") -> None:
    """Print a value for each size, and the slope: 1 is proportional to the size, 0 constant."""
    values = "  ".join(f"{size:,}: {value:,.3g}" for size, value in sorted(measured.items()))
    print(f"{what} [{unit}]  {values}  slope {slope(measured):.2f}  {goal}".rstrip(), flush=True)


def row_with_goal(what: str, unit: str, measured: Mapping[int, float], at: int, goal: Goal) -> None:
    """Print a value for each size, and whether that of one size meets a goal."""
    says = f"at {at:,}: {goal.says(measured[at])}" if at in measured else ""
    row(what, unit, measured, goal=says)


def slope(measured: Mapping[int, float]) -> float:
    """Return the exponent of growth between the two largest sizes; NaN for fewer."""
    points = sorted(measured.items())[-2:]
    if len(points) < 2:
        return math.nan
    (small, low), (large, high) = points
    return math.log(max(high, 1e-9) / max(low, 1e-9)) / math.log(large / small)


def growth(named: Sequence[str]) -> None:
    """Measure all parts, or those that are named."""
    here = Path(__file__).parent
    parts = sorted(path.stem.removeprefix(_PREFIX) for path in here.glob(f"{_PREFIX}*.py"))
    if unknown := set(named) - set(parts):
        sys.exit(
            f"no such part of growth: {', '.join(sorted(unknown))} (there are: {', '.join(parts)})"
        )
    for part in named or parts:
        with tempfile.TemporaryDirectory(prefix="pypi-insiders-growth-") as directory:
            import_module(_PREFIX + part).measure(Path(directory))


def _numbers(variable: str, default: str) -> list[int]:
    return sorted(int(word) for word in os.environ.get(variable, default).split(","))
