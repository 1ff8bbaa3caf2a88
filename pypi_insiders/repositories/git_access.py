"""The access of Git to watched repositories."""

# Apart from `Repository`, which commands read that need no git.
from pypi_insiders.git import Access
from pypi_insiders.repositories.repository import Repository


def access_to(repository: Repository) -> Access:
    """Return the access to the host of a repository.

    Raises:
        InsidersError: its token is a credential of a unit, and this process is not in that unit.
    """
    is_insecure = bool(repository.insecure_http)
    return Access(repository.token, repository.name, insecure_http=is_insecure)
