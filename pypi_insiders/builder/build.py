"""Build an sdist and wheels from a source tree, with `build`."""

import contextlib
import itertools
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from pypi_insiders.builder import configuration, environments, hook_variables
from pypi_insiders.builder.artifacts import Distributions, check, release_of
from pypi_insiders.builder.backend_answers import answer_of
from pypi_insiders.builder.environments import Bytecode, Environment, RequirementError
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.builder.launcher import Launcher, Mounts
from pypi_insiders.index import archives, distribution
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import hint_for, shortage
from pypi_insiders.util.process_group import Command
from pypi_insiders.util.trees import open_to_us, remove_foreign_tree

# `build` and its kin are imported where something is built: most updates have nothing to build.
if TYPE_CHECKING:
    from build import DistributionType

_log = logging.getLogger(__name__)

HOOK_TIMEOUT_S = 3600
_FIRST_USE = threading.Lock()
_LINE_CHARS = 400
_SHOWN = 20


@dataclass(frozen=True)
class Recipe:
    """How a release is built."""

    epoch_s: int
    """The clock of the build: the time of the commit, in seconds of the epoch."""
    subdirectory: str = "."
    """Where in the source tree the project lies."""
    pythons: tuple[str, ...] = ()
    """For which interpreters; none: for the one that runs us."""
    network: bool = False
    """Whether its hooks may use HTTP and HTTPS to other machines."""
    as_of_commit: bool = True
    """Whether build requirements are those of the time of the commit."""
    readable: tuple[Path, ...] = ()
    """What the hooks may read beside the source tree."""
    bytecode: Bytecode | None = None
    """That of build requirements, shared with other builds."""


def build_distributions(
    source: Path, workspace: Path, recipe: Recipe, launcher: Launcher
) -> Distributions:
    """Build an sdist from a source tree, and wheels from that sdist, in isolated environments.

    The same source tree and recipe give the same bytes, as far as its build backend lets them.

    Args:
        source: a source tree below the workspace.
        workspace: an existing directory for everything that comes up; the results lie in it.
        recipe: how it is built.
        launcher: starts its build hooks.

    Raises:
        BuildError: the project does not build, or what it built does not agree with itself.
        InsidersError: it cannot be built now, for no reason of its own.

    Source: PEP 517; https://reproducible-builds.org/specs/source-date-epoch/
    """
    with _FIRST_USE:
        # Its first call is not safe in threads: https://github.com/python/cpython/issues/92452
        sysconfig.get_config_vars()
    work = _Work(workspace, recipe, launcher)
    with _translated(work):
        unpacked = work.sdist(source)
        wheels = work.wheels(unpacked, source)
        return check(work.finished / f"{unpacked.name}.tar.gz", wheels, work.requirements)


