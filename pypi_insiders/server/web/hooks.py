"""Take the hooks of forges: a signed push requests an update of its repository."""

import logging
import os
import time
from pathlib import Path
from urllib.parse import unquote

from pypi_insiders.config import hook_secret
from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories import lookup, registry
from pypi_insiders.server.web import hook_signatures
from pypi_insiders.server.web.request import Request
from pypi_insiders.server.web.responses import SAFE, Response, text
from pypi_insiders.systemd import unit_names
from pypi_insiders.util.errors import InsidersError

_log = logging.getLogger(__name__)

PATH = "/hooks/"
# GitHub sends up to 25 MB, and much less for a tag: what is missed is found by the timer.
MAX_BYTES = 1024 * 1024
# What each forge calls an event that may bring a release. Without a name of an event, as of a
# program of the user, the update is what is wanted.
_EVENTS = frozenset(
    ("push", "create", "release", "push hook", "tag push hook", "release hook", None)
)
_PING = "ping"
_EVENT_HEADERS = ("X-GitHub-Event", "X-Gitea-Event", "X-Forgejo-Event", "X-Gitlab-Event")
_QUIET_S = 60
_SHOWN_CHARS = 200


class HookReceiver:
    """Take hooks.

    Args:
        paths: of the secrets and the watched repositories.
        runtime: the runtime directory of the service; `None`: it runs without its unit.
    """

    def __init__(self, paths: Paths, runtime: Path | None) -> None:
        self._paths = paths
        self._runtime = runtime
        self._logged_s = dict[bool, float]()

    def take(self, request: Request) -> Response:
        """Check a hook, and request the update of its repository.

        A hook that is sent once more requests one more update, which finds nothing new: a signed
        hook in the wrong hands is good for nothing else.
        """
        body = _read(request)
        if body is None:
            return text("413 Content Too Large", f"a hook has at most {MAX_BYTES} bytes")
        try:
            secrets = hook_secret.load(self._paths.hook_secret)
        except InsidersError as error:
            self._log_refusal(f"{error.message}; {error.hint}")
            return text("503 Service Unavailable", "hooks are not set up")
        # Before anything else: nobody learns which repositories are watched.
        if not hook_signatures.is_right(request.header, body, secrets, time.time()):
            self._log_refusal("its signature is missing or wrong")
            return text("403 Forbidden", "the signature is missing or wrong")
        try:
            return self._answer(request)
        except (InsidersError, OSError) as error:
            _log.error("a hook cannot be taken: %s", error)
            return text("503 Service Unavailable", "the update cannot be requested")

    def _answer(self, request: Request) -> Response:
        # Its slashes may be escaped twice: once by the user, and once by the form of a forge.
        typed = unquote(request.path.removeprefix(PATH)).removesuffix("/").removesuffix(".git")
        item = lookup.find(registry.load(self._paths.repositories), typed)
        if item is None or unit_names.is_too_long(item.name):
            # It is signed: the address in the form of the forge is wrong, or no longer right.
            self._log_refusal(f"{typed[:_SHOWN_CHARS]!r} is not watched", is_signed=True)
            return text("404 Not Found", "no such repository is watched")
        event = _event(request)
        if event == _PING:
            return Response("204 No Content", list(SAFE))
        if event not in _EVENTS:
            return text("202 Accepted", "no update: this event brings no release")
        if self._runtime is None:
            _log.error("hooks start no updates without systemd: `pypi-insiders server start`")
            return text("503 Service Unavailable", "the index does not run in its unit")
        _request(self._runtime, item.name)
        _log.info("%s: a hook requests an update", item.name)
        return text("202 Accepted", f"an update of {item.name} is requested")

    def _log_refusal(self, why: str, *, is_signed: bool = False) -> None:
        # At most once a minute: anyone can send them. Those that are signed are not kept from it.
        now_s = time.monotonic()
        if now_s - self._logged_s.get(is_signed, float("-inf")) >= _QUIET_S:
            self._logged_s[is_signed] = now_s
            _log.warning("a hook was refused: %s", why)


def _read(request: Request) -> bytes | None:
    """Return the body; `None`: it is too large."""
    length = int(request.environ.get("CONTENT_LENGTH") or 0)
    if length > MAX_BYTES:
        return None
    body: bytes = request.environ["wsgi.input"].read(length)
    return body


def _event(request: Request) -> str | None:
    found = (request.header(name) for name in _EVENT_HEADERS)
    return next((event.lower() for event in found if event), None)


def _request(runtime: Path, name: str) -> None:
    """Create the file by which a path unit starts the update of a repository.

    Raises:
        OSError: it cannot be created.
    """
    directory = runtime / "hooks"
    directory.mkdir(mode=0o700, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    # An empty file is complete at once. If it is there, its update has not begun.
    os.close(os.open(directory / unit_names.escape(name), flags, 0o600))
