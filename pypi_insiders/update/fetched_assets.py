"""The downloaded files of a release, and what it lacks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from packaging import tags
from packaging.utils import parse_wheel_filename

from pypi_insiders.builder import artifacts
from pypi_insiders.builder.artifacts import Distributions
from pypi_insiders.index import distribution
from pypi_insiders.repositories.published_assets import PublishedAsset
from pypi_insiders.util.trees import remove_foreign_tree


@dataclass(frozen=True)
class FetchedAssets:
    """The downloaded files of a release."""

    directory: Path
    """Contains the files; `discard` removes it."""
    distributions: Distributions
    records: Mapping[str, PublishedAsset] = field(default_factory=dict)
    """File name to what the forge lists."""
    lacks_sdist: bool = False
    """Whether the sdist is to be built."""
    lacks_wheel: bool = False
    """Whether wheels for this machine are to be built."""

    @property
    def is_whole(self) -> bool:
        """Return whether nothing is to be built."""
        return not (self.lacks_sdist or self.lacks_wheel)

    def with_built(self, built: Distributions) -> Distributions:
        """Return all files of the release: its own, and those that were built as it lacks them.

        Raises:
            BuildError: they are of different releases.
        """
        ours = self.distributions
        kinds = {distribution.kind_of(path.name) for path in ours.files}
        wheels = [it for it in built.wheels if distribution.kind_of(it.name) not in kinds]
        both = artifacts.check(
            ours.sdist or built.sdist, [*ours.wheels, *wheels], built.requirements
        )
        return replace(both, remark=built.remark)

    def discard(self) -> None:
        """Remove the downloaded files."""
        remove_foreign_tree(self.directory)


def as_distributions(paths: Sequence[Path]) -> Distributions:
    """Return the files of one release.

    Raises:
        BuildError: they are of different releases, or a name is ambiguous.
    """
    wheels = [path for path in paths if distribution.is_wheel(path.name)]
    sdists = [path for path in paths if path not in wheels]
    if len(sdists) > 1:  # as .tar.gz and as .zip
        # The one that PEP 625 allows comes first.
        sdists.sort(key=lambda path: not path.name.endswith(".tar.gz"))
    return artifacts.check(sdists[0] if sdists else None, wheels)


def fits(wheels: Iterable[Path], version: str | None) -> bool:
    """Return whether one of the wheels can be installed here.

    Args:
        wheels: their paths.
        version: of Python, such as `3.12`; `None`: that of this program.
    """
    if version is None:
        usable = set(tags.sys_tags())
    else:
        number = (3, int(version.removeprefix("3.").rstrip("t")))
        # A free-threaded Python, such as 3.13t, has an ABI of its own.
        abis = [f"cp3{number[1]}t"] if version.endswith("t") else None
        usable = {
            *tags.cpython_tags(number, abis),
            *tags.compatible_tags(number, f"cp3{number[1]}"),
        }
    return any(not usable.isdisjoint(parse_wheel_filename(path.name)[3]) for path in wheels)
