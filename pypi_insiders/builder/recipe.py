"""Describe how a release is built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import Version

from pypi_insiders.builder.environments import Bytecode
from pypi_insiders.builder.user_files import UserFiles


@dataclass(frozen=True)
class Recipe:
    """The settings of a build."""

    epoch_s: int
    """`SOURCE_DATE_EPOCH`: the time of the commit in seconds of the epoch."""
    subdirectory: str = "."
    """The directory of the project in the source tree."""
    pythons: tuple[str, ...] = ()
    """Python versions to build wheels for; empty: the interpreter of this process."""
    network: bool = False
    """Whether build hooks may use HTTP and HTTPS to other machines."""
    as_of_commit: bool = True
    """Whether build requirements are resolved as of the time of the commit."""
    has_sdist: bool = True
    """Whether an sdist is built, and the wheels from it; otherwise from the source tree."""
    has_wheels: bool = True
    """Whether wheels are built."""
    source_depth: int = 0
    """How deep build requirements without a wheel are built from their sdists; 0: not at all."""
    strangers: frozenset[str] = frozenset()
    """Normalized names of projects that may not be build requirements."""
    readable: tuple[Path, ...] = ()
    """Additional paths that build hooks may read."""
    bytecode: Bytecode | None = None
    """Bytecode of build requirements, shared between builds."""
    user_files: UserFiles = field(default_factory=UserFiles)
    """The files of the user that build hooks may read."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Additional variables of build hooks."""
    is_wanted: Callable[[Version], bool] | None = None
    """Whether a build of this version is wanted; `None`: of any version."""
