"""Somebody who has watched repositories for a while: all of their releases are built."""

import contextlib
import hashlib
import time
from collections.abc import Iterable

from fixtures import Person
from wheels import wheel

from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.repositories import registry, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, Check, RepositoryState


def furnish(person: Person, urls: Iterable[str], commit: str) -> None:
    """Record that the tag v1.0 of each repository has been built of a commit; make its wheel.

    The repositories are `me/p-0`, `me/p-1` and so on.
    """
    paths, now_s = person.paths, int(time.time())
    watched = [Repository(f"me/p-{n}", f"p-{n}", url=url) for n, url in enumerate(urls)]
    for place in (paths.config, paths.distributions, paths.state):
        place.mkdir(parents=True)
    registry.save(paths.repositories, watched)
    for item in watched:
        file = wheel(paths.distributions, item.project or "", "1.0")
        files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest()}
        builds = [Build("v1.0", commit, "1.0", now_s, files)]
        state.save(paths.state, item.name, RepositoryState(item.project, builds, item.remote))
    state.save_checks(paths.state, {item.name: Check(now_s) for item in watched})
    # As each update does for what it publishes: without it, all files are hashed each time.
    with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as cache:
        Catalog(paths.distributions, cache, lambda: state.origins(paths.state)).everything()
