"""What a build has made, checked to be one release."""

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
    """One sdist and the wheels of the same release."""

    name: str
    """Normalized."""
    version: str
    sdist: Path
    wheels: tuple[Path, ...]
    requirements: dict[str, str] = field(default_factory=dict)
    """What was installed to build it, name to version."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.sdist, *self.wheels)


def check(
    sdist: Path, wheels: Sequence[Path], requirements: dict[str, str] | None = None
) -> Distributions:
    """Check that an sdist and wheels are of one release, by their names.

    Raises:
        BuildError: they are not.
    """
    name, version = release_of(sdist.name)
    if re.search(r"-\d", sdist.name.rpartition("-")[0]):
        # Installers and pypiserver do not agree on where such a name ends and its version begins.
        raise BuildError(f"{sdist.name} can be read as another distribution")
    for wheel in wheels:
        if release_of(wheel.name) != (name, version):
            raise BuildError(f"{sdist.name} and {wheel.name} are not the same release")
    return Distributions(name, str(version), sdist, tuple(wheels), requirements or {})


def release_of(name: str) -> tuple[str, Version]:
    """Read name and version out of a file name.

    Raises:
        BuildError: it is the name of no distribution.
    """
    try:
        return distribution.release_of(name)
    except DistributionError as error:
        raise BuildError(error.message) from error
