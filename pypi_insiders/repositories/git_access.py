"""The access of Git to watched repositories."""

# Apart from `Repository`, which commands read that need no git.
from pathlib import Path
from urllib.parse import urlsplit

from pypi_insiders.git import Access
from pypi_insiders.repositories import token_commands
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.token_commands import TokenCommands


def access_to(
    repository: Repository, commands: TokenCommands | None, *, url: str | None = None
) -> Access:
    """Return the access to the host of a repository.

    A token of a command is had by running it, once in this process.

    Args:
        repository: the repository.
        commands: `token-command` of `config.toml`.
        url: of the repository on its host over https, for other questions than those of Git;
            `None`: that of Git.

    Raises:
        InsidersError: its token is a credential of a unit, and this process is not in that unit.
    """
    is_insecure, url = bool(repository.insecure_http), url or repository.remote
    access = Access(repository.token, repository.name, insecure_http=is_insecure)
    scheme = urlsplit(url).scheme
    # Git sends no token over ssh: a command that asks for a password would do so for nothing.
    if access.token_file or not (scheme == "https" or (is_insecure and scheme == "http")):
        return access
    # That of the settings in no case over http, which only this repository allows.
    of_host = commands.get(_host(url)) if commands and scheme == "https" else None
    if command := repository.token_command or of_host:
        token = token_commands.token(command)
        lacking = None if isinstance(token, Path) else token
        found = token if isinstance(token, Path) else None
        return Access(
            found, repository.name, insecure_http=is_insecure,
            token_program=Path(command[0]).name, lacking=lacking,
        )  # fmt: skip
    return access


def _host(url: str) -> str:
    """Return the host of a URL of https, with its port if that is not the default."""
    # The whole of it: a token for `git.example` must go neither to `api.git.example` nor to
    # another program on another port.
    return urlsplit(url).netloc.rpartition("@")[2].casefold().removesuffix(":443")
