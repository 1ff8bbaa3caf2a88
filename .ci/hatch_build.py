"""Give the wheel its `share/`: completion for shells, and man pages.

Both are made from the commands, of which nothing runs, and from the manual. click is needed, and
what else the commands import is stood in for where it is not installed, as Sphinx does it
(`autodoc_mock_imports`).

Source: https://hatch.pypa.io/latest/plugins/build-hook/custom/.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
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


class _AnyMeta(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class _Any(Exception, metaclass=_AnyMeta):  # noqa: N818
    """Stands in for whatever a module has: a class to derive from, to call or to catch."""

    def __init__(self, *_arguments: Any, **_keywords: Any) -> None:
        super().__init__()


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Any


class _Missing:
    """Finds every module that nobody else finds, but for those of the project itself."""

    @classmethod
    def find_spec(cls, name: str, *_where: Any) -> ModuleSpec | None:
        is_own = name.partition(".")[0] in ("pypi_insiders", "manual", "manual_facts")
        return None if is_own else ModuleSpec(name, cls, is_package=True)

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        pass


@contextmanager
def _standing_in() -> Iterator[None]:
    """Let modules that are missing be imported, and forget what was imported so."""
    before = set(sys.modules)
    sys.meta_path.append(_Missing)
    try:
        yield
    finally:
        sys.meta_path.remove(_Missing)
        for name in set(sys.modules) - before:
            if isinstance(sys.modules[name], _StandIn) or name.startswith("pypi_insiders"):
                del sys.modules[name]


def _texts(root: Path) -> dict[str, str]:
    """Make all files, by their path below `share/`."""
    sys.path[:0] = [str(root), str(root / ".ci")]
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with _standing_in():
            import manual

            from pypi_insiders import __version__
            from pypi_insiders.cli import cli, completion
            from pypi_insiders.cli import help as topics

            epoch_s = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
            markdown = {name: path.read_text("utf-8") for name, path in topics.pages().items()}
            pages = manual.pages(cli, __version__, epoch_s, markdown)
            scripts = {path: completion.script(shell, cli) for shell, path in _COMPLETIONS.items()}
            return scripts | {f"man/{name}": text for name, text in pages.items()}
    finally:
        sys.dont_write_bytecode = written
        del sys.path[:2]
