"""Relay TCP connections of a program in its own network namespace to a Unix socket.

A script for any Python: `relay.py SOCKET PROGRAM [ARGUMENT...]`.
"""

# Without imports of this package: the program's files are not visible in the sandbox.

import contextlib
import os
import socket
import sys
import threading

PORT = 3128
"""The port of the relay on the program's loopback interface."""


def join(one: socket.socket, other: socket.socket) -> None:
    """Copy data between two connections in both directions until both have ended."""
    back = threading.Thread(target=carry, args=(other, one), daemon=True)
    back.start()
    carry(one, other)
    back.join()


def carry(source: socket.socket, sink: socket.socket) -> None:
    """Copy data from one connection to another until it ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    # Half-closed: the other direction may go on, as an answer after the end of a request.
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _forward(connection: socket.socket, path: str) -> None:
    with connection, socket.socket(socket.AF_UNIX) as out, contextlib.suppress(OSError):
        out.connect(path)
        join(connection, out)


def main(path: str, *argv: str) -> None:
    """Execute a program in this process, and relay its connections in a child process."""
    # Before the fork, so that the program can connect at once.
    server = socket.create_server(("127.0.0.1", PORT))
    # The parent becomes the program, so that its exit status is that of the unit.
    if os.fork():
        os.execvp(argv[0], argv)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=_forward, args=(connection, path), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
