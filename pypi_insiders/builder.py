"""Build an sdist and a wheel from a source tree, with `build`."""

import contextlib
import logging
import os
import re
import subprocess
import sysconfig
import tarfile
import threading
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pypi_insiders import distribution
from pypi_insiders.distribution import DistributionError
from pypi_insiders.errors import InsidersError
from pypi_insiders.process import Containment

# `build` and its kin are imported where something is built: most updates have nothing to build.
if TYPE_CHECKING:
    import build
    from build.env import DefaultIsolatedEnv

_log = logging.getLogger(__name__)

HOOK_TIMEOUT_S = 3600
INSTALL_TIMEOUT_S = 900
_FIRST_USE = threading.Lock()

# What a build hook gets of our environment. The rest may hold credentials.
_INHERITED = (
    "CURL_CA_BUNDLE",
    "PATH",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
)
_PROXIES = ("all_proxy", "http_proxy", "https_proxy", "no_proxy")
# Debian and Arch, Fedora and SUSE. Where there is none, uv brings certificates of its own.
_CERTIFICATE_STORES = ("/etc/ssl/certs", "/etc/pki/tls/certs")
_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")


class BuildError(InsidersError):
    """A project does not build.

    Args:
        output: what the build wrote, complete.
    """

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


@dataclass(frozen=True)
class Distributions:
    """One sdist and one wheel of the same release."""

    name: str
    """Normalized."""
    version: str
    sdist: Path
    wheel: Path


@contextlib.contextmanager
def build_environment(own_index: str) -> Iterator[None]:
    """Set up this process so that `build` and its installer work unattended.

    Build requirements must not come from our own index, or a package that needs itself to build
    would depend on what it built before.

    Args:
        own_index: the URL of our index up to the port, such as `http://127.0.0.1:31411`.
    """
    before = os.environ.copy()
    umask = os.umask(0o022)
    show = warnings.showwarning
    # Those of the build backends, which `build` repeats here: for who asks for every step.
    warnings.showwarning = lambda message, *_: _log.debug("%s", message)
    try:
        if any(Path(store).is_dir() for store in _CERTIFICATE_STORES):
            # A company's own authority is known there, and no unit has SSL_CERT_FILE set.
            os.environ.setdefault("UV_SYSTEM_CERTS", "1")
        for variable in _INDEX_VARIABLES:
            if own_index in os.environ.get(variable, ""):
                del os.environ[variable]
        yield
    finally:
        warnings.showwarning = show
        os.umask(umask)
        os.environ.clear()
        os.environ.update(before)


def build_distributions(
    source: Path, workspace: Path, *, epoch_s: int, containment: Containment
) -> Distributions:
    """Build an sdist from a source tree, and a wheel from that sdist, in an isolated environment.

    Args:
        source: the project, with its `pyproject.toml` or `setup.py`.
        workspace: an existing directory for everything that comes up; the results lie in it.
        epoch_s: the clock of the build, in seconds of the epoch.
        containment: in which the build hooks run.

    Raises:
        BuildError: the project does not build, or what it built does not agree with itself.

    Source: PEP 517; https://reproducible-builds.org/specs/source-date-epoch/
    """
    from build.env import DefaultIsolatedEnv

    with _FIRST_USE:
        # Its first call is not safe in threads: https://github.com/python/cpython/issues/92452
        sysconfig.get_config_vars()
    output = workspace / "dist"
    home = workspace / "home"
    unpacked = workspace / "sdist"
    for directory in (output, home, unpacked):
        directory.mkdir()
    runner = _Runner(containment, home, epoch_s)
    with (
        _translated(runner),
        DefaultIsolatedEnv(installer="uv", path=str(workspace / "env")) as env,
    ):
        sdist = _build(env, source, "sdist", output, runner)
        wheel = _build(env, _unpack(sdist, unpacked), "wheel", output, runner)
    return check(sdist, wheel)


def _build(
    env: "DefaultIsolatedEnv",
    source: Path,
    distribution: "build.DistributionType",
    output: Path,
    runner: "_Runner",
) -> Path:
    import build

    builder = build.ProjectBuilder.from_isolated_env(env, source, runner)
    _install(env, builder.build_system_requires, runner)
    _install(env, builder.get_requires_for_build(distribution), runner)
    return Path(builder.build(distribution, output))


def _proxies() -> dict[str, str]:
    """Take over the proxies, in both spellings, that need no password."""
    names = [*_PROXIES, *map(str.upper, _PROXIES)]
    return {name: os.environ[name] for name in names if "@" not in os.environ.get(name, "@")}


