"""Answer when the application cannot, and write the log of what was answered."""

import logging
from typing import Any

from waitress.channel import ClientDisconnected
from waitress.task import ErrorTask, WSGITask

_log = logging.getLogger(__package__)

_PATH_LENGTH = 200
_METHOD_LENGTH = 20


class AnswerTask(WSGITask):  # type: ignore[misc]  # waitress has no types
    """The application's answer; 500 without details if it raises, which is a bug of ours."""

    def service(self) -> None:
        """Answer the request; called by a thread that serves requests.

        Raises:
            ClientDisconnected: nobody is there to be answered.
        """
        try:
            self.start()
            self.execute()
            self.finish()
        except ClientDisconnected:
            raise
        # Also an OSError: those of the connection do not come to here.
        except Exception:
            _log.exception("the answer to %s failed", _named(self.request))
            self._give_up()

    def _give_up(self) -> None:
        if self.wrote_header:
            self.close_on_finish = True  # which tells the client that there should be more
            return
        body = b"internal error; the log of the index says more\n"
        self.status = "500 Internal Server Error"
        self.response_headers = [("Content-Type", "text/plain")]
        self.content_length = len(body)
        self.complete = True
        # The application may have left a body unread, which would be taken for the next request.
        self.set_close_on_finish()
        self.write(body)


class _Logged:
    """Write one line to the log when a request has been answered."""

    _header_bytes = 0

    def build_response_header(self: Any) -> bytes:
        # waitress does not say how long the header was, and the log tells the length of the body.
        header: bytes = super().build_response_header()  # type: ignore[misc]
        self._header_bytes = len(header)
        return header

    def service(self: Any) -> None:
        before_bytes = self.channel.written_bytes
        try:
            super().service()  # type: ignore[misc]
        finally:
            if self.wrote_header:
                body_bytes = self.channel.written_bytes - before_bytes - self._header_bytes
                # Client, method, path and status, and how many bytes the body has. Without the
                # query and all header fields: there may be credentials in them.
                _log.debug(
                    "%s %s %s %d",
                    self.channel.addr[0],
                    _named(self.request),
                    self.status.partition(" ")[0],
                    max(0, body_bytes),  # less than the header, if the client is gone
                )


class LoggedAnswerTask(_Logged, AnswerTask):
    """The application's answer, and a line in the log."""


class LoggedRefusalTask(_Logged, ErrorTask):  # type: ignore[misc]
    """waitress's answer to what is no request, and a line in the log."""


def _named(request: Any) -> str:
    """Name a request by method and path, so that it can be shown: printable, short, one line."""
    if not request.request_uri:
        return "- -"
    path = request.request_uri.partition("?")[0].partition("#")[0]
    if not path.startswith(("/", "*")):
        path = "/" + path.partition("://")[2].partition("/")[2]
    escaped = path.encode("unicode_escape").decode("ascii")
    return f"{request.command[:_METHOD_LENGTH] or '-'} {escaped[:_PATH_LENGTH]}"
