"""Find the reason in the output of a build that failed."""

import re

from pypi_insiders.util.formatting import last_line

# What a backend prints at last when a program that it runs has failed: only that it has.
_STATUS = re.compile(
    r"(?:returned non-zero exit status|failed with exit (?:code|status)|exit(?:ed with)? status:?)"
    r" -?\d+\W*$"
)
# What compilers and CMake print first: further errors often follow from this one.
_FIRST = re.compile(
    r"^(?:[^\s:][^:\n]*:\d+(?::\d+)?: (?:fatal )?error: .+|CMake Error.*:\s+\S.*)$", re.MULTILINE
)
_CAUSED_BY = "Caused by: "


def reason(output: str) -> str:
    """Return the line of an output that says why a build failed; empty without any output.

    That is the last line, or the error of a program if the last line has only its status.

    Source: https://docs.rs/anyhow/latest/anyhow/struct.Error.html#display-representations, as
    maturin and cargo print errors.
    """
    last = last_line(output, "")
    if not _STATUS.search(last):
        return last
    lines = [line.strip() for line in output.splitlines()]
    ends = (number for number, line in enumerate(lines, 1) if line.startswith(_CAUSED_BY))
    if end := max(ends, default=0):
        # Of several errors the last one, with its causes.
        begin = end - 1
        while begin and lines[begin - 1].startswith(_CAUSED_BY):
            begin -= 1
        return ": ".join(line.removeprefix(_CAUSED_BY) for line in lines[begin:end])
    found = _FIRST.search(output)
    # CMake writes in a new line what is wrong.
    return " ".join(found[0].split()) if found else last