class _Work:
    """One build: a workspace, the environments in it, and what its hooks wrote."""

    def __init__(self, workspace: Path, recipe: Recipe, launcher: Launcher) -> None:
        self.output = ""
        self.requirements: dict[str, str] = {}
        self.finished = workspace / "finished"
        self._workspace = workspace
        self._recipe = recipe
        self._launcher = launcher
        self._dist = workspace / "dist"
        self._home = workspace / "home"
        self._taken_directory = workspace / "built"
        for directory in (self.finished, self._dist, self._home, self._taken_directory):
            directory.mkdir()
        self._runs = 0
        self._environments: dict[tuple[str, frozenset[str]], Environment] = {}

    def sdist(self, source: Path) -> Path:
        """Build an sdist, pack it anew in a fixed form, and return it unpacked.

        It is named as its directory.
        """
        pythons = self._pythons()
        project = source / self._recipe.subdirectory
        if not project.resolve().is_relative_to(source.resolve()) or not project.is_dir():
            raise BuildError(f"it has no directory {self._recipe.subdirectory}")
        built = self._build("sdist", project, source, pythons[0])
        directory = self._workspace / "sdist"
        directory.mkdir()
        root = archives.unpack_sdist(built, directory, self._recipe.epoch_s)
        if built.name != f"{root.name}.tar.gz":
            raise BuildError(f"{built.name} must contain the directory {built.name[:-7]}")
        root = root.rename(root.with_name(_clear_name(root.name)))
        archives.pack_sdist(root, self.finished / f"{root.name}.tar.gz", self._recipe.epoch_s)
        return root

    def wheels(self, unpacked: Path, source: Path) -> tuple[Path, ...]:
        """Build wheels from an unpacked sdist, or from the source tree where it lacks files.

        `pip wheel` and `uv build --wheel` build from the tree, so projects exist whose sdist was
        never tried.
        """
        import build

        try:
            return tuple(self._wheels(unpacked, unpacked))
        except build.BuildBackendException as error:
            if not isinstance(error.exception, subprocess.CalledProcessError):
                raise
            cause, output = _last_line(self.output), self.output
            remove_foreign_tree(self._dist)
            self._dist.mkdir()
            try:
                wheels = tuple(self._wheels(source / self._recipe.subdirectory, source))
            except build.BuildBackendException:
                # The tree fails too, so what the sdist lacks is not the reason.
                self.output = output
                raise error from None
        _log.warning("no wheel can be built from %s, so it is built from the source tree: %s",
                     f"{unpacked.name}.tar.gz", cause)  # fmt: skip
        return wheels

    def _wheels(self, project: Path, tree: Path) -> Iterator[Path]:
        """Build a wheel, or one for each interpreter where they differ."""
        done = set()
        for number, python in enumerate(self._pythons()):
            archive = self.finished / f"{project.name}.tar.gz"
            if number and project == tree and archive.exists():
                # As it was before the first build.
                remove_foreign_tree(project)
                archives.unpack_sdist(archive, project.parent, self._recipe.epoch_s)
            built = self._build("wheel", project, tree, python)
            if built.name not in done:
                archives.check(built)
                done.add(built.name)
                yield Path(shutil.move(built, self.finished / built.name))
            if built.name.endswith("-none-any.whl"):
                return

    def _pythons(self) -> list[str]:
        """Find the interpreters that are wanted, those that are here."""
        if not self._recipe.pythons:
            return [sys.executable]
        processes = self._launcher.processes
        found = {
            version: environments.find_python(version, processes, self._workspace)
            for version in self._recipe.pythons
        }
        if missing := [version for version, path in found.items() if path is None]:
            _log.warning("no Python %s is here: no wheel is built for it", ", ".join(missing))
        if not (paths := [path for path in found.values() if path is not None]):
            raise BuildError(f"none of its Pythons is here: {', '.join(found)}")
        return paths

    def _build(self, kind: "DistributionType", project: Path, tree: Path, python: str) -> Path:
        """Run the hooks that build a distribution; return the file.

        Args:
            kind: of the distribution.
            project: the directory of its `pyproject.toml`.
            tree: what the hooks may change, the project in it.
            python: path of the interpreter.
        """
        import build

        configuration.check(project, tree)
        hooks = _Hooks(self, project, tree)
        builder = build.ProjectBuilder(project, "python", hooks)
        required = builder.build_system_requires
        hooks.environment = self._environment(python, required)
        required |= builder.get_requires_for_build(kind)
        hooks.environment = self._environment(python, required)
        builder.build(kind, self._dist)
        return self._taken(kind)

    def _environment(self, python: str, requirements: set[str]) -> Environment:
        """Make an environment, or give the one with the same requirements.

        An environment is never changed: after a hook has run in it, that would not be safe.
        """
        key = (python, frozenset(requirements))
        if key not in self._environments:
            recipe = self._recipe
            self._environments[key] = environments.make(
                self._workspace / f"env-{len(self._environments)}",
                requirements,
                python=python,
                as_of_s=recipe.epoch_s if recipe.as_of_commit else None,
                processes=self._launcher.processes,
            )
            self.requirements |= self._environments[key].versions
            if recipe.bytecode is not None:
                recipe.bytecode.bring(self._environments[key], self._compile)
        return self._environments[key]

    def _compile(
        self, argv: Sequence[str], environment: Environment, output: Path, timeout_s: float
    ) -> Path:
        """Compile modules where build hooks run: they are as foreign."""
        mounts = Mounts(
            self._workspace,
            writable=(output,),
            readable=(environment.directory, *environment.shown),
        )
        environ = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
        self._launcher.run(Command(argv, environ, output, timeout_s), mounts)
        modules = self._launcher.inside(mounts, str(environment.directory / "lib"))
        return output / modules.removeprefix("/")

    def run(self, argv: Sequence[str], place: "_Place", variables: Mapping[str, str]) -> None:
        """Run a hook, and keep what it writes."""
        recipe, environment = self._recipe, place.environment
        mounts = Mounts(
            self._workspace,
            writable=(place.tree, self._dist, self._home, place.control),
            readable=(environment.directory, *environment.shown, *recipe.readable),
            # Not that of the environment, in which a requirement can replace what it imports.
            network=environment.interpreter if recipe.network else None,
        )
        command = Command(
            [str(environment.python), *argv],
            {**self._variables(environment), **variables},
            place.project,
            HOOK_TIMEOUT_S,
        )
        result = self._launcher.run(command, mounts)
        self.output += result.stdout
        for line in result.stdout.splitlines():
            _log.debug("%s", line)
        if result.status != 0:
            raise subprocess.CalledProcessError(result.status, argv)

    def inside(self, text: str) -> str:
        """Write the paths in a text as a hook sees them."""
        return self._launcher.inside(Mounts(self._workspace, ()), text)

    def control(self) -> Path:
        """Make a directory for what goes to and from one run of a hook."""
        self._runs += 1
        directory = self._workspace / f"control-{self._runs}"
        directory.mkdir()
        return directory

    def _variables(self, environment: Environment) -> dict[str, str]:
        inherited = hook_variables.inherited(network=self._recipe.network)
        return {
            **inherited,
            "PATH": f"{environment.python.parent}:{inherited.get('PATH', os.defpath)}",
            "HOME": str(self._home),
            "TMPDIR": str(self._home),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONHASHSEED": "0",
            **self._bytecode(),
            "SOURCE_DATE_EPOCH": str(self._recipe.epoch_s),
        }

    def _bytecode(self) -> dict[str, str]:
        """Keep it out of the source tree."""
        if self._recipe.bytecode is not None:
            return {"PYTHONDONTWRITEBYTECODE": "1"}
        return {"PYTHONPYCACHEPREFIX": str(self._home / ".pycache")}

    def _taken(self, kind: str) -> Path:
        """Take what a hook has built out of its reach; refuse anything beside it."""
        # A hook may have closed it, or what it has built, to us as well.
        open_to_us(self._dist)
        with os.scandir(self._dist) as entries:  # of which there may be very many
            names = sorted(entry.name for entry in itertools.islice(entries, _SHOWN))
        if len(names) != 1:
            raise BuildError(
                f"it built {', '.join(names)[:_LINE_CHARS] or 'nothing'} instead of one {kind}"
            )
        built = self._dist / names[0]
        release_of(built.name)
        if distribution.is_wheel(built.name) != (kind == "wheel"):
            raise BuildError(f"it built {built.name} instead of one {kind}")
        if not stat.S_ISREG(built.lstat().st_mode):
            raise BuildError(f"it built {built.name}, which is no file")
        open_to_us(built)
        return built.rename(self._taken_directory / built.name)


