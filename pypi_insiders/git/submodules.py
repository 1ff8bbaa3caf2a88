"""Read and validate the submodules of a commit."""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pypi_insiders.git.command import attempt, in_mirror
from pypi_insiders.git.errors import UnexplainedError, UnfitError
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.without_credentials import without_credentials

_log = logging.getLogger(__name__)

_GITLINK = "160000"
_LONGEST_URL_CHARS = 2048
# At the first three a host ends for curl, also where an `@` follows: `//EVIL#@HOST/`. The others
# would be more than a word where a hint has a place to allow, or more than one place.
_IN_NO_ADDRESS = re.compile(r"""[?#\\,;'"`$|&<>(){}\s]""")


@dataclass(frozen=True)
class Submodule:
    """Another repository at a path of a work tree."""

    path: str
    url: str
    commit: str


def submodules_of(mirror: Path, commit: str, url: str) -> Iterator[Submodule]:
    """Yield the submodules of a commit that are checked out by default.

    Args:
        mirror: contains the commit and its file contents.
        commit: full hash.
        url: of its repository, to which URLs of submodules may be relative.

    Raises:
        UnfitError: a submodule has an invalid URL.

    Source: gitmodules(5).
    """
    blob = f"{commit}:.gitmodules"
    # `config --blob` fails in the same way for a missing file and for a malformed one.
    listed = attempt(f"--git-dir={mirror}", "ls-tree", "-z", commit, "--", ".gitmodules")
    if listed.status != 0:
        raise UnexplainedError(f"cannot read commit {commit:.9}")
    if not listed.stdout:
        return
    # --no-includes: `include.path` could name any file of the user.
    reading = ("config", "--no-includes", "--blob", blob, "--null", "--list")
    result = attempt(f"--git-dir={mirror}", *reading)
    if result.status != 0:
        raise UnfitError(f"cannot parse .gitmodules ({result.stderr.strip()})")
    known = _sections(result.stdout)
    # By path, as git does: the name of a section is arbitrary.
    by_path = {keys["path"]: keys for keys in known.values() if "path" in keys}
    for entry in in_mirror(mirror, "ls-tree", "-r", "-z", commit).split("\0"):
        about, _, path = entry.partition("\t")
        if not about.startswith(f"{_GITLINK} "):
            continue
        keys = by_path.get(path, {})
        # `update = none`: not checked out unless requested. Source: gitmodules(5).
        if keys.get("update") == "none":
            continue
        # A repository that was added as a directory by mistake: nobody who clones gets its files.
        if "url" not in keys:
            _log.info("submodule %s has no entry in .gitmodules and stays empty", path)
            continue
        yield Submodule(path, absolute(keys["url"], url), about.split(" ")[2])


def absolute(url: str, base: str) -> str:
    """Resolve the URL of a submodule relative to the URL of its repository.

    Raises:
        UnfitError: the URL is invalid.

    Source: git-submodule(1), "add"; relative_url in git's remote.c.
    """
    if len(url) > _LONGEST_URL_CHARS:
        raise UnfitError(f"the URL of a submodule is too long: {url[:80]!r}...")
    if url.startswith(("./", "../")):
        base, separator = base.rstrip("/"), "/"
        while url.startswith(("./", "../")):
            if url.startswith("../"):
                base, separator = _parent(base)
            url = url.partition("/")[2]
        url = f"{base}{separator}{url}".rstrip("/")
    # `ext::` and the like run programs; a leading `-` would be an option of git.
    is_invalid = url.startswith("-") or not url.isprintable() or "::" in url.partition("/")[0]
    is_elsewhere = not url.startswith(("/", "file:"))
    if is_invalid or (is_elsewhere and _IN_NO_ADDRESS.search(url)) or not _has_port(url):
        raise UnfitError(f"invalid URL of a submodule: {without_credentials(url)!r}")
    return url


def _has_port(url: str) -> bool:
    """Return whether a URL can be parsed, with its port."""
    try:
        _ = urlsplit(url).port
    except ValueError:
        return False
    return True


class OutsideError(InsidersError):
    """A submodule is in a namespace that is not allowed.

    Args:
        place: the item of the setting `submodules` that allows it.
    """

    def __init__(self, message: str, hint: str | None = None, *, place: str = "") -> None:
        super().__init__(message, hint)
        self.place = place


def check_place(submodule: Submodule, url: str, allowed: Sequence[str]) -> None:
    """Require that a submodule is in the namespace of its repository, or in an allowed place.

    Args:
        submodule: with an absolute URL.
        url: of the repository to build.
        allowed: further places: `NS` or `NS/PROJ` on the same host, or either with `HOST/` before.

    Raises:
        OutsideError: it is elsewhere.
    """
    # .gitmodules can name any repository that the user's credentials open, and its files would
    # become part of a published release.
    host, path = _place(submodule.url)
    own_host, own_path = _place(url)
    candidates = [(host, *path)]
    if host == own_host:
        candidates.append(path)
        if _starts(path, own_path[:-1]):
            return
    for text in allowed:
        parts = tuple(text.strip("/").removesuffix(".git").split("/"))
        if any(found == parts or _starts(found, parts) for found in candidates):
            return
    namespace = path[:-1] or path
    place = "/".join(namespace if host == own_host else (host, *namespace))
    raise OutsideError(
        f"submodule {submodule.path} is outside of the namespace {'/'.join(own_path[:-1])} of its "
        f"repository: {without_credentials(submodule.url)}",
        f'to allow it, set `submodules = ["{place}"]` in repos.toml',
        place=place,
    )


def _starts(path: tuple[str, ...], namespace: tuple[str, ...]) -> bool:
    return len(path) > len(namespace) > 0 and path[: len(namespace)] == namespace


def _place(url: str) -> tuple[str, tuple[str, ...]]:
    """Split a URL into its host, with the port if given, and the parts of its path.

    Source: git-clone(1), "GIT URLS".
    """
    scheme, separator, rest = url.partition("://")
    if separator:
        host, _, path = rest.partition("/")
    elif (colon := url.find(":")) >= 0 and "/" not in url[:colon]:
        scheme, host, path = "ssh", url[:colon], url[colon + 1 :]
    else:
        scheme, host, path = "file", "", url
    if scheme == "file":
        host = ""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    # Hosts resolve these in different ways, so names cannot be compared: `?` equals no namespace.
    if ".." in parts or "~" in path or "%" in path:
        parts = ["?", *parts]
    parts[-1:] = [part.removesuffix(".git") for part in parts[-1:]]
    return host.rpartition("@")[2].casefold(), tuple(parts)


def _parent(base: str) -> tuple[str, str]:
    """Remove the last part of a URL; return the rest and the separator: `HOST:PATH` has `:`."""
    slash = base.rfind("/")
    if slash >= 0:
        return base[:slash], "/"
    return base.rpartition(":")[0], ":"


def _sections(listed: str) -> dict[str, dict[str, str]]:
    """Parse the sections of submodules in the output of `git config --null --list`."""
    sections: dict[str, dict[str, str]] = {}
    for item in listed.split("\0"):
        key, _, value = item.partition("\n")
        section, _, name = key.rpartition(".")
        if section.startswith("submodule."):
            sections.setdefault(section, {})[name] = value
    return sections
