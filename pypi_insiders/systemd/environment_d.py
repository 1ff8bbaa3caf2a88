"""Install the variables that point clients to the index in environment.d."""

from collections.abc import Mapping
from pathlib import Path

from pypi_insiders.config.client_variables import MEMORY, remember
from pypi_insiders.config.paths import Paths
from pypi_insiders.systemd import systemctl
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import read_text, remove, write_atomic

_MARK = "# Installed by pypi-insiders"
_HEAD = f"{_MARK}; `pypi-insiders env --uninstall` removes it.\n"
_NAME = "60-pypi-insiders.conf"


def install(values: Mapping[str, str], excepted: Mapping[str, str]) -> tuple[Path, bool]:
    """Write a file of variables, and reload the user manager.

    Args:
        values: the variables; values must not contain quotes, `$`, backslashes or spaces.
        excepted: `no_proxy` variables and the host to add to them.

    Returns:
        The file, and whether it was created or changed.

    Raises:
        InsidersError: the user manager is unavailable, the file was not written by this program, or
            it cannot be written.

    Source: environment.d(5); systemd.environment-generator(7), which daemon-reload runs.
    """
    path = _file(systemctl.manager())
    lines = [f"{name}={value}\n" for name, value in values.items()]
    # The manager expands it, because other files may set a no_proxy that this shell does not have.
    # `:+` adds the comma only if the variable is set.
    lines += [f"{name}=${{{name}:+${name},}}{host}\n" for name, host in excepted.items()]
    # Shells of the session inherit the record, so `env --unset` works there, too.
    lines.append(f"{MEMORY}={remember({**values, **excepted}, {})}\n")
    text = _HEAD + "".join(lines)
    if _read_ours(path) == text:
        return path, False
    write_atomic(path, text)
    systemctl.call("daemon-reload")
    return path, True


def uninstall(paths: Paths) -> Path | None:
    """Remove the file of `install`; return its path, or `None` if it does not exist.

    Raises:
        InsidersError: the file was not written by this program, or cannot be removed.
    """
    path = installed(paths)
    if path is not None:
        remove(path)
        # Without a user manager nothing is left that has read the file.
        systemctl.try_call("daemon-reload")
    return path


def installed(paths: Paths) -> Path | None:
    """Return the file that `install` wrote; `None` if there is none.

    Raises:
        InsidersError: the file is not ours, or cannot be read.
    """
    try:
        path = _file(systemctl.manager())
    except InsidersError:
        # In a container or over ssh there may be no user manager, and the file must go, too.
        path = _in(paths.config.parent)
    return None if _read_ours(path) is None else path


def _file(manager: systemctl.Manager) -> Path:
    # In the manager's configuration directory: XDG_CONFIG_HOME may be set in this shell only.
    return _in(manager.unit_directory.parent.parent)


def _in(config_home: Path) -> Path:
    return config_home / "environment.d" / _NAME


def _read_ours(path: Path) -> str | None:
    text = read_text(path)
    if text is not None and not text.startswith(_MARK):
        raise InsidersError(
            f"{path} already exists, and was not written by pypi-insiders",
            "move that file away",
        )
    return text
