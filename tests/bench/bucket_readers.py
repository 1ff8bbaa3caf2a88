"""Read a bucket with pip, uv and a reader in a loop while exports go on. Run by hand.

`bucket_readers.py s3://BUCKET/PREFIX URL [ROUNDS]`, with the credentials of the bucket in the
environment, and the URL at which anybody can read that prefix.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

import wheels
from bench_tools import BIN, COMMAND, home_environment, run
from fixtures import Person

PROJECTS = 5
KEPT = 3


class Reader(threading.Thread):
    """Reads all pages, and asks for all that they name, until it is stopped."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.pages = self.files = 0
        self.missing: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            root = self._get("simple/index.json") or b'{"projects": []}'
            for project in json.loads(root)["projects"]:
                path = f"simple/{project['name']}/index.json"
                page = self._get(path)
                if page is None:
                    self._miss(path, "simple/index.json", project["name"])
                    continue
                self.pages += 1
                for file in json.loads(page)["files"]:
                    self.files += 1
                    name = f"packages/{urllib.parse.quote(file['filename'])}"
                    for each in (name, f"{name}.metadata"):
                        if self._get(each, "HEAD") is None:
                            self._miss(each, path, file["filename"])

    def _miss(self, path: str, page: str, name: str) -> None:
        # A page that was read before a removal may name what is gone by now; the next one must not.
        if name.encode() in (self._get(page) or b"") and self._get(path, "HEAD") is None:
            self.missing.append(f"{path}, named by {page}")

    def _get(self, path: str, method: str = "GET") -> bytes | None:
        request = urllib.request.Request(f"{self.url}/{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None


def main() -> None:
    """Publish, unpublish and export in rounds, and print what the readers have seen."""
    bucket, url, rounds = sys.argv[1], sys.argv[2].rstrip("/"), int((sys.argv[3:] or ["5"])[0])
    with tempfile.TemporaryDirectory(prefix="pypi-insiders-bucket-") as name:
        person = Person(Path(name))
        environment = {**home_environment(person.home), "PIP_CONFIG_FILE": os.devnull}
        reader = Reader(url)
        for number in range(rounds):
            for project in range(PROJECTS):
                wheels.wheel(person.paths.distributions, f"proj-{project}", f"{number + 1}.0")
            if number >= KEPT:
                for project in range(PROJECTS):
                    version = f"{number + 1 - KEPT}.0"
                    words = ("unpublish", "--yes", f"proj-{project}", version)
                    run(COMMAND, *words, env=environment)
            print(run(COMMAND, "export", bucket, env=environment), end="", flush=True)
            if number == 0:
                reader.start()
            wanted = f"proj-{number % PROJECTS}=={number + 1}.0"
            target = person.home / f"target-{number}"
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir"]
            uv = [BIN / "uv", "pip", "install", "--quiet", "--no-cache"]
            for client, option in ((pip, "--index-url"), (uv, "--default-index")):
                argv = [*client, option, f"{url}/simple/", "--target", target, wanted]
                subprocess.run(argv, env=environment, check=True)
        reader.ended.set()
        reader.join()
        print(f"{reader.pages} pages and {reader.files} files read, missing: {reader.missing}")
        sys.exit(bool(reader.missing) or not reader.pages)


if __name__ == "__main__":
    main()
