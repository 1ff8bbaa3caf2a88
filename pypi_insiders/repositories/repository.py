"""A watched repository, and the validation of its keys."""

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from packaging.utils import InvalidName, canonicalize_name

from pypi_insiders.config import toml_fields, validators
from pypi_insiders.config.toml_fields import key
from pypi_insiders.repositories import pasted
from pypi_insiders.repositories.tags import Pattern, Rules
from pypi_insiders.systemd import unit_names
from pypi_insiders.util.errors import InsidersError, UsageError
from pypi_insiders.util.without_credentials import without_credentials

_SCHEMES = ("https", "ssh", "git", "file", "http")
# White space, control characters, bytes that are not UTF-8, and `::`, which names a transport
# helper: `ext::` runs a command. Source: gitremote-helpers(7).
_NEVER_IN_A_URL = r"[\s\x00-\x1f\x7f\ud800-\udfff]|^[^/]*::"
# What tokens of GitHub, GitLab, Bitbucket and Azure look like; others are long.
# Source: docs.github.com, "About authentication"; docs.gitlab.com, "Token overview".
_CREDENTIAL = (
    r"(?:gh[a-z]_|github_pat_|gl[a-z]+-|AT[A-Z]{2}).*|.{32,}"
    r"|x-(?:access-token|token-auth|oauth-.*)"
)
# `user@host:path`. Source: git-clone(1), "GIT URLS".
_SCP_LIKE = (
    r"(?!(?:https?|ssh|git|file):)"
    # No part starts with `-`: ssh would take a host like `-oProxyCommand=...` for an option
    # (CVE-2017-1000117).
    r"(?:[A-Za-z0-9_.][A-Za-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9_.-]*:(?!//)[^-@][^@]*"
)
# The name becomes a path in the state and the cache, and an argument of commands: it must not
# contain `..`, or look like an option.
_PART = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9_.][A-Za-z0-9_.-]*"
_NAME = f"{_PART}(?:/{_PART})+"
# File names have up to 255 bytes, and temporary files up to 30 more than a name of this length.
_MAX_NAME = 225
_EVERY_TAG = Pattern()
_URL_HINT = (
    "use https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH, git://HOST/PATH or file:///PATH"
)


def parse_name(text: str) -> str:
    """Validate `NS/PROJ`, the name of a repository; hosts other than GitHub may have more parts.

    Raises:
        UsageError: it is malformed.
    """
    # `.git` is what a name copied from a clone URL ends with.
    name = re.sub(r"(?:\.git)+\Z", "", text)
    if re.fullmatch(_NAME, name) is None:
        raise UsageError(
            # What was pasted may be an address with a token.
            f"{without_credentials(text)!r} is not a repository of the form NS/PROJ",
            "for example squidfunk/mkdocs-material-insiders; for other hosts than GitHub add --url",
        )
    # All parts but the first become one file name, in which each `/` takes three bytes.
    namespace, _, rest = name.partition("/")
    if max(len(namespace), len(rest.replace("/", "%2F"))) > _MAX_NAME:
        raise UsageError(
            f"{name} is too long for the name of a file",
            "choose a shorter one: `pypi-insiders repos add NS/PROJ --url URL`",
        )
    return name


def parse_project(text: str) -> str:
    """Validate and normalize the name of a project.

    Raises:
        UsageError: it is not a valid name.

    Source: https://packaging.python.org/en/latest/specifications/name-normalization/
    """
    try:
        return canonicalize_name(text, validate=True)
    except InvalidName as error:
        raise UsageError(
            f"{without_credentials(text)!r} is not a project name",
            "use letters, digits, '.', '_' and '-', such as mkdocs-material",
        ) from error


