"""Format numbers, lists and tables for people."""

from collections.abc import Iterable, Iterator, Sequence


def counted(number: int, thing: str) -> str:
    """Format a count with its noun: `1 project`, `2 projects`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def size(size_bytes: int) -> str:
    """Format a size: `60 KiB`, `512 MiB`, `1.5 GiB`."""
    if size_bytes and size_bytes < 1024**2:
        # Rounded up: a file that exists must not show as 0 KiB.
        return f"{-(-size_bytes // 1024)} KiB"
    if size_bytes < 1024**3:
        return f"{size_bytes // 1024**2} MiB"
    return f"{size_bytes / 1024**3:.1f} GiB"


def listed(things: Iterable[str], most: int, between: str = ", ") -> str:
    """Format a list of which at most `most` items are named: `a, b, c and 2 more`."""
    named = list(things)
    more = len(named) - most
    return between.join(named[:most]) + (f" and {more} more" if more > 0 else "")


def two_columns(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Format rows in two aligned columns."""
    # A long heading without a value must not push all values to the right.
    width = max((len(key) for key, value in rows if value), default=0)
    for key, value in rows:
        yield f"{key.ljust(width)}  {value}".rstrip()


def first_line(text: str, otherwise: str = "no output") -> str:
    """Return the first line of a program's output that is not blank."""
    return next((line.strip() for line in text.splitlines() if line.strip()), otherwise)


def last_line(text: str, otherwise: str = "no output") -> str:
    """Return the last line of a program's output that is not blank."""
    return first_line("\n".join(reversed(text.splitlines())), otherwise)
