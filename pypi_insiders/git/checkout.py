"""Check out commits as self-contained work trees."""

import contextlib
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pypi_insiders.git import credentials, lfs
from pypi_insiders.git.command import FETCH_TIMEOUT_S, GitSettings, attempt, git, in_mirror, in_tree
from pypi_insiders.git.credentials import GITS_OWN, Access
from pypi_insiders.git.diagnosis import Remote, explain
from pypi_insiders.git.errors import UnexplainedError, UnfitError
from pypi_insiders.git.mirror import SHA256, Mirror
from pypi_insiders.git.submodules import OutsideError, Submodule, check_place, submodules_of
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import cannot
from pypi_insiders.util.trees import paths_below, remove_tree, target_in

_log = logging.getLogger(__name__)

# Git itself has no limit: two repositories can be submodules of each other.
_DEPTH = 10
_TIME_DIGITS = 20
# Of gzip (RFC 1952, `MTIME` of 32 bits); that of zip is 2107.
_LATEST_S = 2**32 - 1
_SHA256_DIGITS = 64

# Invalid file names and link targets. Source: verify_path in git's read-cache.c.
_IMPOSSIBLE = re.compile(
    r"^error: (?:invalid path '|unable to create symlink .*: No such file)|: File name too long$"
    r"|^fatal: cannot create directory at '.{1000}",  # git cuts off the end, with the reason
    re.MULTILINE,
)

# The same settings on every machine, and no remote, so that git never connects. Written into the
# repository and not passed as options, because build hooks run git themselves.
_CONFIG = """\
[core]
	autocrlf = false
	eol = lf
	hooksPath = /dev/null
	attributesFile = /dev/null
	fsmonitor = false
	untrackedCache = false
[gc]
	auto = 0
[maintenance]
	auto = false
[submodule]
	active = .
"""


Allowed = Sequence[str] | Literal[False] | None


def export(  # noqa: PLR0913  # what a commit is checked out with
    mirror: Path,
    commit: str,
    tree: Path,
    access: Access = GITS_OWN,
    *,
    tag: str | Literal[False] | None = None,
    submodules: Allowed = None,
    has_lfs: bool = False,
    project: str = ".",
) -> int:
    """Check out a commit as a new work tree with history, tags and submodules.

    Missing objects are fetched first. The tree has no remote and uses the objects of the mirror,
    which must not be moved; contents of other commits may be missing. No settings, hooks or filters
    apply. All files get the time of the commit.

    Args:
        mirror: a mirror filled by `fetch`.
        commit: full hash.
        tree: a directory that does not exist.
        access: the access to the host for missing objects.
        tag: the only name of the commit in the tree, whatever it and other tags name in the mirror;
            `False`: it has none; `None`: the tags are as in the mirror.
        submodules: allowed places of submodules besides the namespace of the repository; `None`:
            anywhere; `False`: none is checked out.
        has_lfs: whether the files of Git LFS replace the pointers to them.
        project: a directory of the repository. Links from it to files elsewhere in the repository
            become copies: `LICENSE` is often such a link, and backends refuse to leave the project.

    Returns:
        The time of the commit in seconds of the epoch.

    Raises:
        OutsideError: a submodule is in a place that is not allowed.
        UnfitError: it is not a commit, its time, a file name or `.gitmodules` is invalid, or a file
            of Git LFS is missing.
        UnreachableError: an object is missing, and the host is unreachable.
        InsidersError: the commit is missing, or the disk cannot be written.

    Source: gitrepository-layout(5), `objects/info/alternates`; gitattributes(5).
    """
    # With history and tags, because many build backends derive the version from them.
    exporter, of = _opened(mirror, access, submodules, has_lfs=has_lfs)
    exporter.check_out(of, commit, tree)
    time_s = _time_of(mirror, commit)
    if tag is not None:
        _name_by(tag, commit, tree)
    _copy_linked(tree / project, tree)
    # Last, because a checkout and a tag change times of files, too.
    exporter.settle(tree, time_s)
    return time_s


def _name_by(tag: str | Literal[False], commit: str, tree: Path) -> None:
    """Remove all other tags of a commit from a tree, or all of them.

    Tools that read the version from git would take any of several: `v1` in place of `v1.2.3`.
    """
    listed = in_tree(
        tree, "for-each-ref", "--format=%(refname:lstrip=2)", f"--points-at={commit}", "refs/tags"
    )
    names = listed.splitlines()
    if others := [f"delete refs/tags/{name}" for name in names if name != tag]:
        # There can be more of them than fit on a command line.
        in_tree(tree, "update-ref", "--stdin", stdin=others)
    if tag and tag not in names:
        in_tree(tree, "tag", "--force", "--", tag, commit)


