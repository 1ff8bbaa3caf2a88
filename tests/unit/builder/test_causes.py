"""causes: which line of an output says why a build failed."""

import pytest

from pypi_insiders.builder import causes

_MATURIN = """\
Running `maturin pep517 write-sdist --sdist-directory /run/build/dist`
maturin failed
  Caused by: Cargo metadata failed. Do you have cargo in your PATH?
  Caused by: No such file or directory (os error 2)
Error: command ['maturin', 'pep517', 'write-sdist'] returned non-zero exit status 1
"""
_GCC = """\
gcc -fPIC -c src/probe.c -o build/probe.o
src/probe.c:1:10: fatal error: ffi.h: No such file or directory
    1 | #include <ffi.h>
      |          ^~~~~~~
compilation terminated.
error: command '/usr/bin/gcc' failed with exit code 1
"""
_CMAKE = """\
CMake Error at CMakeLists.txt:2 (find_package):
  By not providing "FindX.cmake" in CMAKE_MODULE_PATH this project has
  asked CMake to find a package configuration file provided by "X"
-- Configuring incomplete, errors occurred!
subprocess.CalledProcessError: Command '['cmake', '..']' returned non-zero exit status 1.
"""


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (
            _MATURIN,
            "Cargo metadata failed. Do you have cargo in your PATH?: No such file or directory "
            "(os error 2)",
        ),
        (f"a\n  Caused by: b\nc\n{_MATURIN}", causes.reason(_MATURIN)),
        (_GCC, "src/probe.c:1:10: fatal error: ffi.h: No such file or directory"),
        (
            _CMAKE,
            'CMake Error at CMakeLists.txt:2 (find_package): By not providing "FindX.cmake" in '
            "CMAKE_MODULE_PATH this project has",
        ),
        ("one\nerror: command 'gcc' failed with exit code 1\n",
         "error: command 'gcc' failed with exit code 1"),
        (f"{_GCC}Traceback:\nValueError: no\n\n", "ValueError: no"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_program_that_failed_is_quoted_in_place_of_its_status(output: str, reason: str) -> None:
    assert causes.reason(output) == reason
