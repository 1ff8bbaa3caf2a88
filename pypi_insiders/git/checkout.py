"""Check out commits as work trees that need no network."""

import contextlib
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pypi_insiders.git import credentials
from pypi_insiders.git.command import FETCH_TIMEOUT_S, GitSettings, attempt, git, in_mirror, in_tree
from pypi_insiders.git.credentials import GITS_OWN, Access
from pypi_insiders.git.errors import UnexplainedError, UnfitError, explain
from pypi_insiders.git.mirror import SHA256, Mirror
from pypi_insiders.git.submodules import OutsideError, Submodule, check_place, submodules_of
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import cannot
from pypi_insiders.util.formatting import listed
from pypi_insiders.util.trees import paths_below, remove_tree

_log = logging.getLogger(__name__)

# Git itself follows submodules without end: two repositories that name each other would.
_DEPTH = 10
_TIME_DIGITS = 20
# Of gzip (RFC 1952, `MTIME` of 32 bits); that of zip is 2107.
_LATEST_S = 2**32 - 1
_SHA256_DIGITS = 64

# Names that no file, and targets that no link can have. Source: verify_path in git's read-cache.c.
_IMPOSSIBLE = re.compile(
    r"^error: (?:invalid path '|unable to create symlink .*: No such file)|: File name too long$"
    r"|^fatal: cannot create directory at '.{1000}",  # git leaves out the end
    re.MULTILINE,
)

# What whoever builds finds, whatever settings the machine has. No remote: nothing connects.
# Written into the repository, and not given as options: hooks of builds run git themselves, which
# does not get ours.
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
    tag: str | None = None,
    submodules: Allowed = None,
    project: str = ".",
) -> int:
    """Check out one commit as a work tree of its own, with history, tags and submodules.

    History and tags are there because many build backends ask git for the version. What is missing
    in the mirror is fetched at once; after that, git in the tree connects to nothing: the tree has
    no remote, and borrows its objects from the mirror, which must stay where it is. The content of
    files of other commits may not be there. No settings, hooks, or filters of the person or the
    repository are applied: files of Git LFS stay pointers. All files have the commit's time.

    Args:
        mirror: what `fetch` filled.
        commit: full hash.
        tree: a directory that is not there yet.
        access: by what the host is asked for what is missing.
        tag: alone names the commit in the tree, whatever it and other tags name in the mirror;
            `None`: the tags are as in the mirror.
        submodules: where they may be beside the namespace of the repository; `None`: anywhere;
            `False`: none is checked out.
        project: a directory of the repository. Links from it to files elsewhere in the repository
            become copies: `LICENSE` is often such a link, and backends refuse what leads outside.

    Returns:
        The commit's time, in seconds of the epoch.

    Raises:
        OutsideError: a submodule is where it may not be.
        UnfitError: it is no commit, or has a time, a name or a `.gitmodules` that none can have.
        UnreachableError: something is missing, and the host cannot be reached.
        InsidersError: the commit is not there, or the disk cannot be written.

    Source: gitrepository-layout(5), `objects/info/alternates`; gitattributes(5).
    """
    exporter, of = _opened(mirror, access, submodules)
    exporter.check_out(of, commit, tree)
    time_s = _time_of(mirror, commit)
    if tag is not None:
        _name_by(tag, commit, tree)
    _copy_linked(tree / project, tree)
    # Last, for a tag and a checkout touch files too.
    exporter.settle(tree, time_s)
    return time_s


def _name_by(tag: str, commit: str, tree: Path) -> None:
    """Let one tag alone name the commit in a tree.

    Tools that read the version from git would take any of several: `v1` in place of `v1.2.3`.
    """
    listed = in_tree(
        tree, "for-each-ref", "--format=%(refname:lstrip=2)", f"--points-at={commit}", "refs/tags"
    )
    names = listed.splitlines()
    if others := [f"delete refs/tags/{name}" for name in names if name != tag]:
        # There can be more of them than fit on a command line.
        in_tree(tree, "update-ref", "--stdin", stdin=others)
    if tag not in names:
        in_tree(tree, "tag", "--force", "--", tag, commit)


