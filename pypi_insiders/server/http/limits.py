"""The limits of a client."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of a client; beyond them, its request is refused or its connection closed.

    Attributes:
        header_bytes: maximum of request line and header fields together.
        connections: maximum of all clients together.
        header_s: maximum from the first byte of a request (or from the connection, for the first
            request) to the end of its header.
        body_s: the window in which a body must arrive with `bytes_per_s` on average.
        answer_s: the window in which an answer must be read with `bytes_per_s` on average.
        bytes_per_s: the minimum rate of bodies and answers.
        idle_s: maximum between two requests of a connection.
        linger_s: maximum to receive the rest of a refused request, so that its client reads why.
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
        """The shortest of the time limits."""
        return min(self.header_s, self.body_s, self.answer_s, self.idle_s, self.linger_s)
