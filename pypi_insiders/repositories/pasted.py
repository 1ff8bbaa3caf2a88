"""Read the repository that a pasted address names: of a page of its host, or to clone it."""

import re
from typing import NamedTuple
from urllib.parse import unquote

GITHUB = "github.com"
_AZURE, _OF_ORGANIZATIONS = "dev.azure.com", ".visualstudio.com"
# Whose repositories have two parts, so that all that follows is a page.
_TWO_PARTS = {GITHUB, "bitbucket.org", "codeberg.org"}
# What follows a repository in the addresses of pages, and cannot be a part of its name: of GitLab,
# then of Forgejo and Gitea. Not `/releases` or `/tags`, as a project of a subgroup can have that
# name. Source: https://docs.gitlab.com/user/reserved_names/
_PAGES = r"/-/|/(?:blame|blob|commits|raw|tree)/|/src/(?:branch|commit|tag)/|/releases/tag/"
# The hosts that answer for another one on ssh.
# Source: docs.github.com, "Using SSH over the HTTPS port"; the same of the others.
_SSH_HOSTS = {
    "ssh.github.com": GITHUB,
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
    "ssh.dev.azure.com": _AZURE,
    "vs-ssh.visualstudio.com": _AZURE,
}
# The forges whose hosts are the same repositories over each transport, in any case.
_FORGES = {
    GITHUB,
    "gitlab.com",
    "bitbucket.org",
    "codeberg.org",
    _AZURE,
}
# The accounts of ssh that forges have by default. Of any other, and of a directory, `x` and `x.git`
# are taken for two repositories: both can be there, and Git opens the one that is named. For the
# same reason `http://HOST:PORT/x` is not `ssh://HOST/x`: each port can have a forge of its own.
# Source: git's enter_repo in path.c; the packages of Gitea, Forgejo and Gogs.
_FORGE_USERS = {"git@", "gitea@", "forgejo@", "gogs@"}
_PORTS = {"https": "443", "http": "80", "git": "9418"}
_DATA_CENTER_PORT = "7999"


class Pasted(NamedTuple):
    """An address that was pasted in place of `NS/PROJ`."""

    name: str
    """All parts of its path, such as `NS/PROJ`, not checked yet."""
    url: str | None
    """Where Git finds it; `None`: where it does by default."""
    place: tuple[str, str]
    """Host and path, which are the same over each transport."""
    ssh_port: str | None
    """`None`: it is not reached over ssh."""

    @property
    def full_name(self) -> str:
        """The name with its host before it, where another host has a repository of that name."""
        host = re.sub(r"[^A-Za-z0-9_.-]+", "-", self.place[0]).strip("-")
        return f"{host}/{self.name}" if host else self.name

    def is_at(self, other: "Pasted") -> bool:
        """Return whether both lead to one repository."""
        # Each transport has a port of its own, so that only those of the same one are compared.
        is_other_port = None not in (self.ssh_port, other.ssh_port) and (
            self.ssh_port != other.ssh_port
        )
        return self.place == other.place and not is_other_port


def parse(text: str, *, is_stored: bool = False) -> Pasted | None:
    """Read an address; `None`: the text is none, or names no repository.

    Args:
        text: the address.
        is_stored: whether Git gets it as it is, so that it is never one of a page.
    """
    address = _split(text, is_stored=is_stored)
    if address is None:
        return None
    scheme, user, name, port, path, _ = address
    host = f"{name}:{port}" if port else name
    is_web = scheme in ("http", "https")
    if is_web and not is_stored:
        is_to_clone = path.endswith(".git")
        path = re.sub(r"[?#].*", "", path).rstrip("/")
        if not is_to_clone and name in _TWO_PARTS:
            path = "/".join(path.split("/")[:2])
        elif not is_to_clone:
            path = re.split(_PAGES, path, maxsplit=1)[0]
    parts = _parts(path, name)
    if len(parts) < 2:
        return None
    url: str | None = f"{scheme}://{user}{host}/{path}" if is_web else text
    if name == GITHUB and is_web:
        url = f"{scheme}://{user}{host}/{path.removesuffix('.git')}.git"
    elif name == GITHUB and scheme == "ssh":
        url = None
    # A path of this machine has parts that name nothing.
    named = "/".join(parts[-2:] if scheme == "file" else parts)
    # Forges listen on a second port, such as 443 of ssh.github.com.
    ssh_port = "22" if name in _SSH_HOSTS or not port else port
    place = _place(address._replace(path=path))
    return Pasted(named, url, place, ssh_port if scheme == "ssh" else None)


def at(url: str, place: Pasted) -> bool:
    """Return whether a URL leads to the repository of an address."""
    found = parse(url, is_stored=True)
    return found is not None and found.is_at(place)


def is_same(url: str | None, other: str | None) -> bool:
    """Return whether two URLs lead to one repository, such as over ssh and over https."""
    if url == other:
        return True
    two = parse(other or "", is_stored=True)
    return two is not None and at(url or "", two)


