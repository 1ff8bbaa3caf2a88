"""Describe one watched repository, and check what a person says of it."""

import hashlib
import json
import os
import re
import shlex
import tomllib
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from packaging.utils import InvalidName, canonicalize_name

from pypi_insiders.config import settings
from pypi_insiders.repositories.tags import Pattern, Rules
from pypi_insiders.util.errors import InsidersError, UsageError
from pypi_insiders.util.urls import without_credentials

_SCHEMES = ("https", "ssh", "git", "file")
# White space, control characters, bytes that are no text, and the `::` of git's transport helpers.
_NEVER_IN_A_URL = r"[\s\x00-\x1f\x7f\ud800-\udfff]|^[^/]*::"
# `user@host:path`. Source: git-clone(1), "GIT URLS".
_SCP_LIKE = (
    r"(?!(?:https?|ssh|git|file):)"
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
    part = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9_.][A-Za-z0-9_.-]*"
    name = text.removesuffix(".git")
    if re.fullmatch(f"{part}/{part}", name) is None:
        raise UsageError(
            f"{text!r} is not a repository of the form NS/PROJ",
            "for example squidfunk/mkdocs-material-insiders; for another host add --url URL",
        )
    return name


def parse_distribution(text: str) -> str:
    """Check and normalize the name of a distribution.

    Raises:
        UsageError: it is no valid name.

    Source: https://packaging.python.org/en/latest/specifications/name-normalization/
    """
    try:
        return canonicalize_name(text, validate=True)
    except InvalidName as error:
        raise UsageError(
            f"{text!r} is not the name of a distribution",
            "letters, digits, '.', '_' and '-', such as mkdocs-material",
        ) from error


def add_command(name: str, remote: str | None, distribution: str | None = None) -> str:
    """Write the command that watches a repository as it was watched before.

    Args:
        name: `NS/PROJ`.
        remote: where it was built from; `None`: nobody knows.
        distribution: as which.
    """
    words = ["pypi-insiders", "repos", "add", f"{name}:{distribution}" if distribution else name]
    if remote is not None and remote != Repository(name).remote:
        words += ["--url", remote]
    return f"`{shlex.join(words)}`"


def parse_keep(number: int) -> int:
    """Check how many versions are to be kept: 1 or more, or 0 for all.

    Raises:
        UsageError: it is negative.
    """
    try:
        return settings.parse_keep(number)
    except ValueError as error:
        raise UsageError(f"keep {error}", "such as 5") from error


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


def parse_tags(text: str) -> str:
    """Check a pattern of tags: a glob, or what stands around `{version}`.

    Raises:
        UsageError: it can match no tag.

    Source: git-check-ref-format(1).
    """
    try:
        return Pattern(text).text
    except ValueError as error:
        raise UsageError(f"tags {error}", "such as 'v*' or 'server-{version}'") from error


def parse_subdirectory(text: str) -> str:
    """Check and normalize the directory of a project within its repository.

    Raises:
        UsageError: it is not below the repository.
    """
    path = PurePosixPath(text)
    if not text or not text.isprintable() or path.is_absolute() or ".." in path.parts:
        raise UsageError(
            f"subdirectory must be a path below the repository, not {text!r}",
            "such as packages/server",
        )
    return str(path)


def parse_path(text: str) -> str:
    """Check the path of a file of the person: absolute, or below their home (`~/`).

    Raises:
        ValueError: it is neither.
    """
    if text.startswith(("/", "~/")) and text.isprintable():
        return text
    raise ValueError(f'must be an absolute path, or one such as "~/FILE", not {text!r}')


def parse_credential(text: str) -> str:
    """Check the name of a systemd credential. Source: systemd.exec(5), `LoadCredential=`.

    Raises:
        ValueError: it is none.
    """
    if re.fullmatch(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,255}", text):
        return text
    raise ValueError(f"must be the name of a systemd credential, not {text!r}")


def parse_pythons(values: list[Any]) -> tuple[str, ...]:
    """Check a list of Python versions, such as `3.13`.

    Raises:
        ValueError: one is none.
    """
    if values and all(
        isinstance(item, str) and re.fullmatch(r"3\.\d{1,2}t?", item) for item in values
    ):
        return tuple(dict.fromkeys(values))
    raise ValueError(f'must be a list of versions such as ["3.12", "3.13"], not {values!r}')


def parse_submodules(values: list[Any]) -> tuple[str, ...]:
    """Check a list of places of submodules: `NS`, `NS/PROJ`, or either with `HOST/` before.

    Raises:
        ValueError: one is none.
    """
    if values and all(
        isinstance(item, str) and re.fullmatch(r"[^\s/,][^\s,]*", item) and item.isprintable()
        for item in values
    ):
        return tuple(dict.fromkeys(values))
    raise ValueError(f'must be a list such as ["other-namespace", "HOST/NS/PROJ"], not {values!r}')


def parse_number(value: int) -> int:
    """Check a number of which one is the least.

    Raises:
        ValueError: it is less.
    """
    if value >= 1:
        return value
    raise ValueError(f"must be 1 or more, not {value}")


_NOT_OF_BUILDS = ("keep", "max-new", "backfill", "public-until-built")

_KINDS = {str: "a string", int: "a number", bool: "true or false", list: "a list"}


