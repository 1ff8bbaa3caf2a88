"""Find what completes a project or a version at the prompt of a shell."""

from collections.abc import Iterable, Iterator

import click
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from pypi_insiders.cli.completers import completer
from pypi_insiders.config.paths import default_paths
from pypi_insiders.index import distribution
from pypi_insiders.index.release_lists import YANKED
from pypi_insiders.util.files import list_names


@completer
def projects(_ctx: click.Context) -> Iterable[str]:
    """Name the projects that the index holds."""
    return sorted({project for project, _ in _held()})


@completer
def versions(ctx: click.Context) -> Iterable[str]:
    """Name the versions that the index holds of the project before, the newest first."""
    project = canonicalize_name(ctx.params.get("project") or "")
    held = {version for of_project, version in _held() if of_project == project}
    return map(str, sorted(held, reverse=True))


@completer
def yanked_projects(_ctx: click.Context) -> Iterable[str]:
    """Name the projects of which a release is yanked."""
    return _yanked()


@completer
def yanked_versions(ctx: click.Context) -> Iterable[str]:
    """Name the versions of the project before that are yanked."""
    return _yanked().get(canonicalize_name(ctx.params.get("project") or ""), {})


def _held() -> Iterator[tuple[NormalizedName, Version]]:
    for _, project, version in distribution.releases(list_names(default_paths().distributions)):
        yield project, version


def _yanked() -> dict[str, dict[str, str]]:
    # Without its copy: a shell that completes changes no files and says nothing.
    return YANKED.load(default_paths().distributions)
