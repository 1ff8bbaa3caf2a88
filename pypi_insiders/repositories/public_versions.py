"""Read and write the public versions of projects, as the fallback index has them."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from packaging.version import Version

from pypi_insiders.util.files import write_atomic
from pypi_insiders.util.json_fields import shaped, written
from pypi_insiders.util.own_files import recall_or

_FILE = "public.json"


class Public(NamedTuple):
    """The public versions of a project, at the last lookup."""

    url: str
    """The URL of the page."""
    asked_at: int
    """Seconds of the epoch."""
    etag: str | None = None
    final: str | None = None
    """The latest final version that is not yanked; `None`: there is none."""
    pre: str | None = None
    """The latest pre-release that is not yanked."""
    absent_at: int | None = None
    """When the index was first found without files of the project, in seconds of the epoch.

    `None`: it had files at the first lookup, or there was none yet."""
    appeared_at: int | None = None
    """When files were first seen after `absent_at`; `None`: there are none, or there always were.

    Then a project was published under a name that was free before."""

    def newest_for(self, version: str) -> str | None:
        """Return the latest public version to compare with a version of this index."""
        # Installers take pre-releases only if asked for, so final versions are not compared with
        # them.
        found = [self.final, self.pre if Version(version).is_prerelease else None]
        return max(filter(None, found), key=Version, default=None)

    def supersedes(self, version: str) -> str | None:
        """Return the public version that equals a version of this index or is newer, if any."""
        # `1.0+insiders.2` is newer than `1.0`. Source: PEP 440, "Local version identifiers".
        newest = self.newest_for(version)
        return newest if newest and Version(newest) >= Version(version) else None


def load(directory: Path) -> dict[str, Public]:
    """Read the public versions of projects, by normalized name, without invalid entries.

    A damaged file is set aside, and that is logged.

    Args:
        directory: the directory of the state.
    """
    return recall_or({}, directory / _FILE, _understand)


def appeared(directory: Path) -> frozenset[str]:
    """Return the names of the projects that were published after their names had been free."""
    found = load(directory).items()
    return frozenset(name for name, public in found if public.appeared_at is not None)


def _understand(text: str) -> dict[str, Public]:
    found = {}
    content = json.loads(text)
    for name, item in content.items():
        with contextlib.suppress(ValueError):  # keeps the other entries
            known = shaped(Public, item)
            for version in filter(None, (known.final, known.pre)):
                Version(version)
            found[name] = known
    # Without any valid entry it is not such a file, and is set aside.
    if content and not found:
        raise ValueError("no valid entry")
    return found


def save(directory: Path, known: Mapping[str, Public]) -> None:
    """Write the public versions of projects.

    Raises:
        InsidersError: the file cannot be written.
    """
    content = {name: item._asdict() for name, item in sorted(known.items())}
    write_atomic(directory / _FILE, written(content, indent=1))
