"""Ask a forge for the files of its releases: GitHub, GitLab, Gitea and Forgejo."""

from pypi_insiders.forges.download import LIMIT_BYTES, download, too_large
from pypi_insiders.forges.errors import ForgeError, NoReleaseError, PassingError
from pypi_insiders.forges.place import Forge, forge_of, is_known
from pypi_insiders.forges.releases import Asset, ForgeRelease, release_of

__all__ = [
    "LIMIT_BYTES",
    "Asset",
    "Forge",
    "ForgeError",
    "ForgeRelease",
    "NoReleaseError",
    "PassingError",
    "download",
    "forge_of",
    "is_known",
    "release_of",
    "too_large",
]
