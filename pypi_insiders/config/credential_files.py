"""Recognize files and directories with credentials, which no build may read."""

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePath

# In a home, or anywhere else. A whole directory where only some of its files are secret: a program
# may add another one.
_PLACES = tuple(
    PurePath(text)
    for text in (
        ".authinfo", ".authinfo.gpg", ".aws", ".azure", ".bash_history", ".cache/huggingface/token",
        ".cargo/config", ".cargo/config.toml", ".cargo/credentials", ".cargo/credentials.toml",
        ".composer/auth.json", ".condarc", ".config/chromium", ".config/containers",
        ".config/gcloud", ".config/gh", ".config/git/credentials", ".config/glab-cli",
        ".config/google-chrome", ".config/hatch", ".config/hub", ".config/op", ".config/pdm",
        ".config/pip", ".config/pypi-insiders", ".config/pypoetry", ".config/rbw",
        ".config/rclone", ".config/tea", ".config/uv", ".docker", ".gem/credentials",
        ".git-credentials", ".gnupg", ".gradle/gradle.properties", ".kube", ".local/share/keyrings",
        ".local/share/python_keyring", ".local/share/uv/credentials", ".m2/settings.xml",
        ".mozilla", ".my.cnf", ".netrc", ".npmrc", ".password-store", ".pgpass", ".pip", ".pypirc",
        ".rattler/credentials.json", ".s3cfg", ".ssh", ".subversion/auth",
        ".terraform.d/credentials.tfrc.json", ".thunderbird", ".vault-token", ".yarnrc.yml",
        ".zsh_history", "_netrc",
    )
)  # fmt: skip
_LAST_NAMES = frozenset(place.name for place in _PLACES)
_REASON = "may contain credentials"
_MOST_ENTRIES = 20_000
# In a directory of credentials, of which only the upper files are recognized under another name.
_MOST_FILES = 1000
# Files of variables with passwords, as many programs read them; not those that are examples, nor a
# virtual environment of that name.
_VARIABLES = r"\.env(?:\.(?!example|sample|template|dist|defaults).+)?|\.envrc"


def refusal(path: Path, private: Iterable[Path] = ()) -> str | None:
    """Return why builds may not read a path, as a text that continues it; `None` if they may.

    Links are followed, and a directory is refused for what is in it.

    Args:
        path: absolute; need not exist.
        private: directories that builds may not read either; need not exist.
    """
    real = Path(os.path.realpath(path))
    leads = _REASON if real == path else f"leads to {real}, which {_REASON}"
    if is_credential(path):
        return _REASON
    if is_credential(real) or (re.fullmatch(_VARIABLES, real.name) and real.is_file()):
        return leads
    known = _identities(private)
    if any(_identity(place) in known for place in (real, *real.parents)):
        return leads
    for place in _places(private):
        target = Path(os.path.realpath(place))
        if real.is_relative_to(target):
            return leads
        if target.is_relative_to(real) and os.path.lexists(place):
            return f"contains {target}, which {_REASON}"
    return None


def is_credential(path: PurePath) -> bool:
    """Return whether a path is one of credentials by its name, or is below such a directory."""
    # Where file systems ignore the case of names, each spelling leads there.
    parts = PurePath(os.path.normpath(path).casefold()).parts
    return any(
        parts[start : start + len(place.parts)] == place.parts
        for place in _PLACES
        for start in range(len(parts))
    )


def _places(private: Iterable[Path]) -> Iterator[Path]:
    yield from (Path.home() / place for place in _PLACES)
    # Programs that store credentials follow these variables, this one too.
    for variable, above in (("XDG_CONFIG_HOME", ".config"), ("XDG_DATA_HOME", ".local/share")):
        if root := os.environ.get(variable):
            below = (place for place in _PLACES if place.is_relative_to(above))
            yield from (Path(root) / place.relative_to(above) for place in below)
    yield from private


def _identity(path: Path | os.DirEntry[str]) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _own_identity(entry: os.DirEntry[str]) -> tuple[int, int] | None:
    return None if entry.is_symlink() else _identity(entry)


def _identities(private: Iterable[Path]) -> frozenset[tuple[int, int] | None]:
    """Return the device and inode of all places of credentials, and of the files in them.

    By these, a hard link or a mount has what its name does not show.
    """
    found = set[tuple[int, int] | None]()
    for place in _places(private):
        found.add(_identity(place))
        try:
            with os.scandir(place) as entries:
                upper = (entry for entry in entries if entry.is_file(follow_symlinks=False))
                found |= {_identity(entry) for entry in islice(upper, _MOST_FILES)}
        except OSError:  # a file, or missing
            continue
    return frozenset(found - {None})


def refusal_below(directory: Path, private: Iterable[Path] = ()) -> tuple[str | None, bool]:
    """Search a directory for what no build may reach, up to 20,000 entries.

    Symbolic links are not followed: in the sandbox they lead to nothing that is hidden there.

    Args:
        directory: to search.
        private: as in `refusal`.

    Returns:
        Why builds may not read the directory, as `refusal` does; and whether all was searched.
    """
    left = _MOST_ENTRIES
    known = _identities(private)
    numbers = {it[1] for it in known if it}
    # By its own path: a link's could hide what a place is by its name.
    for entry in _entries_below(Path(os.path.realpath(directory))):
        is_known = (
            entry.name.casefold() in _LAST_NAMES and is_credential(PurePath(entry.path))
        ) or (re.fullmatch(_VARIABLES, entry.name) and entry.is_file(follow_symlinks=False))
        # Listed without a stat(2), so that the others cost none.
        if is_known or (entry.inode() in numbers and _own_identity(entry) in known):
            return f"contains {entry.path}, which {_REASON}", True
        # A read-only mount keeps no build from connecting to a socket, or from writing to a device.
        if not (entry.is_symlink() or entry.is_dir() or entry.is_file()):
            return f"contains {entry.path}, which is a socket, pipe or device", True
        left -= 1
        if not left:
            return None, False
    return None, True


def _entries_below(directory: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of all directories that can be read, the upper ones first."""
    waiting = deque([str(directory)])
    while waiting:
        try:
            with os.scandir(waiting.popleft()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    yield entry
        except OSError:  # what this user cannot read, builds cannot either
            continue
