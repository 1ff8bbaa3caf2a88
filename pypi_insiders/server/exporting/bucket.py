"""Export the index to an object store, from which any web server or CDN serves it."""

import contextlib
import hashlib
import json
import logging
import re
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pypi_insiders.config.paths import Paths
from pypi_insiders.index import distribution
from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.metadata_cache import Entry, MetadataCache
from pypi_insiders.index.published import Project
from pypi_insiders.repositories import held_names
from pypi_insiders.server.exporting import contents
from pypi_insiders.server.exporting.contents import PROBLEM, ChangedError, Exported, ExportResult
from pypi_insiders.server.web import feed, pages
from pypi_insiders.server.web.pages import METADATA
from pypi_insiders.util.errors import InsidersError, UsageError
from pypi_insiders.util.files import locked, read_text, write_atomic
from pypi_insiders.util.media_types import SIMPLE_JSON

if TYPE_CHECKING:
    from pypi_insiders.server.exporting.object_store import ObjectStore

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

MARK = "pypi-insiders-export.txt"
_MARK = (
    b"Made by `pypi-insiders export`, which replaces and deletes the objects below simple/,\n"
    b"packages/, project/ and -/ beside this one.\n"
)
# The library resolves `..`, so that the prefix would be another than the user has written.
_URL = re.compile(
    r"(?:s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]*(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+)*/?"
)
_PARALLEL = 16
_FOR_EVER = "max-age=31536000, immutable"
_AS_CHANGED = "no-cache"
_TYPES = {
    PROBLEM: "application/problem+json",
    feed.NAME: feed.MEDIA_TYPE,
    "index.html": f"{pages.HTML}; charset=utf-8",
    "index.json": SIMPLE_JSON,
    MARK: "text/plain; charset=utf-8",
}
# Objects of these names belong to an export; others are left alone.
_OURS = re.compile(r"(?:simple|packages)/.+|project/[^/]+/releases\.atom|-/releases\.atom")


def is_url(target: str) -> bool:
    """Return whether a target is the URL of an object store, not a directory.

    Raises:
        UsageError: it is another or an invalid URL.
    """
    if "://" not in target:
        return False
    if not _URL.fullmatch(target):
        # Not with the URL, which may have a password.
        raise UsageError(
            "not the URL of a bucket, without credentials",
            "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://BUCKET/PREFIX",
        )
    return True


def export(paths: Paths, url: str, on_wait: Callable[[], None] = lambda: None) -> ExportResult:
    """Export the index to an object store, writing only objects that differ.

    Files are written first, then the pages of projects, then the list of all; deletions are in the
    opposite order. So no page ever leads to a missing object. The next export completes an
    interrupted one.

    Args:
        paths: all paths of the program.
        url: of the bucket, with a prefix.
        on_wait: called before waiting for another export.

    Raises:
        InsidersError: the bucket or the index cannot be used, or the library is not installed.
    """
    try:
        from pypi_insiders.server.exporting import object_store
    except ImportError as error:
        if not (error.name or "").startswith("obstore"):
            raise
        raise InsidersError(
            f"cannot export to {url}: obstore is not installed",
            "in the clone, `uv tool install --reinstall '.[object-store]'`",
        ) from error
    url = url.rstrip("/")
    with locked(paths.locks.exports, on_wait):
        return export_to(object_store.ObjectStore(url), paths)


def export_to(store: "ObjectStore", paths: Paths) -> ExportResult:
    """Export the index to an object store; see `export`."""
    with contextlib.closing(MetadataCache(paths.record, paths.distributions)) as cache:
        catalog = contents.open_catalog(paths, cache)
        catalog.refresh()  # raises before anything is written
        held_names.sync(paths)
        with _Bucket(store, paths, catalog) as bucket:
            return bucket.export()


