"""The paths of the user's and the program's files."""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

from pypi_insiders.util.errors import InsidersError


class Locks:
    """The lock files.

    Source: flock(2).
    """

    def __init__(self, state: Path) -> None:
        self._state = state

    @property
    def updates(self) -> Path:
        """Held while releases are built, published or purged."""
        return self._state / "update.lock"

    @property
    def pending(self) -> Path:
        """Held by an update for as long as its list of pending repositories is valid."""
        # Not `updates`, which other commands hold, too: whether an update runs is seen by this one.
        return self._state / "pending.lock"

    @property
    def held_names(self) -> Path:
        """Held while the list of held names is changed."""
        return self._state / "held.lock"

    @property
    def yanks(self) -> Path:
        """Held while the lists of yanked and taken-back releases are changed."""
        return self._state / "yanks.lock"

    @property
    def repositories(self) -> Path:
        """Held while `repos.toml` is changed, and while a release is published."""
        # Both, so that no release of a repository is published after its removal.
        return self._state / "repos.lock"

    @property
    def passwords(self) -> Path:
        """Held while a password is changed."""
        return self._state / "passwords.lock"

    def releases(self, project: str) -> Path:
        """Held while `release-command` runs for new releases of a project."""
        return self._state / "released" / project / "lock"

    @property
    def exports(self) -> Path:
        """Held while the index is exported."""
        return self._state / "export.lock"

    @property
    def troubles(self) -> Path:
        """Held while notifications are sent."""
        return self._state / "troubles.lock"


# A named tuple, as many values that each command imports: making a frozen dataclass takes 0.5 ms,
# this 0.06 ms.
class Paths(NamedTuple):
    """The four base directories and the paths below them.

    Source: XDG Base Directory Specification.
    """

    config: Path
    data: Path
    state: Path
    cache: Path

    @property
    def locks(self) -> Locks:
        """The locks."""
        # In the state directory, which sandboxed services can write, unlike the configuration.
        return Locks(self.state)

    @property
    def settings(self) -> Path:
        """`config.toml`: written by the user and by `config edit`."""
        return self.config / "config.toml"

    @property
    def repositories(self) -> Path:
        """`repos.toml`: written by the `repos` commands and by the user."""
        return self.config / "repos.toml"

    @property
    def passwords(self) -> Path:
        """`passwords`: hashed passwords; written by `server password` and `server token`."""
        return self.config / "passwords"

    @property
    def hook_secret(self) -> Path:
        """`hook-secret`: signs hooks; written by `server hook`."""
        return self.config / "hook-secret"

    @property
    def distributions(self) -> Path:
        """The sdists and wheels that the index serves."""
        return self.data / "dists"

    @property
    def record(self) -> Path:
        """A cache of the metadata of all distribution files."""
        return self.state / "distributions.sqlite"

    @property
    def pending(self) -> Path:
        """The repositories that a running update has not finished; exists only meanwhile."""
        return self.state / "pending.json"

    @property
    def held_names(self) -> Path:
        """Every project name that is never redirected to the fallback index."""
        return self.state / "held.json"

    @property
    def services_seen(self) -> Path:
        """The last reported status of the services."""
        return self.state / "services.json"

    @property
    def troubles(self) -> Path:
        """The problems that were notified and still exist; missing if there are none."""
        return self.state / "troubles"

    @property
    def new_releases(self) -> Path:
        """The releases for which `release-command` has not run yet."""
        return self.state / "released"

    def mirror(self, name: str) -> Path:
        """The bare mirror of the repository `NS/PROJ`; may be deleted at any time."""
        return self.cache / "mirrors" / f"{file_name(name)}.git"

    @property
    def glances(self) -> Path:
        """Temporary repositories of a single commit, whose files are read."""
        return self.cache / "glances"

    @property
    def builds(self) -> Path:
        """Workspaces of builds; emptied by the next update."""
        return self.cache / "builds"


def file_name(name: str) -> str:
    """Return the relative path, without its suffix, of a file of the repository `NS/PROJ`."""
    # Forges ignore case: two spellings of a name are one repository.
    namespace, _, rest = name.casefold().partition("/")
    # Deeper parts are no directories, which the file of a shorter name could already be.
    return f"{namespace}/{rest.replace('/', '%2F')}"


def hidden_from_builds(paths: Paths) -> tuple[Path, ...]:
    """Return the directories that are hidden from sandboxed builds."""
    # Besides the home: XDG variables may place the others outside of it.
    return (Path.home(), paths.config, paths.data, paths.state, paths.cache)


def held_names_copies(paths: Paths) -> tuple[Path, Path]:
    """Return the copies of `held_names`."""
    # The second is outside of the state directory: if that is lost, private names must still not
    # be asked of the fallback index.
    return (paths.state / "held-copy.json", paths.distributions / ".held.json")


def build_logs(paths: Paths, name: str) -> Path:
    """Return the directory with the output of failed builds of `NS/PROJ`; it may be deleted."""
    return paths.cache / "build-logs" / file_name(name)


def build_log(paths: Paths, name: str, tag: str) -> Path:
    """Return the file with the output of the last failed build of a tag of `NS/PROJ`."""
    # `%` too, or the tags `a/b` and `a%2Fb` would have one file.
    escaped = tag.replace("%", "%25").replace("/", "%2F")
    return build_logs(paths, name) / f"{escaped}.log"


def runtime_directory() -> Path:
    """Return `$XDG_RUNTIME_DIR`, or systemd's default."""
    # sudo, su and cron start shells without the variable. A relative path is invalid, as below.
    path = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    return path if path.is_absolute() else Path(f"/run/user/{os.getuid()}")


def default_paths() -> Paths:
    """Return the paths of the current user, with `$XDG_*_HOME` respected.

    Raises:
        InsidersError: `$HOME` is not an absolute path, or is that of the user of sudo(8).
    """
    _check_home()
    return Paths(
        config=_base("XDG_CONFIG_HOME", ".config"),
        data=_base("XDG_DATA_HOME", ".local/share"),
        state=_base("XDG_STATE_HOME", ".local/state"),
        cache=_base("XDG_CACHE_HOME", ".cache"),
    )


def _check_home() -> None:
    home, user = os.environ.get("HOME"), os.environ.get("SUDO_UID")
    # Python takes an empty one for `/`, and any other for a path below the working directory.
    if home is not None and not home.startswith("/"):
        raise InsidersError(
            f"HOME is {home!r}, which is not an absolute path",
            "set it to your home directory, or unset it",
        )
    # In a container the user may have a number alone.
    if home is None and not os.path.expanduser("~").startswith("/"):  # noqa: PTH111 - it would raise
        raise InsidersError(
            f"HOME is not set, and user {os.geteuid()} has no home directory", "set HOME"
        )
    if user is None or user == str(os.geteuid()):
        return
    with contextlib.suppress(OSError):
        # sudo may keep HOME. In a container root may have the home of another user on purpose.
        if str(Path.home().stat().st_uid) == user:
            raise InsidersError(
                f"sudo has kept HOME={home}: new files there would not belong to its owner",
                "run the command without sudo, or with `sudo -H`",
            )


def _base(variable: str, default: str) -> Path:
    # A relative path is invalid, and ignored. Source: XDG Base Directory Specification.
    path = Path(os.environ.get(variable, ""))
    return (path if path.is_absolute() else Path.home() / default) / "pypi-insiders"
