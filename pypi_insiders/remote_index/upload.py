"""Upload what an index does not have, and see that it has it then."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pypi_insiders.index import distribution
from pypi_insiders.remote_index import simple_api
from pypi_insiders.remote_index.credentials import VARIABLE, Credentials, find_credentials
from pypi_insiders.remote_index.destination import PYPI, Destination
from pypi_insiders.remote_index.errors import PublishError, failure
from pypi_insiders.util import process, uv
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import cannot, sha256
from pypi_insiders.util.without_credentials import without_credentials

_log = logging.getLogger(__name__)

_UPLOAD_TIMEOUT_S = 3600
# With the last it would write down what it sends.
_NOT_FOR_UV = (VARIABLE, "RUST_LOG")
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 8.0


def publish(
    destination: Destination,
    files: Sequence[Path],
    environment: Mapping[str, str],
    *,
    patience_s: float = 60,
) -> list[str]:
    """Upload those of the files that the index does not have; nothing that it has changes.

    May be called in several threads at once.

    Args:
        destination: the index.
        files: finished distributions, of any projects.
        environment: ours, where the password may be, and what uv runs with.
        patience_s: for how long a file may not be seen in the index after its upload.

    Returns:
        The names of those that were not there before; now the index has them all.

    Raises:
        PublishError: the index has another file of that name, or cannot be asked, or does not
            take a file. What was uploaded before stays.
        InsidersError: a file is no distribution, or one with a password cannot be read.
    """
    # By project, for one page tells of all its files.
    wanted: dict[str, list[_Wanted]] = {}
    for file in files:
        wanted.setdefault(distribution.release_of(file.name)[0], []).append(_look_at(file))
    if not wanted:
        return []
    index = _Index(destination, find_credentials(destination, environment), environment)
    new = []
    for project, items in wanted.items():
        missing = index.missing(project, items)
        for item in missing:
            index.upload(project, item)
        index.confirm(project, missing, patience_s)
        new += [item.path.name for item in missing]
    return new


@dataclass(frozen=True)
class _Wanted:
    """A file that the index shall have."""

    path: Path
    sha256: str
    size_bytes: int


def _look_at(file: Path) -> _Wanted:
    try:
        return _Wanted(file, sha256(file), file.stat().st_size)
    except OSError as error:
        told = cannot("read", file, error)
        raise PublishError(told.message, told.hint) from error


@dataclass(frozen=True)
class _Index:
    """An index, and who speaks to it."""

    destination: Destination
    credentials: Credentials
    environment: Mapping[str, str]

    def missing(self, project: str, items: Sequence[_Wanted]) -> list[_Wanted]:
        """Tell which of the files of a project it does not have.

        Raises:
            PublishError: it has one with other content, or does not tell.
        """
        # Anybody may read PyPI; what may upload is for its other host.
        reader = None if self.destination.simple_url == PYPI else self.credentials
        found = simple_api.ask(self.destination.simple_url, project, reader)
        missing = []
        for item in items:
            listed = found.files.get(item.path.name)
            if listed is None:
                missing.append(item)
                continue
            digest = listed.sha256
            if digest is None:
                is_ours = simple_api.is_of(listed.url, self.destination.simple_url)
                digest = simple_api.hash_of(listed, reader if is_ours else None, item.size_bytes)
            if digest != item.sha256:
                raise PublishError(
                    f"{without_credentials(found.url)} has another {item.path.name} already,"
                    " which stays as it is",
                    "a file of an index never changes: release another version",
                )
        return missing

    def upload(self, project: str, item: _Wanted) -> None:
        """Send one file.

        Raises:
            PublishError: the index did not take it, and does not have it.
        """
        argv = (
            uv.find(), "publish", "--no-config", "--no-progress", "--no-attestations",
            # The password was found already; uv would ask GitHub, or the keyring, once more, and
            # for each file.
            "--trusted-publishing", "never", "--keyring-provider", "disabled",
            "--publish-url", self.destination.url,
            # Of a path uv would take special characters for a pattern.
            "--directory", str(item.path.absolute().parent), "--", item.path.name,
        )  # fmt: skip
        doing = f"cannot upload {item.path.name} to {without_credentials(self.destination.url)}"
        try:
            done = process.run(
                argv, timeout_s=_UPLOAD_TIMEOUT_S, environment=self._environment_of_uv()
            )
        except InsidersError as error:
            raise PublishError(f"{doing}: {error.message}", error.hint) from error
        if done.status == 0:
            _log.debug("uploaded %s", item.path.name)
            return
        refusal = failure(doing, _cause(done.stderr), self.credentials.password)
        try:
            # Somebody else was faster, or the answer was lost.
            is_missing = bool(self.missing(project, [item]))
        except PublishError as error:
            # If it cannot be asked, why it refused says more; another file of that name says most.
            raise (refusal if error.is_unreachable else error) from refusal
        if is_missing:
            raise refusal

    def confirm(self, project: str, items: Sequence[_Wanted], patience_s: float) -> None:
        """See that the index has what was uploaded; with patience, as some pages are cached.

        Raises:
            PublishError: it does not have it.
        """
        until_s = time.monotonic() + patience_s
        pause_s = _FIRST_PAUSE_S
        while items and (missing := self.missing(project, items)):
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                page_url = without_credentials(f"{self.destination.simple_url}{project}/")
                raise PublishError(
                    f"{without_credentials(self.destination.url)} took {missing[0].path.name},"
                    f" but {page_url} does not have it",
                    "check index-url under [publish], and set check-url to the URL of its"
                    " simple API",
                )
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _environment_of_uv(self) -> dict[str, str]:
        """Say by whom is uploaded, where no other process reads it."""
        return {
            # As git and Python do: a company's certificate authority is known to the system alone.
            # First, so that the user can set it otherwise.
            "UV_SYSTEM_CERTS": "1",
            **{
                name: value
                for name, value in self.environment.items()
                if name not in _NOT_FOR_UV and not name.startswith("UV_PUBLISH_")
            },
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            # Without a password uv needs a user nevertheless.
            "UV_PUBLISH_USERNAME": self.credentials.user,
            # In the environment, which only this user can read; arguments can be read by all.
            # Source: proc(5).
            "UV_PUBLISH_PASSWORD": self.credentials.password or "",
        }


def _cause(stderr: str) -> str:
    """Pick what uv calls the innermost cause, with all that the server said, or else the error."""
    for word in ("  cause: ", "error: "):
        _, found, text = f"\n{stderr}".rpartition(f"\n{word}")
        if found:
            return text
    return stderr
