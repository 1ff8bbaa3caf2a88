"""Configure git's access to hosts, with a token from a file or its own credentials."""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pypi_insiders.git.command import GitSettings
from pypi_insiders.git.diagnosis import Remote
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import cannot, open_file

_TOKEN_FILE = "PYPI_INSIDERS_TOKEN_FILE"  # noqa: S105  # the name of a variable
REJECTED = "PYPI_INSIDERS_REJECTED"
"""A variable with the path of a file, which is created once the host rejects the token."""
# Not http, which sends tokens and code in clear text; not ext, which runs commands.
_PROTOCOLS = "https:ssh:git:file"
_PROTOCOLS_WITHOUT_FILES = "https:ssh:git"

# GitHub requires this user name for tokens of its apps. For other tokens, GitHub, GitLab (personal,
# project and group tokens), Gitea, Forgejo and Azure DevOps accept any user name.
# Source: docs.github.com, "Authenticating as a GitHub App installation"; docs.gitlab.com,
# "Personal access tokens".
_USER = "x-access-token"

# The token goes through a pipe from the file to git, so that no argument and no variable contains
# it. Git also calls helpers with `store`, which is ignored, and with `erase` if the host has
# rejected the token. git-lfs 3.3 then asks again, and would get the same token, without end.
# Source: gitcredentials(7), "CUSTOM HELPERS"; git-credential(1), "INPUT/OUTPUT FORMAT".
_HELPER = (
    f'!f() {{ test "$1" != erase || test -z "${REJECTED}" || : >"${REJECTED}"; '
    f'test "$1" = get && {{ test -z "${REJECTED}" || test ! -e "${REJECTED}"; }} || exit 0; '
    f"echo username={_USER}; printf password=; tr -d '\\r\\n' <\"${_TOKEN_FILE}\"; echo; }}; f"
)


@dataclass(frozen=True)
class Access:
    """The access to a host."""

    token_file: Path | None = None
    """A file with a token for https; `None`: git's own keys, agents and helpers."""
    name: str | None = None
    """`NS/PROJ` as it is watched, for hints."""
    insecure_http: bool = False
    """Whether it may be reached over http, which sends code and credentials in clear text."""
    token_program: str | None = None
    """The program that printed the token of `token_file`; `None`: it is a file of the user."""
    lacking: InsidersError | None = None
    """Why that program printed none: git's own access is used instead."""


GITS_OWN = Access()
"""Git's access as in a shell: ssh keys and agent, credential helpers, `~/.netrc`."""


def settings(url: str, access: Access) -> GitSettings:
    """Return the git settings for the host of a URL.

    Raises:
        InsidersError: the token file is missing, unreadable, malformed or accessible by others.

    Source: gitcredentials(7), "CONFIGURATION OPTIONS"; git-config(1), `http.proactiveAuth`.
    """
    scheme = urlsplit(url).scheme
    # Not for an https URL: its host could redirect to http.
    is_insecure = access.insecure_http and scheme == "http"
    environment = {"GIT_ALLOW_PROTOCOL": f"http:{_PROTOCOLS}" if is_insecure else _PROTOCOLS}
    token_file = access.token_file
    # ssh and git do not use tokens.
    if token_file is None or not (scheme == "https" or is_insecure):
        remote = Remote(url, access.name, lacking=access.lacking)
        return GitSettings(environment=environment, remote=remote)
    read_token(token_file)
    # For this host only: a redirect or a submodule elsewhere must not get the token. The section's
    # name has no user name.
    host = f"{scheme}://{urlsplit(url).netloc.rpartition('@')[2]}"
    return GitSettings(
        options=(
            # An empty value removes the user's helpers, which could store the token.
            # Source: gitcredentials(7), `helper`.
            f"credential.{host}.helper=",
            f"credential.{host}.helper={_HELPER}",
            # Otherwise curl tries ~/.netrc first, and git calls a helper only if that is refused.
            # Git before 2.46 ignores this setting.
            f"http.{host}.proactiveAuth=basic",
        ),
        environment={**environment, _TOKEN_FILE: str(token_file.absolute())},
        remote=Remote(url, access.name, token_file, access.token_program),
    )


def for_submodules(settings: GitSettings, url: str) -> GitSettings:
    """Return the git settings for the submodules of a repository."""
    # A remote repository must not read repositories of this machine through its submodules.
    is_here = url.startswith(("/", "file:"))
    protocols = _PROTOCOLS if is_here else _PROTOCOLS_WITHOUT_FILES
    # Its relative URLs lead over http, too.
    if settings.environment["GIT_ALLOW_PROTOCOL"].startswith("http:"):
        protocols = f"http:{protocols}"
    return settings.adding({"GIT_ALLOW_PROTOCOL": protocols})


def read_token(path: Path) -> str:
    """Read a token from a private file that contains nothing else.

    Raises:
        InsidersError: it is missing, unreadable, malformed or accessible by others.
    """
    try:
        with open_file(path) as file:
            status = os.fstat(file.fileno())
            # Far more than a token: a wrong file may be huge.
            content = file.read(64 * 1024)
    except FileNotFoundError as error:
        raise InsidersError(
            f"token file {path} not found", "write the token into it, on one line"
        ) from error
    except OSError as error:
        raise cannot("read the token file", path, error) from error
    # Only for the user's own files, like sshkey_perm_ok in OpenSSH: systemd's credentials belong to
    # others, and have other modes.
    if status.st_uid == os.getuid() and status.st_mode & 0o077:
        raise InsidersError(
            f"token file {path} is accessible by other users (mode {status.st_mode & 0o777:04o})",
            f"`chmod 600 {shlex.quote(str(path))}`",
        )
    token = content.rstrip(b"\r\n")
    if not token:
        raise InsidersError(f"token file {path} is empty", "write the token into it, on one line")
    # A line end in it would add further attributes to the helper's answer.
    if re.fullmatch(rb"[\x21-\x7e]+", token) is None:
        raise InsidersError(
            f"token file {path} contains more than a token", "write the token into it, on one line"
        )
    return token.decode("ascii")
