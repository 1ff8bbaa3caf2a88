"""Build an sdist and wheels from a source tree, with `build`."""

import contextlib
import json
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from pypi_insiders.builder import configuration, environments
from pypi_insiders.builder.environments import Bytecode, Environment, RequirementError
from pypi_insiders.builder.sandbox import Confines, View
from pypi_insiders.config.client_variables import URL
from pypi_insiders.index import archives, distribution
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import hint_for, shortage
from pypi_insiders.util.plain_text import encodable
from pypi_insiders.util.trees import remove_foreign_tree

# `build` and its kin are imported where something is built: most updates have nothing to build.
if TYPE_CHECKING:
    from build import DistributionType

_log = logging.getLogger(__name__)

HOOK_TIMEOUT_S = 3600
_FIRST_USE = threading.Lock()
_LINE_CHARS = 400
_SHOWN_CHARS = 80
_ANSWER_LIMIT_BYTES = 1024 * 1024
_CONFIGURATION_LIMIT_BYTES = 1024 * 1024

# What a build hook gets of our environment. The rest may hold credentials.
_INHERITED = ("PATH",)
_CERTIFICATES = ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE")
_PROXIES = ("all_proxy", "http_proxy", "https_proxy", "no_proxy")
# Debian and Arch, Fedora and SUSE. Where there is none, uv brings certificates of its own.
_CERTIFICATE_STORES = ("/etc/ssl/certs", "/etc/pki/tls/certs")
_ONLY_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_INDEX_VARIABLES = (*_ONLY_INDEX_VARIABLES, "UV_INDEX", "UV_EXTRA_INDEX_URL")


