"""Read Git repositories, with GitPython."""

from pypi_insiders.git.checkout import bring, export
from pypi_insiders.git.command import TIMEOUT_S
from pypi_insiders.git.credentials import GITS_OWN, Access
from pypi_insiders.git.errors import NoCommitError, UnfitError, UnreachableError
from pypi_insiders.git.history import count_commits, is_ancestor, merged_tags
from pypi_insiders.git.listing import Refs, asking, default_branch, list_refs, list_tags
from pypi_insiders.git.mirror import check_commit, fetch, fetch_commit, tag_message
from pypi_insiders.git.running import end
from pypi_insiders.git.shared_connections import SharedConnections
from pypi_insiders.git.signatures import SignatureError, verify
from pypi_insiders.git.stored_token import rewritten, token_for
from pypi_insiders.git.submodules import OutsideError
from pypi_insiders.git.tag_files import Wanted, read_fetched, read_files

__all__ = [
    "GITS_OWN",
    "TIMEOUT_S",
    "Access",
    "NoCommitError",
    "OutsideError",
    "Refs",
    "SharedConnections",
    "SignatureError",
    "UnfitError",
    "UnreachableError",
    "Wanted",
    "asking",
    "bring",
    "check_commit",
    "count_commits",
    "default_branch",
    "end",
    "export",
    "fetch",
    "fetch_commit",
    "is_ancestor",
    "list_refs",
    "list_tags",
    "merged_tags",
    "read_fetched",
    "read_files",
    "rewritten",
    "tag_message",
    "token_for",
    "verify",
]
