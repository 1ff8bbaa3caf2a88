"""The files of a built release, and their validation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import Version

from pypi_insiders.builder.errors import BuildError
from pypi_insiders.index import distribution
from pypi_insiders.index.distribution import DistributionError


@dataclass(frozen=True)
class Distributions:
    """The sdist, if any, and the wheels of one release."""

    name: str
    """The normalized project name."""
    version: str
    sdist: Path | None
    wheels: tuple[Path, ...]
    requirements: dict[str, str] = field(default_factory=dict)
    """The installed build requirements, name to version."""
    remark: str = ""
    """How it was built if not as usual, in one line."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the sdist and the wheels."""
        return (*([self.sdist] if self.sdist else []), *self.wheels)


def check(
    sdist: Path | None, wheels: Sequence[Path], requirements: dict[str, str] | None = None
) -> Distributions:
    """Require that the file names of an sdist, if any, and of wheels are of one release.

    Raises:
        BuildError: they are of different releases, two are the same wheel, or one is invalid.
    """
    first = sdist or wheels[0]
    name, version = release_of(first.name)
    # Installers and pypiserver split such a name differently: `a-1-2.0` is release 2.0 of `a-1`, or
    # 1-2.0 of `a`.
    if sdist and re.search(r"-\d", sdist.name.rpartition("-")[0]):
        raise BuildError(f"{sdist.name} is ambiguous: its project name has a digit after a hyphen")
    seen = dict[object, str]()
    for wheel in wheels:
        if release_of(wheel.name) != (name, version):
            raise BuildError(f"{first.name} and {wheel.name} are not the same release")
        other = seen.setdefault(distribution.kind_of(wheel.name), wheel.name)
        if other != wheel.name:
            raise BuildError(f"{other} and {wheel.name} are the same wheel in two spellings")
    return Distributions(name, str(version), sdist, tuple(wheels), requirements or {})


def release_of(name: str) -> tuple[str, Version]:
    """Parse the project name and version in a file name.

    Raises:
        BuildError: it is not the file name of a distribution.
    """
    try:
        return distribution.release_of(name)
    except DistributionError as error:
        raise BuildError(error.message) from error
