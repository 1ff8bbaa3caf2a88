"""List the tags and branches that a host has, without a mirror."""

import contextlib
import re
from typing import NamedTuple

from pypi_insiders.git import credentials
from pypi_insiders.git.command import TIMEOUT_S, GitSettings, attempt, git
from pypi_insiders.git.credentials import GITS_OWN, Access
from pypi_insiders.git.diagnosis import explain, service_of
from pypi_insiders.git.errors import UnreachableError
from pypi_insiders.git.shared_connections import SharedConnections
from pypi_insiders.util.silent_hosts import SilentHosts

_TAG, _BRANCH = "refs/tags/", "refs/heads/"


class Refs(NamedTuple):
    """The tags and branches of a repository, each name to its commit."""

    tags: dict[str, str]
    """Tag to commit (not to the tag object)."""
    branches: dict[str, str]


def list_tags(
    url: str, access: Access = GITS_OWN, *, timeout_s: float = TIMEOUT_S
) -> dict[str, str]:
    """Return the tags of a repository, as `list_refs`."""
    return list_refs(url, access, timeout_s=timeout_s).tags


def list_refs(
    url: str,
    access: Access = GITS_OWN,
    *,
    has_branches: bool = False,
    timeout_s: float = TIMEOUT_S,
    connections: SharedConnections | None = None,
) -> Refs:
    """Return the tags of a repository, and its branches if wanted, with a single connection.

    Args:
        url: of the repository.
        access: the access to its host.
        has_branches: whether branches are listed.
        timeout_s: the host counts as unreachable after this many seconds.
        connections: shared with other repositories (default: none).

    Raises:
        UnreachableError: the host is unreachable.
        InsidersError: the repository cannot be read.

    Source: git-ls-remote(1); `^{}` marks what an annotated tag points to.
    """
    refs = Refs({}, {})
    settings = credentials.settings(url, access)
    # Not the name of one branch, by which git would ask for all refs, those of requests too.
    kinds = ("--tags", "--heads") if has_branches else ("--tags",)
    run = connections.git if connections else git
    listed = run("ls-remote", *kinds, "--", url, settings=settings, timeout_s=timeout_s)
    if not listed and url.lower().startswith("http"):
        _demand_no_web_page(url, settings, timeout_s)
    for line in listed.splitlines():
        commit, _, ref = line.partition("\t")
        if ref.startswith(_TAG):
            # The line with `^{}` follows that of the tag object, and replaces it here.
            refs.tags[ref.removeprefix(_TAG).removesuffix("^{}")] = commit
        elif ref.startswith(_BRANCH):
            refs.branches[ref.removeprefix(_BRANCH)] = commit
    return refs


def asking(url: str, hosts: SilentHosts) -> contextlib.AbstractContextManager[None]:
    """Remember in this context whether the host of a repository answers.

    Raises:
        UnreachableError: it has not answered for others.
    """
    # A network may block ssh to a host, and not https.
    service = service_of(url)
    if service is None:
        return contextlib.nullcontext()
    if hosts.is_silent(service):
        other = f"{hosts.enough} other repositories"
        raise UnreachableError(
            f"{service} was not asked, as it has not answered for {other}",
            "the next update tries again",
        )
    return hosts.asking(service, lambda error: isinstance(error, UnreachableError))


def default_branch(
    url: str, access: Access = GITS_OWN, *, timeout_s: float = TIMEOUT_S
) -> str | None:
    """Return the branch that HEAD of a repository names; `None`: it names no existing one.

    Raises:
        UnreachableError: the host is unreachable.
        InsidersError: the repository cannot be read.

    Source: git-ls-remote(1), `--symref`.
    """
    settings = credentials.settings(url, access)
    listed = git("ls-remote", "--symref", "--", url, "HEAD", settings=settings, timeout_s=timeout_s)
    found = re.match(rf"ref: {_BRANCH}(\S+)\tHEAD$", listed, re.MULTILINE)
    return found[1] if found else None


def _demand_no_web_page(url: str, settings: GitSettings, timeout_s: float) -> None:
    """Require that an empty list of tags is not that of a web page, which git takes for one.

    Raises:
        AccessError: the host answers with a web page.

    Source: parse_info_refs in git's remote-curl.c, which skips a page without line ends.
    """
    trace = {"GIT_TRACE_CURL": "2", "GIT_TRACE_CURL_NO_DATA": "1"}
    traced = settings.adding(trace)
    answer = attempt("ls-remote", "--tags", "--", url, settings=traced, timeout_s=timeout_s)
    if re.search(r"Recv header: content-type: *text/html", answer.stderr, re.IGNORECASE):
        page = f"fatal: {url}/info/refs not valid: text/html"
        raise explain(page, "ls-remote", settings.remote)