def _clear_name(name: str) -> str:
    """Return a name of an sdist, without its ending, of which all read the same project.

    Setuptools before 69.3 kept the dash in `mesh-3d-1.0`, where old tools take `3d-1.0` for the
    version.

    Source: PEP 625
    """
    project, _, version = name.rpartition("-")
    if not re.search(r"-\d", project):
        return name
    return f"{canonicalize_name(project).replace('-', '_')}-{version}"


@dataclass(frozen=True)
class _Place:
    """Where a hook runs."""

    project: Path
    """The directory of its `pyproject.toml`."""
    tree: Path
    """What it may change, the project in it."""
    control: Path
    environment: Environment


class _Hooks:
    """Run the hooks of a build backend for `build`.

    Nothing that a hook can write is given to `build` unseen: it gets a copy.

    Source: `pyproject_hooks`, whose script runs the hook and leaves the answer beside its input.
    """

    def __init__(self, work: _Work, project: Path, tree: Path) -> None:
        self.environment: Environment
        self._work = work
        self._project = project
        self._tree = tree

    def __call__(
        self,
        cmd: Sequence[str],
        cwd: str | None = None,  # noqa: ARG002 - it is that of the project
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        """Run one hook."""
        _, script, hook, directory = cmd
        control = self._work.control()
        shutil.copyfile(script, control / "hook.py")
        question = Path(directory, "input.json").read_text(encoding="utf-8")
        (control / "input.json").write_text(self._work.inside(question), encoding="utf-8")
        self._work.run(
            [str(control / "hook.py"), hook, str(control)],
            _Place(self._project, self._tree, control, self.environment),
            extra_environ or {},
        )
        Path(directory, "output.json").write_bytes(answer_of(hook, control / "output.json"))


@contextlib.contextmanager
def _translated(work: _Work) -> Iterator[None]:
    """Turn every way in which a build can fail into one error with the build's output."""
    import build

    try:
        yield
    except (BuildError, RequirementError) as error:
        raise BuildError(error.message, work.output + error.output) from error
    except DistributionError as error:
        raise BuildError(error.message, work.output) from error
    except build.BuildBackendException as error:
        if isinstance(error.exception, BuildError):
            raise BuildError(error.exception.message, work.output) from error
        if isinstance(error.exception, InsidersError):
            raise error.exception from error  # which is no fault of the project
        if lacking := shortage(error.exception):  # nor is this
            raise InsidersError(
                f"it cannot be built now: {lacking.strerror}", hint_for(lacking)
            ) from error
        cause = _last_line(work.output) or _last_line(str(error.exception))
        what = str(error)
        traceback = getattr(error.exception, "traceback", None)
        if traceback and repr(traceback) in what:  # of an UnsupportedOperation of the backend
            what, cause = "its build backend refuses", _last_line(traceback)
        raise BuildError(f"{what}: {cause}", work.output) from error
    except build.BuildException as error:
        raise BuildError(str(error), work.output) from error


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