class _Bucket:
    """One export to a bucket.

    Raises:
        InsidersError: the bucket has other objects, or cannot be listed.
    """

    def __init__(self, store: "ObjectStore", paths: Paths, catalog: Catalog) -> None:
        self._store, self._paths, self._catalog = store, paths, catalog
        self._stored = store.list()
        self._claim()
        # An export of its own, as one of several to a bucket, is not of this one.
        others = tuple(key.removesuffix(MARK) for key in self._stored if key.endswith(f"/{MARK}"))
        self._stored = {key: it for key, it in self._stored.items() if not key.startswith(others)}
        key = hashlib.sha256(store.url.encode()).hexdigest()[:16]
        self._record = paths.cache / "exports" / f"bucket-{key}.json"
        # Key to the ETag and the hash of what was written; without it, ETags are compared as MD5.
        self._written = _load(self._record)
        self._lock = threading.Lock()
        self._restored = 0

    def __enter__(self) -> "_Bucket":
        return self

    def __exit__(self, *_: object) -> None:
        # After a failure too: what was written need not be written again.
        with contextlib.suppress(InsidersError):
            write_atomic(self._record, json.dumps(self._written, separators=(",", ":")))

    def export(self) -> ExportResult:
        """Write what differs, in this order; return the numbers."""
        self._put(MARK, _MARK)
        read = map(self._catalog.project, self._catalog.projects())
        # The files of a project may be damaged, as is seen when they are read.
        found = [project for project in read if project is not None and project.files]
        new = self._put_files(found)
        exported = contents.find(self._catalog, self._paths, found, self._files_before)
        stages: list[list[tuple[str, bytes]]] = [[], []]
        for page in exported.pages():
            # The lists of all projects have one directory less than the pages of one.
            stages[page[0].count("/") < 2].append(page)
        # Stages, as each runs in parallel: a list never names a project without its page.
        written = sum(sum(self._in_parallel(lambda page: self._put(*page), it)) for it in stages)
        removed = self._remove_gone(exported)
        if self._restored:
            _log.warning(
                "%d objects of %s differ from the last recorded export; written again",
                self._restored, self._store.url,
            )  # fmt: skip
        files = sum(len(project.files) for project in found)
        return ExportResult(len(found), files, new, removed, written)

    def _claim(self) -> None:
        if self._stored and MARK not in self._stored:
            raise InsidersError(
                f"{self._store.url} is not empty, and was not created by `pypi-insiders export`",
                "name a new or an empty prefix",
            )

    def _put_files(self, projects: Iterable[Project]) -> int:
        entries = [entry for project in projects for entry in project.files]
        return sum(self._in_parallel(self._put_file, entries))

    def _put_file(self, entry: Entry) -> bool:
        key = f"packages/{entry.name}"
        is_new = not self._is_current(key, entry.sha256, entry.identity.size_bytes)
        if is_new:
            opened = self._catalog.open(entry.name)
            if opened is None:
                raise ChangedError(entry.project)
            with opened[1] as file:
                # Before it is sent, as an object is published by its last byte.
                if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
                    raise ChangedError(entry.project)
                file.seek(0)
                self._send(key, file, entry.sha256)
        if entry.metadata_sha256 is not None:
            key += METADATA
            if not self._is_current(key, entry.metadata_sha256, None):
                metadata = self._catalog.metadata(entry.name)
                if metadata is None:
                    raise ChangedError(entry.project)
                self._send(key, metadata[1], entry.metadata_sha256)
        return is_new

    def _put(self, key: str, content: bytes) -> bool:
        digest = hashlib.sha256(content).hexdigest()
        if self._is_current(key, digest, len(content), content):
            return False
        self._send(key, content, digest)
        return True

    def _is_current(
        self, key: str, digest: str, size_bytes: int | None, content: bytes | None = None
    ) -> bool:
        """Return whether an object has a content, by its ETag; count what has changed here."""
        stored, written = self._stored.get(key), self._written.get(key)
        if stored is not None:
            if written is not None and written[0] == stored.etag:
                return written[1] == digest
            # The record was lost, another machine has exported, or an export was killed.
            if size_bytes in (None, stored.size_bytes) and stored.etag == self._md5(key, content):
                with self._lock:
                    self._written[key] = [stored.etag, digest]
                return True
        if written is not None:
            with self._lock:
                self._restored += 1
        return False

    def _md5(self, key: str, content: bytes | None) -> str | None:
        if content is None:
            name = key.removeprefix("packages/")
            if name.endswith(METADATA):
                found = self._catalog.metadata(name.removesuffix(METADATA))
                content = found[1] if found else None
            elif opened := self._catalog.open(name):
                with opened[1] as file:
                    return hashlib.file_digest(file, _md5).hexdigest()
        return None if content is None else _md5(content).hexdigest()

    def _send(self, key: str, content: bytes | FileIO, digest: str) -> None:
        etag = self._store.put(key, content, headers(key))
        with self._lock:
            self._written[key] = [etag, digest]
        _log.debug("wrote %s", key)

    def _in_parallel(self, call: Callable[[_T], bool], items: Iterable[_T]) -> list[bool]:
        with ThreadPoolExecutor(_PARALLEL) as pool:
            try:
                return list(pool.map(call, items))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _files_before(self, project: str) -> list[str]:
        """Return the exported files of a project that has none in the index."""
        has_page = f"simple/{project}/index.html" in self._stored
        return self._stored_files.get(project, []) if has_page else []

    @cached_property
    def _stored_files(self) -> dict[str, list[str]]:
        """Project to its distributions in the bucket."""
        # Once, not for each held name without a release.
        found: dict[str, list[str]] = {}
        for key in self._stored:
            if key.startswith("packages/") and not key.endswith(METADATA):
                name = key.removeprefix("packages/")
                for project in distribution.projects_of(name):
                    found.setdefault(project, []).append(name)
        return found

    def _remove_gone(self, exported: Exported) -> int:
        """Delete the pages that are gone, then the files; return the number of files."""
        untouched = exported.untouched
        kept = contents.package_names(exported.projects, untouched)
        expected = {*exported.paths, *(f"packages/{name}" for name in kept)}
        gone = [
            key
            for key in self._stored
            if _OURS.fullmatch(key)
            and key not in expected
            and not (key.split("/")[1] in untouched.projects and not key.startswith("packages/"))
        ]
        files = [key for key in gone if key.startswith("packages/")]
        # Lists, which name no such project any more, were written before.
        for keys in ([key for key in gone if key not in files], files):
            self._store.delete(keys)
            for key in keys:
                self._written.pop(key, None)
        return contents.removed_files(key.removeprefix("packages/") for key in files)


def headers(key: str) -> dict[str, str]:
    """Return the headers with which an object is served."""
    name = key.rpartition("/")[2]
    if key.startswith("packages/"):
        is_text = name.endswith(METADATA)
        kind = "text/plain; charset=utf-8" if is_text else "application/octet-stream"
        return {"Content-Type": kind, "Cache-Control": _FOR_EVER}
    return {"Content-Type": _TYPES[name], "Cache-Control": _AS_CHANGED}


def _md5(content: bytes = b"") -> "hashlib._Hash":
    # What S3 has as ETag, and no protection against anything.
    return hashlib.md5(content, usedforsecurity=False)


def _load(path: Path) -> dict[str, list[str]]:
    with contextlib.suppress(InsidersError, ValueError, RecursionError):
        found = json.loads(read_text(path) or "{}")
        if isinstance(found, dict) and all(
            isinstance(value, list) and len(value) == 2 for value in found.values()
        ):
            return found
    return {}
