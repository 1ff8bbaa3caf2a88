"""What the parts of the benchmark share: an environment, a clock and a table."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

BIN = Path(sys.executable).parent
COMMAND = BIN / "pypi-insiders"
Argv = tuple[str | Path, ...]
_COLUMNS = "{:52} {:>10} {:>10} {:>7}  {:40} {}"


class Goal(NamedTuple):
    """What a value must not be above, or must not be below."""

    value: float
    at_least: bool = False

    def says(self, value: float) -> str:
        """Tell the goal, and whether a value meets it."""
        is_met = value >= self.value if self.at_least else value <= self.value
        sign = ">=" if self.at_least else "<="
        return f"{sign} {self.value:g} {'met' if is_met else 'MISSED'}"


def home_environment(home: Path) -> dict[str, str]:
    """Make the environment of somebody who lives in an empty home."""
    left_out = ("XDG_", "PYTHONDONTWRITEBYTECODE")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        kept["XDG_RUNTIME_DIR"] = session  # where the user manager is, in which builds are confined
    return kept | {"HOME": str(home)}


def run(*argv: str | Path, env: Mapping[str, str]) -> str:
    """Run a command that must succeed; return what it prints."""
    done = subprocess.run(argv, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"{argv} ended with {done.returncode}\n{done.stderr}")
    return done.stdout


def timed(call: Callable[[], object]) -> float:
    """Time one call, in seconds."""
    begun_s = time.perf_counter()
    call()
    return time.perf_counter() - begun_s


def in_turn(
    mine: Callable[[], object], other: Callable[[], object], runs: int
) -> tuple[float, float]:
    """Time two calls in turn, after one that does not count; return the medians, in seconds."""
    mine()
    other()
    pairs = [(timed(mine), timed(other)) for _ in range(runs)]
    ours_s, other_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    return ours_s, other_s


def cost(argv: Argv, env: Mapping[str, str]) -> tuple[float, float]:
    """Run a command without output; return its processor time with that of its children, and how
    long it took, in seconds.
    """
    nothing = [
        (os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_RDWR, 0) for descriptor in range(3)
    ]
    begun_s = time.perf_counter()
    child = os.posix_spawn(argv[0], list(map(str, argv)), dict(env), file_actions=nothing)
    _, status, used = os.wait4(child, 0)
    took_s = time.perf_counter() - begun_s
    if os.waitstatus_to_exitcode(status) not in (0, 1, 3):  # 1 and 3 are states of `status`
        sys.exit(f"{argv} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime, took_s


def costs(
    commands: Sequence[Argv], env: Mapping[str, str], rounds: int
) -> list[tuple[float, float]]:
    """Measure commands in turn, after a round that does not count; return the medians of each."""
    found = [[cost(argv, env) for argv in commands] for _ in range(rounds + 1)][1:]
    by_command = zip(*found, strict=True)
    return [
        (statistics.median(cpu for cpu, _ in runs), statistics.median(took for _, took in runs))
        for runs in by_command
    ]


def without_proxy_here() -> None:
    """Lead no client through a proxy to what runs on this machine: it would be measured too."""
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(
        ("127.0.0.1", *filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"),)))
    )


def head() -> None:
    """Print the first line of a table."""
    print(_COLUMNS.format("what", "ours", "other", "ratio", "other is", "goal").rstrip())


def row(  # noqa: PLR0913  # one for each column
    what: str,
    ours: str,
    other: str = "",
    ratio: float | None = None,
    named: str = "",
    *,
    goal: str = "",
) -> None:
    """Print one line of a table."""
    shown = "" if ratio is None else f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"
    print(_COLUMNS.format(what, ours, other, shown, named, goal).rstrip(), flush=True)


def row_of_times(what: str, ours_s: float, other_s: float, named: str, *, goal: str = "") -> None:
    """Print one line of a table, in milliseconds."""
    ratio = ours_s / other_s
    row(what, milliseconds(ours_s), milliseconds(other_s), ratio, named, goal=goal)


def milliseconds(value_s: float) -> str:
    """Write a time for the table."""
    return f"{value_s * 1000:.0f} ms"
