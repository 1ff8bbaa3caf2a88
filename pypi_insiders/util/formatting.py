"""Write numbers, lists and tables for people."""

from collections.abc import Iterable, Iterator, Sequence


def counted(number: int, thing: str) -> str:
    """Write how many there are: `1 project`, `2 projects`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def size(size_bytes: int) -> str:
    """Write a size as `60 KiB`, `512 MiB` or `1.5 GiB`."""
    if size_bytes and size_bytes < 1024**2:
        return f"{-(-size_bytes // 1024)} KiB"  # what is there is not 0
    if size_bytes < 1024**3:
        return f"{size_bytes // 1024**2} MiB"
    return f"{size_bytes / 1024**3:.1f} GiB"


def listed(things: Iterable[str], most: int, between: str = ", ") -> str:
    """Write a list of which only the first are named: `a, b, c and 2 more`."""
    named = list(things)
    more = len(named) - most
    return between.join(named[:most]) + (f" and {more} more" if more > 0 else "")


def two_columns(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Write rows in two columns, the first as wide as its widest value that has another beside."""
    width = max((len(key) for key, value in rows if value), default=0)
    for key, value in rows:
        yield f"{key.ljust(width)}  {value}".rstrip()


def first_line(text: str, otherwise: str = "it said nothing") -> str:
    """Return the first line of what a program printed that is not blank."""
    return next((line.strip() for line in text.splitlines() if line.strip()), otherwise)


def last_line(text: str, otherwise: str = "it said nothing") -> str:
    """Return the last line of what a program printed that is not blank."""
    return first_line("\n".join(reversed(text.splitlines())), otherwise)
