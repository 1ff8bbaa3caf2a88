"""Patterns for messages about network and host failures, which may be temporary.

They cover the C library, curl, ssh, Python and Rust; callers add those of their own programs.
"""

UNRESOLVED = (
    "Could not resolve|Name or service not known|No address associated|name resolution|dns error"
)
UNREACHABLE = (
    r"[Cc]onnection (?:refused|timed out|reset|closed)|No route to host|Network is unreachable"
    r"|[Oo]peration timed out"
)
# Rate limits, and servers or gateways that fail. Not 501 and 505, which mean the same at the next
# attempt. 52x and 530 are Cloudflare's for a host that is down.
PASSING_STATUS = r"(?:429|50[0234]|52\d|530)\b"
