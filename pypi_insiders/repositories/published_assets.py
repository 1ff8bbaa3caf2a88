"""What is remembered of the assets of releases."""

from typing import NamedTuple


class PublishedAsset(NamedTuple):
    """A published file that comes from the release of its host, as the host had it then."""

    sha256: str | None = None
    """The digest that the host has listed, in hexadecimal; `None`: it has none."""
    size_bytes: int | None = None
    """`None`: the host does not say."""
    updated_at: str = ""
    """When it was uploaded, in the words of the host; empty: it does not say."""
    changed: bool = False
    """Whether the host has had another file of this name since."""

    def differs(self, other: "PublishedAsset") -> bool:
        """Return whether the host has another file by now, as far as it tells."""
        # A digest decides: a file that is only renamed or labelled gets another time.
        if self.sha256 and other.sha256:
            return self.sha256 != other.sha256
        pairs = ((self.size_bytes, other.size_bytes), (self.updated_at, other.updated_at))
        return any(one and two and one != two for one, two in pairs)


class Waiting(NamedTuple):
    """A tag that waits for the assets of its release."""

    commit: str
    since: int
    """Seconds of the epoch."""
    reason: str
    """Why there are none yet, in one line."""
