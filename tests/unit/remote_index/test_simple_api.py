"""What the page of a project on another index says."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pypi_insiders.remote_index import simple_api

NAME = "my_dist-1.0.tar.gz"
HEX = "ab" * 32


@pytest.mark.parametrize("listed", [HEX, HEX.upper(), None, ""])
@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_the_hash_of_a_file_is_in_small_letters(kind: str, listed: str | None) -> None:
    """Or missing, and then found by a download: a file must never count as a different one."""
    fragment = "" if listed is None else f"#sha256={listed}"
    hashes = {} if listed is None else {"sha256": listed}
    page = {
        "application/json": json.dumps(
            {"files": [{"filename": NAME, "url": f"/f/{NAME}", "hashes": hashes}]}
        ),
        "text/html": f"<a href='/f/{NAME}{fragment}'>f</a>",
    }[kind].encode()

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        found = simple_api.ask(f"{url}/simple/", "my-dist", None)
    assert found.url == f"{url}/simple/my-dist/"
    assert found.files == {NAME: simple_api.Listed(f"{url}/f/{NAME}", HEX if listed else None)}
