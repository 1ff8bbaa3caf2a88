"""removal: which repository a name or an address means, also a removed one; and what is pruned."""

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import WatcherSettings
from pypi_insiders.repositories import heads, held_names, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, RepositoryState
from pypi_insiders.update import removal
from pypi_insiders.util.errors import InsidersError

GITLAB, CODEBERG = "https://gitlab.com/q/w", "https://codeberg.org/q/w"


@pytest.mark.parametrize(
    ("repository", "settings", "left"),
    [
        (Repository("me/app"), WatcherSettings(), (8, 5)),
        (Repository("me/app"), WatcherSettings(keep=2), (2, 2)),
        (Repository("me/app", keep=3), WatcherSettings(keep=2), (3, 3)),
        (Repository("me/app", keep=0), WatcherSettings(keep=2), (8, 8)),
    ],
)
def test_as_many_are_kept_as_by_updates(
    paths: Paths, repository: Repository, settings: WatcherSettings, left: tuple[int, int]
) -> None:
    """Of development releases five, where nothing says how many."""
    paths.distributions.mkdir(parents=True)
    numbers = range(8)
    builds = [
        Build(tag, f"c{tag}", version, 0, {f"app-{version}.tar.gz": ""})
        for tag, version in (
            *((f"v1.{number}", f"1.{number}") for number in numbers),
            *((heads.label("main", f"{number:040}"), f"2.dev{number}") for number in numbers),
        )
    ]
    for build in builds:
        for name in build.files:
            (paths.distributions / name).touch()
    state.save(paths.state, "me/app", RepositoryState(builds=builds))
    would = removal.prune(paths, repository, settings, dry_run=True)
    assert removal.prune(paths, repository, settings, dry_run=False) == would
    found = [path.name for path in paths.distributions.glob("app-*")]
    of_heads = [name for name in found if ".dev" in name]
    assert (len(found) - len(of_heads), len(of_heads)) == left


def _names(paths: Paths, text: str) -> list[str]:
    return [item.name for item in removal.published(paths, [text])]


def test_the_name_of_a_removed_repository_is_no_address(paths: Paths) -> None:
    """The printed command to purge it would purge the repository of another host."""
    state.save(paths.state, "q/w", RepositoryState(project="one", remote=GITLAB))
    state.save(paths.state, "codeberg.org/q/w", RepositoryState(project="two", remote=CODEBERG))
    (found,) = removal.published(paths, ["codeberg.org/q/w"])
    assert (found.name, found.projects) == ("codeberg.org/q/w", ("two",))
    assert _names(paths, CODEBERG) == ["codeberg.org/q/w"]
    assert _names(paths, f"{GITLAB}.git") == ["q/w"]


def test_an_address_finds_what_was_built_from_there(paths: Paths) -> None:
    state.save(paths.state, "q/w", RepositoryState(project="one", remote=CODEBERG))
    assert _names(paths, "codeberg.org/q/w") == _names(paths, "Q/W") == ["q/w"]


@pytest.mark.parametrize("remote", ["file:///r/n/Proj", None])
@pytest.mark.parametrize(
    "text", ["https://gitlab.com/n/proj", "https://github.com/n/proj", "git@forge:n/proj.git"]
)
def test_an_address_of_another_place_means_no_removed_repository(
    paths: Paths, remote: str | None, text: str
) -> None:
    """Its private name would be redirected to the fallback index."""
    state.save(paths.state, "n/Proj", RepositoryState(project="one", remote=remote))
    with pytest.raises(InsidersError, match="did you mean n/Proj"):
        removal.published(paths, [text])


def test_a_repository_of_which_only_the_name_is_held_is_found_by_name(paths: Paths) -> None:
    held_names.hold(paths, {"private": "q/w"})
    (found,) = removal.published(paths, ["q/w"])
    assert found.projects == ("private",)
    with pytest.raises(InsidersError, match="did you mean q/w"):
        removal.published(paths, ["https://github.com/q/w"])
