"""Upload the files that an index lacks, and verify that it has them afterwards."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pypi_insiders.config.validators import PYPI
from pypi_insiders.index import distribution
from pypi_insiders.remote_index import simple_api
from pypi_insiders.remote_index.credentials import VARIABLE, Credentials, find_credentials
from pypi_insiders.remote_index.destination import Destination
from pypi_insiders.remote_index.errors import PublishError, failure
from pypi_insiders.util import process, uv
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import cannot, sha256
from pypi_insiders.util.redirects import is_same_origin
from pypi_insiders.util.without_credentials import without_credentials

_log = logging.getLogger(__name__)

# For wheels of gigabytes over slow lines.
_UPLOAD_TIMEOUT_S = 3600
# With RUST_LOG uv would log what it sends.
_NOT_FOR_UV = (VARIABLE, "RUST_LOG")
# Most indexes show a new file at once; doubled for those that cache their pages.
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 8.0


def publish(
    destination: Destination,
    files: Sequence[Path],
    environment: Mapping[str, str],
    *,
    patience_s: float = 60,
) -> list[str]:
    """Upload the files that the index does not have; files of the index never change.

    Thread-safe.

    Args:
        destination: the index.
        files: distributions, of any projects.
        environment: of this process: may have the password, and is the environment of uv.
        patience_s: how long to wait for a file to appear in the index after its upload.

    Returns:
        The names of the uploaded files.

    Raises:
        PublishError: the index has a different file of that name, cannot be read, or refuses a
            file. Files uploaded before stay.
        InsidersError: a file is not a distribution, or a file with a password cannot be read.
    """
    # By project: one request returns all its files.
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
    """A local file to upload."""

    path: Path
    sha256: str
    size_bytes: int


def _look_at(file: Path) -> _Wanted:
    try:
        return _Wanted(file, sha256(file), file.stat().st_size)
    except OSError as error:
        found = cannot("read", file, error)
        raise PublishError(found.message, found.hint) from error


@dataclass(frozen=True)
class _Index:
    """An index, with the credentials and the environment for requests to it."""

    destination: Destination
    credentials: Credentials
    environment: Mapping[str, str]

    def missing(self, project: str, items: Sequence[_Wanted]) -> list[_Wanted]:
        """Return the files of a project that the index does not have.

        Raises:
            PublishError: the index has a different file of that name, or cannot be read.
        """
        # PyPI is read anonymously: its upload token is for its upload host only.
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
                # Links may be to any host, which must not get the password.
                is_same = is_same_origin(listed.url, self.destination.simple_url)
                digest = simple_api.hash_of(listed, reader if is_same else None, item.size_bytes)
            if digest != item.sha256:
                raise PublishError(
                    f"{without_credentials(found.url)} already has a different {item.path.name},"
                    " which is never replaced",
                    "release a new version",
                )
        return missing

    def upload(self, project: str, item: _Wanted) -> None:
        """Upload one file.

        Raises:
            PublishError: the upload failed, and the index does not have the file.
        """
        argv = (
            uv.find(), "publish", "--no-config", "--no-progress", "--no-attestations",
            # The password is known; uv would ask GitHub and the keyring again for each file.
            "--trusted-publishing", "never", "--keyring-provider", "disabled",
            "--publish-url", self.destination.url,
            # As a directory and a name: uv treats a path as a pattern.
            "--directory", str(item.path.absolute().parent), "--", item.path.name,
        )  # fmt: skip
        # The URL may contain a password, and the message is shown and logged.
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
            # Another client may have uploaded the file, or the response was lost.
            is_missing = bool(self.missing(project, [item]))
        except PublishError as error:
            # If the index is unreachable, the refusal is the better reason; a different file of
            # that name is the best.
            raise (refusal if error.is_unreachable else error) from refusal
        if is_missing:
            raise refusal

    def confirm(self, project: str, items: Sequence[_Wanted], patience_s: float) -> None:
        """Wait until the index has the uploaded files, as some pages are cached.

        Raises:
            PublishError: a file is still missing.
        """
        # Old devpi answers 200 to a wrong upload URL, and keeps nothing.
        until_s = time.monotonic() + patience_s
        pause_s = _FIRST_PAUSE_S
        while items and (missing := self.missing(project, items)):
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                page_url = without_credentials(f"{self.destination.simple_url}{project}/")
                raise PublishError(
                    f"{without_credentials(self.destination.url)} accepted"
                    f" {missing[0].path.name}, but it is missing from {page_url}",
                    "check index-url under [publish], and set check-url to the URL of its"
                    " simple API",
                )
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _environment_of_uv(self) -> dict[str, str]:
        return {
            # As git and Python do: the certificate authority of a company may be known to the
            # system only. First, so that the user's environment can override it.
            "UV_SYSTEM_CERTS": "1",
            **{
                name: value
                for name, value in self.environment.items()
                if name not in _NOT_FOR_UV and not name.startswith("UV_PUBLISH_")
            },
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            # uv requires a user even without a password.
            "UV_PUBLISH_USERNAME": self.credentials.user,
            # In the environment, which only this user can read; arguments are readable by all
            # users. Source: proc(5).
            "UV_PUBLISH_PASSWORD": self.credentials.password or "",
        }


def _cause(stderr: str) -> str:
    """Return the innermost cause that uv printed, with the server's text, or else the error."""
    for word in ("  cause: ", "error: "):
        _, found, text = f"\n{stderr}".rpartition(f"\n{word}")
        if found:
            return text
    return stderr
