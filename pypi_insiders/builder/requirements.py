"""Make the environments of one build, and build requirements without a wheel from their sdists."""

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pypi_insiders.builder import environments, sdist_download
from pypi_insiders.builder.artifacts import release_of
from pypi_insiders.builder.environments import Environment, NoWheelError, RequirementError
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.builder.launcher import Launcher, Mounts
from pypi_insiders.builder.recipe import Recipe
from pypi_insiders.index import archives
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.process_group import Command

_log = logging.getLogger(__name__)

_MOST_BUILT = 20


class Requirements:
    """The environments with the build requirements of one build.

    Args:
        workspace: the directory of the build.
        recipe: the settings of the build.
        launcher: runs foreign code.
        build_wheel: builds a wheel of an unpacked sdist, with a recipe and a Python, in a new
            workspace; returns its path.
    """

    def __init__(
        self,
        workspace: Path,
        recipe: Recipe,
        launcher: Launcher,
        build_wheel: Callable[[Path, Path, Recipe, str], Path],
    ) -> None:
        self.versions: dict[str, str] = {}
        """All that were installed, name to version."""
        self._workspace = workspace
        self._recipe = recipe
        self._launcher = launcher
        self._build_wheel = build_wheel
        self._as_of_s = recipe.epoch_s if recipe.as_of_commit else None
        self._environments: dict[tuple[str, frozenset[str]], Environment] = {}
        self._wheels = workspace / "requirement-wheels"
        self._wheels.mkdir()
        self._built: list[str] = []
        self._has_failed = False

    def environment(self, python: str, requirements: set[str]) -> Environment:
        """Return an environment with exactly these requirements.

        Raises:
            RequirementError: they cannot be installed.
        """
        # Nothing is added to an existing environment: a hook has run in it, and uv would execute
        # what the hook left there, outside of the sandbox.
        key = (python, frozenset(requirements))
        if key not in self._environments:
            made = self._made(python, requirements)
            # Before any of their code runs, and those that others require too.
            for project in made.versions:
                self._demand_known(project)
            self._environments[key] = made
            self.versions |= made.versions
            # Without requirements there is next to nothing to compile.
            if self._recipe.bytecode is not None and requirements:
                self._recipe.bytecode.bring(made, self._compile)
        return self._environments[key]

    def are_dated(self) -> bool:
        """Return whether the latest requirements are others than those as of the commit."""
        if self._has_failed and self._as_of_s is not None:
            return True
        for number, ((python, required), made) in enumerate(self._environments.items()):
            if not made.is_as_of:
                continue
            try:
                latest = environments.make(
                    self._workspace / f"latest-{number}", required, python=python, as_of_s=None,
                    processes=self._launcher.processes, wheels=self._added_wheels,
                )  # fmt: skip
            # The latest ones cannot be installed: no reason to build with them.
            except InsidersError:
                continue
            if latest.versions != made.versions:
                return True
        return False

    @property
    def _added_wheels(self) -> Path | None:
        return self._wheels if self._recipe.source_depth else None

    def _made(self, python: str, requirements: set[str]) -> Environment:
        directory = self._workspace / f"env-{len(self._environments)}"
        while True:
            try:
                return environments.make(
                    directory, requirements, python=python, as_of_s=self._as_of_s,
                    processes=self._launcher.processes, wheels=self._added_wheels,
                )  # fmt: skip
            except NoWheelError as error:
                # Built once, it was of no use: another version is required.
                is_useless = error.project in self._built or len(self._built) >= _MOST_BUILT
                if not self._recipe.source_depth or is_useless:
                    raise
                self._build(error.project, python, requirements)

    def _build(self, project: str, python: str, requirements: set[str]) -> None:
        """Build a wheel of a requirement from its sdist, in the sandbox."""
        self._demand_known(project)
        self._built.append(project)
        place = self._workspace / f"requirement-{len(self._built)}"
        for directory in (place, place / "sdist"):
            directory.mkdir()
        sdist = sdist_download.download(
            project, requirements, place,
            python=python, as_of_s=self._as_of_s, processes=self._launcher.processes,
        )  # fmt: skip
        _log.info("building %s, as build requirement %s has no usable wheel", sdist.name, project)
        recipe = replace(
            self._recipe, subdirectory=".", network=False, readable=(),
            variables={}, is_wanted=None, source_depth=self._recipe.source_depth - 1,
        )  # fmt: skip
        try:
            unpacked = archives.unpack_sdist(sdist, place / "sdist", self._recipe.epoch_s)
            wheel = self._build_wheel(unpacked, place, recipe, python)
            archives.check(wheel)
            built, _ = release_of(wheel.name)
            if built != project:
                # Others of its environments would get it, in place of the one of the index.
                raise BuildError(f"built {built} instead of {project}")
        except (BuildError, DistributionError) as error:
            self._has_failed = True
            output = error.output if isinstance(error, BuildError) else ""
            raise RequirementError(
                f"cannot build the build requirement {project}: {error.message}", output
            ) from error
        shutil.move(wheel, self._wheels / wheel.name)

    def _demand_known(self, project: str) -> None:
        if project in self._recipe.strangers:
            raise RequirementError(
                f"build requirement {project} is a project of this index, which builds do not use; "
                "a public one appeared after its repository was added, and may be of a stranger"
            )

    def _compile(self, argv: Sequence[str], environment: Environment, output: Path) -> Path:
        """Compile modules in the sandbox: they are foreign code, too."""
        mounts = Mounts(
            self._workspace,
            writable=(output,),
            readable=(environment.directory, *environment.shown),
        )
        environ = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
        self._launcher.run(Command(argv, environ, output, environments.COMPILE_TIMEOUT_S), mounts)
        modules = self._launcher.inside(mounts, str(environment.directory / "lib"))
        return output / modules.removeprefix("/")
