"""Find the uv program."""

from functools import cache

from uv import find_uv_bin


@cache
def find() -> str:
    """Return the path of the uv that is installed with this program."""
    return find_uv_bin()
