"""Output of builds is foreign and long: each search in it takes time in proportion to its length.

No time limit ends a search in this process.
"""

import time
from collections.abc import Callable

import pytest

from pypi_insiders.builder import causes, environments
from pypi_insiders.builder.environments import NoWheelError
from pypi_insiders.builder.network_errors import has_network_error
from pypi_insiders.update import advice
from pypi_insiders.util.errors import InsidersError

_CHARS = 512 * 1024


@pytest.mark.parametrize(
    "search",
    [
        causes.reason,
        environments.cause,
        environments._raise_of_this_machine,
        environments._raise_without_wheel,
        has_network_error,
        advice._LACKS_OBJECTS.search,
        advice._LACKS_COMPILER.search,
    ],
)
def test_the_search_in_a_long_output_is_fast(search: Callable[[str], object]) -> None:
    for repeated in (
        "fatal: ", "Caused by: x\n", "a-", "a=(", "exit status 1", "x:1: ", "CMake Error: ", " ",
        "\n", "Wheels are required for `", "[Errno -",
    ):  # fmt: skip
        output = repeated * (_CHARS // len(repeated)) + "\nexit status: 1"
        start_s = time.process_time()
        search(output)
        assert time.process_time() - start_s < 2, repeated


@pytest.mark.parametrize(
    "line",
    [
        "Because only Tool==1.0 has no usable wheels, we can conclude",
        "  cause: Because only tool<2 has no wheels with a matching Python ABI tag",
        "hint: Wheels are required for `tool` because building from source is disabled",
        "and all versions of tool have no wheels",
    ],
)
def test_uv_names_the_requirement_without_a_wheel(line: str) -> None:
    with pytest.raises(NoWheelError) as caught:
        environments._raise_without_wheel(f"uv\n{line}\n")
    assert caught.value.project == "tool"


@pytest.mark.parametrize(
    "line",
    [
        f"error: unable to read {'0a' * 20}",
        f"fatal: unable to read {'0a' * 20}",
        "  stderr: fatal: bad object v1.0",
        "fatal: lazy fetching disabled",
    ],
)
def test_git_says_that_an_older_file_is_missing(line: str) -> None:
    assert advice._LACKS_OBJECTS.search(f"Preparing\n{line}\n")


def test_a_number_of_no_error_is_none_of_this_machine() -> None:
    """Python raises ValueError for one of more than 4300 digits."""
    environments._raise_of_this_machine(f"no (os error {'9' * 5000})")
    with pytest.raises(InsidersError, match=r"^no \(os error 24\)$"):
        environments._raise_of_this_machine("no (os error 24)")
