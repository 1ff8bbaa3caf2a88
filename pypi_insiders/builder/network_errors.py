"""Recognize failures of programs that need a network, by what they print."""

import re

_PATTERN = re.compile(
    # The C libraries glibc and musl, whose words most programs repeat.
    r"Temporary failure in name resolution|Name or service not known|Name does not resolve"
    r"|Network is unreachable|Address family not supported by protocol"
    # curl, which is in Git, cargo and CMake; wget; busybox.
    r"|[Cc]ould(?:n't| not) resolve (?:host|proxy)|Couldn't connect to server"
    r"|unable to resolve host address|bad address '"
    # Node and npm, Python, Rust (uv), Go, Java.
    r"|\b(?:EAI_AGAIN|ENOTFOUND|ENETUNREACH|EAFNOSUPPORT)\b|\[Errno -[235]\]|\bdns error\b"
    r"|\bdial tcp\b|UnknownHostException"
    # pip without its retries: it found no index.
    r"|\(from versions: none\)"
)


def has_network_error(output: str) -> bool:
    """Return whether a program in a build says that it resolved no name, or reached no host.

    Args:
        output: of the build, in English: builds have `LC_ALL=C.UTF-8`.
    """
    return _PATTERN.search(output) is not None
