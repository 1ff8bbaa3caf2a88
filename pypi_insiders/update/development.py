"""Build the head of a branch as a development release."""

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
    merged = git.merged_tags(mirror, commit)
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
    directory = make_directory(workspace / "found")
    source = directory / "source"
    recipe = replace(recipe, epoch_s=export(source))
    project = source / recipe.subdirectory
    files = version_files.read(project, source)
    if files.stated is not None:
        version = numbers.version(files.stated)
    else:
        # Code or a version tool computes it, which only a build shows.
        try:
            wanted = replace(recipe, is_wanted=numbers.fits)
            return build_distributions(source, directory, wanted, launcher)
        except VersionError as error:
            version = numbers.instead_of(error.found)
        remove_foreign_tree(directory)
        directory = make_directory(workspace / "set")
        source = directory / "source"
        export(source)
        project = source / recipe.subdirectory
    variables = files.variables(version)
    if not variables:
        version_files.write(project, source, version)
    recipe = replace(recipe, variables=variables, is_wanted=lambda found: found == version)
    try:
        return build_distributions(source, directory, recipe, launcher)
    except VersionError as error:
        raise BuildError(
            f"cannot set version {version}: {error.message}", hint=version_files.HINT
        ) from error


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
