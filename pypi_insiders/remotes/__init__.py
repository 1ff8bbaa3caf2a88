"""Speak to Git repositories, through GitPython."""

from pypi_insiders.remotes.credentials import GITS_OWN, Access
from pypi_insiders.remotes.glance import Wanted, read_files
from pypi_insiders.remotes.mirror import fetch, fetch_commit, list_tags
from pypi_insiders.remotes.run import TIMEOUT_S, end
from pypi_insiders.remotes.signatures import SignatureError, verify
from pypi_insiders.remotes.submodules import OutsideError
from pypi_insiders.remotes.tree import bring, export
from pypi_insiders.remotes.words import UnreachableError

__all__ = [
    "GITS_OWN",
    "TIMEOUT_S",
    "Access",
    "OutsideError",
    "SignatureError",
    "UnreachableError",
    "Wanted",
    "bring",
    "end",
    "export",
    "fetch",
    "fetch_commit",
    "list_tags",
    "read_files",
    "verify",
]
