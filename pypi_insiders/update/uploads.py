"""Upload releases to the index in `[publish]`."""

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pypi_insiders import remote_index
from pypi_insiders.index import store
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build
from pypi_insiders.update.context import UpdateContext

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


def upload(context: UpdateContext, repository: Repository, build: Build) -> Build:
    """Upload a published release; return its build with the URL added.

    Raises:
        PublishError: the upload failed.
    """
    context.progress.begin(repository.name, "upload", build.version)
    if context.destination is not None:
        files = [context.paths.distributions / name for name in build.files]
        upload_files(context.destination, files)
    return replace(build, uploaded_to=[*build.uploaded_to, *urls(context)])


def upload_files(destination: remote_index.Destination, files: Sequence[Path]) -> list[str]:
    """Upload files; return the names of those that the index did not have.

    Raises:
        PublishError: the upload failed.
    """
    # os.environ: uv needs the user's proxy and certificates.
    new = remote_index.publish(destination, files, os.environ)
    _log.info("uploaded to %s: %s", destination.url, ", ".join(new) or "no new files")
    return new
