"""The intervals of repositories that are updated by timers of their own."""

from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories import registry
from pypi_insiders.util.files import read_text


def load(paths: Paths) -> dict[str, int]:
    """Return the watched repositories with an interval of their own, with it in seconds.

    Raises:
        InsidersError: `repos.toml` cannot be read or is not valid.
    """
    # Most files have none, and are not parsed for it: `status` and the page read them again anyway.
    if "interval" not in (read_text(paths.repositories) or ""):
        return {}
    watched = registry.load(paths.repositories).values()
    return {item.name: item.interval_s for item in watched if item.interval_s}