def _copy_linked(project: Path, tree: Path) -> None:
    """Replace links that lead out of a project to files of its repository by those files."""
    inside = target_in(project, tree)
    if inside is None or not inside.is_dir():
        return
    for link in [path for path in paths_below(inside, but=".git") if path.is_symlink()]:
        # Not below .git, where git keeps files that are not of the commit.
        target = target_in(link, tree)
        if target is not None and not target.is_relative_to(inside) and target.is_file():
            link.unlink()
            # With its mode: a script stays executable.
            shutil.copy(target, link)


def _time_of(mirror: Path, commit: str) -> int:
    """Read the time of a commit, in seconds of the epoch; one that archives cannot have is cut."""
    # Not `show`: it looks for renames, for which it needs files of older commits.
    text = in_mirror(mirror, "log", "--max-count=1", "--format=%ct", commit, "--").strip()
    if not text.isdecimal():
        # Git prints nothing for an invalid time, and a minus sign for one before 1970.
        time_s = 0
    # Python refuses to read a number of some thousand digits.
    elif len(text) > _TIME_DIGITS or int(text) > _LATEST_S:
        time_s = _LATEST_S
    else:
        return int(text)
    _log.warning(
        "time %s of commit %.9s is out of range for archives; using %d",
        text[:_TIME_DIGITS] or "(invalid)", commit, time_s,
    )  # fmt: skip
    return time_s


def bring(  # noqa: PLR0913  # what a commit is fetched with
    mirror: Path,
    commit: str,
    access: Access = GITS_OWN,
    *,
    submodules: Allowed = None,
    is_full: bool = False,
    has_lfs: bool = False,
) -> None:
    """Fetch all objects that `export` of a commit needs.

    Args:
        mirror: a mirror filled by `fetch`.
        commit: full hash.
        access: the access to the host.
        submodules: as in `export`.
        is_full: whether the files of older commits are fetched too, those of submodules excepted.
        has_lfs: whether the files of Git LFS are fetched.

    Raises:
        OutsideError: a submodule is in a place that is not allowed.
        UnreachableError: an object is missing, and the host is unreachable.
        InsidersError: the commit is missing, or the disk cannot be written.
    """
    exporter, of = _opened(mirror, access, submodules, has_lfs=has_lfs)
    if is_full:
        of.reading(lambda: of.bring(commit, is_full=True))
    exporter.bring(of, commit)


def _opened(
    mirror: Path, access: Access, submodules: Allowed, *, has_lfs: bool
) -> tuple["_Exporter", Mirror]:
    url = in_mirror(mirror, "config", "--get", "remote.origin.url").rstrip("\n")
    settings = credentials.settings(url, access)
    modules = credentials.for_submodules(settings, url)
    exporter = _Exporter(mirror / "modules", modules, url, submodules, has_lfs=has_lfs)
    return exporter, Mirror(mirror, url, settings)


