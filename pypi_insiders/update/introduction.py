"""Check new repositories before they are added, and read their project names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories import access_check, lookup, registry, token_commands
from pypi_insiders.repositories.access_check import Reply
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.update import naming
from pypi_insiders.update.naming import Naming

# Short, as `repos add` waits for both.
_CHECK_TIMEOUT_S = 10
_NAME_TIMEOUT_S = 10


@dataclass(frozen=True)
class Introduction:
    """The results of checking new repositories, by name."""

    replies: Mapping[str, Reply] = field(default_factory=dict)
    namings: Mapping[str, Naming] = field(default_factory=dict)

    def named(self, new: Sequence[Repository]) -> list[Repository]:
        """Return repositories with the project names that were read for those without one."""
        projects = {name.casefold(): naming.project for name, naming in self.namings.items()}
        return [
            item._replace(project=item.project or projects.get(item.name.casefold()))
            for item in new
        ]


def check(paths: Paths, new: Iterable[Repository]) -> Introduction:
    """Check repositories that are new or have no project name yet.

    Raises:
        InsidersError: `repos.toml` cannot be read.
    """
    known = registry.load(paths.repositories)
    asked, seen = [], set[str]()
    for item in new:
        # Named again: without its url, which it has by its name, it would be one of GitHub.
        if item.name.casefold() in seen:
            continue
        seen.add(item.name.casefold())
        old = lookup.find(known, item.name)
        if old is None:
            asked.append(item)
        # Watched, but its name could not be read at that time. With another url it is another one.
        elif old.project is None and item.project is None and item.url in (None, old.url):
            # As repos.toml will have it: `repos add` changes the given keys.
            for key, value in item.keys.items():
                old = old.with_key(key, value)
            asked.append(old)
    commands = token_commands.configured(paths)
    replies = access_check.ask(asked, commands, timeout_s=_CHECK_TIMEOUT_S)
    tags = {name: reply.newest for name, reply in replies.items() if reply.newest}
    unnamed = [item for item in asked if item.project is None and item.name in tags]
    return Introduction(replies, naming.read(paths, tags, unnamed, timeout_s=_NAME_TIMEOUT_S))
