"""Find the watched repositories that are meant by what a user types or pastes."""

from collections.abc import Iterable, Mapping, Sequence

from pypi_insiders.repositories import pasted
from pypi_insiders.repositories.nearest import nearest
from pypi_insiders.repositories.repository import Repository, parse_name, parse_specification
from pypi_insiders.util.errors import InsidersError, UsageError


def find(repositories: Mapping[str, Repository], name: str) -> Repository | None:
    """Return a repository by its name in any case; `None`: not found."""
    # Git hosts ignore the case of names.
    folded = name.casefold()
    return next((item for key, item in repositories.items() if key.casefold() == folded), None)


def select(repositories: dict[str, Repository], names: Iterable[str]) -> list[Repository]:
    """Return the named repositories; all of them without names.

    Raises:
        UsageError: a name is malformed.
        InsidersError: some are not watched; the message has all of them.
    """
    wanted = [meant(repositories, name) for name in names]
    if not wanted:
        return list(repositories.values())
    found = {name: find(repositories, name) for name in wanted}
    missing = [name for name, item in found.items() if item is None]
    if missing:
        raise _unwatched(repositories, missing)
    # Each once, as it may be named twice, in another case or with `.git`.
    return list({item.name: item for item in found.values() if item}.values())


def _unwatched(repositories: Mapping[str, Repository], names: Sequence[str]) -> InsidersError:
    hint = "see `pypi-insiders repos list`" if repositories else "`pypi-insiders repos add NS/PROJ`"
    if len(names) > 1:
        return InsidersError(f"{', '.join(names)} are not watched repositories", hint)
    near = nearest(repositories, names[0])
    meant = f"; did you mean {near}?" if near else ""
    return InsidersError(f"{names[0]} is not a watched repository{meant}", hint)


def meant(repositories: Mapping[str, Repository], text: str) -> str:
    """Return `NS/PROJ` of what a user typed, or pasted: an address of the repository, say.

    Raises:
        UsageError: it names no repository; the message has the one that was probably meant.
        InsidersError: it is the address of another repository than the one of that name.
    """
    if item := find(repositories, text):
        return item.name
    if found := pasted.parse(text):
        # First as it is: what ends like the address of a page may be a repository of its own.
        for place in (pasted.parse(text, is_stored=True), found):
            if place and (item := _at(repositories, place)):
                return item.name
        name = found.name
        if find(repositories, name):
            name = found.full_name
        # Whatever has that name is at another place: it is not what was pasted.
        if find(repositories, name):
            raise _unwatched(repositories, [text])
        return parse_name(name)
    try:
        return parse_name(text)
    except UsageError as error:
        if "/" in text or (near := nearest(repositories, text)) is None:
            raise
        raise UsageError(
            f"{text!r} is not a repository of the form NS/PROJ; did you mean {near}?",
            "see `pypi-insiders repos list`",
        ) from error


def _at(repositories: Mapping[str, Repository], found: pasted.Pasted) -> Repository | None:
    """Return the repository that is watched at the place of an address.

    Raises:
        InsidersError: it can be each of several.
    """
    at = [item for item in repositories.values() if pasted.at(item.remote, found)]
    if len(at) > 1:
        # One address can lead to several: that of https to both of two ports of ssh.
        same = [item for item in at if found.url in (item.remote, item.url)]
        if len(same) != 1:
            names = ", ".join(item.name for item in at)
            raise InsidersError(
                f"{found.url or found.name} can be each of {names}", "give the name in its place"
            )
        return same[0]
    return at[0] if at else None


def specified(
    repositories: Mapping[str, Repository], text: str, *, has_url: bool = False
) -> Repository:
    """Return the repository of a specification, `NS/PROJ[:PROJECT]` or a pasted address.

    An address of a watched repository names that one. If another host has a repository of the same
    name, its host is part of the name.

    Args:
        repositories: the watched repositories.
        text: the specification.
        has_url: whether its URL is given apart.

    Raises:
        UsageError: it is malformed.
    """
    item = parse_specification(text, has_url=has_url)
    found = None if has_url else pasted.parse(item.remote, is_stored=True)
    # `NS/PROJ` without a host is what is watched by that name, wherever it is.
    if found is None or text.partition(":")[0].removesuffix(".git") == item.name:
        return item
    if known := _at(repositories, found):
        return item._replace(name=known.name, url=None)
    if find(repositories, item.name) is None or not found.place[0]:
        return item
    return item._replace(name=parse_name(found.full_name), url=item.remote)
