"""What one update is asked to do."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pypi_insiders.util.errors import UsageError


@dataclass(frozen=True)
class UpdateRequest:
    """What one update is to do."""

    names: Sequence[str] = ()
    """Of the repositories to bring up to date; none are all."""
    tag: str | None = None
    """The one tag to build, of the one repository that is named."""
    all_tags: bool = False
    """Whether all releases are built, however old."""
    force: bool = False
    """Whether what was built before is built again."""
    index_url: str | None = None
    """Another index for what is built, instead of the one that the settings name."""
    index_user: str | None = None
    """Who uploads there."""
    index_password: str | None = field(default=None, repr=False)
    """With what password, if that is known already."""

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        if self.tag is not None and len(self.names) != 1:
            raise UsageError("--tag goes with one repository", "name it: update NS/PROJ --tag TAG")
        if self.all_tags and (self.tag is not None or not self.names):
            raise UsageError(
                "--all-tags goes with repositories that are named, and without --tag",
                "update NS/PROJ --all-tags",
            )
        if self.force and self.tag is None and not self.all_tags:
            raise UsageError("--force goes with --tag or --all-tags", "say which tag: --tag TAG")
