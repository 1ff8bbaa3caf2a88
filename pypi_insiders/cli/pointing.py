"""Warn of a shell that points to an index which is stopped or removed."""

import os

from pypi_insiders.cli.common import warn
from pypi_insiders.config import client_variables
from pypi_insiders.config.paths import Paths
from pypi_insiders.systemd import index_address
from pypi_insiders.util import shell_words
from pypi_insiders.util.errors import InsidersError


def addresses(paths: Paths) -> set[str]:
    """Return the URLs of the index, up to the port: where it listens, and what the settings say.

    Raises:
        InsidersError: neither can be found out.
    """
    address = index_address.find(paths.settings)
    return {address.url, address.configured}


def does_shell_point(paths: Paths) -> bool:
    """Return whether variables of this shell point pip, uv or PDM to the index."""
    try:
        urls = addresses(paths)
    except InsidersError:  # then only what this shell remembers is known
        urls = set()
    return bool(client_variables.taken_back(os.environ, urls))


def warn_of_shell(state: str) -> None:
    """Warn that this shell points to an index that is stopped or removed, and how to undo that."""
    undo = shell_words.evaluated("--unset", fish=shell_words.is_fish(os.environ))
    # A warning, which -q does not hide: the next installer in this shell would fail.
    warn(f"this shell still points pip, uv and PDM to the index, which is {state}; undo: `{undo}`")
