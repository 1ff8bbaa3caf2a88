"""Create the directories that the services use."""

import contextlib

from pypi_insiders.config.paths import Paths
from pypi_insiders.systemd import systemctl
from pypi_insiders.systemd.unit_names import SERVER
from pypi_insiders.util.files import is_there, make_directory


def create(paths: Paths) -> None:
    """Create the directories that a sandboxed service cannot create itself.

    Raises:
        InsidersError: a directory cannot be created.
    """
    from pypi_insiders.index import catalog
    from pypi_insiders.index.metadata_cache import MetadataCache
    from pypi_insiders.repositories import state

    is_new = not is_there(paths.data)
    make_directory(paths.state)
    make_directory(paths.data)
    # The mounts of a running server do not include a directory that was created after its start.
    if is_new:
        systemctl.try_call("try-restart", SERVER.service)
    # Unless an earlier one was lost: an empty directory would hide that.
    with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as record:
        catalog.make_directory_if_new(paths.distributions, record, state.origins(paths.state))
