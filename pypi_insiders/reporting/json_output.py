"""Write the JSON of every `--json`: one shape for all, described by `help json`."""

import json
import re
from typing import Any

from pypi_insiders.reporting.verdict import Item
from pypi_insiders.util import times

VERSION = 1
"""Of the shape: within it members are added only, and a removed one stays for one version more."""


def document(members: dict[str, Any]) -> str:
    """Return an output as text: an object with its version and its members.

    Args:
        members: in the order in which they are printed.
    """
    # Not dumped with `default=str`: what JSON does not have is a bug here, and should end as one.
    return json.dumps({"version": VERSION, **members}, indent=2)


def moment(epoch_s: float | None) -> str | None:
    """Format seconds of the epoch in UTC. Source: RFC 3339, section 5.6."""
    return None if epoch_s is None else times.rfc3339(epoch_s)


def item(found: Item) -> dict[str, str | None]:
    """Return the members of a problem, a warning or a note."""
    return message(found.subject, found.text, found.hint, tag_of(found.kind) or tag_of(found.text))


def message(
    subject: str, text: str, hint: str | None, tag: str | None = None
) -> dict[str, str | None]:
    """Return the members of whatever is wrong.

    Args:
        subject: the repository, project, service or file.
        text: one line.
        hint: the next command, if one helps.
        tag: the Git tag that it is about.
    """
    return {"subject": subject, "text": text, "hint": hint, "tag": tag}


def tag_of(text: str) -> str | None:
    """Return the tag or the head that a message begins with, as updates write those of one."""
    # No tag has a blank or a colon. Source: git-check-ref-format(1).
    # Errors come as text from states that older versions wrote, so the tag is read from it.
    found = re.match(r"tag ([^ :]+)(?=:? |$)|(branch \S+ at [0-9a-f]+)(?=:? |$)", text)
    return found[1] or found[2] if found else None
