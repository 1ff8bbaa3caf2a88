"""A package index that says when its files were uploaded: by their times."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@contextmanager
def dated_index(directory: Path) -> Iterator[str]:
    """Serve the distributions of a directory; yield the URL for installers."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(directory))

        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            if not self.path.startswith("/simple/"):
                super().do_GET()
                return
            name = self.path.removeprefix("/simple/").rstrip("/")
            content = json.dumps(_page(directory, name)).encode()
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


def _page(directory: Path, name: str) -> dict[str, object]:
    """Write a page of the Simple API. Source: PEP 691, PEP 700."""
    files = [path for path in directory.iterdir() if path.name.partition("-")[0] == name]
    return {
        "meta": {"api-version": "1.1"},
        "name": name,
        "versions": sorted({path.name.split("-")[1].removesuffix(".tar.gz") for path in files}),
        "files": [
            {
                "filename": path.name,
                "url": f"/{path.name}",
                "size": path.stat().st_size,
                "upload-time": f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%FT%TZ}",
                "hashes": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
            }
            for path in files
        ],
    }
