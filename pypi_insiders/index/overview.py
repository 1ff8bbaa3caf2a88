"""List all projects without waiting for files that are not examined yet."""

from typing import NamedTuple

from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.published import Project

# So many unread files are examined first; for more it would take minutes.
_FEW = 20


class IndexOverview(NamedTuple):
    """All projects, as far as their files have been examined."""

    projects: tuple[Project, ...]
    """Those that have files, sorted."""
    unread_projects: tuple[str, ...] = ()
    """Those with a file that is not examined yet, sorted."""
    unread_files: int = 0

    @property
    def number(self) -> int:
        """The number of all projects."""
        return len(self.projects) + len(self.unread_projects)

    @property
    def read_files(self) -> int:
        """The number of files of the projects that are read as a whole."""
        return sum(len(project.files) for project in self.projects)


def overview(catalog: Catalog) -> IndexOverview:
    """Return all projects.

    Raises:
        InsidersError: the directory cannot be read.
    """
    unread = catalog.unread()
    if len(unread) <= _FEW:
        return IndexOverview(catalog.everything())
    waiting = {file.project for file in unread}
    read = (catalog.project(name) for name in catalog.projects() if name not in waiting)
    projects = tuple(project for project in read if project is not None and project.files)
    return IndexOverview(projects, tuple(sorted(waiting - {""})), len(unread))
