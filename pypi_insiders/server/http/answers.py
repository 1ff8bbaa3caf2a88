"""Answer with 500 if the application raises, and log answers."""

import logging
from typing import Any

from waitress.channel import ClientDisconnected
from waitress.task import ErrorTask, WSGITask

_log = logging.getLogger(__package__)

_PATH_LENGTH = 200
_METHOD_LENGTH = 20


class AnswerTask(WSGITask):  # type: ignore[misc]  # waitress has no types
    """The application's answer; 500 without details if it raises, which is a bug."""

    def service(self) -> None:
        """Answer the request; called by a thread of waitress.

        Raises:
            ClientDisconnected: the client is gone.
        """
        try:
            self.start()
            self.execute()
            self.finish()
        except ClientDisconnected:
            raise
        # OSError too: errors of the connection are ClientDisconnected.
        except Exception:
            _log.exception("cannot answer %s", _named(self.request))
            self._give_up()

    def build_response_header(self) -> bytes:
        """Return status line and header fields; called by waitress."""
        if self.channel.is_ending:
            # As if the client had sent it; so it sends its next request to the next process.
            self.request.headers["CONNECTION"] = "close"
        header: bytes = super().build_response_header()
        return header

    def _give_up(self) -> None:
        if self.wrote_header:
            self.close_on_finish = True  # so that the client notices the missing rest
            return
        body = b"internal error; see the log: pypi-insiders server logs\n"
        self.status = "500 Internal Server Error"
        self.response_headers = [("Content-Type", "text/plain")]
        self.content_length = len(body)
        self.complete = True
        # An unread body of this request would be parsed as the next request.
        self.set_close_on_finish()
        self.write(body)


class _Logged:
    """Log one line for each answer."""

    _header_bytes = 0

    def build_response_header(self: Any) -> bytes:
        # waitress counts header and body together; the log has the length of the body.
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
                # Client, method, path, status and bytes of the body. Without query and header
                # fields, which may contain credentials.
                _log.debug(
                    "%s %s %s %d",
                    self.channel.addr[0],
                    _named(self.request),
                    self.status.partition(" ")[0],
                    max(0, body_bytes),  # negative if the client left during the header
                )


class LoggedAnswerTask(_Logged, AnswerTask):
    """The application's answer, which is logged."""


class LoggedRefusalTask(_Logged, ErrorTask):  # type: ignore[misc]
    """waitress's answer to an invalid request, which is logged."""


def _named(request: Any) -> str:
    """Return method and path of a request, printable and short, for the log."""
    if not request.request_uri:
        return "- -"
    path = request.request_uri.partition("?")[0].partition("#")[0]
    if not path.startswith(("/", "*")):
        path = "/" + path.partition("://")[2].partition("/")[2]
    escaped = path.encode("unicode_escape").decode("ascii")
    return f"{request.command[:_METHOD_LENGTH] or '-'} {escaped[:_PATH_LENGTH]}"
