"""Lead a program's connections out of a network of its own, to a Unix socket.

Runs by itself, with whatever Python there is: `relay.py SOCKET PROGRAM [ARGUMENT...]`.
"""

import contextlib
import os
import socket
import sys
import threading

PORT = 3128
"""Where the program finds it, on its own loopback."""


def join(one: socket.socket, other: socket.socket) -> None:
    """Carry what comes on each of two connections to the other, until both have ended."""
    back = threading.Thread(target=carry, args=(other, one), daemon=True)
    back.start()
    carry(one, other)
    back.join()


def carry(source: socket.socket, sink: socket.socket) -> None:
    """Carry what comes on a connection to another one, until it ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _lead(connection: socket.socket, path: str) -> None:
    with connection, socket.socket(socket.AF_UNIX) as out, contextlib.suppress(OSError):
        out.connect(path)
        join(connection, out)


def main(path: str, *argv: str) -> None:
    """Become a program, and lead its connections out beside it."""
    server = socket.create_server(("127.0.0.1", PORT))
    if os.fork():
        os.execvp(argv[0], argv)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=_lead, args=(connection, path), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
