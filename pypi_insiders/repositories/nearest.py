"""Find the repository or project that was probably meant."""

from collections.abc import Iterable, Mapping

from packaging.utils import canonicalize_name

from pypi_insiders.repositories.repository import Repository


def nearest(repositories: Mapping[str, Repository], typed: str) -> str | None:
    """Find the repository that is most like what was typed, or that builds a project of this name.

    Returns:
        Its name; `None` if none is.
    """
    typed = typed.casefold()
    namespace, _, last = typed.rpartition("/")
    for item in repositories.values():
        # By the project, too, which is the name that users know from installers.
        ends = (item.name.casefold().rpartition("/")[2], item.project)
        if last in ends or (not namespace and canonicalize_name(last) in ends):
            return item.name
    folded = {name.casefold(): name for name in repositories}
    begun = next((name for name in folded if name.startswith(typed)), None)
    close = begun or closest(folded, typed)
    return folded[close] if close else None


def closest(names: Iterable[str], typed: str) -> str | None:
    """Return the name that is most like what was typed; `None` if none is."""
    import difflib

    return next(iter(difflib.get_close_matches(typed, names, n=1, cutoff=0.8)), None)