class _Exporter:
    def __init__(
        self, modules: Path, settings: GitSettings, url: str, allowed: Allowed, *, has_lfs: bool
    ) -> None:
        self._modules = modules
        self._settings = settings
        self._url = url
        self._allowed = allowed
        self._has_lfs = has_lfs
        self._trees: list[Path] = []

    def bring(self, mirror: Mirror, commit: str, depth: int = 0) -> None:
        """Fetch the objects of a commit and its submodules."""

        def read() -> list[Submodule]:
            mirror.bring(commit)
            return self._submodules(mirror, commit)

        submodules = mirror.reading(read)
        if self._has_lfs:
            lfs.fetch(mirror, commit)
        for submodule in _bounded(submodules, depth):
            with self._about(submodule):
                self.bring(self._fetched(submodule), submodule.commit, depth + 1)

    def check_out(self, mirror: Mirror, commit: str, tree: Path, depth: int = 0) -> None:
        """Check out a commit and its submodules."""

        def read() -> list[Submodule]:
            mirror.bring(commit)
            # The first attempt may have left half a checkout before the mirror was recreated.
            remove_tree(tree / ".git")
            _check_out(mirror.path, commit, tree)
            return self._submodules(mirror, commit)

        submodules = mirror.reading(read)
        self._trees.append(tree)
        if self._has_lfs:
            lfs.put(mirror, commit, tree)
        else:
            lfs.warn_of_pointers(tree)
            lfs.prune(mirror)
        for submodule in _bounded(submodules, depth):
            place = tree / submodule.path
            # Git has created the directory. A crafted commit could have a link in its place, which
            # would lead the checkout out of the tree.
            is_linked = os.path.realpath(place) != f"{os.path.realpath(tree)}/{submodule.path}"
            if is_linked or not place.is_dir():
                raise InsidersError(f"submodule {submodule.path} is not a directory in the tree")
            with self._about(submodule):
                self.check_out(self._fetched(submodule), submodule.commit, place, depth + 1)

    def _submodules(self, mirror: Mirror, commit: str) -> list[Submodule]:
        if self._allowed is False:
            return []
        return list(submodules_of(mirror.path, commit, mirror.url))

    def _fetched(self, submodule: Submodule) -> Mirror:
        # A hash, because a URL is foreign text of any length; of the URL alone, so that commits
        # with the same submodule share its mirror.
        name = hashlib.sha256(submodule.url.encode()).hexdigest()[:32]
        settings = replace(self._settings, remote=Remote(submodule.url))
        mirror = Mirror(self._modules / f"{name}.git", submodule.url, settings, submodule.commit)
        if not mirror.has_fetched():
            mirror.fetch()
        return mirror

    @contextlib.contextmanager
    def _about(self, submodule: Submodule) -> Iterator[None]:
        """Require an allowed place, and name the submodule in errors."""
        # Before anything is fetched: the request alone reveals to the host who wants what.
        if self._allowed is not None:
            check_place(submodule, self._url, self._allowed or ())
        try:
            yield
        except OutsideError as error:
            message = f"submodule {submodule.path}: {error.message}"
            raise OutsideError(message, error.hint, place=error.place) from error
        except InsidersError as error:
            message = f"submodule {submodule.path}: {error.message}"
            without = "`submodules = false` in repos.toml builds without submodules"
            hint = f"{error.hint}; {without}" if error.hint else without
            # The class stays: by it an update decides whether to wait or to record a failure.
            raise type(error)(message, hint) from error

    def settle(self, tree: Path, time_s: int) -> None:
        """Set the time of every file, and refresh git's index."""
        try:
            _set_times(tree, time_s)
        except OSError as error:
            raise cannot("set the times of files in", tree, error) from error
        for place in self._trees:
            _refresh_index(place)


def _bounded(submodules: Sequence[Submodule], depth: int) -> Sequence[Submodule]:
    if submodules and depth >= _DEPTH:
        raise InsidersError(f"submodules are nested more than {_DEPTH} levels deep")
    return submodules


def _check_out(mirror: Path, commit: str, tree: Path) -> None:
    # Not `git clone --shared`, which adds a remote, nor `git worktree`, which shares settings,
    # hooks and refs with the mirror. No template: the user's may contain hooks.
    # A repository borrows objects only from one that names them by the same hash.
    options = (SHA256,) if len(commit) == _SHA256_DIGITS else ()
    git("init", "--quiet", "--template=", "--initial-branch=main", *options, "--", str(tree))
    directory = tree / ".git"
    # All tags in one file, as in `git pack-refs`: thousands of single files would be slow.
    tags = in_mirror(mirror, "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags")
    try:
        # Objects are borrowed, not copied. `gc` in the mirror could remove objects that only this
        # tree refers to, so it never runs during a build.
        (directory / "objects/info/alternates").write_text(f"{mirror.resolve() / 'objects'}\n")
        (directory / "packed-refs").write_text(tags, encoding="utf-8", errors="surrogateescape")
        with (directory / "config").open("a", encoding="utf-8") as file:
            file.write(_CONFIG)
    except OSError as error:
        raise cannot("write", Path(error.filename or directory), error) from error
    done = attempt(
        f"--git-dir={directory}", "checkout", "--quiet", "--force", "--detach", commit, "--",
        directory=tree, timeout_s=FETCH_TIMEOUT_S,
    )  # fmt: skip
    if done.status != 0:
        why = explain(done.stderr, "checkout")
        # Recreating the mirror would not change the names.
        if isinstance(why, UnexplainedError) and _IMPOSSIBLE.search(done.stderr):
            raise UnfitError(why.message)
        raise why


def _set_times(tree: Path, time_s: int) -> None:
    for path in paths_below(tree, but=".git"):
        # A link may lead to a file of the user outside of the tree.
        os.utime(path, (time_s, time_s), follow_symlinks=False)
    os.utime(tree, (time_s, time_s))


def _refresh_index(tree: Path) -> None:
    # Otherwise `git describe --dirty`, which does not refresh, takes the new times for changes.
    attempt(f"--git-dir={tree / '.git'}", "update-index", "-q", "--refresh", directory=tree)
    # With attributes that convert line ends, some files differ from their commit right after the
    # checkout. They must not count as dirty either.
    differing = in_tree(tree, "diff-files", "--name-only", "--ignore-submodules").splitlines()
    if differing:
        in_tree(tree, "update-index", "--assume-unchanged", "--stdin", stdin=differing)
