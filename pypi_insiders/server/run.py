"""Run the index: put its parts together, and serve it."""

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
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
from pypi_insiders.repositories.held_names import HeldNames
from pypi_insiders.server import http
from pypi_insiders.server.web import refusing
from pypi_insiders.server.web.application import make_app
from pypi_insiders.server.web.guard import RequestGuard
from pypi_insiders.server.web.held import Held
from pypi_insiders.util.background import background_process
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there

_log = logging.getLogger(__name__)

# Of a request that is refused anyway.
_MAX_BODY_BYTES = 64 * 1024
# Well below TimeoutStartSec= of the unit.
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
    """Serve a directory of distributions until a signal, or until nobody asks.

    Args:
        paths: where everything else lies.
        settings: their host and port do not matter here.
        directory: made where it is missing.
        sockets: listening sockets.
        on_ready: called with the URL up to the port as soon as requests are answered.
        password: where one must be given, this one instead of those that the person has set.
        must_read: whether a directory that cannot be read is an error, and not answered with 503.
        load: reads the settings again after SIGHUP; `None`: SIGHUP ends the process.

    Raises:
        InsidersError: the fallback is the index itself, a socket can be reached by others and
            readers need no password, or a password that is needed is missing.
    """
    bound = [ServerSettings(*item.getsockname()[:2]) for item in sockets]
    guard = _guard(paths, settings, bound, password)
    names = HeldNames(paths)
    names.current()  # the first request is not to wait for it
    cache = MetadataCache(paths.record, directory)
    # What is watched is published elsewhere, if this is another directory.
    watching = paths if directory.resolve() == paths.distributions.resolve() else None
    try:
        make_directory_if_new(directory, cache, state.origins(paths.state))
    except InsidersError as error:  # requests are told so as well
        if must_read:
            raise
        _log.error("%s", error)
    catalog = Catalog(
        directory,
        cache,
        lambda: state.origins(paths.state),
        names.learn,
        paths.state if watching else None,
    )
    if must_read:
        catalog.refresh()
    waiters = http.Waiters()
    take_upload, max_body_bytes = None, _MAX_BODY_BYTES
    if settings.uploads:
        from pypi_insiders.server.web import uploads  # most have no use for it

        take_upload = uploads.Uploads(directory, cache, names.learn).take
        max_body_bytes = uploads.MAX_BYTES
    # A daemon: it waits for files for ever, and must not keep the process.
    threading.Thread(target=catalog.keep_up, name="catalog", daemon=True).start()
    held = Held(catalog, names, waiters)

    def make(settings: ServerSettings, guard: RequestGuard) -> WSGIApplication:
        return make_app(catalog, guard, held, watching, take_upload, settings.fallback_url)

    def ready() -> None:
        on_ready(bound[0].url)
        _ask_for_notification(paths)

    app = make(settings, guard)
    trouble = ""

    def reload(load: Callable[[], ServerSettings]) -> tuple[WSGIApplication, float]:
        nonlocal app, settings, trouble
        try:
            wanted = load()
            # The sockets are systemd's, and the table of uploads was made at the start.
            new = replace(wanted, host=settings.host, port=settings.port, uploads=settings.uploads)
            app = make(new, _guard(paths, new, bound, password))
        except InsidersError as error:
            trouble = f"; the old settings stay: {error.message}"
            _log.error("the old settings stay: %s", error.message)
        else:
            trouble = ""
            if new != wanted:
                _log.warning("host, port and uploads change at `pypi-insiders server restart`")
            _log.info("the settings were read again")
            settings = new
        return app, settings.idle_timeout_s

    http.serve(
        app,
        sockets,
        ready,
        status=lambda: catalog.summary() + trouble,
        idle_timeout_s=settings.idle_timeout_s,
        max_body_bytes=max_body_bytes,
        waiters=waiters,
        # Without systemd nobody would start it again.
        is_outlived=partial(_is_outlived, catalog, (paths.config, paths.state)) if load else None,
        on_reload=partial(reload, load) if load else None,
    )


def _is_outlived(catalog: Catalog, others: Iterable[Path]) -> bool:
    """Tell whether the directories may be others than this process sees.

    systemd shows a service those that were there when it started: one that is removed and made
    again, or only made later, is not seen.

    Source: systemd.exec(5), `BindReadOnlyPaths=`.
    """
    try:
        catalog.refresh()
    except InsidersError:
        return True
    return any(map(_is_removed, others))


def _is_removed(directory: Path) -> bool:
    """Tell whether a directory is not there, or only because something still has it open."""
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

    Without an answer, clients would hang behind the sockets of systemd, which stay open. systemd
    never learns that the service is ready, so its start fails as without this. When the settings
    have been mended it ends at once, before it takes another connection: systemd starts the index
    that serves it.

    Args:
        error: why the index cannot serve.
        sockets: listening sockets.
        paths: where everything lies.
        load: reads the settings again.
    """
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
        status=lambda: "mended, to be started" if is_mended else f"cannot serve: {error.message}",
        refusing_for_s=_REFUSING_FOR_S,
        # What the settings do not explain would be tried again and again without an answer.
        is_mended=can_serve if is_by_settings else None,
    )


def _ask_for_notification(paths: Paths) -> None:
    """Have the services looked at again if anything was wrong: now they may be well."""
    # By a file, as the bus is hidden from the service; without systemd nobody is asked. Source:
    # systemd.exec(5), `RuntimeDirectory=`.
    place = os.environ.get("RUNTIME_DIRECTORY")
    before = services_seen.load(paths)
    # Otherwise each start of the index would start another program for nothing.
    if place and (is_there(paths.troubles) or (before and before.items)):
        request = Path(place, "notify")
        with contextlib.suppress(OSError):
            request.unlink()  # it may be a link that leads nowhere
        with contextlib.suppress(OSError):
            # O_EXCL follows no link: the directory belongs to the user, whose other programs may
            # put one there.
            request.touch(exist_ok=False)


def _guard(
    paths: Paths, settings: ServerSettings, bound: Sequence[ServerSettings], password: str | None
) -> RequestGuard:
    """Make what is asked of requests, if the settings may be those of an index that listens so."""
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
    """Serve the index in a process of its own for as long as the context is open, or this process.

    Nobody can upload there, and nobody but who asks on this socket is told that it is served.

    Args:
        paths: where everything lies.
        settings: host, port, names and time limits do not matter here.
        listening: on a loopback address; of use here only until the context is entered.
        password: where one must be given.

    Raises:
        InsidersError: on entering; as `serve`.
    """
    settings = replace(settings, uploads=False, names=(), idle_timeout_s=0)

    def work(on_ready: Callable[[], None]) -> None:
        # systemd's are those of the command.
        for name in ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"):
            os.environ.pop(name, None)
        serve(
            paths, settings, paths.distributions, [listening],
            lambda _url: on_ready(), password=password, must_read=True,
        )  # fmt: skip

    return background_process(work)
