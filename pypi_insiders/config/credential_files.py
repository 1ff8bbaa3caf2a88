"""Recognize files and directories with credentials, which no build may read."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

# In a home, or anywhere else. A whole directory where only some of its files are secret: a program
# may add another one.
_PLACES = tuple(
    PurePath(text)
    for text in (
        ".aws", ".azure", ".cargo/config", ".cargo/config.toml", ".cargo/credentials",
        ".cargo/credentials.toml", ".config/containers", ".config/gcloud", ".config/gh",
        ".config/git/credentials", ".config/glab-cli", ".config/hub", ".config/op", ".config/pip",
        ".config/pypi-insiders", ".config/pypoetry", ".config/rbw", ".config/rclone", ".config/tea",
        ".config/uv", ".docker", ".git-credentials", ".gnupg", ".kube", ".local/share/keyrings",
        ".local/share/uv/credentials", ".m2/settings.xml", ".mozilla", ".netrc", ".npmrc",
        ".password-store", ".pgpass", ".pip", ".pypirc", ".ssh", ".yarnrc.yml", "_netrc",
    )
)  # fmt: skip
_LAST_NAMES = frozenset(place.name for place in _PLACES)
_REASON = "may contain credentials"
_MOST_ENTRIES = 20_000


def refusal(path: Path, private: Iterable[Path] = ()) -> str | None:
    """Return why builds may not read a path, as a text that continues it; `None` if they may.

    Links are followed, and a directory is refused for what is in it.

    Args:
        path: absolute; need not exist.
        private: directories that builds may not read either; need not exist.
    """
    real = Path(os.path.realpath(path))
    if is_credential(path):
        return _REASON
    if is_credential(real):
        return f"leads to {real}, which {_REASON}"
    for place in (*(Path.home() / place for place in _PLACES), *private):
        target = Path(os.path.realpath(place))
        if real.is_relative_to(target):
            return _REASON if real == path else f"leads to {real}, which {_REASON}"
        if target.is_relative_to(real) and os.path.lexists(place):
            return f"contains {target}, which {_REASON}"
    return None


def is_credential(path: PurePath) -> bool:
    """Return whether a path is one of credentials by its name, or is below such a directory."""
    parts = PurePath(os.path.normpath(path)).parts
    return any(
        parts[start : start + len(place.parts)] == place.parts
        for place in _PLACES
        for start in range(len(parts))
    )


def refusal_below(directory: Path) -> tuple[str | None, bool]:
    """Search a directory for what no build may reach, up to 20,000 entries.

    Links are not followed: in the sandbox they lead to nothing that is not readable itself.

    Returns:
        Why builds may not read the directory, as `refusal` does; and whether all was searched.
    """
    left = _MOST_ENTRIES
    # By its own path: a link's could hide what a place is by its name.
    for entry in _entries_below(Path(os.path.realpath(directory))):
        if entry.name in _LAST_NAMES and is_credential(PurePath(entry.path)):
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
