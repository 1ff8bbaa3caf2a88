"""Describe one watched repository, and validate what a user sets of it."""

import os
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from packaging.utils import InvalidName, canonicalize_name

from pypi_insiders.config import toml_fields, validators
from pypi_insiders.config.toml_fields import key
from pypi_insiders.repositories import pasted
from pypi_insiders.repositories.tags import Pattern, Rules
from pypi_insiders.util.errors import InsidersError, UsageError
from pypi_insiders.util.without_credentials import without_credentials

_SCHEMES = ("https", "ssh", "git", "file")
# White space, control characters, bytes that are no text, and the `::` of git's transport helpers.
# `::` names a transport helper, and `ext::` runs a command. Source: gitremote-helpers(7).
_NEVER_IN_A_URL = r"[\s\x00-\x1f\x7f\ud800-\udfff]|^[^/]*::"
# `user@host:path`. Source: git-clone(1), "GIT URLS".
_SCP_LIKE = (
    r"(?!(?:https?|ssh|git|file):)"
    # No part begins with `-`: ssh would take a host like `-oProxyCommand=...` for an option
    # (CVE-2017-1000117).
    r"(?:[A-Za-z0-9_.][A-Za-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9_.-]*:(?!//)[^-@][^@]*"
)
_URL_HINT = (
    "give https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH, git://HOST/PATH or file:///PATH"
)


def parse_name(text: str) -> str:
    """Check `NS/PROJ`, the name of a repository.

    Raises:
        UsageError: it is not of that form, or could leave its directory, or look like an option.
    """
    # It becomes a path in state and cache, and an argument of commands.
    part = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9_.][A-Za-z0-9_.-]*"
    name = text.removesuffix(".git")
    if re.fullmatch(f"{part}/{part}", name) is None:
        raise UsageError(
            f"{text!r} is not a repository of the form NS/PROJ",
            "for example squidfunk/mkdocs-material-insiders; for another host add --url URL",
        )
    return name


def parse_project(text: str) -> str:
    """Validate and normalize the name of a project.

    Raises:
        UsageError: it is no valid name.

    Source: https://packaging.python.org/en/latest/specifications/name-normalization/
    """
    try:
        return canonicalize_name(text, validate=True)
    except InvalidName as error:
        raise UsageError(
            f"{text!r} is not a project name",
            "letters, digits, '.', '_' and '-', such as mkdocs-material",
        ) from error


def add_command(name: str, remote: str | None, project: str | None = None) -> str:
    """Write the command that watches a repository as it was watched before.

    Args:
        name: `NS/PROJ`.
        remote: where it was built from; `None`: nobody knows.
        project: its name; `None`: unknown.
    """
    words = ["pypi-insiders", "repos", "add", f"{name}:{project}" if project else name]
    if remote is not None and remote != Repository(name).remote:
        words += ["--url", remote]
    return f"`{shlex.join(words)}`"


def parse_url(text: str) -> str:
    """Check the URL of a Git repository: https, ssh (also `user@host:path`), git or file.

    Raises:
        UsageError: another scheme, a leading `-`, what could be a credential, no host or no path.
    """
    shown = repr(without_credentials(text))
    if text.startswith("-") or re.search(_NEVER_IN_A_URL, text):
        raise UsageError(f"{shown} is not the URL of a Git repository", _URL_HINT)
    if re.fullmatch(_SCP_LIKE, text):
        return text
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{shown} is not a URL", _URL_HINT) from error
    if not parts.scheme:
        raise UsageError(f"{shown} is not the URL of a Git repository", _URL_HINT)
    if parts.scheme not in _SCHEMES:
        raise UsageError(f"{shown} has a scheme that is not allowed", _URL_HINT)
    # For https even the user can be a token, as GitHub takes it.
    has_user = parts.username is not None
    if parts.password is not None or parts.query or (has_user and parts.scheme == "https"):
        raise UsageError(
            f"{shown} contains a credential, which would be stored in the clear",
            "leave it out of the URL and give it to git: `git help credentials`",
        )
    is_option = parts.netloc.startswith("-") or (host or "").startswith("-")
    if is_option or not (host or parts.scheme == "file") or not parts.path.strip("/"):
        raise UsageError(f"{shown} names no repository", _URL_HINT)
    return text