class BuildError(InsidersError):
    """A project does not build.

    Args:
        output: what the build wrote, complete.
    """

    def __init__(self, message: str, output: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.output = output


@dataclass(frozen=True)
class Recipe:
    """How a release is built."""

    epoch_s: int
    """The clock of the build: the time of the commit, in seconds of the epoch."""
    subdirectory: str = "."
    """Where in the source tree the project lies."""
    pythons: tuple[str, ...] = ()
    """For which interpreters; none: for the one that runs us."""
    network: bool = False
    """Whether its hooks may use HTTP and HTTPS to other machines."""
    as_of_commit: bool = True
    """Whether build requirements are those of the time of the commit."""
    readable: tuple[Path, ...] = ()
    """What the hooks may read beside the source tree."""
    bytecode: Bytecode | None = None
    """That of build requirements, shared with other builds."""


@dataclass(frozen=True)
class Distributions:
    """One sdist and the wheels of the same release."""

    name: str
    """Normalized."""
    version: str
    sdist: Path
    wheels: tuple[Path, ...]
    requirements: dict[str, str] = field(default_factory=dict)
    """What was installed to build it, name to version."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.sdist, *self.wheels)


@contextlib.contextmanager
def build_environment(own_index: str, fallback_url: str | None = None) -> Iterator[None]:
    """Set up this process so that `build` and its installer work unattended.

    Build requirements must not come from our own index, or a package that needs itself to build
    would depend on what it built before.

    Args:
        own_index: the URL of our index up to the port, such as `http://127.0.0.1:31411`.
        fallback_url: where it leads for other names, which takes its place as the only index;
            `None` is uv's own default.
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
        _lead_past({own_index, os.environ.get(URL, own_index)}, fallback_url)
        yield
    finally:
        warnings.showwarning = show
        os.umask(umask)
        os.environ.clear()
        os.environ.update(before)


def _lead_past(indexes: Iterable[str], fallback_url: str | None) -> None:
    """Take these indexes out of the variables of uv, and leave all others.

    Args:
        indexes: their URLs up to the port.
        fallback_url: what takes the place of one that is to be the only one.
    """
    starts = tuple(
        f"{index.replace('//127.0.0.1:', f'//{host}:')}/"
        for index in indexes
        for host in ("127.0.0.1", "localhost", "[::1]")
    )
    for variable in _INDEX_VARIABLES:
        urls = os.environ.get(variable, "").split()
        others = [url for url in urls if not any(start in f"{url}/" for start in starts)]
        if len(others) == len(urls):
            continue
        if fallback_url and variable in _ONLY_INDEX_VARIABLES:
            others.append(fallback_url)
        os.environ[variable] = " ".join(others)
        if not others:
            del os.environ[variable]


def build_distributions(
    source: Path, workspace: Path, recipe: Recipe, confines: Confines
) -> Distributions:
    """Build an sdist from a source tree, and wheels from that sdist, in isolated environments.

    The same source tree and recipe give the same bytes, as far as its build backend lets them.

    Args:
        source: a source tree below the workspace.
        workspace: an existing directory for everything that comes up; the results lie in it.
        recipe: how it is built.
        confines: in what its build hooks run.

    Raises:
        BuildError: the project does not build, or what it built does not agree with itself.
        InsidersError: it cannot be built now, for no reason of its own.

    Source: PEP 517; https://reproducible-builds.org/specs/source-date-epoch/
    """
    with _FIRST_USE:
        # Its first call is not safe in threads: https://github.com/python/cpython/issues/92452
        sysconfig.get_config_vars()
    work = _Work(workspace, recipe, confines)
    with _translated(work):
        unpacked = work.sdist(source)
        wheels = tuple(work.wheels(unpacked))
        return check(work.finished / f"{unpacked.name}.tar.gz", wheels, work.requirements)


class _Work:
    """One build: a workspace, the environments in it, and what its hooks wrote."""

    def __init__(self, workspace: Path, recipe: Recipe, confines: Confines) -> None:
        self.output = ""
        self.requirements: dict[str, str] = {}
        self.finished = workspace / "finished"
        self._workspace = workspace
        self._recipe = recipe
        self._confines = confines
        self._dist = workspace / "dist"
        self._home = workspace / "home"
        self._taken_directory = workspace / "built"
        for directory in (self.finished, self._dist, self._home, self._taken_directory):
            directory.mkdir()
        self._runs = 0
        self._environments: dict[tuple[str, frozenset[str]], Environment] = {}

    def sdist(self, source: Path) -> Path:
        """Build an sdist, pack it anew in a fixed form, and return it unpacked.

        It is named as its directory.
        """
        pythons = self._pythons()
        project = source / self._recipe.subdirectory
        if not project.resolve().is_relative_to(source.resolve()) or not project.is_dir():
            raise BuildError(f"it has no directory {self._recipe.subdirectory}")
        built = self._build("sdist", project, source, pythons[0])
        directory = self._workspace / "sdist"
        directory.mkdir()
        root = archives.unpack_sdist(built, directory, self._recipe.epoch_s)
        if built.name != f"{root.name}.tar.gz":
            raise BuildError(f"{built.name} must contain the directory {built.name[:-7]}")
        archives.pack_sdist(root, self.finished / built.name, self._recipe.epoch_s)
        return root

    def wheels(self, unpacked: Path) -> Iterator[Path]:
        """Build a wheel from an unpacked sdist, or one for each interpreter where they differ."""
        done = set()
        for number, python in enumerate(self._pythons()):
            if number:
                # As it was before the first build.
                remove_foreign_tree(unpacked)
                archive = self.finished / f"{unpacked.name}.tar.gz"
                archives.unpack_sdist(archive, unpacked.parent, self._recipe.epoch_s)
            built = self._build("wheel", unpacked, unpacked, python)
            if built.name not in done:
                archives.check(built)
                done.add(built.name)
                yield Path(shutil.move(built, self.finished / built.name))
            if built.name.endswith("-none-any.whl"):
                return

    def _pythons(self) -> list[str]:
        """Find the interpreters that are wanted, those that are here."""
        if not self._recipe.pythons:
            return [sys.executable]
        containment = self._confines.containment
        found = {
            version: environments.find_python(version, containment, self._workspace)
            for version in self._recipe.pythons
        }
        if missing := [version for version, path in found.items() if path is None]:
            _log.warning("no Python %s is here: no wheel is built for it", ", ".join(missing))
        if not (paths := [path for path in found.values() if path is not None]):
            raise BuildError(f"none of its Pythons is here: {', '.join(found)}")
        return paths

    def _build(self, kind: "DistributionType", project: Path, tree: Path, python: str) -> Path:
        """Run the hooks that build a distribution; return the file.

        Args:
            kind: of the distribution.
            project: the directory of its `pyproject.toml`.
            tree: what the hooks may change, the project in it.
            python: path of the interpreter.
        """
        import build

        _check_configuration(project)
        hooks = _Hooks(self, project, tree)
        builder = build.ProjectBuilder(project, "python", hooks)
        required = builder.build_system_requires
        hooks.environment = self._environment(python, required)
        required |= builder.get_requires_for_build(kind)
        hooks.environment = self._environment(python, required)
        builder.build(kind, self._dist)
        return self._taken(kind)

    def _environment(self, python: str, requirements: set[str]) -> Environment:
        """Make an environment, or give the one with the same requirements.

        An environment is never changed: after a hook has run in it, that would not be safe.
        """
        key = (python, frozenset(requirements))
        if key not in self._environments:
            recipe = self._recipe
            self._environments[key] = environments.make(
                self._workspace / f"env-{len(self._environments)}",
                requirements,
                python=python,
                as_of_s=recipe.epoch_s if recipe.as_of_commit else None,
                containment=self._confines.containment,
            )
            self.requirements |= self._environments[key].versions
            if recipe.bytecode is not None:
                recipe.bytecode.bring(self._environments[key], self._compile)
        return self._environments[key]

    def _compile(
        self, argv: Sequence[str], environment: Environment, output: Path, timeout_s: float
    ) -> Path:
        """Compile modules where build hooks run: they are as foreign."""
        view = View(
            self._workspace,
            writable=(output,),
            readable=(environment.directory, *environment.shown),
        )
        self._confines.run(
            argv,
            view,
            timeout_s=timeout_s,
            environment={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            directory=output,
        )
        modules = self._confines.inside(view, str(environment.directory / "lib"))
        return output / modules.removeprefix("/")

    def run(self, argv: Sequence[str], place: "_Place", variables: Mapping[str, str]) -> None:
        """Run a hook, and keep what it writes."""
        recipe, environment = self._recipe, place.environment
        view = View(
            self._workspace,
            writable=(place.tree, self._dist, self._home, place.control),
            readable=(environment.directory, *environment.shown, *recipe.readable),
            # Not that of the environment, in which a requirement can replace what it imports.
            network=environment.interpreter if recipe.network else None,
        )
        result = self._confines.run(
            [str(environment.python), *argv],
            view,
            timeout_s=HOOK_TIMEOUT_S,
            environment={**self._variables(environment), **variables},
            directory=place.project,
        )
        self.output += result.stdout
        for line in result.stdout.splitlines():
            _log.debug("%s", line)
        if result.status != 0:
            raise subprocess.CalledProcessError(result.status, argv)

    def inside(self, text: str) -> str:
        """Write the paths in a text as a hook sees them."""
        return self._confines.inside(View(self._workspace, ()), text)

    def control(self) -> Path:
        """Make a directory for what goes to and from one run of a hook."""
        self._runs += 1
        directory = self._workspace / f"control-{self._runs}"
        directory.mkdir()
        return directory

    def _variables(self, environment: Environment) -> dict[str, str]:
        names = (*_INHERITED, *(_CERTIFICATES if self._recipe.network else ()))
        inherited = {name: os.environ[name] for name in names if name in os.environ}
        return {
            **inherited,
            **(_proxies() if self._recipe.network else {}),
            "PATH": f"{environment.python.parent}:{inherited.get('PATH', os.defpath)}",
            "HOME": str(self._home),
            "TMPDIR": str(self._home),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONHASHSEED": "0",
            **self._bytecode(),
            "SOURCE_DATE_EPOCH": str(self._recipe.epoch_s),
        }

    def _bytecode(self) -> dict[str, str]:
        """Keep it out of the source tree."""
        if self._recipe.bytecode is not None:
            return {"PYTHONDONTWRITEBYTECODE": "1"}
        return {"PYTHONPYCACHEPREFIX": str(self._home / ".pycache")}

    def _taken(self, kind: str) -> Path:
        """Take what a hook has built out of its reach; refuse anything beside it."""
        names = sorted(os.listdir(self._dist))  # noqa: PTH208 - names are all that is wanted
        if len(names) != 1:
            raise BuildError(
                f"it built {', '.join(names)[:_LINE_CHARS] or 'nothing'} instead of one {kind}"
            )
        built = self._dist / names[0]
        _release_of(built.name)
        if distribution.is_wheel(built.name) != (kind == "wheel"):
            raise BuildError(f"it built {built.name} instead of one {kind}")
        if not stat.S_ISREG(built.lstat().st_mode):
            raise BuildError(f"it built {built.name}, which is no file")
        return built.rename(self._taken_directory / built.name)


@dataclass(frozen=True)
class _Place:
    """Where a hook runs."""

    project: Path
    """The directory of its `pyproject.toml`."""
    tree: Path
    """What it may change, the project in it."""
    control: Path
    environment: Environment


class _Hooks:
    """Run the hooks of a build backend for `build`.

    Nothing that a hook can write is given to `build` unseen: it gets a copy.

    Source: `pyproject_hooks`, whose script runs the hook and leaves the answer beside its input.
    """

    def __init__(self, work: _Work, project: Path, tree: Path) -> None:
        self.environment: Environment
        self._work = work
        self._project = project
        self._tree = tree

    def __call__(
        self,
        cmd: Sequence[str],
        cwd: str | None = None,  # noqa: ARG002 - it is that of the project
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        """Run one hook."""
        _, script, hook, directory = cmd
        control = self._work.control()
        shutil.copyfile(script, control / "hook.py")
        question = Path(directory, "input.json").read_text(encoding="utf-8")
        (control / "input.json").write_text(self._work.inside(question), encoding="utf-8")
        self._work.run(
            [str(control / "hook.py"), hook, str(control)],
            _Place(self._project, self._tree, control, self.environment),
            extra_environ or {},
        )
        Path(directory, "output.json").write_bytes(_answer_of(hook, control / "output.json"))


def _read_left(path: Path, limit_bytes: int) -> bytes | None:
    """Read a file that foreign code has left; `None`: it is a link, a pipe, or too much.

    Raises:
        FileNotFoundError: there is none.
        OSError: nothing can be read now.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or shortage(error):
            raise
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(limit_bytes + 1)
    return content if len(content) <= limit_bytes else None


def _answer_of(hook: str, path: Path) -> bytes:
    """Read what a hook has left as its answer, and give it on as far as `build` knows it.

    Raises:
        BuildError: it is no answer, or not of the type that the hook has.
        OSError: it cannot be read.

    Source: PEP 517, "Build backend interface"; `_in_process.py` of pyproject_hooks.
    """
    wanted = "a list of requirements" if hook.startswith("get_requires") else "a file name"
    try:
        raw = _read_left(path, _ANSWER_LIMIT_BYTES)
    except FileNotFoundError as error:
        raise BuildError(f"its build backend answers nothing to {hook}, not {wanted}") from error
    try:
        answer = None if raw is None else json.loads(raw)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise BuildError(f"its build backend answers what cannot be read to {hook}, not {wanted}")
    if answer.get("unsupported"):
        return json.dumps({"unsupported": True, "traceback": _text(answer, "traceback")}).encode()
    if answer.get("no_backend"):
        told = {name: _text(answer, name) for name in ("traceback", "backend_error")}
        return json.dumps({"no_backend": True, **told}).encode()
    value = answer.get("return_val")
    if not (_are_texts(value) if hook.startswith("get_requires") else _is_file_name(value)):
        raise BuildError(f"its build backend answers {_shown(value)} to {hook}, not {wanted}")
    return json.dumps({"return_val": value, "warnings": list(_warnings(answer))}).encode()


def _text(answer: dict[str, Any], name: str) -> str:
    text = answer.get(name, "")
    if not isinstance(text, str):
        raise BuildError(f"its build backend answers {_shown(text)} as its {name}, not a text")
    return text


def _warnings(answer: dict[str, Any]) -> Iterator[dict[str, object]]:
    """Take over the texts of warnings; where they come from is not told."""
    told = answer.get("warnings", [])
    for item in told if isinstance(told, list) else [told]:
        text = item.get("message") if isinstance(item, dict) else item
        if not isinstance(text, str):
            raise BuildError(f"its build backend answers {_shown(text)} as a warning, not a text")
        yield {"message": text, "filename": "", "lineno": 1}


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_file_name(value: object) -> bool:
    """Tell whether a value names a file in a directory, wherever that lies."""
    if not isinstance(value, str) or value in ("", ".", "..") or "/" in value or "\0" in value:
        return False
    return encodable(value) == value


def _shown(value: object) -> str:
    """Show a value of JSON in a few words."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        odd = [item for item in value if not isinstance(item, str)]
        if not odd:
            return "a list"
        return f"a list with {'a list' if isinstance(odd[0], list) else _shown(odd[0])} in it"
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def _check_configuration(project: Path) -> None:
    """Refuse a `pyproject.toml` that leads elsewhere, or that `build` could not understand.

    It is read outside of any sandbox.

    Raises:
        BuildError: it is such a one.
        InsidersError: it cannot be read now.
        OSError: likewise.
    """
    path = project / "pyproject.toml"
    if not os.path.lexists(path):
        return
    content = _read_left(path, _CONFIGURATION_LIMIT_BYTES)
    if content is None:
        raise BuildError("its pyproject.toml is no file, or too large")
    try:
        text = content.decode()
    except ValueError as error:
        raise BuildError(f"its pyproject.toml cannot be parsed: {error}") from error
    if complaint := configuration.complaint(text):
        raise BuildError(complaint)


def _proxies() -> dict[str, str]:
    """Take over the proxies, in both spellings, that need no password."""
    names = [*_PROXIES, *map(str.upper, _PROXIES)]
    return {name: os.environ[name] for name in names if "@" not in os.environ.get(name, "@")}


@contextlib.contextmanager
def _translated(work: _Work) -> Iterator[None]:
    """Turn every way in which a build can fail into one error with the build's output."""
    import build

    try:
        yield
    except (BuildError, RequirementError) as error:
        raise BuildError(error.message, work.output + error.output) from error
    except DistributionError as error:
        raise BuildError(error.message, work.output) from error
    except build.BuildBackendException as error:
        if isinstance(error.exception, BuildError):
            raise BuildError(error.exception.message, work.output) from error
        if isinstance(error.exception, InsidersError):
            raise error.exception from error  # which is no fault of the project
        if lacking := shortage(error.exception):  # nor is this
            raise InsidersError(
                f"it cannot be built now: {lacking.strerror}", hint_for(lacking)
            ) from error
        cause = _last_line(work.output) or _last_line(str(error.exception))
        what = str(error)
        traceback = getattr(error.exception, "traceback", None)
        if traceback and repr(traceback) in what:  # of an UnsupportedOperation of the backend
            what, cause = "its build backend refuses", _last_line(traceback)
        raise BuildError(f"{what}: {cause}", work.output) from error
    except build.BuildException as error:
        raise BuildError(str(error), work.output) from error


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def check(
    sdist: Path, wheels: Sequence[Path], requirements: dict[str, str] | None = None
) -> Distributions:
    """Check that an sdist and wheels are of one release, by their names.

    Raises:
        BuildError: they are not.
    """
    name, version = _release_of(sdist.name)
    if re.search(r"-\d", sdist.name.rpartition("-")[0]):
        # Installers and pypiserver do not agree on where such a name ends and its version begins.
        raise BuildError(f"{sdist.name} can be read as another distribution")
    for wheel in wheels:
        if _release_of(wheel.name) != (name, version):
            raise BuildError(f"{sdist.name} and {wheel.name} are not the same release")
    return Distributions(name, str(version), sdist, tuple(wheels), requirements or {})


def _release_of(name: str) -> tuple[str, Version]:
    """Read name and version out of a file name.

    Raises:
        BuildError: it is the name of no distribution.
    """
    try:
        return distribution.release_of(name)
    except DistributionError as error:
        raise BuildError(error.message) from error
