"""Read the page of the manual on `--json`."""

import re

from pypi_insiders.cli import help as manual

NO_COMMANDS = ("Promise", "Changes that no deprecated field covers")


def documented() -> dict[str, set[str]]:
    """Return the fields of each command, such as `repositories[].name`."""
    _, *parts = re.split(r"^## ", manual.pages()["json"].read_text(), flags=re.MULTILINE)
    found = {}
    for part in parts:
        title, _, text = part.partition("\n")
        terms = re.findall(r"^- ((?:`[^`]+`(?:,\s+)?)+):", text, re.MULTILINE)
        if title not in NO_COMMANDS:
            found[title] = {name for term in terms for name in re.findall(r"`([^`]+)`", term)}
    return found
