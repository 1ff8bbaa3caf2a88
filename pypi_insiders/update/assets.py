"""Fetch the files that the releases of one repository have on its forge."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pypi_insiders import forges
from pypi_insiders.builder.errors import BuildError
from pypi_insiders.forges import Asset, NoReleaseError, PassingError
from pypi_insiders.index import archives, distribution, file_contents, store
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.repositories.published_assets import PublishedAsset
from pypi_insiders.repositories.state import Build
from pypi_insiders.update.asset_listing import AssetListing, record
from pypi_insiders.update.asset_waiting import demand_patience
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.fetched_assets import FetchedAssets, as_distributions, fits
from pypi_insiders.update.sources import TaggedRelease
from pypi_insiders.update.tracked import TrackedRepository
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_directory, make_temporary
from pypi_insiders.util.formatting import listed
from pypi_insiders.util.trees import remove_foreign_tree

_log = logging.getLogger(__name__)

_SHOWN = 3


class LeftOutError(InsidersError):
    """None of the further assets of a published release is valid, which its state records."""


class AssetFetcher:
    """Fetches the assets of the releases of one repository.

    Args:
        context: of the update.
        tracked: the repository; tags that wait are recorded in its state.
    """

    def __init__(self, context: UpdateContext, tracked: TrackedRepository) -> None:
        self._context = context
        self._tracked = tracked
        self._listing = AssetListing(context, tracked)
        self._repository = tracked.repository
        self._name = tracked.name

    def fetch(self, release: TaggedRelease, lost: Mapping[str, str]) -> FetchedAssets | None:
        """Download the files that the release of a tag has on the forge.

        Args:
            release: the tag.
            lost: the lost files of an earlier publication, to their sha256; empty: of a new one.

        Returns:
            `None`: all files of the release are to be built.

        Raises:
            WaitingError: there are none yet, or the forge does not answer.
            LeftOutError: none of the further ones of a published release is valid.
            BuildError: there are none, and nothing is to be built.
            ForgeError: the forge refuses, or has not answered for hours.
            DiskFullError: they do not fit on the disk.
            InsidersError: the token cannot be read, or the state not written.
        """
        before = self._build_of(release.tag)
        if lost:
            return self._lost(release, before, lost)
        if not self._repository.has_assets:
            return None
        try:
            listed = self._listing.chosen(release, self._listing.of(release.tag))
            wanted = self._absent(listed, before)
            fetched, invalid = self._download(release, wanted)
        except (NoReleaseError, PassingError) as error:
            is_named = self._context.request.tag is not None
            demand_patience(self._tracked, release, error, is_named=is_named)
            return None
        kept = self._kept(before)
        if before is not None and kept and invalid:
            self._record_invalid(before, [it for it in wanted if it.name in invalid])
        if fetched is None and kept:
            # Not built: the release is published, and these would have been further files of it.
            raise LeftOutError("no further asset of its release is valid")
        if fetched is None and self._repository.assets == "only":
            why = next(iter(invalid.values()))
            raise BuildError(
                f"no asset of its release on {self._listing.forge.host} is valid: {why}"
            )
        if fetched is None or self._repository.assets == "only":
            return fetched
        files = [*kept, *fetched.distributions.files]
        wheels = [path for path in files if distribution.is_wheel(path.name)]
        return replace(
            fetched,
            lacks_sdist=self._repository.sdist is not False and len(wheels) == len(files),
            lacks_wheel=not all(
                fits(wheels, version) for version in self._repository.python or (None,)
            ),
        )

    def _build_of(self, tag: str) -> Build | None:
        return next((it for it in self._tracked.known.builds if it.tag == tag), None)

    def _record_invalid(self, build: Build, assets: Iterable[Asset]) -> None:
        # Otherwise each update of the day would download them again, and fail.
        known = self._tracked.known
        invalid = {**build.invalid, **{it.name: record(it) for it in assets}}
        known.builds[known.builds.index(build)] = build._replace(invalid=invalid)
        self._tracked.commit()

    def _kept(self, before: Build | None) -> list[Path]:
        """Return the published files of a build; none if it was taken back."""
        directory = self._context.paths.distributions
        files = list(before.files) if before else []
        # What was only uploaded to another index has no file here: its record counts.
        if before is None or before.local:
            files = store.present(directory, files)
        return [directory / name for name in files]

    def _absent(self, wanted: Sequence[Asset], before: Build | None) -> Sequence[Asset]:
        """Return the assets that are not published yet.

        Raises:
            InsidersError: all are.
        """
        kinds = {distribution.kind_of(path.name) for path in self._kept(before)}
        absent = [it for it in wanted if distribution.kind_of(it.name) not in kinds]
        if not absent:
            raise InsidersError("its release has no file that is not published already")
        return absent

    def _download(
        self, release: TaggedRelease, assets: Sequence[Asset]
    ) -> tuple[FetchedAssets | None, dict[str, str]]:
        """Download assets, and leave out those that are no valid distributions.

        Returns:
            The valid ones, `None` if there are none; and the others, name to the reason.

        Raises:
            ForgeError: one cannot be downloaded.
            DiskFullError: they do not fit on the disk.
        """
        # Before their sizes are compared with that of the disk: a host may list any.
        for asset in assets:
            if (asset.size_bytes or 0) > forges.LIMIT_BYTES:
                raise forges.too_large(asset)
        context, forge = self._context, self._listing.forge
        guard, builds = context.builds.guard, make_directory(context.paths.builds)
        guard.demand_room(builds, sum(it.size_bytes or 0 for it in assets))
        directory = make_temporary(builds)
        valid = dict[str, PublishedAsset]()
        invalid: dict[str, str] = {}
        try:
            with guard.guarding(directory):
                for asset in assets:
                    path = directory / asset.name
                    sha256 = forges.download(forge, asset, path)
                    try:
                        file_contents.read(path)
                        archives.check(path)
                    # One broken wheel does not take the others of the release with it.
                    except DistributionError as error:
                        invalid[asset.name] = error.message
                    else:
                        valid[asset.name] = record(asset)
                        _log.debug("%s: %s has sha256 %s", self._name, asset.name, sha256)
            for message in invalid.values():
                _log.warning("%s: tag %s: asset left out: %s", self._name, release.tag, message)
            if valid:
                paths = [directory / name for name in valid]
                return FetchedAssets(directory, as_distributions(paths), valid), invalid
        except BaseException:
            remove_foreign_tree(directory)
            raise
        remove_foreign_tree(directory)
        return None, invalid

    def _lost(
        self, release: TaggedRelease, before: Build | None, lost: Mapping[str, str]
    ) -> FetchedAssets | None:
        """Download the lost files of a release that came from the forge.

        Raises:
            BuildError: the forge has another file of that name now, or none.
            ForgeError: the forge does not answer, or refuses.
        """
        recorded = {name: lost[name] for name in lost if before and name in before.assets}
        # A state that was recovered does not tell which files were built.
        is_known = bool(recorded) or before is None or before.sandboxed is not None
        if is_known and not recorded:
            return None
        if not is_known and not self._repository.has_assets:
            return None
        wanted = recorded or lost
        try:
            assets = [it for it in self._listing.of(release.tag) if it.name in wanted]
            fetched = self._download(release, assets)[0] if assets else None
        except NoReleaseError as error:
            fetched, assets = None, []
            _log.info("%s: tag %s: %s", self._name, release.tag, error.message)
        same = {}
        for path in fetched.distributions.files if fetched else ():
            if file_contents.read(path).sha256 == wanted[path.name]:
                same[path.name] = path
        # Not built in its place: another file of the same name would be published, and lock files
        # have the hash of this one.
        if gone := sorted(recorded.keys() - same.keys()):
            if fetched:
                fetched.discard()
            raise BuildError(
                f"{listed(gone, _SHOWN)}: {self._listing.forge.host} no longer has it as it was "
                "published",
                hint="restore the files from a backup, or give up the release: "
                f"`pypi-insiders unpublish {self._tracked.known.project} "
                f"{before.version if before else ''}`",
            )
        if fetched is None:
            return None
        if not same:
            fetched.discard()
            return None
        rest = lost.keys() - same.keys()
        return replace(
            fetched,
            distributions=as_distributions(list(same.values())),
            lacks_sdist=any(not distribution.is_wheel(name) for name in rest),
            lacks_wheel=any(map(distribution.is_wheel, rest)),
        )
