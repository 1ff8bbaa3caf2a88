"""Read what a commit says of its submodules."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pypi_insiders.errors import InsidersError
from pypi_insiders.remotes.run import attempt, in_mirror
from pypi_insiders.remotes.words import UnexplainedError
from pypi_insiders.urls import without_credentials

_GITLINK = "160000"


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
        InsidersError: a submodule has no URL, or one that cannot be.

    Source: gitmodules(5).
    """
    blob = f"{commit}:.gitmodules"
    listed = attempt(f"--git-dir={mirror}", "ls-tree", "-z", commit, "--", ".gitmodules")
    if listed.status != 0:
        raise UnexplainedError(f"the commit {commit:.9} cannot be read")
    if not listed.stdout:
        return
    said = attempt(f"--git-dir={mirror}", "config", "--blob", blob, "--null", "--list")
    if said.status != 0:
        raise InsidersError(f"its .gitmodules cannot be read ({said.stderr.strip()})")
    known = _sections(said.stdout)
    by_path = {keys["path"]: keys for keys in known.values() if "path" in keys}
    for entry in in_mirror(mirror, "ls-tree", "-r", "-z", commit).split("\0"):
        about, _, path = entry.partition("\t")
        if not about.startswith(f"{_GITLINK} "):
            continue
        keys = by_path.get(path, {})
        if keys.get("update") == "none":
            continue
        if "url" not in keys:
            raise InsidersError(f".gitmodules does not say where the submodule {path} is")
        yield Submodule(path, absolute(keys["url"], url), about.split(" ")[2])


def absolute(url: str, base: str) -> str:
    """Resolve the URL of a submodule against the one of its repository.

    Raises:
        InsidersError: it cannot be the URL of a repository.

    Source: git-submodule(1), "add"; relative_url in git's remote.c.
    """
    if url.startswith(("./", "../")):
        base, separator = base.rstrip("/"), "/"
        while url.startswith(("./", "../")):
            if url.startswith("../"):
                base, separator = _parent(base)
            url = url.partition("/")[2]
        url = f"{base}{separator}{url}".rstrip("/")
    if url.startswith("-") or not url.isprintable() or "::" in url.partition("/")[0]:
        raise InsidersError(f"{without_credentials(url)!r} is not the URL of a submodule")
    return url


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
