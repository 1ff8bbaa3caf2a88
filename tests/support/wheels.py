"""Make small, real distributions in no time."""

import base64
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path


def metadata(name: str, version: str, *lines: str) -> str:
    """Write core metadata."""
    return "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines, ""])


def wheel(  # noqa: PLR0913
    directory: Path,
    name: str,
    version: str,
    *lines: str,
    content: bytes = b"",
    entry_points: str = "",
    tag: str = "py3-none-any",
) -> Path:
    """Make a wheel that can be installed; of the content its one module is made."""
    directory.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    path = directory / f"{module}-{version}-{tag}.whl"
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": b"VERSION = %r\n" % version + content,
        f"{info}/METADATA": metadata(name, version, *lines).encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    if entry_points:
        files[f"{info}/entry_points.txt"] = entry_points.encode()
    record = [f"{at},sha256={_hash(what)},{len(what)}" for at, what in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for at, what in files.items():
            archive.writestr(zipfile.ZipInfo(at), what)
    return path


def _hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def sdist(directory: Path, name: str, version: str, *lines: str, content: bytes = b"") -> Path:
    """Make an sdist; it holds a file with the content beside its metadata."""
    directory.mkdir(parents=True, exist_ok=True)
    root = f"{name.replace('-', '_')}-{version}"
    path = directory / f"{root}.tar.gz"
    files = {"PKG-INFO": metadata(name, version, *lines).encode(), "data": content}
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for at, what in files.items():
            member = tarfile.TarInfo(f"{root}/{at}")
            member.size = len(what)
            archive.addfile(member, io.BytesIO(what))
    return path
