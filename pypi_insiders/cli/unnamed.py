"""Warn of a repository whose project name nobody knows, or that another one has."""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pypi_insiders.update.naming import Naming


def report_unnamed(name: str, naming: "Naming | None", owner: str | None = None) -> None:
    """Warn that installers can get a public package, and say how to name the project.

    Args:
        name: of the repository.
        naming: what was read; `None`: nothing.
        owner: the watched repository that has the project which was read; `None`: none has.
    """
    log = logging.getLogger(__name__)
    project = naming.claimed if naming and naming.claimed else "PROJECT"
    hint = f"`pypi-insiders repos set {name} project={project}`"
    if naming and naming.claimed and owner:
        log.warning(
            "%s: its project name is %s, which belongs to %s; nothing is published while both are "
            "watched",
            name, naming.claimed, owner,
        )  # fmt: skip
        # `repos set` alone would fail.
        move = f"`pypi-insiders repos remove {owner} && {hint.strip('`')}`"
        hint = f"`pypi-insiders repos remove {name}`; or to move the project to it: {move}"
    elif naming and naming.claimed:
        log.warning(
            "%s: its project name is %s, of which the index has files of another origin; nothing "
            "is published before you confirm it",
            name, naming.claimed,
        )  # fmt: skip
    else:
        log.warning(
            "%s: project name unknown%s; until it is known, installers can get a public package of "
            "that name",
            name, f" ({naming.reason})" if naming else "",
        )  # fmt: skip
    log.info("hint: %s", hint)
