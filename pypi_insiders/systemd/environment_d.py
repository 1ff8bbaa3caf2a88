"""Give the variables that lead to the index to everything that the user's manager starts."""

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
    """Write the variables where the manager reads them, and have it read them.

    Args:
        values: what they are to be; no value has a quote, a `$`, a backslash or a space.
        excepted: the host to except from the proxies of the session, for each variable that says
            so; what is excepted already stays so.

    Returns:
        The file, and whether it is new or was changed.

    Raises:
        InsidersError: there is no user manager, the file is not ours, or it cannot be written.

    Source: environment.d(5); systemd.environment-generator(7), which daemon-reload runs.
    """
    path = _file(systemctl.manager())
    lines = [f"{name}={value}\n" for name, value in values.items()]
    # Expanded by the manager when it reads the file, as a login of another place may set a proxy
    # that this shell does not know. `:+` leaves the comma out where nothing was excepted.
    lines += [f"{name}=${{{name}:+${name},}}{host}\n" for name, host in excepted.items()]
    # Shells of the session inherit it, and `env --unset` takes the values back there too.
    lines.append(f"{MEMORY}={remember({**values, **excepted}, {})}\n")
    text = _HEAD + "".join(lines)
    if _read_ours(path) == text:
        return path, False
    write_atomic(path, text)
    systemctl.call("daemon-reload")
    return path, True


def uninstall(paths: Paths) -> Path | None:
    """Remove what `install` wrote; return the file, or `None` if there was none.

    Works without a user manager, too; then it is looked for where this shell would have it.

    Raises:
        InsidersError: the file is not ours, or cannot be removed.
    """
    path = installed(paths)
    if path is not None:
        remove(path)
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
        # In a container or over ssh without a manager it must be found, and removed, too.
        path = _in(paths.config.parent)
    return None if _read_ours(path) is None else path


def _file(manager: systemctl.Manager) -> Path:
    # Beside its units: XDG_CONFIG_HOME may be set only in this shell.
    return _in(manager.unit_directory.parent.parent)


def _in(config_home: Path) -> Path:
    return config_home / "environment.d" / _NAME


def _read_ours(path: Path) -> str | None:
    text = read_text(path)
    if text is not None and not text.startswith(_MARK):
        raise InsidersError(f"{path} is there and was not written by pypi-insiders", "move it away")
    return text
