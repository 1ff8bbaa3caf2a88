"""Find what Git knows of a host, for its API: the token, and where Git reads from instead."""

from pypi_insiders.git import command, credentials
from pypi_insiders.git.command import GitSettings
from pypi_insiders.git.credentials import Access
from pypi_insiders.git.diagnosis import Remote


def rewritten(url: str) -> str:
    """Return the URL that Git uses in place of another, by the settings of the user.

    Raises:
        InsidersError: git is missing, or cannot read its settings.

    Source: git-config(1), `url.<base>.insteadOf`; git-ls-remote(1), `--get-url`.
    """
    return command.git("ls-remote", "--get-url", "--", url, settings=GitSettings()).rstrip("\n")


def token_for(url: str, access: Access) -> str | None:
    """Return the token for an https URL; `None`: Git has none.

    Raises:
        AccessError: a credential helper does not answer.
        InsidersError: the token file is missing, unreadable, malformed or accessible by others.

    Source: git-credential(1).
    """
    if access.token_file is not None:
        return credentials.read_token(access.token_file)
    # It asks the user's helpers, but never the user: see `command`.
    settings = GitSettings(remote=Remote(url, access.name))
    found = command.attempt("credential", "fill", settings=settings, stdin=[f"url={url}", ""])
    lines = dict(line.partition("=")[::2] for line in found.stdout.splitlines())
    # A helper that has nothing leaves git to ask, which fails.
    return lines.get("password") or None if found.status == 0 else None
