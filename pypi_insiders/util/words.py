"""Write numbers of things for people."""

from collections.abc import Sequence


def counted(number: int, thing: str) -> str:
    """Write how many there are: `1 project`, `2 projects`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def listed(things: Sequence[str], most: int) -> str:
    """Write a list of which only the first are named: `a, b, c and 2 more`."""
    more = len(things) - most
    return ", ".join(things[:most]) + (f" and {more} more" if more > 0 else "")
