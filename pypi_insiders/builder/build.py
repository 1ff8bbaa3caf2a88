"""Build an sdist and wheels from a source tree, with `build`."""

import contextlib
import functools
import itertools
import logging
import os
import re
import shutil
import stat
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from pypi_insiders.builder import causes, configuration, environments
from pypi_insiders.builder.artifacts import Distributions, check, release_of
from pypi_insiders.builder.errors import BuildError, VersionError
from pypi_insiders.builder.hooks import HookRunner, Hooks
from pypi_insiders.builder.launcher import Launcher
from pypi_insiders.builder.recipe import Recipe
from pypi_insiders.builder.requirements import Requirements
from pypi_insiders.index import archives, distribution
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.util.disk_reserve import is_exhausted
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import hint_for, shortage
from pypi_insiders.util.formatting import last_line
from pypi_insiders.util.trees import open_to_us, remove_foreign_tree, target_in

# `build` is imported when a build starts: most updates have nothing to build.
if TYPE_CHECKING:
    from build import DistributionType

_log = logging.getLogger(__name__)

_FIRST_USE = threading.Lock()
_LINE_CHARS = 400
_SHOWN = 20
_NO_SDIST = "sdist=false"


def build_distributions(
    source: Path, workspace: Path, recipe: Recipe, launcher: Launcher
) -> Distributions:
    """Build an sdist from a source tree, and wheels from that sdist, in isolated environments.

    Without an sdist in the recipe, the wheels are built from the source tree; without wheels, only
    the sdist is built.

    The same source tree and recipe give the same bytes, unless the build backend prevents it.

    Args:
        source: the source tree, below the workspace.
        workspace: an existing directory for all files of the build, including the results.
        recipe: the settings of the build.
        launcher: runs the build hooks.

    Raises:
        BuildError: the project does not build, or its files are inconsistent.
        VersionError: the recipe does not want the version.
        InsidersError: the build cannot run now; the project is not at fault.

    Source: PEP 517; https://reproducible-builds.org/specs/source-date-epoch/
    """
    with _FIRST_USE:
        # The first call is not thread-safe: https://github.com/python/cpython/issues/92452
        sysconfig.get_config_vars()
    work = _Work(workspace, recipe, launcher)
    try:
        with _translated(work):
            if not recipe.has_sdist:
                return check(None, work.tree_wheels(source), work.requirements.versions)
            unpacked = work.sdist(source)
            wheels = work.wheels(unpacked, source) if recipe.has_wheels else ()
            sdist = work.finished / f"{unpacked.name}.tar.gz"
            return check(sdist, wheels, work.requirements.versions)
    except BuildError as error:
        # Not if this build is to end: each environment takes time and space.
        error.is_dated = not is_exhausted() and work.requirements.are_dated()
        raise


def _build_requirement(
    launcher: Launcher, unpacked: Path, workspace: Path, recipe: Recipe, python: str
) -> Path:
    """Build a wheel from the unpacked sdist of a build requirement; return its path."""
    work = _Work(workspace, recipe, launcher)
    with _translated(work):
        return work.build("wheel", unpacked, unpacked, python)


