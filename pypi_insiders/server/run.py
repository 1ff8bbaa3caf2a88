"""Run the index server: create its parts, and serve requests."""

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from wsgiref.types import WSGIApplication

from pypi_insiders.config import access, addresses, passwords
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import ServerSettings
from pypi_insiders.index.catalog import Catalog, make_directory_if_new
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.reporting import services_seen
from pypi_insiders.repositories import state
from pypi_insiders.server import http
from pypi_insiders.server.current_names import CurrentNames
from pypi_insiders.server.web import refusing
from pypi_insiders.server.web.application import make_app
from pypi_insiders.server.web.guard import RequestGuard
from pypi_insiders.server.web.held import Held
from pypi_insiders.server.web.request import Request
from pypi_insiders.server.web.responses import Response
from pypi_insiders.util.background import background_process
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there

_log = logging.getLogger(__name__)

# Without uploads, requests with a body are refused anyway.
_MAX_BODY_BYTES = 64 * 1024
# Well below TimeoutStartSec= of the unit, after which systemd would kill the process.
_REFUSING_FOR_S = 5


def serve(  # noqa: C901, PLR0913  # what an index is made of
    paths: Paths,
    settings: ServerSettings,
    directory: Path,
    sockets: Sequence[socket.socket],
    on_ready: Callable[[str], None],
    *,
    password: str | None = None,
    must_read: bool = False,
    load: Callable[[], ServerSettings] | None = None,
) -> None:
    """Serve a directory of distributions until a signal or the idle timeout.

    Args:
        paths: all other paths of the program.
        settings: the settings; host and port are ignored.
        directory: the distributions directory; created if missing.
        sockets: listening sockets.
        on_ready: called with the URL up to the port as soon as requests are answered.
        password: replaces the passwords that the user has set.
        must_read: whether to raise for an unreadable directory, instead of answering 503.
        load: reads the settings again after SIGHUP; `None`: SIGHUP ends the process.

    Raises:
        InsidersError: the fallback index is this server itself, a socket is reachable from other
            machines without a password, or a required password is missing.
    """
    bound = [ServerSettings(*item.getsockname()[:2]) for item in sockets]
    guard = _guard(paths, settings, bound, password)
    # Updates publish to the default directory only, so another one has nothing of repositories.
    watching = paths if directory.resolve() == paths.distributions.resolve() else None
    names = CurrentNames(paths, is_learning=watching is not None)
    names.current()  # before the first request, which would wait for it
    cache = MetadataCache(paths.record, directory)
    try:
        make_directory_if_new(directory, cache, state.origins(paths.state))
    except InsidersError as error:  # requests are answered with the same error
        if must_read:
            raise
        _log.error("%s", error)
    catalog = Catalog(
        directory,
        cache,
        lambda: state.origins(paths.state),
        paths.state if watching else None,
    )
    if must_read:
        catalog.refresh()
    waiters = http.Waiters()
    take_upload, max_body_bytes = None, _MAX_BODY_BYTES
    if settings.uploads:
        from pypi_insiders.server.web import uploads  # only few servers take uploads

        take_upload = uploads.Uploads(directory, cache, names.learn).take
        max_body_bytes = uploads.MAX_BYTES
    take_hook, max_hook_bytes = _hooks(paths) if settings.hooks else (None, 0)
    max_body_bytes = max(max_body_bytes, max_hook_bytes)
    # A daemon thread: it waits for files for ever, and must not delay the exit.
    threading.Thread(
        target=catalog.keep_up, args=(names.learn,), name="catalog", daemon=True
    ).start()
    held = Held(catalog, names, waiters)

    def make(settings: ServerSettings, guard: RequestGuard) -> WSGIApplication:
        return make_app(
            catalog, guard, held, watching, take_upload, settings.fallback_url, take_hook
        )

    def ready() -> None:
        on_ready(bound[0].url)
        _request_notification(paths)

    app = make(settings, guard)
    problem = ""

    def reload(load: Callable[[], ServerSettings]) -> tuple[WSGIApplication, float]:
        nonlocal app, settings, problem
        try:
            wanted = load()
            # systemd owns the sockets, and the handler of uploads is created at the start only.
            new = wanted._replace(host=settings.host, port=settings.port,
                uploads=settings.uploads, hooks=settings.hooks,
            )  # fmt: skip
            app = make(new, _guard(paths, new, bound, password))
        except InsidersError as error:
            problem = f"; keeping the old settings: {error.message}"
            _log.error("keeping the old settings: %s", error.message)
        else:
            problem = ""
            if new != wanted:
                _log.warning(
                    "host, port, uploads and hooks change only with `pypi-insiders server restart`"
                )
            _log.info("reloaded the settings")
            settings = new
        return app, settings.idle_timeout_s

    http.serve(
        app,
        sockets,
        ready,
        status=lambda: catalog.summary() + problem,
        idle_timeout_s=settings.idle_timeout_s,
        max_body_bytes=max_body_bytes,
        waiters=waiters,
        # With systemd only, which starts the server again at the next request.
        is_outlived=partial(_is_outlived, catalog, (paths.config, paths.state)) if load else None,
        on_reload=partial(reload, load) if load else None,
    )


