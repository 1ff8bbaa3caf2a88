"""Build releases of real projects, and compare them with the registry's. Run by `make real`.

`real.py DIR` takes each `DIR/NS/PROJ.git`, a bare clone with all its tags; `real.py DIR NS/PROJ...`
only these. The registry is the index that pip is configured to use.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

from machine import Machine, Unavailable
from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple
from real_build import Outcome, Release, Trial

_COLUMNS = (
    "project",
    "backend",
    "tags",
    "versions",
    "wheels",
    "equal",
    "unpacked",
    "result",
    "reason",
)
_REASON_CHARS = 600
_ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 24 * 3600
# Of lines that are no part of the table: from inside there is one stream.
_PROGRESS = "> "


def main() -> None:
    """Print a table, and exit with 1 if a project is wrong."""
    arguments = _parse()
    if arguments.inside:
        sys.exit(_try_all(arguments, sys.stdout))
    words = [*sys.argv[1:], "--index-url", arguments.index_url or _index_url(), "--inside"]
    directories = [arguments.directory, _ROOT, *arguments.expose]
    if arguments.options:
        directories.append(arguments.options.resolve().parent)
    try:
        with Machine(directories) as machine:
            program = (sys.executable, Path(__file__).resolve())
            inside = machine.start(*program, *words, machine.home)
            for line in inside.lines(lambda: _PATIENCE_S):
                is_told = line.startswith(_PROGRESS)
                print(
                    line.removeprefix(_PROGRESS), file=sys.stderr if is_told else None, flush=True
                )
            status = inside.wait(_PATIENCE_S)
            sys.stderr.write(inside.stderr_text())
    except Unavailable as error:
        print(f"builds are not in a sandbox: {error}", file=sys.stderr)
        status = _try_all(_parse([*words, tempfile.gettempdir()]), sys.stderr)
    sys.exit(status)


def _parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=lambda text: Path(text).resolve())
    parser.add_argument("names", nargs="*", metavar="NS/PROJ")
    parser.add_argument(
        "--options",
        type=lambda text: Path(text).resolve(),
        help="TOML file: a table for each NS/PROJ, with keys of repos.toml, and `reason`",
    )
    parser.add_argument("--releases", type=int, default=3, help="how many of each (default: 3)")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (default: 2)")
    parser.add_argument("--expose", type=Path, action="append", default=[], metavar="DIR",
                        help="a directory that builds need, such as one of compilers")  # fmt: skip
    parser.add_argument("--index-url", help="the registry (default: pip's)")
    parser.add_argument("--logs", type=Path, help="where logs go, writable for all")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    return parser.parse_intermixed_args(words)


def _index_url() -> str:
    if url := os.environ.get("PIP_INDEX_URL"):
        return url
    found = subprocess.run(
        (sys.executable, "-m", "pip", "config", "get", "global.index-url"),
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() or PYPI_SIMPLE_ENDPOINT


def _try_all(arguments: argparse.Namespace, progress: TextIO) -> int:
    """Try all repositories, and print the table."""
    options = tomllib.loads(arguments.options.read_text()) if arguments.options else {}
    clones = {
        f"{path.parent.name}/{path.name.removesuffix('.git')}": path
        for path in sorted(arguments.directory.glob("*/*.git"))
    }
    if not clones:
        sys.exit(f"{arguments.directory} has no bare clones, such as NS/PROJ.git")
    if unknown := set(arguments.names) - set(clones):
        sys.exit(f"{arguments.directory} has no {', '.join(sorted(unknown))}")
    names = arguments.names or list(clones)
    if arguments.index_url != PYPI_SIMPLE_ENDPOINT:
        os.environ["UV_DEFAULT_INDEX"] = arguments.index_url  # the home has no settings of yours
    with tempfile.TemporaryDirectory(prefix="pypi-insiders-real-", dir=arguments.inside) as homes:
        os.environ["UV_CACHE_DIR"] = f"{homes}/uv"

        def attempt(name: str) -> Outcome:
            with tempfile.TemporaryDirectory(dir=homes) as home:
                trial = Trial(
                    name, clones[name], Path(home), options.get(name, {}), arguments.releases
                )
                outcome = _attempt(trial, arguments)
                print(f"{_PROGRESS}{name}: {outcome.result}", file=progress, flush=True)
                return outcome

        with ThreadPoolExecutor(arguments.jobs) as pool:
            outcomes = list(pool.map(attempt, names))
    print("\n".join(table(outcomes)))
    return 0 if all(outcome.result != "wrong" for outcome in outcomes) else 1


def _attempt(trial: Trial, arguments: argparse.Namespace) -> Outcome:
    try:
        with PyPISimple(arguments.index_url) as registry:
            outcome = trial.run(registry)
    except Exception as error:  # the others are tried nevertheless
        outcome = Outcome(trial.name, problems=[f"{type(error).__name__}: {error}"])
    if arguments.logs:
        stem = arguments.logs / trial.name.replace("/", "+")
        log = trial.home / "log"
        if log.exists():
            Path(f"{stem}.log").write_text(log.read_text())
        document: dict[str, Any] = dataclasses.asdict(outcome) | {
            "sandboxed": sorted(outcome.sandboxed)
        }
        Path(f"{stem}.json").write_text(json.dumps(document, indent=2))
    return outcome


def table(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Yield the lines of a Markdown table, and of what it adds up to."""
    outcomes = list(outcomes)
    yield f"| {' | '.join(_COLUMNS)} |"
    yield "|---" * len(_COLUMNS) + "|"
    for outcome in outcomes:
        yield f"| {' | '.join(_cells(outcome))} |"
    releases = [release for outcome in outcomes for release in outcome.releases]
    wheels = sum(release.wheels for release in releases)
    results = Counter(outcome.result for outcome in outcomes)
    yield ""
    yield (
        f"{results['right']} of {len(outcomes)} projects right, {results['explained']} explained, "
        f"{results['wrong']} wrong. Of {wheels} "
        f"wheels that the registry has too, {sum(it.same for it in releases)} are equal byte for "
        f"byte, {sum(it.unpacked_same for it in releases)} when unpacked. "
        + ("All builds ran in the sandbox." if _is_sandboxed(outcomes) else
           "Not all builds ran in the sandbox.")
    )  # fmt: skip
    yield ""
    for outcome in outcomes:
        for release in outcome.releases:
            for line in release.differences:
                yield f"- {outcome.name} {release.version}: {line}"


def _is_sandboxed(outcomes: Iterable[Outcome]) -> bool:
    return all(outcome.sandboxed <= {True} for outcome in outcomes)


def _cells(outcome: Outcome) -> Iterator[str]:
    yield outcome.name
    yield outcome.backend
    yield str(outcome.tags)
    yield ", ".join(release.version or release.tag for release in outcome.releases)
    for number in (
        sum(it.wheels for it in outcome.releases),
        sum(it.same for it in outcome.releases),
        sum(it.unpacked_same for it in outcome.releases),
    ):
        yield str(number)
    hinted = ", with the hint" if outcome.hints else ""
    yield outcome.result + hinted
    said = [*outcome.problems, *(f"`{hint}`" for hint in outcome.hints), outcome.reason]
    said += [text for release in outcome.releases for text in _said(release)]
    yield "; ".join(dict.fromkeys(filter(None, said))).replace("|", "\\|")[:_REASON_CHARS]


def _said(release: Release) -> Iterator[str]:
    for text in release.wrong:
        yield f"{release.version or release.tag}: {text}"
    yield from release.explained


if __name__ == "__main__":
    main()