class _Work:
    """One build: its workspace, its environments and the output of its hooks."""

    def __init__(self, workspace: Path, recipe: Recipe, launcher: Launcher) -> None:
        self.runner = HookRunner(workspace, recipe, launcher)
        self.requirements = Requirements(
            workspace, recipe, launcher, functools.partial(_build_requirement, launcher)
        )
        self.finished = workspace / "finished"
        self._workspace = workspace
        self._recipe = recipe
        self._launcher = launcher
        self._dist = workspace / "dist"
        self._taken_directory = workspace / "built"
        for directory in (self.finished, self._dist, workspace / "home", self._taken_directory):
            directory.mkdir()

    def sdist(self, source: Path) -> Path:
        """Build and repack an sdist; return the directory of its unpacked files."""
        pythons = self._pythons()
        project = self._project(source)
        built = self.build("sdist", project, source, pythons[0])
        directory = self._workspace / "sdist"
        directory.mkdir()
        # Repacked with fixed times, owners and order: backends write the times of generated files.
        try:
            root = archives.unpack_sdist(built, directory, self._recipe.epoch_s)
        except DistributionError as error:
            raise BuildError(error.message, remedy=_NO_SDIST) from error
        if built.name != f"{root.name}.tar.gz":
            raise BuildError(f"{built.name} must contain the directory {built.name[:-7]}")
        root = root.rename(root.with_name(_clear_name(root.name)))
        archives.pack_sdist(root, self.finished / f"{root.name}.tar.gz", self._recipe.epoch_s)
        return root

    def _project(self, source: Path) -> Path:
        """Return the directory of the project in the source tree."""
        project = source / self._recipe.subdirectory
        # Again after each hook, which may replace the directory by a link to anywhere.
        if target_in(project, source) is None or not project.is_dir():
            raise BuildError(f"the repository has no directory {self._recipe.subdirectory}")
        return project

    def wheels(self, unpacked: Path, source: Path) -> tuple[Path, ...]:
        """Build wheels from an unpacked sdist, or from the source tree where it lacks files.

        `pip wheel` and `uv build --wheel` build from the tree, so projects exist whose sdist was
        never tried.
        """
        import build

        tree_file = self._project(source) / "pyproject.toml"
        if tree_file.is_file() and not (unpacked / "pyproject.toml").is_file():
            # Without it, another backend would build something else. It may be a link to a file
            # that the sdist lacks.
            wheels, cause = self.tree_wheels(source), "it lacks the content of pyproject.toml"
        else:
            try:
                return tuple(self._wheels(unpacked, unpacked))
            except build.BuildBackendException as error:
                # Of the machine, or an odd answer, and not what files of the sdist lead to.
                if isinstance(error.exception, InsidersError | OSError | MemoryError):
                    raise
                cause = last_line(self.runner.output, str(error))
                output = self.runner.output
                remove_foreign_tree(self._dist)
                self._dist.mkdir()
                try:
                    wheels = self.tree_wheels(source)
                except build.BuildBackendException:
                    # The tree fails too, so what the sdist lacks is not the reason.
                    self.runner.output = output
                    raise error from None
        _log.warning("no wheel can be built from %s, so it is built from the source tree: %s",
                     f"{unpacked.name}.tar.gz", cause)  # fmt: skip
        return wheels

    def tree_wheels(self, source: Path) -> tuple[Path, ...]:
        """Build wheels from the source tree."""
        return tuple(self._wheels(self._project(source), source))

    def _wheels(self, project: Path, tree: Path) -> Iterator[Path]:
        """Build a wheel, or one for each interpreter where they differ."""
        done = set()
        for number, python in enumerate(self._pythons()):
            archive = self.finished / f"{project.name}.tar.gz"
            if number and project == tree and archive.exists():
                # Unpacked again: the hooks of the last build may have changed the files.
                remove_foreign_tree(project)
                archives.unpack_sdist(archive, project.parent, self._recipe.epoch_s)
            built = self.build("wheel", project, tree, python)
            # An abi3 wheel has the same name for several interpreters.
            if built.name not in done:
                archives.check(built)
                done.add(built.name)
                yield Path(shutil.move(built, self.finished / built.name))
            # A pure wheel is the same for all interpreters.
            if built.name.endswith("-none-any.whl"):
                return

    def _pythons(self) -> list[str]:
        """Return the paths of the recipe's interpreters that are installed."""
        if not self._recipe.pythons:
            return [sys.executable]
        processes = self._launcher.processes
        found = {
            version: environments.find_python(version, processes, self._workspace)
            for version in self._recipe.pythons
        }
        if missing := [version for version, path in found.items() if path is None]:
            _log.warning("Python %s not found, building no wheel for it", ", ".join(missing))
        if not (paths := [path for path in found.values() if path is not None]):
            raise BuildError(f"no matching Python interpreter found: {', '.join(found)}")
        return paths

    def build(self, kind: "DistributionType", project: Path, tree: Path, python: str) -> Path:
        """Run the hooks that build a distribution; return the built file.

        Args:
            kind: sdist or wheel.
            project: the directory of `pyproject.toml`.
            tree: the directory that hooks may change; contains the project.
            python: path of the interpreter.
        """
        import build

        # Before each build: hooks of the last one may have replaced the file.
        configuration.check(project, tree)
        hooks = Hooks(self.runner, project, tree)
        builder = build.ProjectBuilder(project, "python", hooks)
        required = builder.build_system_requires
        # First with the static requirements alone, as `get_requires_for_build_*` runs in them.
        hooks.environment = self.requirements.environment(python, required)
        required |= builder.get_requires_for_build(kind)
        hooks.environment = self.requirements.environment(python, required)
        builder.build(kind, self._dist)
        return self._taken(kind)

    def _taken(self, kind: str) -> Path:
        """Move the built file out of the hooks' reach; refuse additional files."""
        # A hook may have taken away our permissions on the directory, or on the file.
        open_to_us(self._dist)
        # Not by the returned name, which may be wrong. A hook can create any number of files.
        with os.scandir(self._dist) as entries:
            names = sorted(entry.name for entry in itertools.islice(entries, _SHOWN))
        if len(names) != 1:
            listed = ", ".join(names)[:_LINE_CHARS] or "nothing"
            raise BuildError(f"the build produced {listed} instead of one {kind}")
        built = self._dist / names[0]
        _, version = release_of(built.name)
        if distribution.is_wheel(built.name) != (kind == "wheel"):
            raise BuildError(f"the build produced {built.name} instead of one {kind}")
        # Before anything reads it: a link could lead to a private file of the user.
        if not stat.S_ISREG(built.lstat().st_mode):
            raise BuildError(f"the build produced {built.name}, which is not a regular file")
        open_to_us(built)
        # Of the sdist already: the wheels of another version need not be built.
        if self._recipe.is_wanted is not None and not self._recipe.is_wanted(version):
            raise VersionError(version)
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


@contextlib.contextmanager
def _translated(work: _Work) -> Iterator[None]:
    """Translate the errors of a build into one error with the build's output."""
    import build

    try:
        yield
    except BuildError as error:
        output = work.runner.output + error.output
        raise BuildError(error.message, output, remedy=error.remedy) from error
    except DistributionError as error:
        raise BuildError(error.message, work.runner.output) from error
    except build.BuildBackendException as error:
        if isinstance(error.exception, BuildError):
            raise BuildError(error.exception.message, work.runner.output) from error
        if isinstance(error.exception, InsidersError):
            raise error.exception from error  # of the machine, not of the project
        # Not the project's fault either: the tag must not be marked as failed.
        if lacking := shortage(error.exception):
            raise InsidersError(
                f"cannot build now: {lacking.strerror}", hint_for(lacking)
            ) from error
        cause = causes.reason(work.runner.output) or last_line(str(error.exception), "")
        what = str(error).rstrip(".")
        traceback = getattr(error.exception, "traceback", None)
        # `build` shows the repr of the traceback when a backend raises UnsupportedOperation.
        if traceback and repr(traceback) in what:
            what, cause = "the build backend refuses", last_line(traceback, "")
        remedy = _NO_SDIST if what.endswith(" build_sdist") else None
        raise BuildError(f"{what}: {cause}", work.runner.output, remedy=remedy) from error
    except build.BuildException as error:
        raise BuildError(str(error), work.runner.output) from error