@dataclass(frozen=True)
class Repository:
    """One watched repository; every field but its name is a key of `repos.toml`."""

    FORMER_KEYS: ClassVar = {"distribution": "project"}

    name: str
    """`NS/PROJ`, by which the user names it."""
    project: str | None = key(parse_project, kind=str)
    """Normalized name of the project; `None`: the one that the first build has."""
    url: str | None = key(parse_url, kind=str)
    """Where Git finds it; `None`: on GitHub, over ssh."""
    keep: int | None = key(validators.parse_keep, kind=int, hint="such as 5")
    """How many of its newest versions the index keeps; `None`: as many as `config.toml` says."""
    tags: str | None = key(
        lambda text: Pattern(text).text, kind=str, hint="such as 'v*' or 'server-{version}'"
    )
    """Which tags are releases, as `Pattern` reads it; `None`: all that are versions."""
    pre: bool | None = key(kind=bool)
    """Whether pre-releases are built; `None`: only where there is no final release at first."""
    max_new: int | None = key(validators.parse_number, kind=int)
    """How many new tags one update builds at most; `None`: as many as `config.toml` says."""
    backfill: int | None = key(validators.parse_number, kind=int)
    """How many of its newest versions are built, also those from before it was watched."""
    subdirectory: str | None = key(
        validators.parse_subdirectory, kind=str, hint="such as packages/server"
    )
    """Where in the repository the project is; `None`: at its top."""
    python: tuple[str, ...] | None = key(validators.parse_pythons, kind=list)
    """For which interpreters wheels are built that are not for all; `None`: the one of ours."""
    network: bool | None = key(kind=bool)
    """Whether its builds may use HTTP and HTTPS to other machines."""
    strict: bool | None = key(kind=bool)
    """Whether a build must have the version that its tag says."""
    allowed_signers: str | None = key(validators.parse_path, kind=str)
    """A file with the keys by which a tag must be signed."""
    public_until_built: bool | None = key(kind=bool)
    """Whether installers get the public project of that name until the first release is built."""
    submodules: tuple[str, ...] | None = key(validators.parse_submodules, kind=list)
    """Where its submodules may be, beside its own namespace."""
    token_file: str | None = key(validators.parse_path, kind=str)
    """A file with the token for https."""
    token_credential: str | None = key(validators.parse_credential, kind=str)
    """The systemd credential with the token for https."""

    @property
    def remote(self) -> str:
        """The URL for Git."""
        return self.url or f"git@github.com:{self.name}.git"

    @property
    def signers(self) -> Path | None:
        """The file of allowed signers."""
        return Path(self.allowed_signers).expanduser() if self.allowed_signers else None

    @property
    def token(self) -> Path | None:
        """The file with the token for https, given by its path or as a credential of the unit.

        Raises:
            InsidersError: it is a credential, and this process has none.

        Source: systemd.exec(5), `$CREDENTIALS_DIRECTORY`.
        """
        if self.token_credential:
            directory = os.environ.get("CREDENTIALS_DIRECTORY")
            if directory is None:
                raise InsidersError(
                    f"its token is the credential {self.token_credential} of the watcher's unit",
                    "`pypi-insiders watcher start` runs an update there",
                )
            return Path(directory, self.token_credential)
        return Path(self.token_file).expanduser() if self.token_file else None

    def rules(self, max_new: int) -> Rules:
        """Return the rules by which tags are releases to build.

        Args:
            max_new: how many new ones at once, where it does not say so itself.
        """
        return Rules(
            Pattern(self.tags) if self.tags else Pattern(),
            self.pre,
            self.max_new or max_new,
            self.backfill or 0,
        )

    @property
    def keys(self) -> dict[str, Any]:
        """What `repos.toml` has of it: key to value, without those that are not set."""
        return {key: value for key, value in toml_fields.write(self).items() if value is not None}

    def with_key(self, key: str, value: object) -> "Repository":
        """Set a key to a value of TOML.

        Raises:
            ValueError: there is no such key, or the value is of another type, or wrong.
            UsageError: the value is wrong.
        """
        return replace(self, **toml_fields.parse(Repository, key, value))

    def with_text(self, key: str, text: str) -> "Repository":
        """Set a key to what a user typed; an empty text unsets the key.

        Raises:
            ValueError: there is no such key, or the value is of another type, or wrong.
            UsageError: the value is wrong.
        """
        return replace(self, **toml_fields.parse_text(Repository, key, text))


def parse_specification(text: str) -> Repository:
    """Parse `NS/PROJ` or `NS/PROJ:PROJECT`, as `repos add` takes it, or an address in its place.

    Raises:
        UsageError: a part is malformed.
    """
    address, colon, project = text.rpartition(":")
    if not colon or "/" in project:  # the colon of a port, or of `git@HOST:PATH`
        address, project = text, ""
    if found := pasted.parse(address):
        url = None if found.url is None else parse_url(found.url)
        return Repository(parse_name(found.name), parse_project(project) if project else None, url)
    if "://" in text or "@" in text or text.startswith("/"):
        raise UsageError(
            f"{without_credentials(text)!r} is not NS/PROJ",
            "name it NS/PROJ, and give its address with --url URL",
        )
    name, colon, project = text.partition(":")
    return Repository(parse_name(name), parse_project(project) if colon else None)
