"""The request for one update."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from pypi_insiders.util.errors import UsageError


@dataclass(frozen=True)
class UpdateRequest:
    """The repositories and tags of one update, and where to upload their releases."""

    names: Sequence[str] = ()
    """The repositories to update; empty: all."""
    tag: str | None = None
    """The only tag to build, which requires exactly one repository."""
    all_tags: bool = False
    """Whether to build all releases, however old."""
    force: bool = False
    """Whether to build again, and to publish releases that were taken back."""
    is_scheduled: bool = False
    """Whether a unit runs it: with the pauses of failures, and for nobody who waits for it."""
    index_url: str | None = None
    """The index to upload to, instead of `index-url` in the settings."""
    index_user: str | None = None
    """The user for the upload."""
    # As in `Destination`: no traceback may show it.
    index_password: str | None = field(default=None, repr=False)
    """The password, if it is known already."""

    @property
    def is_by_hand(self) -> bool:
        """Return whether a user has named the repositories, and waits for the result."""
        return bool(self.names) and not self.is_scheduled

    def __post_init__(self) -> None:
        """Validate the combination of options."""
        if self.tag is not None and len(self.names) != 1:
            raise UsageError(
                "--tag requires exactly one repository",
                f"`pypi-insiders update NS/PROJ --tag {shlex.quote(self.tag)}`",
            )
        if self.all_tags and (self.tag is not None or not self.names):
            # A build takes minutes, and an old repository may have hundreds of tags: never for all.
            raise UsageError(
                "--all-tags requires a repository, and excludes --tag",
                "`pypi-insiders update NS/PROJ --all-tags`",
            )
        if self.is_scheduled and (self.tag is not None or self.all_tags):
            raise UsageError("--scheduled excludes --tag and --all-tags", "leave out --scheduled")
        # Without either, it would be unclear which of many releases to build again.
        if self.force and self.tag is None and not self.all_tags:
            raise UsageError(
                "--force requires --tag or --all-tags",
                "`pypi-insiders update NS/PROJ --tag TAG --force`",
            )
