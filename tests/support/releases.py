"""Answers of the APIs of GitHub, GitLab and Gitea, written by their documentation, over real TLS.

No package registry has one of these programs.
"""

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.message import Message  # noqa: TC003
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from githost import GitHost, make_certificate

Answer = tuple[int, list[tuple[str, str]], bytes]


@dataclass
class File:
    """A file of a release."""

    name: str
    content: bytes
    updated_at: str = "2026-11-01T10:00:00Z"
    digest: str | None = None
    """Which the forge lists; by default that of the content."""
    listed_bytes: int | None = None
    """The size that the forge lists; by default that of the content."""
    state: str = "uploaded"
    url: str | None = None
    """Where it is, if not on the forge."""

    @property
    def sha256(self) -> str:
        """The digest that the forge lists."""
        return self.digest or hashlib.sha256(self.content).hexdigest()

    @property
    def size(self) -> int:
        """The size that the forge lists."""
        return len(self.content) if self.listed_bytes is None else self.listed_bytes


@dataclass
class Releases:
    """The API of a forge, and the place of its files, which is on another host."""

    kind: str
    host: GitHost
    store: GitHost
    path: str = "me/probe"
    token: str | None = None
    """What readers must send; `None`: nothing."""
    files: dict[str, list[File]] = field(default_factory=dict)
    """Tag to the files of its release."""
    drafts: set[str] = field(default_factory=set)
    answer: Answer | None = None
    """What it answers to each question in place of the truth."""
    questions: list[str] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    """Of all requests to the forge."""
    foreign: list[str | None] = field(default_factory=list)
    """Of all requests to the place of the files."""
    is_cutting: bool = False
    """Whether files arrive half."""
    similar: int = 0
    """Packages of GitLab whose names begin with that of the one that is searched for."""

    def __post_init__(self) -> None:
        """Answer from now on."""
        self.host.api, self.store.api = self._api, self._stored

    def add(self, tag: str, *paths: Path) -> None:
        """Add files to the release of a tag."""
        self.files.setdefault(tag, [])
        self.files[tag] += [File(path.name, path.read_bytes()) for path in paths]

    @property
    def url(self) -> str:
        """Of the repository."""
        return f"{self.host.url}/{self.path}.git"

    def _api(self, path: str, headers: "Message[str, str]") -> Answer | None:
        base = {
            "github": f"/api/v3/repos/{self.path}",
            "gitea": f"/api/v1/repos/{self.path}",
            "gitlab": f"/api/v4/projects/{quote(self.path, safe='')}",
        }[self.kind]
        starts = ("/attachments/", f"{base}/releases/assets/", f"{base}/uploads/")
        is_file = path.startswith(starts) or "/packages/generic/" in path
        if not path.startswith(base) and not is_file:
            return None  # a request of git
        (self.downloads if is_file else self.questions).append(path)
        self.authorizations.append(headers.get("Authorization"))
        if self.answer is not None:
            return self.answer
        if self.token is not None and not self._is_let_in(headers):
            return _json({"message": "Not Found"}, 404)
        if is_file:
            return self._file(path, headers)
        return self._question(path.removeprefix(base))

    def _is_let_in(self, headers: "Message[str, str]") -> bool:
        scheme, _, word = headers.get("Authorization", "").partition(" ")
        if self.kind == "gitea":
            return scheme == "Basic" and base64.b64decode(word).endswith(f":{self.token}".encode())
        return (scheme, word) == ("Bearer", self.token)

    def _all(self) -> list[tuple[str, File]]:
        return [(tag, file) for tag, files in self.files.items() for file in files]

    def _question(self, path: str) -> Answer:
        where = urlsplit(path).path
        query = dict(part.split("=") for part in urlsplit(path).query.split("&") if part)
        first = (int(query.get("page", 1)) - 1) * int(query.get("per_page", 20))
        page = slice(first, first + int(query.get("per_page", 20)))
        if where == "":
            return _json({"id": 1, "full_name": self.path})
        if where == "/packages":
            name, version = query["package_name"], query["package_version"]
            found = [{"id": 8, "name": f"{name}-x", "version": version}] * self.similar
            return _json([*found, {"id": 7, "name": name, "version": version}][page])
        if where == "/packages/7/package_files":
            found = [{"file_name": it.name, "file_sha256": it.sha256} for _, it in self._all()]
            return _json(found[page])
        if where == "/releases/1/assets":
            return _json([self._listed(file) for _, file in self._all()][page])
        return self._release(where)

    def _release(self, where: str) -> Answer:
        tag = unquote(where.removeprefix("/releases/tags/" if self._is_flat else "/releases/"))
        is_hidden = self.kind == "github" and tag in self.drafts  # which has them by number only
        if tag not in self.files or is_hidden:
            return _json({"message": "Not Found", "status": "404"}, 404)
        listed = [self._listed(file) for file in self.files[tag]]
        if self.kind == "gitlab":
            sources = [{"format": "zip", "url": f"{self.host.url}/me/probe/-/archive/probe.zip"}]
            assets = {"count": len(listed) + 1, "sources": sources, "links": listed}
            return _json({"tag_name": tag, "upcoming_release": False, "assets": assets})
        # GitHub shows the first ones only, of many.
        return _json({
            "id": 1, "tag_name": tag, "draft": tag in self.drafts, "prerelease": False,
            "assets": listed[:100],
        })  # fmt: skip

    @property
    def _is_flat(self) -> bool:
        return self.kind != "gitlab"

    def _number(self, file: File) -> int:
        return next(at for at, (_, it) in enumerate(self._all()) if it is file)

    def _listed(self, file: File) -> dict[str, object]:
        number = self._number(file)
        common = {"id": number, "name": file.name, "size": file.size}
        if self.kind == "github":
            return {
                **common, "digest": f"sha256:{file.sha256}", "state": file.state,
                "updated_at": file.updated_at, "url": f"https://elsewhere.invalid/{number}",
            }  # fmt: skip
        if self.kind == "gitea":
            kind = "external" if file.url else "attachment"
            return {
                **common, "uuid": f"uuid-{number}", "created_at": file.updated_at, "type": kind,
                "browser_download_url": file.url or f"{self.host.url}/me/probe/{file.name}",
            }  # fmt: skip
        place = f"{self.host.url}/api/v4/projects/1/packages/generic/probe/1.0/{quote(file.name)}"
        return {"id": number, "name": file.name, "url": file.url or place, "link_type": "package"}

    def _file(self, path: str, headers: "Message[str, str]") -> Answer:
        name = unquote(path.rpartition("/")[2])
        number = name.removeprefix("uuid-")
        file = (
            self._all()[int(number)][1]
            if number.isdigit()
            else next(file for _, file in self._all() if file.name == name)
        )
        if self.kind == "github":
            assert headers["Accept"] == "application/octet-stream"
        return 302, [("Location", f"{self.store.url}/{self._number(file)}?signed=yes")], b""

    def _stored(self, path: str, headers: "Message[str, str]") -> Answer:
        self.foreign.append(headers.get("Authorization"))
        content = self._all()[int(urlsplit(path).path[1:])][1].content
        if self.is_cutting:
            return 200, [("Content-Length", str(len(content)))], content[: len(content) // 2]
        return 200, [("Content-Type", "application/octet-stream")], content


def _json(content: object, status: int = 200) -> Answer:
    return status, [("Content-Type", "application/json")], json.dumps(content).encode()


MakeReleases = Callable[..., Releases]


@pytest.fixture
def make_releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeReleases]:
    """Start forges whose certificate is trusted, beside those that were."""
    certificate = make_certificate(tmp_path)
    trusted = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
    bundle = tmp_path / "trusted.pem"
    bundle.write_text(trusted.read_text() + certificate.read_text())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("GIT_SSL_CAINFO", str(bundle))
    with ExitStack() as hosts:

        def make(kind: str = "github", token: str | None = None) -> Releases:
            host, store = (GitHost(tmp_path / "git", certificate, None) for _ in range(2))
            hosts.callback(host.close)
            hosts.callback(store.close)
            return Releases(kind, host, store, token=token)

        yield make