def _install(env: "DefaultIsolatedEnv", requirements: set[str], runner: "_Runner") -> None:
    """Install build requirements, from wheels only.

    Not by `env.install`: a requirement that is a source would run its own code, with all of our
    environment (which may be needed to reach an index), and one that starts with `-` would be an
    option of uv.
    """
    if not requirements:
        return
    from uv import find_uv_bin

    argv = (find_uv_bin(), "pip", "install", "--no-build", "--python", env.python_executable)
    result = runner.containment.run(
        (*argv, "--", *sorted(requirements)),
        timeout_s=INSTALL_TIMEOUT_S,
        environment={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        directory=runner.home,  # where no uv.toml of the project is found
    )
    if result.status != 0:
        raise BuildError(
            f"its build requirements cannot be installed: {_cause(result.stdout)}", result.stdout
        )


class _Runner:
    """Run build hooks with a clean environment, and keep what they write."""

    def __init__(self, containment: Containment, home: Path, epoch_s: int) -> None:
        self.output = ""
        self.containment = containment
        self.home = home
        self._environment = {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            **_proxies(),
            "HOME": str(home),
            "TMPDIR": str(home),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONHASHSEED": "0",
            "SOURCE_DATE_EPOCH": str(epoch_s),
        }

    def __call__(
        self,
        cmd: Sequence[str],
        cwd: str | None = None,
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        result = self.containment.run(
            cmd,
            timeout_s=HOOK_TIMEOUT_S,
            environment={**self._environment, **(extra_environ or {})},
            directory=Path(cwd or "/"),
        )
        self.output += result.stdout
        for line in result.stdout.splitlines():
            _log.debug("%s", line)
        if result.status != 0:
            raise subprocess.CalledProcessError(result.status, cmd)


@contextlib.contextmanager
def _translated(runner: _Runner) -> Iterator[None]:
    """Turn every way in which a build can fail into one error with the build's output."""
    import build

    try:
        yield
    except BuildError as error:
        raise BuildError(error.message, runner.output + error.output) from error
    except build.BuildBackendException as error:
        if isinstance(error.exception, InsidersError):
            raise BuildError(error.exception.message, runner.output) from error
        cause = _last_line(runner.output) or str(error.exception)
        raise BuildError(f"{error}: {cause}", runner.output) from error
    except (build.BuildException, tarfile.TarError, zipfile.BadZipFile) as error:
        raise BuildError(str(error), runner.output) from error


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _cause(text: str) -> str:
    """Pick what uv calls the innermost cause of its failure, or else the error."""
    lines = [line.strip() for line in text.splitlines()]
    for word in ("cause: ", "error: "):
        if told := [line.removeprefix(word) for line in lines if line.startswith(word)]:
            return told[-1]
    return _last_line(text)


def _unpack(sdist: Path, directory: Path) -> Path:
    """Unpack an sdist; return the one directory in it.

    Raises:
        BuildError: it is not of the form that the specification demands, or has members that
            would land outside.

    Source: https://packaging.python.org/en/latest/specifications/source-distribution-format/
    """
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(directory, filter="data")
        else:  # Python 3.11 before 3.11.4
            for member in archive:
                inside = (directory / member.name).resolve().is_relative_to(directory.resolve())
                if not inside or not (member.isfile() or member.isdir()):
                    raise BuildError(f"{sdist.name} contains {member.name}, which is not allowed")
            archive.extractall(directory)  # noqa: S202 - checked above
    roots = list(directory.iterdir())
    if len(roots) != 1 or not roots[0].is_dir():
        raise BuildError(f"{sdist.name} must contain exactly one directory")
    return roots[0]


def check(sdist: Path, wheel: Path) -> Distributions:
    """Check that an sdist and a wheel are of one release, by their names.

    Raises:
        BuildError: they are not.
    """
    try:
        name, version = distribution.release_of(wheel.name)
        of_sdist = distribution.release_of(sdist.name)
    except DistributionError as error:
        raise BuildError(error.message) from error
    if re.search(r"-\d", sdist.name.rpartition("-")[0]):
        # Installers and pypiserver do not agree on where such a name ends and its version begins.
        raise BuildError(f"{sdist.name} can be read as another distribution")
    if of_sdist != (name, version):
        raise BuildError(f"{sdist.name} and {wheel.name} are not the same release")
    return Distributions(name, str(version), sdist, wheel)