def _hooks(paths: Paths) -> tuple[Callable[[Request], Response], int]:
    """Return what takes hooks, and the maximum of bytes that one has."""
    from pypi_insiders.server.web import hooks  # only few servers have hooks

    # Set by `RuntimeDirectory=` of the unit, whose path unit watches it. Source: systemd.exec(5).
    runtime = os.environ.get("RUNTIME_DIRECTORY")
    return hooks.HookReceiver(paths, Path(runtime) if runtime else None).take, hooks.MAX_BYTES


def _is_outlived(catalog: Catalog, others: Iterable[Path]) -> bool:
    """Return whether a directory may have been replaced since the start of this process."""
    # The mounts of a service have the directories that existed at its start: one that was created
    # again, or later, is invisible. Source: systemd.exec(5), `BindReadOnlyPaths=`.
    try:
        catalog.refresh()
    except InsidersError:
        return True
    return any(map(_is_removed, others))


def _is_removed(directory: Path) -> bool:
    """Return whether a directory was removed, even if this process still has it open."""
    try:
        return directory.stat().st_nlink == 0
    except FileNotFoundError:
        return True
    except OSError:
        return False


def refuse(
    error: InsidersError,
    sockets: Sequence[socket.socket],
    paths: Paths,
    load: Callable[[], ServerSettings],
) -> None:
    """Answer every request with 503 and the reason for a few seconds, or until a signal.

    Args:
        error: why the server cannot start.
        sockets: listening sockets.
        paths: all paths of the program.
        load: reads the settings again.
    """
    # Without an answer, clients would hang, as the sockets of systemd stay open. READY=1 is never
    # sent, so the start of the service fails all the same. Once the settings are fixed, this ends
    # before it accepts another connection, for which systemd then starts the server.
    bound = [ServerSettings(*item.getsockname()[:2]) for item in sockets]
    is_mended = False

    def can_serve() -> bool:
        nonlocal is_mended
        with contextlib.suppress(InsidersError):
            _guard(paths, load(), bound, None)
            is_mended = True
        return is_mended

    is_by_settings, is_mended = not can_serve(), False
    is_local = all(addresses.is_loopback(item.host) for item in bound)
    http.serve(
        refusing.make_app(error, RequestGuard() if is_local else None),
        sockets,
        lambda: None,
        status=lambda: "fixed, restarting" if is_mended else f"cannot serve: {error.message}",
        refusing_for_s=_REFUSING_FOR_S,
        # Only for errors of the settings: for others, systemd would start it again and again
        # without any answer to clients.
        is_mended=can_serve if is_by_settings else None,
    )


def _request_notification(paths: Paths) -> None:
    """Request a check of the services if there was a problem, which may be fixed now."""
    # A path unit watches this file, as the bus is hidden from the service. Source:
    # systemd.exec(5), `RuntimeDirectory=`.
    place = os.environ.get("RUNTIME_DIRECTORY")
    before = services_seen.load(paths)
    # Only after a problem: otherwise each start of the server would start another program.
    if place and (is_there(paths.troubles) or (before and before.items)):
        request = Path(place, "notify")
        with contextlib.suppress(OSError):
            request.unlink()  # a dangling link has the name too
        with contextlib.suppress(OSError):
            # O_EXCL follows no link, which another program of the user may have created.
            request.touch(exist_ok=False)


def _guard(
    paths: Paths, settings: ServerSettings, bound: Sequence[ServerSettings], password: str | None
) -> RequestGuard:
    """Return the guard of requests, after checking that the settings are safe for the sockets."""
    access.refuse_own_fallback(settings, bound)
    access.demand_auth(settings.auth, bound)
    checker: passwords.Checker | passwords.Single
    if password is None:
        checker = access.passwords_for(settings, paths.passwords)
    else:
        checker = passwords.Single(password)
    return RequestGuard(
        settings.names,
        [item.host for item in bound],
        users=checker if settings.auth else None,
        uploaders=checker if settings.uploads else None,
    )


def served_beside(
    paths: Paths, settings: ServerSettings, listening: socket.socket, password: str | None
) -> AbstractContextManager[None]:
    """Serve the index in another process until the context or this process ends.

    It takes no uploads.

    Args:
        paths: all paths of the program.
        settings: the settings; host, port, names and time limits are ignored.
        listening: a socket on a loopback address, used here until the context is entered.
        password: replaces the passwords that the user has set.

    Raises:
        InsidersError: on entering, as in `serve`.
    """
    settings = settings._replace(uploads=False, hooks=False, names=(), idle_timeout_s=0)

    def work(on_ready: Callable[[], None]) -> None:
        # They belong to the unit of the calling command, if it has one.
        for name in ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"):
            os.environ.pop(name, None)
        serve(
            paths, settings, paths.distributions, [listening],
            lambda _url: on_ready(), password=password, must_read=True,
        )  # fmt: skip

    return background_process(work)
