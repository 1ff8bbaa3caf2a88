"""Ask again for the assets of published releases: some follow, some change."""

import logging
from collections.abc import Iterable, Iterator, Mapping

from pypi_insiders.builder.errors import BuildError
from pypi_insiders.forges import Asset, NoReleaseError
from pypi_insiders.index import distribution, store
from pypi_insiders.repositories.state import Build
from pypi_insiders.update.asset_listing import AssetListing, record
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.sources import TaggedRelease
from pypi_insiders.update.tracked import TrackedRepository
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.time_limit import TimeLimit

_log = logging.getLogger(__name__)

# As long, programs may add further files to a release, one by one.
_RECENT_S = 86400
# Of older releases, those asked again when all published files are verified.
_MOST_VERIFIED = 20
_LIMIT_S = 300


def revisit(
    context: UpdateContext, tracked: TrackedRepository, refs: Mapping[str, str], now_s: int
) -> tuple[str, ...]:
    """Ask again for the assets of published releases; record which have changed.

    Those of the last day are asked for by each update, and the others when all published files
    are verified.

    Args:
        context: of the update.
        tracked: the repository, with its state.
        refs: all tags of the repository, tag to commit.
        now_s: the time, in seconds of the epoch.

    Returns:
        The tags whose releases have further files.

    Raises:
        InsidersError: the state cannot be written.
    """
    known, found = tracked.known, tuple[str, ...]()
    has_assets = tracked.repository.has_assets
    if has_assets:
        # Of a host that sends a byte at a time, all other repositories would wait for this one.
        with TimeLimit(_LIMIT_S).counting():
            found = tuple(_further(context, tracked, refs, now_s))
    # Not of tags that are gone, or that are built now, or whose further files are gone.
    done = {build.tag for build in known.builds} - {*found}
    waiting = {
        tag: it
        for tag, it in known.waiting.items()
        if tag in refs and has_assets and tag not in done
    }
    if waiting != known.waiting:
        known.waiting = waiting
        tracked.commit()
    return found


def _further(
    context: UpdateContext, tracked: TrackedRepository, refs: Mapping[str, str], now_s: int
) -> Iterator[str]:
    """Yield the tags whose releases have further files; record which have changed."""
    known, listing = tracked.known, AssetListing(context, tracked, logging.DEBUG)
    recent = [build for build in known.builds if 0 <= now_s - build.built_at < _RECENT_S]
    older = [build for build in known.builds if build.assets and build not in recent]
    verified = older[-_MOST_VERIFIED:] if context.comparison.verify else []
    for build in (*recent, *verified):
        directory = context.paths.distributions
        if refs.get(build.tag) != build.commit or (
            build.local and not store.present(directory, build.files)
        ):
            continue
        release = TaggedRelease(tracked.repository, build.tag, build.commit)
        try:
            assets = listing.of(build.tag)
            _mark_changed(tracked, build, assets)
            chosen = listing.chosen(release, assets)
        except (NoReleaseError, BuildError):  # it was built, and has no files of its own
            continue
        # What is published stays in any case, and no new release waits for this.
        except InsidersError as error:
            _log.info("%s: tag %s: %s", tracked.name, build.tag, error.message)
            break
        # Of a release of long ago, a further file would be installed in place of what is published,
        # if its build number is higher or its platform fits better.
        kinds = {distribution.kind_of(name) for name in build.files}
        is_further = (
            distribution.kind_of(it.name) not in kinds and not _is_known_invalid(build, it)
            for it in chosen
        )
        if build in recent and any(is_further):
            yield build.tag


def _is_known_invalid(build: Build, asset: Asset) -> bool:
    invalid = build.invalid.get(asset.name)
    return invalid is not None and not invalid.differs(record(asset))


def _mark_changed(tracked: TrackedRepository, build: Build, assets: Iterable[Asset]) -> None:
    """Record the published assets in place of which the forge has others now."""
    now = {asset.name: record(asset) for asset in assets}
    records = {
        name: record._replace(changed=True)
        for name, record in build.assets.items()
        if not record.changed and name in now and record.differs(now[name])
    }
    if records:
        known = tracked.known
        known.builds[known.builds.index(build)] = build._replace(assets={**build.assets, **records})
        tracked.commit()