def add_command(
    name: str,
    remote: str | None,
    project: str | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """Return the command that adds a repository again, in backticks.

    Args:
        name: `NS/PROJ`.
        remote: the URL that it was built from; `None`: unknown.
        project: the project name; `None`: unknown.
        options: further keys that `repos add` sets, to their values.
    """
    words = added_by([f"{name}:{project}" if project else name], options)
    if remote is not None and remote != Repository(name).remote:
        words += ["--url", remote]
        if is_insecure(remote):
            words.append("--insecure-http")
    return f"`{shlex.join(words)}`"


def added_by(specifications: Iterable[str], options: Mapping[str, Any]) -> list[str]:
    """Return the words of the command that adds repositories with these options."""
    words = ["pypi-insiders", "repos", "add", *specifications]
    for option, value in options.items():
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return words


def is_insecure(url: str) -> bool:
    """Return whether a URL is one of http, over which credentials would be sent in clear text."""
    return url.lower().startswith("http:")


def parse_url(text: str) -> str:
    """Validate the URL of a Git repository: https, ssh (also `user@host:path`), git, file or http.

    Raises:
        UsageError: it has another scheme, a leading `-`, a possible credential, no host or no path.
    """
    shown = repr(without_credentials(text))
    if text.startswith("-") or re.search(_NEVER_IN_A_URL, text):
        raise UsageError(f"{shown} is not the URL of a Git repository", _URL_HINT)
    # Before urlsplit(), which takes `user@host` for a path, and `host:` for a scheme.
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
        raise UsageError(f"{shown} has an unsupported scheme", _URL_HINT)
    # GitHub accepts a token as the user. Azure has the organization there, as in the path.
    user = parts.username or ""
    is_organization = parts.path.startswith(f"/{user}/")
    is_web = parts.scheme in ("http", "https")
    is_token = is_web and not is_organization and re.fullmatch(_CREDENTIAL, user)
    if parts.password is not None or parts.query or is_token:
        raise UsageError(
            f"{shown} contains a credential, which would be stored in plain text",
            "remove it from the URL and store it in git: `git help credentials`",
        )
    is_option = parts.netloc.startswith("-") or (host or "").startswith("-")
    if is_option or not (host or parts.scheme == "file") or not parts.path.strip("/"):
        raise UsageError(f"{shown} has no host or no path", _URL_HINT)
    return text


class Repository(NamedTuple):
    """One watched repository; every field but its name is a key of `repos.toml`."""

    name: str
    """`NS/PROJ`."""
    project: Annotated[str | None, key(parse_project, kind=str, former="distribution")] = None
    """Normalized name of the project; `None`: the project of the first build."""
    url: Annotated[str | None, key(parse_url, kind=str)] = None
    """The URL for Git; `None`: GitHub over ssh."""
    insecure_http: Annotated[bool | None, key(kind=bool)] = None
    """Whether its URL may be one of http, which sends code and credentials in clear text."""
    keep: Annotated[int | None, key(validators.parse_keep, kind=int, hint="such as 5")] = None
    """The number of latest versions to keep in the index; `None`: as set in `config.toml`."""
    tags: Annotated[
        str | None,
        key(lambda text: Pattern(text).text, kind=str, hint="such as 'v*' or 'server-{version}'"),
    ] = None
    """The pattern of tags that are releases, see `Pattern`; `None`: all tags that are versions."""
    branch: Annotated[str | None, key(validators.parse_branch, kind=str, hint="such as main")] = (
        None
    )
    """The branch whose head is built as a development release; `None`: only tags are built."""
    pre: Annotated[bool | None, key(kind=bool)] = None
    """Whether to build pre-releases; `None`: after the first build, or without final releases."""
    max_new: Annotated[int | None, key(validators.parse_number, kind=int)] = None
    """The maximum of new tags to build in one update; `None`: as set in `config.toml`."""
    backfill: Annotated[int | None, key(validators.parse_number, kind=int)] = None
    """The number of latest versions to build, including those before the first build."""
    subdirectory: Annotated[
        str | None, key(validators.parse_subdirectory, kind=str, hint="such as packages/server")
    ] = None
    """The directory of the project in the repository; `None`: the root."""
    python: Annotated[tuple[str, ...] | None, key(validators.parse_pythons, kind=list)] = None
    """The interpreters for platform wheels; `None`: the interpreter of this program."""
    network: Annotated[bool | None, key(kind=bool)] = None
    """Whether its builds may use HTTP and HTTPS to other machines."""
    readable: Annotated[
        tuple[str, ...] | None, key(validators.parse_paths, kind=list, hint='such as ["~/data"]')
    ] = None
    """The user's files and directories that its builds may read."""
    path: Annotated[
        tuple[str, ...] | None,
        key(
            validators.parse_program_paths,
            kind=list,
            hint='such as ["~/.nvm/versions/node/v20/bin"]',
        ),
    ] = None
    """The user's directories of programs for the `PATH` of its builds, which may read them."""
    strict: Annotated[bool | None, key(kind=bool)] = None
    """Whether the version of a build must be that of its tag."""
    allowed_signers: Annotated[str | None, key(validators.parse_path, kind=str)] = None
    """The file with the allowed keys for signed tags; `None`: tags need no signature."""
    public_until_built: Annotated[bool | None, key(kind=bool)] = None
    """Whether installers get the public project of that name until the first release is built."""
    submodules: Annotated[
        tuple[str, ...] | Literal[False] | None,
        key(validators.parse_submodules, kind=toml_fields.ListOrFalse),
    ] = None
    """The allowed places of its submodules outside of its own namespace; `False`: no submodules."""
    history: Annotated[
        str | None, key(validators.parse_history, kind=str, hint="`history=` unsets it")
    ] = None
    """Whether builds find the files of older commits; `None`: only commits and tags."""
    lfs: Annotated[bool | None, key(kind=bool)] = None
    """Whether builds get the files of Git LFS in place of the pointers to them."""
    sdist: Annotated[bool | None, key(kind=bool)] = None
    """Whether sdists are published; if not, wheels are built from the source tree."""
    as_of_tag: Annotated[bool | None, key(kind=bool)] = None
    """Whether build requirements are as of the tag; `None`: as set in `config.toml`."""
    build_from_source: Annotated[bool | None, key(kind=bool)] = None
    """Whether build requirements without a wheel are built from their sdists."""
    assets: Annotated[str | None, key(validators.parse_assets, kind=str)] = None
    """Whether files of releases on its forge are published: before builds, or in their place."""
    forge: Annotated[
        str | None, key(validators.parse_forge, kind=str, hint="`forge=` unsets it")
    ] = None
    """The program of its host; `None`: by the name of the host."""
    interval_s: Annotated[
        int | None, key(validators.parse_interval, kind=str, unit=toml_fields.SECONDS)
    ] = None
    """The time between two updates by a timer of its own; `None`: updated with the others."""
    token_file: Annotated[str | None, key(validators.parse_path, kind=str)] = None
    """A file with the token for https."""
    token_credential: Annotated[str | None, key(validators.parse_credential, kind=str)] = None
    """The systemd credential with the token for https."""
    token_command: Annotated[
        tuple[str, ...] | None, key(validators.parse_token_command, kind=toml_fields.CommandLine)
    ] = None
    """The program that prints the token for https, and its arguments."""

    @property
    def remote(self) -> str:
        """The URL for Git."""
        return self.url or f"git@github.com:{self.name}.git"

    @property
    def has_assets(self) -> bool:
        """Whether files of releases on its forge are published."""
        return self.assets in ("prefer", "only")

    @property
    def signers(self) -> Path | None:
        """The file of allowed signers."""
        return Path(self.allowed_signers).expanduser() if self.allowed_signers else None

    @property
    def token(self) -> Path | None:
        """The file with the token for https, from `token-file` or `token-credential`.

        Raises:
            InsidersError: it is a credential of a unit, and this process is not in that unit.

        Source: systemd.exec(5), `$CREDENTIALS_DIRECTORY`.
        """
        # A credential is readable in its unit only: systemd decrypts or copies it there.
        if self.token_credential:
            directory = os.environ.get("CREDENTIALS_DIRECTORY")
            if directory is not None:
                return Path(directory, self.token_credential)
            # Not in a program that a unit has started, such as a terminal. Source: systemd.exec(5).
            is_unit = os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())
            # A push, or an interval of its own, is another unit than the common timer's.
            edit = f"systemctl --user edit {unit_names.WATCHER.service} {unit_names.ONE.service}"
            raise InsidersError(
                f"its token is the credential {self.token_credential} of the watcher",
                f"give it to both services of the watcher: `{edit}`"
                if is_unit
                else "run an update in the watcher: `pypi-insiders watcher start"
                + (f" {self.name}`" if self.interval_s else "`"),
            )
        return Path(self.token_file).expanduser() if self.token_file else None

    def rules(self, max_new: int) -> Rules:
        """Return the rules that select its tags to build.

        Args:
            max_new: the maximum of new tags if it sets none.
        """
        return Rules(
            Pattern(self.tags) if self.tags else _EVERY_TAG,
            self.pre,
            self.max_new or max_new,
            self.backfill or 0,
        )

    @property
    def keys(self) -> dict[str, Any]:
        """Its keys and values in `repos.toml`, without those that are not set."""
        return {key: value for key, value in toml_fields.write(self).items() if value is not None}

    def with_key(self, key: str, value: object) -> "Repository":
        """Return the repository with a key set to a value of TOML.

        Raises:
            ValueError: the key is unknown, or the value has another type or is not valid.
            UsageError: the value is not valid.
        """
        return self._replace(**toml_fields.parse(Repository, key, value))

    def with_text(self, key: str, text: str) -> "Repository":
        """Return the repository with a key set to a text of the user; an empty text resets it.

        Raises:
            ValueError: the key is unknown, or the value has another type or is not valid.
            UsageError: the value is not valid.
        """
        return self._replace(**toml_fields.parse_text(Repository, key, text))


