"""Look at the repositories, from where the watcher does."""

from collections.abc import Iterator, Mapping

from pypi_insiders.config.paths import Paths
from pypi_insiders.doctor.finding import Finding, Verdict, problem, warning
from pypi_insiders.repositories import access_check
from pypi_insiders.repositories.access_check import Reply
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.systemd.unit_names import WATCHER
from pypi_insiders.util.errors import InsidersError

_FROM_SHELL = (
    "that sees neither the variables nor the ssh agent of your shell: `systemctl --user "
    "import-environment SSH_AUTH_SOCK`, a key that needs no agent, or ~/.config/environment.d/"
)
_UNIT = f"a unit like {WATCHER.service}"


def look(
    paths: Paths, watched: Mapping[str, Repository], *, has_manager: bool
) -> Iterator[Finding]:
    """Ask each repository for its tags as the watcher does, or from here where it cannot run."""
    if not watched:
        yield warning("access", "no repositories are watched", "`pypi-insiders repos add NS/PROJ`")
        return
    if not has_manager:
        for name, reply in access_check.ask(watched.values()).items():
            yield _reached(name, reply, "from this process, without a unit")
        return
    try:
        replies = access_check.ask_from_unit(paths, len(watched))
    except InsidersError as error:
        yield problem("access", error.message, error.hint)
        return
    # Only these are asked once more from the shell: the difference says where the fault is.
    failed = [item for name, item in watched.items() if replies.get(name, Reply()).error]
    here = access_check.ask(failed)
    for name in watched:
        if name not in replies:
            message = f"is not among those that {_UNIT} watches"
            hint = "`pypi-insiders watcher restart` hands on where your files lie"
            yield Finding("access", Verdict.PROBLEM, message, hint, name)
        elif name in here and here[name].error is None:
            message = f"can be read from your shell, but not from {_UNIT}: {replies[name].error}"
            yield Finding("access", Verdict.PROBLEM, message, _FROM_SHELL, name)
        else:
            yield _reached(name, replies[name], f"from {_UNIT}")


def _reached(name: str, reply: Reply, place: str) -> Finding:
    """Tell what came of asking a repository.

    Args:
        name: of the repository.
        reply: what came.
        place: from where it was asked.
    """
    if reply.error is not None:
        verdict = Verdict.WARNING if reply.is_away else Verdict.PROBLEM
        message = f"cannot be read {place}: {reply.error}"
        return Finding("access", verdict, message, reply.hint, name)
    if not reply.tags:
        hint = "releases are built from tags such as v1.0"
        message = f"can be read {place}, and has no tags"
        return Finding("access", Verdict.WARNING, message, hint, name)
    return Finding("access", Verdict.OK, f"can be read {place}", None, name)
