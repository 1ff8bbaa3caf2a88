"""Say what a client may take."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a client may take; beyond it is refused, or its connection ends.

    Attributes:
        header_bytes: request line and header fields of a request, together.
        connections: at once, of all clients.
        header_s: from the first byte of a request, or from the connection for the first request,
            to the end of its header.
        body_s: over how many seconds a body must arrive with `bytes_per_s`.
        answer_s: over how many seconds an answer must be taken with `bytes_per_s`.
        bytes_per_s: at which rate bodies and answers must at least move.
        idle_s: without a request on a connection that has had one.
        linger_s: to hear out a client that was refused, so that it reads why.
    """

    header_bytes: int = 32 * 1024
    connections: int = 200
    header_s: float = 20
    body_s: float = 20
    answer_s: float = 60
    bytes_per_s: int = 1024
    idle_s: float = 60
    linger_s: float = 5

    @property
    def shortest_s(self) -> float:
        """The time that is over first."""
        return min(self.header_s, self.body_s, self.answer_s, self.idle_s, self.linger_s)