def demand_consistent(item: Repository) -> None:
    """Require that the keys of a repository fit together, and that it has a URL if it needs one.

    Raises:
        UsageError: it has none, or the user did not allow http; its assets would need a signature;
            or it has an interval, and its name is too long for that of a timer.
    """
    if item.has_assets and item.allowed_signers:
        raise UsageError(
            f"{item.name} has allowed-signers, which is about tags: nobody signs assets",
            "leave out assets, or allowed-signers",
        )
    if item.interval_s is not None and unit_names.is_too_long(item.name):
        raise UsageError(
            f"{item.name} is too long for the name of a timer", "leave out its interval"
        )
    if item.url is None and item.name.count("/") > 1:
        raise UsageError(
            f"{item.name} needs a URL: repositories on GitHub are named NS/PROJ",
            f"`pypi-insiders repos add {item.name} --url URL`",
        )
    if is_insecure(item.remote) and not item.insecure_http:
        raise UsageError(
            f"{without_credentials(item.remote)} is not encrypted: others on the network can read "
            "and change the code, and read the credentials",
            "use https, or set insecure-http",
        )


def parse_specification(text: str, *, has_url: bool = False) -> Repository:
    """Parse `NS/PROJ` or `NS/PROJ:PROJECT`, or an address in its place.

    Args:
        text: the specification.
        has_url: whether its URL is given apart, so that `HOST/NS/PROJ` is a name.

    Raises:
        UsageError: a part is malformed.
    """
    address, colon, project = text.rpartition(":")
    if not colon or "/" in project:  # the colon of a port, or of `git@HOST:PATH`
        address, project = text, ""
    is_name = has_url and "://" not in address and "@" not in address
    if not is_name and (found := pasted.parse(address)):
        url = None if found.url is None else parse_url(found.url)
        return Repository(parse_name(found.name), parse_project(project) if project else None, url)
    # As in `uses: NS/PROJ@v1` of GitHub Actions.
    if pinned := re.fullmatch(r"([\w.-]+/[\w.-]+)@([\w.+-]+)", text, re.ASCII):
        raise UsageError(
            f"{text} names a tag or a branch; every new release of a repository is built",
            f"`pypi-insiders repos add {pinned[1]}`; to build a tag, `pypi-insiders update "
            f"{pinned[1]} --tag {pinned[2]}`",
        )
    # An address that names no repository, as it has no namespace or is a path.
    if "://" in text or "@" in text or text.startswith("/"):
        raise UsageError(
            f"{without_credentials(text)!r} is not NS/PROJ",
            "name the repository NS/PROJ, and add its URL: --url URL",
        )
    name, colon, project = text.partition(":")
    return Repository(parse_name(name), parse_project(project) if colon else None)
