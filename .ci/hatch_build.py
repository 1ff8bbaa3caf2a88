"""Give the wheel its `share/`: completion for shells, and man pages.

Both are made from the commands, which need click and nothing else.

Source: https://hatch.pypa.io/latest/plugins/build-hook/custom/.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_COMPLETIONS = {
    "bash": "bash-completion/completions/pypi-insiders",
    "zsh": "zsh/site-functions/_pypi-insiders",
    "fish": "fish/vendor_completions.d/pypi-insiders.fish",
}


class Share(BuildHookInterface):
    """Write the files into a directory that is gone after the build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files, and tell where they belong; an editable installation goes without."""
        if version == "editable":
            return
        self._directory = tempfile.TemporaryDirectory()
        for name, text in _texts(Path(self.root)).items():
            path = Path(self._directory.name, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            build_data["shared_data"][str(path)] = f"share/{name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the files."""
        if version != "editable":
            self._directory.cleanup()


def _texts(root: Path) -> dict[str, str]:
    """Make all files, by their path below `share/`."""
    sys.path[:0] = [str(root), str(root / ".ci")]
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        import manual

        from pypi_insiders import __version__
        from pypi_insiders.cli import cli, completion

        epoch_s = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
        pages = manual.pages(cli, __version__, epoch_s)
        scripts = {path: completion.script(shell) for shell, path in _COMPLETIONS.items()}
        return scripts | {f"man/man1/{name}": text for name, text in pages.items()}
    finally:
        sys.dont_write_bytecode = written
        del sys.path[:2]
