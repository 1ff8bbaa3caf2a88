"""What the metadata cache knows of one file."""

from pypi_insiders.index.metadata_cache import Entry, Identity, Origin

ENTRY = Entry(
    "my_dist-1.0-py3-none-any.whl",
    Identity(10, 1_700_000_000_000_000_001, 2**63 - 1),
    "my-dist",
    "1.0",
    "ab" * 32,
    "cd" * 32,
    ">=3.8",
    1_700_000_000_123_456,
    Origin("ns/proj", "v1.0", "c0ffee"),
)
BROKEN = Entry("README", Identity(1, 2, 3), problem="it is no distribution")
