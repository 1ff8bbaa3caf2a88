"""Find uv, the program that comes with `build`."""

from functools import cache


@cache
def find() -> str:
    """Tell its path."""
    from uv import find_uv_bin

    return find_uv_bin()
