"""The same build twice, under other circumstances."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from fixtures import need

from pypi_insiders.builder import build
from pypi_insiders.builder.environments import Bytecode
from pypi_insiders.builder.launcher import Launcher, Mounts
from pypi_insiders.builder.recipe import Recipe
from pypi_insiders.util.process import Result
from pypi_insiders.util.process_group import Command, ProcessGroup

_DIRECTORY = tempfile.TemporaryDirectory(prefix="pypi-insiders-bytecode-")
# As for the builds of one update: without it, each hook would compile its backend anew.
BYTECODE = Bytecode(Path(_DIRECTORY.name))
_RECIPE = Recipe(1_790_000_000, as_of_commit=False, bytecode=BYTECODE)


@dataclass(frozen=True)
class Elsewhen:
    """A place where the clock goes wrong."""

    place: Launcher
    is_sandbox: bool = True

    @property
    def processes(self) -> ProcessGroup:
        """What ends it."""
        return self.place.processes

    def inside(self, mounts: Mounts, text: str) -> str:
        """Write paths."""
        return self.place.inside(mounts, text)

    def run(self, command: Command, mounts: Mounts) -> Result:
        """Run a program in another time."""
        preload = subprocess.run(
            [need("faketime"), "2031-02-03", "printenv", "LD_PRELOAD"],
            check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        clock = {"LD_PRELOAD": preload, "FAKETIME": "@2031-02-03 04:05:06"}
        environ = {**command.environ, **clock}
        return self.place.run(replace(command, environ=environ), mounts)


def build_twice(tree: Path, directory: Path, confines: Launcher) -> list[dict[str, str]]:
    """Build at two places, times and settings; return the hashes."""
    results = []
    for name, umask, locale, zone, place in (
        ("here", 0o022, "C.UTF-8", "UTC", confines),
        ("some/where/else", 0o077, "de_DE", "Asia/Tokyo", Elsewhen(confines)),
    ):
        workspace = directory / name
        workspace.mkdir(parents=True)
        os.environ |= {"LC_ALL": locale, "TZ": zone, "PYTHONHASHSEED": str(umask)}
        before = os.umask(umask)
        try:
            shutil.copytree(tree, workspace / "source", copy_function=shutil.copyfile)
            built = build.build_distributions(workspace / "source", workspace, _RECIPE, place)
        finally:
            os.umask(before)
        results.append(
            {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in built.files}
        )
    return results
