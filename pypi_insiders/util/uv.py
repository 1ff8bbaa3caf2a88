"""Find uv, the program that comes with `build`."""

from functools import cache

from uv import find_uv_bin


@cache
def find() -> str:
    """Tell its path."""
    return find_uv_bin()
