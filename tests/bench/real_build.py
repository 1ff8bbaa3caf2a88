"""Watch one real repository in a home of its own, build some releases, and compare them."""

import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import real_compare
from bench_tools import COMMAND, home_environment
from packaging.version import Version
from pypi_simple import DistributionPackage, NoSuchProjectError, PyPISimple

_MOST_HINTS = 3
_LINE_CHARS = 300
_SHOWN = 4
_SET = re.compile(r"`(pypi-insiders repos set [^`]+)`")
_GIT_CONFIG = """\
[safe]
    directory = *
[uploadpack]
    allowFilter = true
"""


@dataclass
class Release:
    """A release that was built, or that should have been."""

    tag: str
    version: str = ""
    wrong: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    """Members that differ, for those who want to know more."""
    wheels: int = 0
    """Those that the registry has too."""
    same: int = 0
    unpacked_same: int = 0
    is_public: bool = True
    """Whether the registry has it."""


@dataclass
class Outcome:
    """How one repository went."""

    name: str
    backend: str = ""
    tags: int = 0
    releases: list[Release] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    """The commands that the program named and that were run."""
    problems: list[str] = field(default_factory=list)
    sandboxed: set[bool] = field(default_factory=set)
    reason: str = ""
    """What the options say about its differences."""

    @property
    def result(self) -> str:
        """Return how it went.

        It is right if all its releases that the registry has are as the registry's, explained if
        each difference is, and else wrong.
        """
        compared = [release for release in self.releases if release.is_public]
        is_wrong = self.problems or not compared or any(release.wrong for release in compared)
        if is_wrong:
            return "explained" if self.reason else "wrong"
        return "explained" if any(release.explained for release in compared) else "right"