def _copy_linked(project: Path, tree: Path) -> None:
    """Replace links that lead out of a project to files of its repository by those files."""
    inside, around = project.resolve(), tree.resolve()
    if inside == around or not inside.is_relative_to(around):
        return
    for link in [path for path in paths_below(inside, but=".git") if path.is_symlink()]:
        target = link.resolve()
        is_elsewhere = target.is_relative_to(around) and not target.is_relative_to(inside)
        if is_elsewhere and target.is_file():
            link.unlink()
            shutil.copy(target, link)


def _time_of(mirror: Path, commit: str) -> int:
    """Read the time of a commit, in seconds of the epoch; one that archives cannot have is cut."""
    text = in_mirror(mirror, "show", "--no-patch", "--format=%ct", commit, "--").strip()
    if not text.isdecimal():
        # Git prints nothing for a time that it cannot read, and a dash for one before 1970.
        time_s = 0
    # Python refuses to read a number of some thousand digits.
    elif len(text) > _TIME_DIGITS or int(text) > _LATEST_S:
        time_s = _LATEST_S
    else:
        return int(text)
    _log.warning(
        "the commit %.9s has the time %s, which archives cannot have; it is built with %d",
        commit, text[:_TIME_DIGITS] or "of no number", time_s,
    )  # fmt: skip
    return time_s


def bring(
    mirror: Path,
    commit: str,
    access: Access = GITS_OWN,
    *,
    submodules: Allowed = None,
    is_full: bool = False,
) -> None:
    """Bring what `export` of a commit needs, so that this connects to no host.

    Args:
        mirror: what `fetch` filled.
        commit: full hash.
        access: by what the host is asked.
        submodules: as for `export`.
        is_full: the content of older commits is brought too, but not that of submodules.

    Raises:
        OutsideError: a submodule is where it may not be.
        UnreachableError: something is missing, and the host cannot be reached.
        InsidersError: the commit is not there, or the disk cannot be written.
    """
    exporter, of = _opened(mirror, access, submodules)
    if is_full:
        of.reading(lambda: of.bring(commit, is_full=True))
    exporter.bring(of, commit)


def _opened(mirror: Path, access: Access, submodules: Allowed) -> tuple["_Exporter", Mirror]:
    url = in_mirror(mirror, "config", "--get", "remote.origin.url").rstrip("\n")
    settings = credentials.settings(url, access)
    modules = credentials.for_submodules(settings, url)
    exporter = _Exporter(mirror / "modules", modules, url, submodules)
    return exporter, Mirror(mirror, url, settings)


class _Exporter:
    def __init__(self, modules: Path, settings: GitSettings, url: str, allowed: Allowed) -> None:
        self._modules = modules
        self._settings = settings
        self._url = url
        self._allowed = allowed
        self._trees: list[Path] = []

    def bring(self, mirror: Mirror, commit: str, depth: int = 0) -> None:
        """Bring what a commit and its submodules are checked out from."""

        def read() -> list[Submodule]:
            mirror.bring(commit)
            return self._submodules(mirror, commit)

        for submodule in _bounded(mirror.reading(read), depth):
            with self._about(submodule):
                self.bring(self._fetched(submodule), submodule.commit, depth + 1)

    def check_out(self, mirror: Mirror, commit: str, tree: Path, depth: int = 0) -> None:
        """Check out a commit, and at its paths the submodules."""

        def read() -> list[Submodule]:
            mirror.bring(commit)
            # A first try may have left half of one, after which the mirror was made anew.
            remove_tree(tree / ".git")
            _check_out(mirror.path, commit, tree)
            return self._submodules(mirror, commit)

        submodules = mirror.reading(read)
        self._trees.append(tree)
        _warn_of_pointers(tree)
        for submodule in _bounded(submodules, depth):
            place = tree / submodule.path
            # A commit of foreign make can have a link where a submodule is to be.
            # Git has made the directory, and no path of a commit leads through a link of its.
            if place.resolve() != tree.resolve() / submodule.path or not place.is_dir():
                raise InsidersError(f"the submodule {submodule.path} has no place in the tree")
            with self._about(submodule):
                self.check_out(self._fetched(submodule), submodule.commit, place, depth + 1)

    def _submodules(self, mirror: Mirror, commit: str) -> list[Submodule]:
        if self._allowed is False:
            return []
        return list(submodules_of(mirror.path, commit, mirror.url))

    def _fetched(self, submodule: Submodule) -> Mirror:
        # By the URL alone, so that all repositories that share a submodule share its mirror: the
        # name is foreign text of any length, and may have slashes.
        name = hashlib.sha256(submodule.url.encode()).hexdigest()[:32]
        mirror = Mirror(
            self._modules / f"{name}.git", submodule.url, self._settings, submodule.commit
        )
        if not mirror.has_fetched():
            mirror.fetch()
        return mirror

    @contextlib.contextmanager
    def _about(self, submodule: Submodule) -> Iterator[None]:
        """Check where a submodule is; say of which one it is that anything fails."""
        # Before anything is fetched: to ask for a repository already tells its host who asks for
        # what.
        if self._allowed is not None:
            check_place(submodule, self._url, self._allowed or ())
        try:
            yield
        except OutsideError as error:
            told = f"submodule {submodule.path}: {error.message}"
            raise OutsideError(told, error.hint, place=error.place) from error
        except InsidersError as error:
            told = f"submodule {submodule.path}: {error.message}"
            without = "`submodules = false` in repos.toml builds without any"
            hint = f"{error.hint}; {without}" if error.hint else without
            # The class decides what an update does about it, whether it waits or counts it as
            # failed.
            raise type(error)(told, hint) from error

    def settle(self, tree: Path, time_s: int) -> None:
        """Give every file the commit's time, and let git take note of it."""
        try:
            _set_times(tree, time_s)
        except OSError as error:
            raise cannot("set the times of files in", tree, error) from error
        for place in self._trees:
            _take_note(place)


