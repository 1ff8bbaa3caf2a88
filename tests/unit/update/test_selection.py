"""selection: which tags an update builds, beside what `tags` chooses."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from packaging.version import Version

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.repositories import registry, releases
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, Failure, RepositoryState
from pypi_insiders.update import context as contexts
from pypi_insiders.update.progress import Progress
from pypi_insiders.update.request import UpdateRequest
from pypi_insiders.update.selection import TagSelector
from pypi_insiders.update.tracked import TrackedRepository

_OLD, _NEW = "a" * 40, "b" * 40
_BUILT = Build("v1.0", _OLD, "1.0", 0, {"probe-1.0.tar.gz": "0" * 64})

Select = Callable[..., TagSelector]


@pytest.fixture
def select(paths: Paths) -> Select:
    """Return what makes the selector of a repository with a state, in an update of its own."""

    def make(known: RepositoryState, signers: Path | None = None, **asked: object) -> TagSelector:
        item = Repository("me/probe", "probe", allowed_signers=str(signers) if signers else None)
        registry.save(paths.repositories, [item])
        request = UpdateRequest(**asked)  # type: ignore[arg-type]  # as the test says
        progress = Progress(lambda _name, _step: None, lambda _line: None)
        with ExitStack() as stack:
            context = stack.enter_context(contexts.opened(paths, Settings(), request, progress))
            tracked = TrackedRepository(context, item)
            tracked.known = known
            return TagSelector(context, tracked)

    return make


@pytest.mark.parametrize("key", ["unsigned", "no_commits"])
def test_a_tag_that_was_refused_is_not_fetched_again_until_it_moves(
    select: Select, key: str
) -> None:
    """A tag without a valid signature, or of no commit, may get one later."""
    known = RepositoryState("probe", [_BUILT])
    setattr(known, key, {"v1.1": _OLD})
    selector = select(known)
    assert selector.choose({"v1.0": _OLD, "v1.1": _OLD}) == ()
    assert selector.choose({"v1.0": _OLD, "v1.1": _NEW}) == ("v1.1",)


def test_unsigned_tags_are_verified_again_with_other_signers(
    select: Select, tmp_path: Path
) -> None:
    """A key may have been added; and an update by hand tries all again."""
    signers = tmp_path / "signers"
    signers.write_text("one")
    known = RepositoryState("probe", [_BUILT], unsigned={"v1.1": _OLD})
    select(known, signers).restore_state({})
    known.unsigned = {"v1.1": _OLD}
    select(known, signers).restore_state({})
    assert known.unsigned == {"v1.1": _OLD}
    signers.write_text("two")
    select(known, signers).restore_state({})
    assert known.unsigned == {}
    known.unsigned = {"v1.1": _OLD}
    select(known, signers, names=["me/probe"]).restore_state({})
    assert known.unsigned == {}


@pytest.mark.parametrize("is_forced", [False, True])
def test_a_release_that_was_taken_back_is_built_by_force_only(
    select: Select, paths: Paths, is_forced: bool
) -> None:
    """Named by its tag; an update of all tags never builds it."""
    releases.take_back(paths, [("probe", Version("1.1"))])
    refs, names = {"v1.0": _OLD, "v1.1": _NEW}, ["me/probe"]
    known = RepositoryState("probe", [_BUILT])
    selector = select(known, names=names, tag="v1.1", force=is_forced)
    assert selector.choose(refs) == (("v1.1",) if is_forced else ())
    selector = select(known, names=names, all_tags=True, force=is_forced)
    assert selector.choose(refs) == (("v1.0",) if is_forced else ())


def test_a_failed_tag_waits_for_its_pause_unless_somebody_asks(select: Select) -> None:
    """Or until it names another commit."""
    failure = Failure(_OLD, "failed", 1, 0, int(time.time()) + 100)
    known = RepositoryState("probe", [_BUILT], failures={"v1.1": failure})
    selector, by_hand = select(known), select(known, names=["me/probe"])
    assert not selector.is_due({"v1.1": _OLD}, "v1.1")
    assert selector.is_due({"v1.1": _NEW}, "v1.1")
    assert by_hand.is_due({"v1.1": _OLD}, "v1.1")


def test_the_same_tags_are_ranked_once(select: Select) -> None:
    """A check asks twice; of thousands of tags, that takes most of its time."""
    selector, refs = select(RepositoryState("probe", [_BUILT])), {"v1.0": _OLD, "v1.1": _NEW}
    first = selector._choice(refs, {})
    assert selector._choice(dict(refs), {}) is first
    assert selector._choice({**refs, "v1.2": _NEW}, {}) is not first