def _key(kind: type, parse: Callable[[Any], Any] | None = None) -> Any:
    """Make a field that is a key of `repos.toml`, of a type of TOML."""
    return field(default=None, metadata={"kind": kind, "parse": parse or (lambda value: value)})


@dataclass(frozen=True)
class Repository:
    """One watched repository; every field but its name is a key of `repos.toml`."""

    name: str
    """`NS/PROJ`, by which the person names it."""
    distribution: str | None = _key(str, parse_distribution)
    """Normalized name of the distribution; `None`: what the first build says."""
    url: str | None = _key(str, parse_url)
    """Where Git finds it; `None`: on GitHub, over ssh."""
    keep: int | None = _key(int, parse_keep)
    """How many of its newest versions the index keeps; `None`: as many as `config.toml` says."""
    tags: str | None = _key(str, parse_tags)
    """Which tags are releases, as `Pattern` reads it; `None`: all that are versions."""
    pre: bool | None = _key(bool)
    """Whether pre-releases are built; `None`: only where there is no final release at first."""
    max_new: int | None = _key(int, parse_number)
    """How many new tags one update builds at most; `None`: as many as `config.toml` says."""
    backfill: int | None = _key(int, parse_number)
    """How many of its newest versions are built, also those from before it was watched."""
    subdirectory: str | None = _key(str, parse_subdirectory)
    """Where in the repository the project lies; `None`: at its top."""
    python: tuple[str, ...] | None = _key(list, parse_pythons)
    """For which interpreters wheels are built that are not for all; `None`: the one of ours."""
    network: bool | None = _key(bool)
    """Whether its builds may use HTTP and HTTPS to other machines."""
    strict: bool | None = _key(bool)
    """Whether a build must have the version that its tag says."""
    allowed_signers: str | None = _key(str, parse_path)
    """A file with the keys by which a tag must be signed."""
    public_until_built: bool | None = _key(bool)
    """Whether installers get the public project of that name until the first release is built."""
    submodules: tuple[str, ...] | None = _key(list, parse_submodules)
    """Where its submodules may be, beside its own namespace."""
    token_file: str | None = _key(str, parse_path)
    """A file with the token for https."""
    token_credential: str | None = _key(str, parse_credential)
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
        """Tell which of its tags are releases to build.

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
    def build_settings(self) -> str:
        """The keys on which it depends whether a tag builds, as one text."""
        text = json.dumps([self.name, self.remote, {**self.keys, **dict.fromkeys(_NOT_OF_BUILDS)}])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def keys(self) -> dict[str, Any]:
        """What `repos.toml` has of it: key to value, without those that are not set."""
        found = {key: getattr(self, name) for key, name in _names().items()}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in found.items()
            if value is not None
        }

    def with_key(self, key: str, value: object) -> "Repository":
        """Set a key to a value of TOML.

        Raises:
            ValueError: there is no such key, or the value is of another type, or wrong.
            UsageError: the value is wrong.
        """
        wanted = _field(key)
        kind = wanted.metadata["kind"]
        if type(value) is not kind:
            raise ValueError(f"{key} must be {_KINDS[kind]}")
        try:
            return replace(self, **{wanted.name: wanted.metadata["parse"](value)})
        except InsidersError:
            raise
        except ValueError as error:
            raise ValueError(f"{key} {error}") from error

    def with_text(self, key: str, text: str) -> "Repository":
        """Set a key to what a person typed, read as its kind wants; an empty text takes it away.

        Raises:
            ValueError: there is no such key, or the value is of another type, or wrong.
            UsageError: the value is wrong.
        """
        wanted = _field(key)
        if not text:
            unset: dict[str, Any] = {wanted.name: None}
            return replace(self, **unset)
        return self.with_key(key, _READERS[wanted.metadata["kind"]](text))


def _names() -> dict[str, str]:
    """Map the keys of `repos.toml` to the fields of `Repository`."""
    return {item.name.replace("_", "-"): item.name for item in fields(Repository) if item.metadata}


def _field(key: str) -> "Field[Any]":
    """Find the field of a key.

    Raises:
        ValueError: there is no such key.
    """
    names = _names()
    if key not in names:
        raise ValueError(f"unknown key {key}{settings.did_you_mean(key, names)}")
    return next(item for item in fields(Repository) if item.name == names[key])


def _read_number(text: str) -> int | str:
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else text


def _read_flag(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text, text)


def _read_list(text: str) -> Any:
    """Read a list of TOML, or what stands between commas."""
    if not text.startswith("["):
        return [part.strip() for part in text.split(",")]
    try:
        return tomllib.loads(f"list = {text}")["list"]
    except tomllib.TOMLDecodeError:
        return text


# What cannot be read stays text, which is then of the wrong type.
_READERS: dict[type, Callable[[str], Any]] = {
    str: str,
    int: _read_number,
    bool: _read_flag,
    list: _read_list,
}


def parse_specification(text: str) -> Repository:
    """Read `NS/PROJ` or `NS/PROJ:DIST`, as `repos add` takes it.

    Raises:
        UsageError: either part is malformed.
    """
    if "://" in text or "@" in text or text.startswith("/"):
        raise UsageError(
            f"{without_credentials(text)!r} is not NS/PROJ",
            "name it NS/PROJ, and say where it is with --url URL",
        )
    name, colon, distribution = text.partition(":")
    return Repository(parse_name(name), parse_distribution(distribution) if colon else None)