def _bounded(submodules: Sequence[Submodule], depth: int) -> Sequence[Submodule]:
    """Refuse submodules that lie in each other too deep.

    Raises:
        InsidersError: they do.
    """
    if submodules and depth >= _DEPTH:
        raise InsidersError(f"submodules lie in each other more than {_DEPTH} deep")
    return submodules


def _check_out(mirror: Path, commit: str, tree: Path) -> None:
    # Not `git clone --shared`, which leaves a remote, nor `git worktree`, which would share
    # settings, hooks and refs with the mirror. A template of the user would bring hooks.
    # A repository borrows objects only from one that names them by the same hash.
    options = (SHA256,) if len(commit) == _SHA256_DIGITS else ()
    git("init", "--quiet", "--template=", "--initial-branch=main", *options, "--", str(tree))
    directory = tree / ".git"
    # One file for all tags, as git packs them.
    tags = in_mirror(mirror, "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags")
    try:
        # No object is copied. `gc` in the mirror could take objects away that only this tree names,
        # so the mirror is never tidied while a build reads.
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
        why = explain(done.stderr, "checkout", connects=False)
        # A mirror that is made anew has the same names in it.
        if isinstance(why, UnexplainedError) and _IMPOSSIBLE.search(done.stderr):
            raise UnfitError(why.message)
        raise why


def _warn_of_pointers(tree: Path) -> None:
    # Asked of git, whose attributes say which files these are: a pointer is text like any other.
    pointers = in_tree(tree, "ls-files", "--", ":(attr:filter=lfs)").splitlines()
    if pointers:
        _log.warning(
            "%d files are kept in Git LFS; what is built has pointers to them: %s",
            len(pointers), listed(pointers, 3),
        )  # fmt: skip


def _set_times(tree: Path, time_s: int) -> None:
    for path in paths_below(tree, but=".git"):
        # A link may lead out of the tree, to a file of the user.
        os.utime(path, (time_s, time_s), follow_symlinks=False)
    os.utime(tree, (time_s, time_s))


def _take_note(tree: Path) -> None:
    """Let git see that files have other times and still the same content."""
    attempt(f"--git-dir={tree / '.git'}", "update-index", "-q", "--refresh", directory=tree)
    # Some differ from their commit as soon as git has written them, where attributes want other
    # ends of lines than were committed; `git describe --dirty` must not tell of those.
    differing = in_tree(tree, "diff-files", "--name-only", "--ignore-submodules").splitlines()
    if differing:
        in_tree(tree, "update-index", "--assume-unchanged", "--stdin", stdin=differing)
