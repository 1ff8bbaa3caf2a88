"""Run the hooks of a build backend in the sandbox."""

import logging
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from pypi_insiders.builder import hook_variables, user_files
from pypi_insiders.builder.backend_answers import answer_of
from pypi_insiders.builder.environments import Environment
from pypi_insiders.builder.launcher import Launcher, Mounts
from pypi_insiders.builder.recipe import Recipe
from pypi_insiders.util.process_group import Command

_log = logging.getLogger(__name__)

HOOK_TIMEOUT_S = 3600


class HookRunner:
    """Runs the hooks of one build, and records their output.

    Args:
        workspace: the directory of the build, which has `dist` and `home` in it.
        recipe: the settings of the build.
        launcher: runs the hooks.
    """

    def __init__(self, workspace: Path, recipe: Recipe, launcher: Launcher) -> None:
        self.output = ""
        self._workspace = workspace
        self._recipe = recipe
        self._launcher = launcher
        self._dist = workspace / "dist"
        self._home = workspace / "home"
        self._runs = 0

    def run(
        self, hooks: "Hooks", argv: Sequence[str], control: Path, variables: Mapping[str, str]
    ) -> None:
        """Run a hook and record its output."""
        recipe, environment = self._recipe, hooks.environment
        mounts = Mounts(
            self._workspace,
            writable=(hooks.tree, self._dist, self._home, control),
            readable=(
                environment.directory,
                *environment.shown,
                *recipe.readable,
                *recipe.user_files.readable,
                *hook_variables.certificates(network=recipe.network),
            ),
            path=recipe.user_files.path,
            last_path=recipe.user_files.last_path,
            # Not the environment's Python: a requirement could have replaced the relay's imports.
            network=environment.interpreter if recipe.network else None,
        )
        command = Command(
            [str(environment.python), *argv],
            {**self._variables(environment), **variables},
            hooks.project,
            HOOK_TIMEOUT_S,
        )
        result = self._launcher.run(command, mounts)
        self.output += result.stdout
        for line in result.stdout.splitlines():
            _log.debug("%s", line)
        if result.status != 0:
            raise subprocess.CalledProcessError(result.status, argv)

    def inside(self, text: str) -> str:
        """Replace the paths in a text by those that a hook sees."""
        return self._launcher.inside(Mounts(self._workspace, ()), text)

    def control(self) -> Path:
        """Create a directory for the input and output of one hook."""
        self._runs += 1
        directory = self._workspace / f"control-{self._runs}"
        directory.mkdir()
        return directory

    def _variables(self, environment: Environment) -> dict[str, str]:
        inherited = hook_variables.inherited(network=self._recipe.network)
        files = self._recipe.user_files
        system = inherited.get("PATH", os.defpath)
        path = (environment.python.parent, *files.path, system, *files.last_path)
        return {
            **inherited,
            **user_files.variables(),
            "PATH": ":".join(map(str, path)),
            # Empty and private, so that no build depends on the user's configuration.
            "HOME": str(self._home),
            "TMPDIR": str(self._home),
            # The same for everyone, for reproducible builds: sorting, dates, order of sets.
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONHASHSEED": "0",
            # A __pycache__ in the source tree would get into the sdist.
            "PYTHONDONTWRITEBYTECODE": "1",
            "SOURCE_DATE_EPOCH": str(self._recipe.epoch_s),
            **self._recipe.variables,
        }


class Hooks:
    """Run the hooks of a build backend for `build`.

    Source: `pyproject_hooks`, whose script runs a hook and writes its answer next to its input.
    """

    def __init__(self, runner: HookRunner, project: Path, tree: Path) -> None:
        self.environment: Environment
        self._runner = runner
        self.project = project
        """The directory of `pyproject.toml`."""
        self.tree = tree
        """The directory that hooks may change; contains the project."""

    def __call__(
        self,
        cmd: Sequence[str],
        cwd: str | None = None,  # noqa: ARG002 - it is that of the project
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        """Run a hook: the runner of `build.ProjectBuilder`."""
        # The hook gets a separate directory, and `build` a validated copy of its answer: in the
        # directory of `build`, the hook could replace files while they are read.
        _, script, hook, directory = cmd
        control = self._runner.control()
        # Into the directory that the sandbox shows: the script is of this program's environment.
        shutil.copyfile(script, control / "hook.py")
        question = Path(directory, "input.json").read_text(encoding="utf-8")
        (control / "input.json").write_text(self._runner.inside(question), encoding="utf-8")
        argv = [str(control / "hook.py"), hook, str(control)]
        self._runner.run(self, argv, control, extra_environ or {})
        Path(directory, "output.json").write_bytes(answer_of(hook, control / "output.json"))
