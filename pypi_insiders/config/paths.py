"""Return where the files of the user and of the program are."""

import os
from dataclasses import dataclass
from pathlib import Path

from platformdirs import PlatformDirs


class Locks:
    """The files of which one process at a time holds the lock.

    Args:
        state: the directory in which they are.

    Source: flock(2).
    """

    def __init__(self, state: Path) -> None:
        self._state = state

    @property
    def updates(self) -> Path:
        """Held by whoever builds, publishes or purges."""
        return self._state / "update.lock"

    @property
    def pending(self) -> Path:
        """Held by an update while it works on the list of what it has still to finish."""
        return self._state / "pending.lock"

    @property
    def held_names(self) -> Path:
        """Held by whoever changes the list of held names."""
        return self._state / "held.lock"

    @property
    def yanks(self) -> Path:
        """Held by whoever yanks or takes a yank back."""
        return self._state / "yanks.lock"

    @property
    def repositories(self) -> Path:
        """Held by whoever changes `repos.toml`."""
        return self._state / "repos.lock"

    @property
    def passwords(self) -> Path:
        """Held by whoever changes a password."""
        return self._state / "passwords.lock"

    @property
    def exports(self) -> Path:
        """Held by whoever exports the index."""
        return self._state / "export.lock"

    @property
    def troubles(self) -> Path:
        """Held by whoever notifies the user of problems."""
        return self._state / "troubles.lock"


@dataclass(frozen=True)
class Paths:
    """The four base directories, and what is in them.

    Source: XDG Base Directory Specification.
    """

    config: Path
    data: Path
    state: Path
    cache: Path

    @property
    def locks(self) -> Locks:
        """The locks; in the state, which every process of the user can write."""
        return Locks(self.state)

    @property
    def settings(self) -> Path:
        """`config.toml`: written by the user, also through `config edit`."""
        return self.config / "config.toml"

    @property
    def repositories(self) -> Path:
        """`repos.toml`: written by `repos add` and its kin, or by the user."""
        return self.config / "repos.toml"

    @property
    def passwords(self) -> Path:
        """`passwords`: who may read or upload, hashed; written by `server password` and `token`."""
        return self.config / "passwords"

    @property
    def distributions(self) -> Path:
        """The sdists and wheels that the index serves."""
        return self.data / "dists"

    @property
    def record(self) -> Path:
        """What is known of each distribution file; if it is lost, that is found out anew."""
        return self.state / "distributions.sqlite"

    @property
    def pending(self) -> Path:
        """Which repositories a running update has still to finish; there only while one runs."""
        return self.state / "pending.json"

    @property
    def held_names(self) -> Path:
        """Every project name that this index answers for, whatever else is lost."""
        return self.state / "held.json"

    @property
    def held_names_copies(self) -> tuple[Path, Path]:
        """The same once more, and beside the distributions: any file, or the state, may be lost."""
        return (self.state / "held-copy.json", self.distributions / ".held.json")

    @property
    def services_seen(self) -> Path:
        """What was judged of the services when somebody last looked at them."""
        return self.state / "services.json"

    @property
    def troubles(self) -> Path:
        """The problems that the user was notified of; exists only while there are any."""
        return self.state / "troubles"

    def mirror(self, name: str) -> Path:
        """A bare copy of the repository `NS/PROJ`; may be deleted at any time."""
        return self.cache / "mirrors" / f"{name.casefold()}.git"

    def build_log(self, name: str, tag: str) -> Path:
        """What the last failed build of a tag wrote."""
        escaped = tag.replace("%", "%25").replace("/", "%2F")
        return self.build_logs(name) / f"{escaped}.log"

    def build_logs(self, name: str) -> Path:
        """What failed builds of the repository `NS/PROJ` wrote; may be deleted at any time."""
        return self.cache / "build-logs" / name.casefold()

    @property
    def glances(self) -> Path:
        """Repositories of one commit each, for as long as their files are read."""
        return self.cache / "glances"

    @property
    def builds(self) -> Path:
        """Source trees under construction; emptied by the next update."""
        return self.cache / "builds"

    def hidden_from_builds(self) -> tuple[Path, ...]:
        """Return the directories of the user that no sandboxed build sees."""
        return (Path.home(), self.config, self.data, self.state, self.cache)


def runtime_directory() -> Path:
    """Return `$XDG_RUNTIME_DIR`, or where systemd has it, for a shell that lacks the variable."""
    return Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}"))


def default_paths() -> Paths:
    """Find the directories of the current user, `$XDG_*_HOME` respected."""
    directories = PlatformDirs("pypi-insiders", appauthor=False)
    return Paths(
        config=directories.user_config_path,
        data=directories.user_data_path,
        state=directories.user_state_path,
        cache=directories.user_cache_path,
    )
