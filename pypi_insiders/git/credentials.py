"""Give git a token from a file, and no one else."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pypi_insiders.git.command import GitSettings
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import hint_for, open_file

_TOKEN_FILE = "PYPI_INSIDERS_TOKEN_FILE"  # noqa: S105  # the name of a variable
_PROTOCOLS = "https:ssh:git:file"
_PROTOCOLS_WITHOUT_FILES = "https:ssh:git"

# Any user name does with a token for GitHub, GitLab (personal, project and group tokens), Gitea,
# Forgejo and Azure DevOps; this is the one that GitHub wants for the tokens of its apps.
# Source: docs.github.com, "Authenticating as a GitHub App installation"; docs.gitlab.com,
# "Personal access tokens".
_USER = "x-access-token"

# The token goes from the file into git by a pipe: no argument, no variable has it. Git asks for
# more than `get`: to store and to erase are no business of ours.
# Source: gitcredentials(7), "CUSTOM HELPERS"; git-credential(1), "INPUT/OUTPUT FORMAT".
_HELPER = (
    '!f() { test "$1" = get || exit 0; '
    f"echo username={_USER}; printf password=; tr -d '\\r\\n' <\"${_TOKEN_FILE}\"; echo; }}; f"
)


@dataclass(frozen=True)
class Access:
    """By what a host is asked, beside all that git has of its own."""

    token_file: Path | None = None
    """A file with a token, for https; `None`: keys, agents and helpers are those of git."""


GITS_OWN = Access()
"""The access that git has in a shell: ssh keys and agent, credential helpers, `~/.netrc`."""


def settings(url: str, access: Access) -> GitSettings:
    """Say how git is to ask the host of a URL.

    The helper is asked for this one host only, and there in place of the person's own, one of which
    could store the token. Where git is older than 2.46, what `~/.netrc` has for the host goes
    first.

    Raises:
        InsidersError: the token cannot be used.

    Source: gitcredentials(7), "CONFIGURATION OPTIONS"; git-config(1), `http.proactiveAuth`.
    """
    environment = {"GIT_ALLOW_PROTOCOL": _PROTOCOLS}
    token_file = access.token_file
    if token_file is None or not url.lower().startswith("https://"):
        return GitSettings(environment=environment, connects=True)
    _check(token_file)
    host = f"https://{urlsplit(url).netloc.rpartition('@')[2]}"
    return GitSettings(
        options=(
            f"credential.{host}.helper=",
            f"credential.{host}.helper={_HELPER}",
            f"http.{host}.proactiveAuth=basic",
        ),
        environment={**environment, _TOKEN_FILE: str(token_file.absolute())},
        connects=True,
        access_hint=f"the token in {token_file} may have expired, or not be for this repository",
    )


def for_submodules(settings: GitSettings, url: str) -> GitSettings:
    """Say how git is to ask the hosts of a repository's submodules.

    What is not on this machine has no business with repositories that are.
    """
    is_here = url.startswith(("/", "file:"))
    protocols = _PROTOCOLS if is_here else _PROTOCOLS_WITHOUT_FILES
    environment = {**settings.environment, "GIT_ALLOW_PROTOCOL": protocols}
    return GitSettings(settings.options, environment, settings.connects, settings.access_hint)


def _check(path: Path) -> None:
    """Look whether a file has a token that is a secret.

    Raises:
        InsidersError: it has none, cannot be read, or others can read it.

    Source: sshkey_perm_ok in OpenSSH, which looks at the modes of one's own files only: those of
    others are theirs to choose, such as systemd's credentials.
    """
    try:
        with open_file(path) as file:
            status = os.fstat(file.fileno())
            content = file.read(64 * 1024)
    except FileNotFoundError as error:
        raise InsidersError(
            f"the token file {path} is not there", "write the token into it: one line"
        ) from error
    except OSError as error:
        raise InsidersError(
            f"cannot read the token file {path}: {error.strerror}", hint_for(error)
        ) from error
    if status.st_uid == os.getuid() and status.st_mode & 0o077:
        raise InsidersError(f"the token file {path} can be read by others", f"`chmod 600 {path}`")
    token = content.rstrip(b"\r\n")
    if not token:
        raise InsidersError(f"the token file {path} is empty", "write the token into it: one line")
    if re.fullmatch(rb"[\x21-\x7e]+", token) is None:
        raise InsidersError(
            f"the token file {path} has more than a token", "write the token into it: one line"
        )