class _Address(NamedTuple):
    scheme: str
    user: str
    """With `@` behind it; empty: none."""
    host: str
    port: str
    path: str
    is_scp: bool


def _split(text: str, *, is_stored: bool) -> _Address | None:
    is_scp = False
    if match := re.fullmatch(r"(\w+)://([^/@]*@)?([^/]*)/+(.*)", text):
        scheme, user, host, path = match[1].lower(), match[2] or "", _folded(match[3]), match[4]
    # As browsers show it. A namespace of GitHub has no dot.
    elif not is_stored and (
        match := re.fullmatch(r"([\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}(?::\d+)?)/([^/]+/.*)", text)
    ):
        scheme, user, host, path = "https", "", _folded(match[1]), match[2]
    elif match := re.fullmatch(
        r"(?!(?:https?|ssh|git|file):)([\w.-]+@)?([\w.-]+):(?!//|:)(.*)", text
    ):
        scheme, user, host, path = "ssh", match[1] or "", _folded(match[2]), match[3]
        is_scp = True
    else:
        return None
    if host.removeprefix("www.") in _FORGES:
        host = host.removeprefix("www.")
    # An address of IPv6 has colons too.
    apart = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(\d*))?", host)
    return apart and _Address(scheme, user, apart[1], apart[2] or "", path.rstrip("/"), is_scp)


def _place(address: _Address) -> tuple[str, str]:
    """Return host and path, which differ for any two repositories."""
    scheme, user, name, port, path, is_scp = address
    host = _host(name)
    is_forge = host in _FORGES
    # Accounts of an ssh server have files of their own, unless it is a forge.
    is_account = scheme == "ssh" and not is_forge and user not in _FORGE_USERS
    if scheme == "file" or is_account:
        at = host if port in ("", "22") else f"{host}:{port}"
        # Without one, a path of `HOST:PATH` starts in the home of the user.
        return at, f"{user}{'' if is_scp else '/'}{path}"
    if port not in ("", _PORTS.get(scheme, port)):
        host = f"{host}:{port}"
    parts = _routed(path, name)
    # Bitbucket Data Center has `/scm/` in its addresses of https alone, and this port for ssh. On
    # other hosts a group can be called so, and have another repository of the same name.
    if scheme == "ssh" and port == _DATA_CENTER_PORT:
        parts.insert(0, "scm")
    # The former addresses of Azure for ssh have the organization only here.
    if host == _AZURE and "_ssh" in parts:
        parts.insert(0, user)
    is_absolute = is_scp and path.startswith("/") and not is_forge
    return host, ("/" if is_absolute else "") + _folded("/".join(parts))


def _host(name: str) -> str:
    """Return the host whose repositories a host has."""
    return _AZURE if name.endswith(_OF_ORGANIZATIONS) else _SSH_HOSTS.get(name, name)


def _folded(text: str) -> str:
    # Not `casefold` or `lower`, by which `ß` is `ss`, and the sign of Kelvin a `k`.
    return re.sub("[A-Z]+", lambda match: match[0].lower(), text)


def _routed(path: str, host: str) -> list[str]:
    """Return the parts of a path, without those that only lead to the repositories of its host."""
    is_azure = _host(host) == _AZURE
    # Azure would serve a repository of that name, and no other.
    path = path if is_azure else path.removesuffix(".git")
    parts = [part for part in path.split("/") if part]
    return _of_azure(parts, host) if is_azure else parts


def _of_azure(parts: list[str], host: str) -> list[str]:
    """Return organization, project and repository.

    Source: https://learn.microsoft.com/azure/devops/repos/git/clone and
    https://learn.microsoft.com/azure/devops/release-notes/2018/sep-10-azure-devops-launch
    """
    if host in _SSH_HOSTS:
        return parts[1:] if parts[:1] == ["v3"] else parts
    if host.endswith(_OF_ORGANIZATIONS):
        is_collection = parts[:1] and parts[0].casefold() == "defaultcollection"
        parts = [host.removesuffix(_OF_ORGANIZATIONS), *parts[1 if is_collection else 0 :]]
    # `ORG/_git/REPO`: the project is called like its repository.
    if len(parts) == 3 and parts[1] == "_git":
        return [parts[0], parts[2], parts[2]]
    return [part for number, part in enumerate(parts) if part != "_git" or number != 2]


def _parts(path: str, host: str) -> list[str]:
    """Return the parts of a path that name a repository."""
    routed = _routed(path, host)
    # Of Bitbucket Data Center.
    if routed[:1] == ["scm"] and len(routed) > 2:
        del routed[0]
    # Spaces and the like, which a name cannot have.
    named = (re.sub(r"[^A-Za-z0-9_.-]+", "-", unquote(part)).lstrip("-") for part in routed)
    return [part for part in named if part not in ("", "_git")]