@dataclass(frozen=True)
class Trial:
    """One repository that is tried.

    Args:
        name: `NS/PROJ`.
        clone: its bare clone.
        home: an empty directory, in which it is watched.
        options: keys of repos.toml; `reason` explains its differences.
        releases: how many are built, the newest first.
    """

    name: str
    clone: Path
    home: Path
    options: Mapping[str, Any]
    releases: int

    def run(self, registry: PyPISimple) -> Outcome:
        """Watch, build and compare."""
        (self.home / ".gitconfig").write_text(_GIT_CONFIG)
        outcome = Outcome(self.name, reason=self.options.get("reason", ""))
        outcome.tags = len(self._git("for-each-ref", "--format=x", "refs/tags").splitlines())
        self._watch(outcome)
        shown = self._build(outcome)
        by_tag = {failure["tag"]: failure["message"] for failure in shown["failures"]}
        outcome.releases = [Release(tag, wrong=[text]) for tag, text in by_tag.items()]
        if not by_tag:
            outcome.problems += [item["text"][:_LINE_CHARS] for item in shown["problems"]]
        for build in sorted(shown["builds"], key=lambda it: Version(it["version"]), reverse=True):
            outcome.sandboxed.add(build["sandboxed"])
            outcome.releases.append(self._compare(build, shown, registry))
        if outcome.releases:
            outcome.backend = self._backend(outcome.releases[0].tag, shown["settings"])
        return outcome

    def _watch(self, outcome: Outcome) -> None:
        url = f"file://{self.clone}"
        added = self._call(
            "repos", "add", self.name, "--url", url, "--backfill", str(self.releases)
        )
        keys = [
            f"{key}={_written(value)}" for key, value in self.options.items() if key != "reason"
        ]
        if keys:
            self._call("repos", "set", self.name, *keys)
        else:
            self._follow(added, outcome)

    def _build(self, outcome: Outcome) -> dict[str, Any]:
        for _ in range(_MOST_HINTS + 1):
            said = self._call("update", self.name)
            shown: dict[str, Any] = json.loads(self._call("show", self.name, "--json", out=True))
            if not self._follow(said + json.dumps(shown), outcome):
                break
        return shown

    def _follow(self, said: str, outcome: Outcome) -> bool:
        """Run the commands of hints, as a user would; return whether there were any."""
        found = [command for command in hinted(said) if command not in outcome.hints]
        for command in found:
            outcome.hints.append(command)
            self._call(*shlex.split(command)[1:])
        return bool(found)

    def _call(self, *words: str, out: bool = False) -> str:
        """Run the program; return what it writes for people, or with `out` its result."""
        done = subprocess.run(
            (COMMAND, *words),
            env=home_environment(self.home),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        with (self.home / "log").open("a") as log:
            log.write(f"$ pypi-insiders {shlex.join(words)}\n{done.stderr}")
        return done.stdout if out else done.stderr

    def _git(self, *words: str) -> str:
        return subprocess.run(
            ("git", "-C", self.clone, *words),
            env=home_environment(self.home),
            capture_output=True,
            text=True,
        ).stdout

    def _backend(self, tag: str, settings: Mapping[str, Any]) -> str:
        place = Path(settings.get("subdirectory", ".")) / "pyproject.toml"
        try:
            document = tomllib.loads(self._git("show", f"{tag}:{place}"))
        except tomllib.TOMLDecodeError:
            return "?"
        backend = document.get("build-system", {}).get("build-backend")
        return backend or "setuptools, without pyproject.toml"

    def _compare(
        self, build: Mapping[str, Any], shown: Mapping[str, Any], registry: PyPISimple
    ) -> Release:
        project = shown["project"]
        release = Release(build["tag"], build["version"])
        packages = list(_packages(registry, project, build["version"]))
        if not packages:
            release.is_public = False
            release.explained.append(f"the registry has no {project} {build['version']}")
            return release
        names = [package.filename for package in packages]
        found = []
        for file in build["files"]:
            name = real_compare.counterpart(file["name"], names)
            if name is not None:
                package = next(it for it in packages if it.filename == name)
                there = self.home / "registry" / name
                registry.download_package(package, there)
                here = self.home / ".local/share/pypi-insiders/dists" / file["name"]
                found.append(real_compare.compare(here, there))
            elif any(real_compare.kind(name) == real_compare.kind(file["name"]) for name in names):
                release.wrong.append(f"{file['name']} is not among {_listed(names)}")
            else:
                release.explained.append(f"no {real_compare.kind(file['name'])} there")
        _judge(found, release, self._tracked(build["tag"], shown["settings"]))
        return release

    def _tracked(self, tag: str, settings: Mapping[str, Any]) -> set[str]:
        """Return the files of the project in its repository."""
        subdirectory = settings.get("subdirectory", "")
        listed = self._git("ls-tree", "-r", "-z", "--name-only", f"{tag}:{subdirectory}")
        return set(listed.split("\0"))


def hinted(said: str) -> list[str]:
    """Return the commands in hints that change the repository and have nothing to be filled in."""
    return [
        command
        for command in dict.fromkeys(_SET.findall(said))
        if not re.search(r"=[A-Z]+(?: |$)", command)
    ]


def _judge(
    found: Sequence[real_compare.Comparison], release: Release, tracked: Collection[str]
) -> None:
    wheels = [item for item in found if item.name.endswith(".whl")]
    # An sdist does not tell what made it.
    backends = next(filter(None, (item.backends for item in wheels)), "")
    for item in found:
        judgement = real_compare.judge(item, backends, tracked)
        release.wrong += judgement.wrong
        release.explained += judgement.explained
        release.differences += _differences(item)
    release.explained = list(dict.fromkeys(release.explained))
    release.wheels = len(wheels)
    release.same = sum(item.is_same for item in wheels)
    release.unpacked_same = sum(item.is_unpacked_same for item in wheels)


def _differences(found: real_compare.Comparison) -> Iterator[str]:
    if found.packing and found.is_unpacked_same:
        yield f"{found.name}: packed with other {', '.join(found.packing)}"
    for what, members in (
        ("only here", found.only_here),
        ("only there", found.only_there),
        ("of other content", found.changed),
        ("in another order", found.reordered),
        ("fields of other values", tuple(f"{key} ({how})" for key, how in found.fields.items())),
    ):
        if members:
            yield f"{found.name}: {what}: {_listed(members)}"


def _packages(registry: PyPISimple, project: str, version: str) -> Iterator[DistributionPackage]:
    try:
        page = registry.get_project_page(project)
    except NoSuchProjectError:
        return
    for package in page.packages:
        # Names of long ago that are no names of a version are passed over.
        if package.version is not None and _is_version(package.version, version):
            yield package


def _is_version(text: str, version: str) -> bool:
    try:
        return Version(text) == Version(version)
    except ValueError:
        return False


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
