"""Tell by what other programs print that a network or a host fails, which may pass by itself.

These are the words of the C library, curl, ssh, Python and Rust; who asks adds those of its own.
"""

UNRESOLVED = (
    "Could not resolve|Name or service not known|No address associated|name resolution|dns error"
)
UNREACHABLE = (
    r"[Cc]onnection (?:refused|timed out|reset|closed)|No route to host|Network is unreachable"
    r"|[Oo]peration timed out"
)
# Asked too often, or a server that fails or waits for another one in vain. 501 and 505 are answers,
# and the same the next time; 52x and 530 are those of Cloudflare before a host that is down.
PASSING_STATUS = r"(?:429|50[0234]|52\d|530)\b"
