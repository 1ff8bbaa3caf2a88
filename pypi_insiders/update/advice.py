"""Advise which key of a repository may help a build that failed."""

import re

from pypi_insiders import forges
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.builder.network_errors import has_network_error
from pypi_insiders.repositories.repository import Repository

# What git prints for a file of an older commit, which the mirror has without its content.
_LACKS_OBJECTS = re.compile(
    r"unable to read [0-9a-f]{40}|(?:fatal|error): (?:(?:bad|invalid) object |cannot read '"
    r"|Not a valid object name)|lazy fetching disabled"
)
# Of distutils, setuptools-rust, maturin, CMake, scikit-build-core and meson.
_LACKS_COMPILER = re.compile(
    r"error: command '[^'\n]*' failed|can't find Rust compiler|[Rr]ust toolchain"
    r"|(?:cargo|rustc)[^\n]{0,80}not (?:found|installed)|No CMAKE_\w+_COMPILER could be found"
    r"|Unknown compiler\(s\)"
)
# What a key does that a builder names.
_REMEDIES = {
    "build-from-source": "builds such requirements from their sdists",
    "sdist": "builds the wheels from the source tree, and no sdist",
}
_HAS_POINTERS = "has pointers of Git LFS"


def advice(repository: Repository, error: BuildError) -> str | None:
    """Return which key may help, by what a build wrote; `None`: none."""
    output, remedy = error.output, error.remedy
    command = f"pypi-insiders repos set {repository.name}"
    if _HAS_POINTERS in error.message and not repository.lfs:
        return f"`{command} lfs=true` fetches the files of Git LFS, with git-lfs"
    if _LACKS_OBJECTS.search(output) and repository.history is None:
        return f"`{command} history=full` fetches the files of older commits too"
    if has_network_error(output):
        is_off = "the network is off for its builds"
        # No key helps against a host that does not answer.
        return (
            None
            if repository.network
            else f"{is_off}: `{command} network=true` lets them use HTTP and HTTPS"
        )
    key = (remedy or "").partition("=")[0]
    if remedy and key not in repository.keys:
        return f"`{command} {remedy}` {_REMEDIES[key]}"
    # Not for a host that is no known forge, or is this machine.
    is_offered = repository.assets is None and forges.is_known(repository.remote, repository.forge)
    if is_offered and _LACKS_COMPILER.search(output):
        return f"if its releases have wheels, `{command} assets=prefer` publishes those"
    return None
