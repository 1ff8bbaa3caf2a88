"""Read what a commit says of its submodules."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pypi_insiders.git.command import attempt, in_mirror
from pypi_insiders.git.errors import UnexplainedError, UnfitError
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.without_credentials import without_credentials

_log = logging.getLogger(__name__)

_GITLINK = "160000"
_LONGEST_URL_CHARS = 2048


@dataclass(frozen=True)
class Submodule:
    """Another repository at a path of a work tree."""

    path: str
    url: str
    commit: str


def submodules_of(mirror: Path, commit: str, url: str) -> Iterator[Submodule]:
    """Name the submodules of a commit, without those that are not to be checked out.

    Args:
        mirror: with the commit and the content of its files.
        commit: full hash.
        url: of its repository, to which the URLs of submodules may be relative.

    Raises:
        UnfitError: a submodule has a URL that cannot be one.

    Source: gitmodules(5).
    """
    blob = f"{commit}:.gitmodules"
    # `config --blob` fails alike for a file that is not there and for one that is malformed.
    listed = attempt(f"--git-dir={mirror}", "ls-tree", "-z", commit, "--", ".gitmodules")
    if listed.status != 0:
        raise UnexplainedError(f"the commit {commit:.9} cannot be read")
    if not listed.stdout:
        return
    # `include.path` may name any file of the user.
    reading = ("config", "--no-includes", "--blob", blob, "--null", "--list")
    said = attempt(f"--git-dir={mirror}", *reading)
    if said.status != 0:
        raise UnfitError(f"its .gitmodules cannot be read ({said.stderr.strip()})")
    known = _sections(said.stdout)
    # By path, as git does: the name of a section may be anything, also that of another submodule.
    by_path = {keys["path"]: keys for keys in known.values() if "path" in keys}
    for entry in in_mirror(mirror, "ls-tree", "-r", "-z", commit).split("\0"):
        about, _, path = entry.partition("\t")
        if not about.startswith(f"{_GITLINK} "):
            continue
        keys = by_path.get(path, {})
        # `update = none` says that it is not checked out unless somebody asks. Source:
        # gitmodules(5).
        if keys.get("update") == "none":
            continue
        # A repository that was added as a directory by mistake: nobody who clones gets its files.
        if "url" not in keys:
            _log.info("the submodule %s has no entry in .gitmodules, and stays empty", path)
            continue
        yield Submodule(path, absolute(keys["url"], url), about.split(" ")[2])


def absolute(url: str, base: str) -> str:
    """Resolve the URL of a submodule against the one of its repository.

    Raises:
        UnfitError: it cannot be the URL of a repository.

    Source: git-submodule(1), "add"; relative_url in git's remote.c.
    """
    if len(url) > _LONGEST_URL_CHARS:
        raise UnfitError(f"{url[:80]!r}... is too long for the URL of a submodule")
    if url.startswith(("./", "../")):
        base, separator = base.rstrip("/"), "/"
        while url.startswith(("./", "../")):
            if url.startswith("../"):
                base, separator = _parent(base)
            url = url.partition("/")[2]
        url = f"{base}{separator}{url}".rstrip("/")
    # `ext::` and its like run programs; a leading `-` would be an option of git.
    if url.startswith("-") or not url.isprintable() or "::" in url.partition("/")[0]:
        raise UnfitError(f"{without_credentials(url)!r} is not the URL of a submodule")
    return url


class OutsideError(InsidersError):
    """A submodule is in a namespace that its repository may not bring in.

    Args:
        place: how the user can allow it.
    """

    def __init__(self, message: str, hint: str | None = None, *, place: str = "") -> None:
        super().__init__(message, hint)
        self.place = place


def check_place(submodule: Submodule, url: str, allowed: Sequence[str]) -> None:
    """Check that a submodule is in the namespace of its repository, or in an allowed one.

    Whoever writes `.gitmodules` could name any repository that the user's credentials open, and
    its files would become part of what is published.

    Args:
        submodule: with an absolute URL.
        url: of the repository that is built.
        allowed: further places, `NS` or `NS/PROJ` on the same host, or either with `HOST/` before.

    Raises:
        OutsideError: it is in neither.
    """
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
        f"the submodule {submodule.path} is {without_credentials(submodule.url)}, outside of the "
        f"namespace {'/'.join(own_path[:-1])} of its repository",
        f'if that is right: `submodules = ["{place}"]` in repos.toml',
        place=place,
    )


def _starts(path: tuple[str, ...], namespace: tuple[str, ...]) -> bool:
    return len(path) > len(namespace) > 0 and path[: len(namespace)] == namespace


def _place(url: str) -> tuple[str, tuple[str, ...]]:
    """Split a URL into the host, with a port where it names one, and the parts of its path.

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
    # A host may resolve these in its own way, so no comparison of names is safe.
    if ".." in parts or "~" in path or "%" in path:
        parts = ["?", *parts]  # nobody knows where that leads
    parts[-1:] = [part.removesuffix(".git") for part in parts[-1:]]
    return host.rpartition("@")[2].casefold(), tuple(parts)


def _parent(base: str) -> tuple[str, str]:
    """Take the last part off a URL, and tell by what it hung there: `HOST:PATH` has no slash."""
    slash = base.rfind("/")
    if slash >= 0:
        return base[:slash], "/"
    return base.rpartition(":")[0], ":"


def _sections(listed: str) -> dict[str, dict[str, str]]:
    """Read the sections of submodules in what `git config --null --list` prints."""
    sections: dict[str, dict[str, str]] = {}
    for item in listed.split("\0"):
        key, _, value = item.partition("\n")
        section, _, name = key.rpartition(".")
        if section.startswith("submodule."):
            sections.setdefault(section, {})[name] = value
    return sections
