"""Put load on one URL and count what comes back, at as little cost as Python allows.

The generator shares the machine with the server that it measures, so it does nothing per answer but
wait, read and send the same bytes again: no parsing, no objects. What an answer is, is learned from
the first one.
"""

import argparse
import json
import select
import socket
import sys
import time
import urllib.parse
from dataclasses import dataclass
from typing import NamedTuple

PATIENCE_S = 60
_STATUS_SIZE = len(b"HTTP/1.1 200")
_ROOM = 1 << 18


class LoadError(Exception):
    """Say in one line what answered otherwise than at first."""


class Load(NamedTuple):
    """What one run has counted."""

    requests: int
    seconds: float
    per_second: float


@dataclass(frozen=True)
class Answer:
    """What every answer looks like.

    Args:
        status: its first bytes.
        size: of head and body.
        closes: the server ends the connection after it.
    """

    status: bytes
    size: int
    closes: bool


@dataclass(slots=True)
class _Client:
    connection: socket.socket
    received: int = 0


def main() -> None:
    """Run from the command line; print JSON."""
    parser = argparse.ArgumentParser(description="Put load on one URL.")
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=8, metavar="N")
    parser.add_argument("--seconds", type=float, default=3, metavar="S")
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
    arguments = parser.parse_args()
    try:
        done = load(arguments.url, arguments.connections, arguments.seconds, arguments.header)
    except (LoadError, OSError) as error:
        sys.exit(f"{arguments.url}: {error}")
    print(json.dumps(done._asdict()))


def load(url: str, connections: int, seconds: float, headers: list[str]) -> Load:
    """Ask for a URL over some connections, one request outstanding on each.

    Ends with the first answer after the time is up, so that a slow server is not counted as
    having answered nothing. Redirects are not followed.

    Raises:
        LoadError: an answer has another status than 200 or another size than the first.
    """
    parts = urllib.parse.urlsplit(url)
    address = (parts.hostname or "", parts.port or 80)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"GET {target or '/'} HTTP/1.1", f"Host: {parts.netloc}", *headers, "", ""]
    request = "\r\n".join(lines).encode()
    answer = learn(address, request)
    poll = select.epoll()
    clients: dict[int, _Client] = {}

    def connect() -> None:
        connection = socket.create_connection(address, PATIENCE_S)
        connection.setblocking(False)
        clients[connection.fileno()] = _Client(connection)
        poll.register(connection, select.EPOLLIN)
        connection.send(request)

    begun_s = time.perf_counter()
    for _ in range(connections):
        connect()
    room = bytearray(_ROOM)
    count, now_s = 0, begun_s
    try:
        while not count or now_s < begun_s + seconds:
            ready = poll.poll(PATIENCE_S)
            if not ready:
                raise LoadError(f"no answer for {PATIENCE_S} s")
            for number, _ in ready:
                client = clients[number]
                if not _is_complete(client, answer, room):
                    continue
                count += 1
                if answer.closes:
                    client.connection.close()
                    connect()
                else:
                    client.received = 0
                    client.connection.send(request)
            now_s = time.perf_counter()
    finally:
        for client in clients.values():
            client.connection.close()
    return Load(count, now_s - begun_s, count / (now_s - begun_s))


def learn(address: tuple[str, int], request: bytes) -> Answer:
    """Ask once, and tell what every answer must look like.

    Raises:
        LoadError: the answer is not 200 or ends too early.
    """
    with socket.create_connection(address, PATIENCE_S) as connection:
        connection.sendall(request)
        received = b""
        size = None
        while size is None or len(received) < size:
            chunk = connection.recv(_ROOM)
            received += chunk
            head, separator, _ = received.partition(b"\r\n\r\n")
            length = _header(head, b"content-length")
            if separator and length is not None:
                size = len(head) + len(separator) + int(length)
            if not chunk:
                break
    if received[9:12] != b"200":
        raise LoadError(f"answers {head[:80].decode(errors='replace')!r}")
    if size is not None and len(received) != size:
        raise LoadError(f"{len(received)} bytes instead of {size}")
    kept = (_header(head, b"connection") or b"").lower()
    closes = size is None or kept == b"close" or (head[:8] == b"HTTP/1.0" and kept != b"keep-alive")
    return Answer(received[:_STATUS_SIZE], len(received), closes)


def _header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return None


def _is_complete(client: _Client, answer: Answer, room: bytearray) -> bool:
    """Read what is there; say whether it is the end of an answer."""
    size = client.connection.recv_into(room)
    # What is left of a longer answer would be found here: it starts otherwise.
    if not client.received and size and not room.startswith(answer.status):
        raise LoadError(f"answers {bytes(room[:_STATUS_SIZE])!r} instead of {answer.status!r}")
    client.received += size
    if client.received > answer.size or (not size and client.received < answer.size):
        raise LoadError(f"{client.received} bytes instead of {answer.size}")
    return client.received == answer.size


if __name__ == "__main__":
    main()
