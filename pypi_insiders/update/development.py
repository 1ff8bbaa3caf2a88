"""Build the head of a branch as a development release."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from packaging.version import Version

from pypi_insiders import git
from pypi_insiders.builder import version_files
from pypi_insiders.builder.artifacts import Distributions
from pypi_insiders.builder.build import build_distributions
from pypi_insiders.builder.errors import BuildError, VersionError
from pypi_insiders.builder.launcher import Launcher
from pypi_insiders.builder.recipe import Recipe
from pypi_insiders.repositories import heads, tags
from pypi_insiders.repositories.dev_versions import Numbering
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import RepositoryState
from pypi_insiders.update.sources import TaggedRelease
from pypi_insiders.util.files import make_directory
from pypi_insiders.util.trees import remove_foreign_tree


def numbering(
    mirror: Path, repository: Repository, commit: str, known: RepositoryState
) -> Numbering:
    """Return what the version of a head follows from.

    Args:
        mirror: the mirror of the repository, which has the commit.
        repository: the repository.
        commit: full hash of the head.
        known: its state.

    Raises:
        InsidersError: the mirror cannot be read.
    """
    rules = repository.rules(1)
    # Without those of the commit itself, which may be tagged after its build.
    merged = {tag: of for tag, of in git.merged_tags(mirror, commit).items() if of != commit}
    # All of them, highest first: the number in the rules is without effect.
    released = tags.unbuilt(merged, (), rules)
    last = released[0] if released else None
    count = git.count_commits(mirror, commit, merged[last] if last else None)
    built = {build.commit: Version(build.version) for build in known.heads}
    return Numbering(
        commit,
        rules.pattern.version_of(last) if last else None,
        count,
        tuple(version for of_commit, version in built.items() if of_commit != commit),
        built.get(commit),
    )


def build(
    export: Callable[[Path], int],
    workspace: Path,
    recipe: Recipe,
    launcher: Launcher,
    numbers: Numbering,
) -> Distributions:
    """Build a head with the version that its project finds, or else with one that is set.

    Args:
        export: checks out the head as a new tree, and returns the time of its commit.
        workspace: an existing directory for all files of the build.
        recipe: the settings of the build.
        launcher: runs the build hooks.
        numbers: what its version follows from.

    Raises:
        BuildError: the project does not build, or its version cannot be set.
        InsidersError: the build cannot run now; the project is not at fault.
    """
    attempts = _Attempts(export, workspace, recipe, launcher)
    source, recipe = attempts.checked_out()
    files = version_files.read(source / recipe.subdirectory, source)
    if files.stated is not None:
        version = numbers.version(files.stated)
    else:
        # Code or a version tool computes it, which only a build shows.
        try:
            return attempts.build(source, replace(recipe, is_wanted=numbers.fits))
        except VersionError as error:
            version = numbers.instead_of(error.found)
        source, recipe = attempts.checked_out()
    recipe = replace(recipe, is_wanted=lambda found: found == version)
    try:
        if variables := files.variables(version):
            # A tool may be named and not used.
            with contextlib.suppress(VersionError):
                return attempts.build(source, replace(recipe, variables=variables))
            source, _ = attempts.checked_out()
        version_files.write(source / recipe.subdirectory, source, version)
        return attempts.build(source, recipe)
    except VersionError as error:
        raise BuildError(
            f"cannot set version {version}: {error.message}", hint=version_files.HINT
        ) from error


class _Attempts:
    """Builds one commit several times, each time in a new tree."""

    def __init__(
        self, export: Callable[[Path], int], workspace: Path, recipe: Recipe, launcher: Launcher
    ) -> None:
        self._export = export
        self._workspace = workspace
        self._recipe = recipe
        self._launcher = launcher
        self._count = 0
        self._directory = workspace

    def checked_out(self) -> tuple[Path, Recipe]:
        """Check out the commit; return the tree, and the recipe with the time of the commit."""
        # Hooks have changed the last one, which counts as the space that this build uses.
        if self._count:
            remove_foreign_tree(self._directory)
        self._count += 1
        self._directory = make_directory(self._workspace / f"attempt-{self._count}")
        source = self._directory / "source"
        return source, replace(self._recipe, epoch_s=self._export(source))

    def build(self, source: Path, recipe: Recipe) -> Distributions:
        """Build the tree that was checked out last."""
        return build_distributions(source, self._directory, recipe, self._launcher)


def numbered(
    mirror: Path, release: TaggedRelease, known: RepositoryState
) -> tuple[TaggedRelease, list[str]]:
    """Return a head with what its version follows from, and a warning if its branch was rewritten.

    Args:
        mirror: the mirror of the repository, which has the commit.
        release: the head.
        known: the state of the repository.

    Raises:
        InsidersError: the mirror cannot be read.
    """
    numbers = numbering(mirror, release.repository, release.commit, known)
    release = replace(release, numbers=numbers)
    before = [build for build in known.heads if heads.branch_of(build.tag) == release.branch]
    # Built before, and again now: it says nothing of the branch.
    if numbers.exact is not None or not before:
        return release, []
    last = before[-1]
    # `None`, of a commit that a new mirror lacks, says that no ref has it any more.
    if git.is_ancestor(mirror, last.commit, release.commit):
        return release, []
    return release, [
        f"branch {release.branch} was rewritten: {last.commit:.9}, built as {last.version}, is not "
        f"in the history of {release.commit:.9}"
    ]
