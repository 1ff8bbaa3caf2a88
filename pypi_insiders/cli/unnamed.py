"""Warn of a repository whose project name nobody knows."""

import logging

from pypi_insiders.update.naming import Naming


def report_unnamed(name: str, naming: Naming | None) -> None:
    """Warn that installers can get a public package, and say how to name the project."""
    log = logging.getLogger(__name__)
    if naming and naming.claimed:
        log.warning(
            "%s: its project name is %s, of which the index has files of another origin; nothing "
            "is published before you confirm it",
            name, naming.claimed,
        )  # fmt: skip
    else:
        log.warning(
            "%s: project name unknown%s; until the first build, installers can get a public "
            "package of that name",
            name, f" ({naming.reason})" if naming else "",
        )  # fmt: skip
    project = naming.claimed if naming and naming.claimed else "PROJECT"
    log.info("hint: `pypi-insiders repos set %s project=%s`", name, project)
