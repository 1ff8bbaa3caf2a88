"""Run the index: put its parts together, and serve it."""

import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from pypi_insiders import access, server, state
from pypi_insiders.catalogue import Catalogue
from pypi_insiders.config import ServerSettings
from pypi_insiders.files import make_directory
from pypi_insiders.paths import Paths
from pypi_insiders.record import Record
from pypi_insiders.web.application import make_app
from pypi_insiders.web.guard import Guard

# Of a request that is refused anyway.
_MAX_BODY_BYTES = 64 * 1024


def run(
    paths: Paths,
    settings: ServerSettings,
    directory: Path,
    sockets: Sequence[socket.socket],
    on_ready: Callable[[str], None],
) -> None:
    """Serve a directory of distributions until a signal, or until nobody asks.

    Args:
        paths: where everything else lies.
        settings: their host and port do not matter here.
        directory: made where it is missing.
        sockets: listening sockets.
        on_ready: called with the URL up to the port as soon as requests are answered.

    Raises:
        InsidersError: a socket can be reached by others and readers need no password, or a
            password that is needed is missing.
    """
    bound = [ServerSettings(*item.getsockname()[:2]) for item in sockets]
    access.demand_auth(settings.auth, bound)
    passwords = access.passwords_for(settings, paths.passwords)
    guard = Guard(
        settings.names,
        [item.host for item in bound],
        users=passwords if settings.auth else None,
        uploaders=passwords if settings.uploads else None,
    )
    make_directory(directory)
    record = Record(paths.record, directory)
    catalogue = Catalogue(directory, record, lambda: state.origins(paths.state))
    take_upload, max_body_bytes = None, _MAX_BODY_BYTES
    if settings.uploads:
        from pypi_insiders.web import uploads  # most have no use for it

        take_upload = uploads.Uploads(directory, record).take
        max_body_bytes = uploads.MAX_BYTES
    # What is watched is published elsewhere, if this is another directory.
    watching = paths if directory.resolve() == paths.distributions.resolve() else None
    threading.Thread(target=catalogue.keep_up, name="catalogue", daemon=True).start()
    server.serve(
        make_app(catalogue, guard, watching, take_upload, settings.fallback_url),
        sockets,
        lambda: on_ready(bound[0].url),
        status=catalogue.summary,
        watched=directory,
        idle_timeout_s=settings.idle_timeout_s,
        max_body_bytes=max_body_bytes,
    )
