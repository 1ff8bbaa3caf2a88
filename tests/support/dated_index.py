"""A package index that says when its files were uploaded: by their times."""

import hashlib
import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Reader:
    """How an index treats its readers, and what they sent."""

    login: str | None = None
    """`USER:PASSWORD` that they must send; `None`: none."""
    files: str = ""
    """Another host, from which they get the files."""
    is_slow: bool = False
    """Whether they wait for the rest of a file after its first byte."""
    is_cutting: bool = False
    """Whether they get no more of a file than its first byte."""
    sha256: str | None = None
    """Said of every file; `None`: what it has."""
    seen: list[str] = field(default_factory=list)
    """The `Authorization` of each request for a file."""


@contextmanager
def dated_index(directory: Path, treatment: Reader | None = None) -> Iterator[str]:
    """Serve the distributions of a directory; yield the URL for installers."""
    reader = treatment or Reader()
    wanted = f"Basic {b64encode((reader.login or '').encode()).decode()}"

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(directory))

        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            sent = self.headers.get("Authorization", "")
            if not self.path.startswith("/simple/"):
                reader.seen.append(sent)
            if reader.login and sent != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="private"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if not self.path.startswith("/simple/") and (reader.is_slow or reader.is_cutting):
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"x")
                # Until they have closed the connection.
                while reader.is_slow and self.rfile.read(1):
                    pass
                return
            if not self.path.startswith("/simple/"):
                super().do_GET()
                return
            name = self.path.removeprefix("/simple/").rstrip("/")
            content = json.dumps(_page(directory, name, reader)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple/"
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


def _page(directory: Path, name: str, reader: Reader) -> dict[str, object]:
    """Write a page of the Simple API. Source: PEP 691, PEP 700."""
    files = [path for path in directory.iterdir() if path.name.partition("-")[0] == name]
    return {
        "meta": {"api-version": "1.1"},
        "name": name,
        "versions": sorted({path.name.split("-")[1].removesuffix(".tar.gz") for path in files}),
        "files": [
            {
                "filename": path.name,
                "url": f"{reader.files}/{path.name}",
                "size": path.stat().st_size,
                "upload-time": f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%FT%TZ}",
                "hashes": {
                    "sha256": reader.sha256 or hashlib.sha256(path.read_bytes()).hexdigest()
                },
            }
            for path in files
        ],
    }
