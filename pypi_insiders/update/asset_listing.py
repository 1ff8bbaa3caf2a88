"""Ask the forge of one repository for the files of its releases, and choose among them."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from urllib.parse import urlsplit

from packaging.version import Version

from pypi_insiders import forges, git
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.forges import Asset, Forge, ForgeError, NoReleaseError
from pypi_insiders.index import distribution
from pypi_insiders.repositories.published_assets import PublishedAsset
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.sources import TaggedRelease
from pypi_insiders.update.tracked import TrackedRepository
from pypi_insiders.util.formatting import listed
from pypi_insiders.util.without_credentials import without_credentials

_log = logging.getLogger(__name__)

_MOST_FILES = 1000
_SHOWN = 3
# File names have up to 255 bytes, and temporary files up to 30 more than a name of this length;
# only ASCII is a name of a distribution.
_LONGEST_NAME = 225


class AssetListing:
    """Lists the assets of the releases of one repository.

    Args:
        context: of the update.
        tracked: the repository, with its state.
        level: the priority of log lines about assets that are left out.
    """

    def __init__(
        self, context: UpdateContext, tracked: TrackedRepository, level: int = logging.INFO
    ) -> None:
        self._level = level
        self._context = context
        self._tracked = tracked

    @cached_property
    def forge(self) -> Forge:
        """The forge of the repository, with the token that Git has for its host.

        Raises:
            ForgeError: it has none that is known, or Git reads the repository from elsewhere.
            InsidersError: the token cannot be read.
        """
        item = self._tracked.repository
        is_insecure = bool(item.insecure_http)
        found = forges.forge_of(item.remote, item.forge, name=item.name, insecure_http=is_insecure)
        used = git.rewritten(item.remote)
        # On the forge, a stranger may have the repository of that name.
        if used != item.remote and not found.has(used):
            raise ForgeError(
                f"Git reads it from {without_credentials(used)} (insteadOf), and its releases on "
                f"{found.host} may be of another repository",
                f"name the address that has them: `pypi-insiders repos set {item.name} url=URL`, "
                "or set assets=never",
            )
        return replace(found, token=self._token_for(found))

    def _token_for(self, forge: Forge) -> str | None:
        url = self._tracked.repository.remote
        # Of ssh, too, the API is asked over https, with the token that Git has for that.
        if urlsplit(url).scheme != "https":
            url = f"{forge.site}/{forge.path}"
        access = self._context.access_to(self._tracked.repository, url=url)
        if access.lacking:
            raise access.lacking
        return git.token_for(url, access)

    def of(self, tag: str) -> tuple[Asset, ...]:
        """Ask for the release of a tag.

        Raises:
            ForgeError: there is no answer, or no release.
            InsidersError: the token cannot be read.
        """
        item = self._tracked.repository
        found = forges.release_of(self.forge, tag)
        if found.elsewhere:
            _log.log(
                self._level,
                "%s: tag %s: assets on other hosts are not downloaded: %s",
                item.name, tag, listed(found.elsewhere, _SHOWN),
            )  # fmt: skip
        return found.assets

    def chosen(self, release: TaggedRelease, assets: Iterable[Asset]) -> list[Asset]:
        """Return the wheels and sdists of the project and version of a tag.

        Raises:
            BuildError: the tag has no version, or its release has several projects.
            NoReleaseError: there are none.
        """
        item, host = self._tracked.repository, self.forge.host
        version = item.rules(1).pattern.version_of(release.tag)
        if version is None:
            raise BuildError("the tag is no version, by which its assets could be chosen")
        found = dict[str, tuple[str, Version, Asset]]()
        for asset in assets:
            if len(asset.name) > _LONGEST_NAME:
                continue
            for name, project, its in distribution.releases([asset.name]):
                # `sdist = false` publishes none. Of a name that is listed twice the first counts.
                if distribution.is_wheel(name) or item.sdist is not False:
                    found.setdefault(name, (project, its, asset))
        expected = item.project or self._tracked.known.project
        projects = sorted({project for project, its, _ in found.values() if its == version})
        if expected is None and len(projects) > 1:
            raise BuildError(
                f"its release on {host} has files of several projects: {listed(projects, _SHOWN)}",
                hint=f"name one: `pypi-insiders repos set {item.name} project={projects[0]}`",
            )
        expected = expected or (projects[0] if projects else None)
        wanted = [
            it for project, its, it in found.values() if (project, its) == (expected, version)
        ]
        names = {it.name for it in wanted}
        others = [name for name in found if name not in names]
        if others:
            _log.log(
                self._level,
                "%s: tag %s: assets of another project or version are left out: %s",
                item.name, release.tag, listed(others, _SHOWN),
            )  # fmt: skip
        if not wanted:
            of = f"{expected or 'a project'} {version}"
            raise NoReleaseError(f"its release on {host} has no wheel or sdist of {of}")
        if len(wanted) > _MOST_FILES:
            raise BuildError(f"its release on {host} has more than {_MOST_FILES} wheels")
        return _one_of_each_kind(wanted)


def _one_of_each_kind(assets: Iterable[Asset]) -> list[Asset]:
    one = dict[object, Asset]()
    # The first one, but of sdists rather that which PEP 625 requires.
    for asset in sorted(assets, key=lambda it: it.name.endswith(".zip")):
        one.setdefault(distribution.kind_of(asset.name), asset)
    return list(one.values())


def record(asset: Asset) -> PublishedAsset:
    """Return what is remembered of an asset."""
    return PublishedAsset(asset.sha256, asset.size_bytes, asset.updated_at)
