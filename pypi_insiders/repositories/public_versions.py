"""Keep which releases the public index has of what is watched."""

import contextlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from packaging.version import Version

from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import write_atomic
from pypi_insiders.util.json_fields import shaped, written
from pypi_insiders.util.own_files import recall

_log = logging.getLogger(__name__)

_FILE = "public.json"


@dataclass(frozen=True)
class Public:
    """What the public index has of a project, as it said when it was asked last."""

    url: str
    """Of the page that was asked for."""
    asked_at: int
    """Seconds of the epoch."""
    etag: str | None = None
    final: str | None = None
    """The newest version that is no pre-release; `None`: there is none. Yanked do not count."""
    pre: str | None = None
    """The newest pre-release."""
    absent_at: int | None = None
    """When it was first found to have no files of the project, in seconds of the epoch.

    `None`: it had some when it was first asked, or has not answered yet."""
    appeared_at: int | None = None
    """When files were first seen after `absent_at`; `None`: there are none, or there always were.

    Somebody has published under a name that was free when its repository was first watched."""

    def newest_for(self, version: str) -> str | None:
        """Tell the newest release that is to be compared with a version of ours.

        Pre-releases are compared with pre-releases only: nobody else gets them.
        """
        found = [self.final, self.pre if Version(version).is_prerelease else None]
        return max(filter(None, found), key=Version, default=None)

    def supersedes(self, version: str) -> str | None:
        """Tell which public release is equal to a version of ours or newer, if one is.

        `1.0+insiders.2` is newer than `1.0`. Source: PEP 440, "Local version identifiers".
        """
        newest = self.newest_for(version)
        return newest if newest and Version(newest) >= Version(version) else None


def load(directory: Path) -> dict[str, Public]:
    """Read what is known of each project, by its normalized name; what is damaged is left out.

    A file that is damaged is set aside, as the log says.

    Args:
        directory: that of the state.
    """
    try:
        return recall(directory / _FILE, _understand) or {}
    except InsidersError as error:
        _log.warning("%s", error.message)
        return {}


def _understand(text: str) -> dict[str, Public]:
    found = {}
    content = json.loads(text)
    for name, item in content.items():
        with contextlib.suppress(ValueError):  # the others are not lost with it
            known = shaped(Public, item)
            for version in filter(None, (known.final, known.pre)):
                Version(version)
            found[name] = known
    if content and not found:
        raise ValueError("nothing in it is a project")
    return found


def save(directory: Path, known: Mapping[str, Public]) -> None:
    """Write what is known of each project.

    Raises:
        InsidersError: it cannot be written.
    """
    content = {name: asdict(item) for name, item in sorted(known.items())}
    write_atomic(directory / _FILE, written(content, indent=1))
