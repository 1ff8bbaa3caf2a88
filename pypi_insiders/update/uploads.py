"""Upload releases to the index in `[publish]`."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pypi_insiders import remote_index
from pypi_insiders.index import store
from pypi_insiders.remote_index import PublishError
from pypi_insiders.repositories.state import Build
from pypi_insiders.update.context import UpdateContext
from pypi_insiders.update.tracked import TrackedRepository
from pypi_insiders.util.silent_hosts import SilentHosts
from pypi_insiders.util.without_credentials import without_credentials

_log = logging.getLogger(__name__)


def is_lacking(context: UpdateContext, build: Build) -> bool:
    """Return whether a published release still has to be uploaded."""
    # Complete releases only: the files of an incomplete one are built again first.
    return (
        context.destination is not None
        and context.destination.url not in build.uploaded_to
        and bool(build.files)
        and len(store.present(context.paths.distributions, build.files)) == len(build.files)
    )


def lacking(context: UpdateContext, builds: Iterable[Build]) -> list[Build]:
    """Return the builds that still have to be uploaded."""
    return [build for build in builds if is_lacking(context, build)]


def urls(context: UpdateContext) -> list[str]:
    """Return the URL of the index to upload to, if one is set."""
    return [context.destination.url] if context.destination else []


def send(
    context: UpdateContext,
    tracked: TrackedRepository,
    refs: Mapping[str, str],
    is_due: Callable[[str], bool],
) -> None:
    """Upload the published releases of a repository that the other index lacks.

    Args:
        context: of the update.
        tracked: the repository; failures are recorded in its state.
        refs: its tags and heads, to their commits now.
        is_due: whether a tag that failed may be tried again now.
    """
    known = tracked.known
    for number, build in enumerate(known.builds):
        if context.interrupted.is_set():
            return
        if not is_lacking(context, build) or not is_due(build.tag):
            continue
        try:
            known.builds[number] = _uploaded(context, tracked.name, build)
            known.failures.pop(build.tag, None)
            tracked.commit()
        except PublishError as error:
            if error.is_unreachable and tracked.is_within_grace(build.built_at):
                _log.info("%s: %s", tracked.name, error.message)
                # The other releases would wait for the same index.
                tracked.outcome.unreachable = True
                return
            tracked.fail_tag(build.tag, refs.get(build.tag, build.commit), error)
        # Bugs too: a failed upload must not stop the others.
        except Exception as error:
            tracked.fail(error, build.tag)


def _uploaded(context: UpdateContext, name: str, build: Build) -> Build:
    """Upload a published release; return its build with the URL added."""
    context.progress.begin(name, "upload", build.version)
    if context.destination is not None:
        files = [context.paths.distributions / name for name in build.files]
        upload_files(context.destination, context.hosts, files)
    return build._replace(uploaded_to=[*build.uploaded_to, *urls(context)])


def _is_silence(error: Exception) -> bool:
    return isinstance(error, PublishError) and error.is_unreachable


def upload_files(
    destination: remote_index.Destination, hosts: SilentHosts, files: Sequence[Path]
) -> list[str]:
    """Upload files; return the names of those that the index did not have.

    Raises:
        PublishError: the upload failed, or the index has not answered for other releases.
    """
    url = without_credentials(destination.url)
    if hosts.is_silent(url):
        raise PublishError(
            f"{url} was not asked, as it has not answered for {hosts.enough} other releases",
            "the next update tries again",
            is_unreachable=True,
        )
    with hosts.asking(url, _is_silence):
        # os.environ: uv needs the user's proxy and certificates.
        new = remote_index.publish(destination, files, os.environ)
    _log.info("uploaded to %s: %s", destination.url, ", ".join(new) or "no new files")
    return new
