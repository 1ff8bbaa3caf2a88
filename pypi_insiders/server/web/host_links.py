"""Link commits, tags and comparisons to the pages of their Git host."""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from pypi_insiders.repositories import heads

# Source: git-fetch(1), "GIT URLS".
_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>[^@/:\[\]]+):(?!/)(?P<path>.+)")
_SCHEMES = ("ssh", "git", "https", "http")
_SAFE_IN_PATH = re.compile(r"[\w.~-]+(?:/[\w.~-]+)+", re.ASCII)


@dataclass(frozen=True)
class _Forms:
    """The paths of one kind of host, below the page of a repository."""

    commit: str
    tag: str
    compare: str


_GITHUB = _Forms("commit/{commit}", "releases/tag/{tag}", "compare/{old}...{new}")
_GITLAB = _Forms("-/commit/{commit}", "-/tags/{tag}", "-/compare/{old}...{new}")
_GITEA = _Forms("commit/{commit}", "src/tag/{tag}", "compare/{old}...{new}")
# Bitbucket names the newer side first.
_BITBUCKET = _Forms("commits/{commit}", "src/{tag}", "branches/compare/{new}%0D{old}")
_HOSTS = {
    "github.com": _GITHUB,
    "gitlab.com": _GITLAB,
    "codeberg.org": _GITEA,
    "gitea.com": _GITEA,
    "bitbucket.org": _BITBUCKET,
}
# By their first label, for companies name their own so; a host of any other name may be anything.
_LABELS = {"github": _GITHUB, "gitlab": _GITLAB, "gitea": _GITEA, "forgejo": _GITEA}


@dataclass(frozen=True)
class HostLinks:
    """The pages of one repository on its Git host."""

    url: str
    """Of the repository."""
    _forms: _Forms

    def commit(self, commit: str) -> str:
        """Return the URL of a commit, by its hash."""
        return self._below(self._forms.commit.format(commit=quote(commit, safe="")))

    def tag(self, tag: str) -> str:
        """Return the URL of a tag, or of the commit of a head."""
        if commit := heads.digits_of(tag):
            return self.commit(commit)
        return self._below(self._forms.tag.format(tag=quote(tag)))

    def compare(self, old: str, new: str) -> str:
        """Return the URL that compares two commits, by their hashes."""
        quoted = {"old": quote(old, safe=""), "new": quote(new, safe="")}
        return self._below(self._forms.compare.format(**quoted))

    def _below(self, path: str) -> str:
        return f"{self.url}/{path}"


def of(remote: str | None) -> HostLinks | None:
    """Return the links for a Git URL; `None` for a host whose pages are not known.

    Args:
        remote: as Git reads it: `https://HOST/NS/PROJ.git`, `ssh://git@HOST/NS/PROJ.git` or
            `git@HOST:NS/PROJ.git`.

    Source: https://docs.github.com/en/repositories, https://docs.gitlab.com/user/project/,
    https://forgejo.org/docs/latest/user/, https://support.atlassian.com/bitbucket-cloud/
    """
    split = _split(remote or "")
    if split is None:
        return None
    host, path = split
    forms = _HOSTS.get(host) or _LABELS.get(host.partition(".")[0] if host.count(".") > 1 else "")
    path = path.strip("/").removesuffix(".git")
    # What is no plain path is not understood: a link made of it could lead anywhere on the host.
    if forms is None or not _SAFE_IN_PATH.fullmatch(path) or ".." in path:
        return None
    return HostLinks(f"https://{host}/{path}", forms)


def _split(remote: str) -> tuple[str, str] | None:
    """Return host and path of a Git URL."""
    if "://" not in remote:
        # A name from ~/.ssh/config looks the same as a host, and then is one that nobody knows.
        match = _SCP.fullmatch(remote)
        return (match["host"].lower(), match["path"]) if match else None
    try:
        parts = urlsplit(remote)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    # The port of ssh is none of the web server; one of http may belong to another program.
    if parts.scheme not in _SCHEMES or host is None or (port and "ssh" not in parts.scheme):
        return None
    return host, parts.path
