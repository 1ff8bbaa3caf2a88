"""Check whether the watcher can read the repositories."""

from collections.abc import Iterator, Mapping

from pypi_insiders.config.paths import Paths
from pypi_insiders.doctor.finding import Finding, Verdict, problem, warning
from pypi_insiders.repositories import access_check, token_commands
from pypi_insiders.repositories.access_check import Reply
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.util.errors import InsidersError

_FROM_SHELL = (
    "the watcher sees neither the variables nor the ssh agent of your shell: `systemctl --user "
    "import-environment SSH_AUTH_SOCK`, a key that needs no agent, or ~/.config/environment.d/"
)
_WATCHER = "by the watcher"
_HERE = "by this process (no user manager)"


def look(
    paths: Paths, watched: Mapping[str, Repository], *, has_manager: bool
) -> Iterator[Finding]:
    """Read the tags of each repository as the watcher does, or from here where it cannot run."""
    if not watched:
        # Not a problem: an index whose files are uploaded watches nothing.
        yield warning("access", "no repositories are watched", "`pypi-insiders repos add NS/PROJ`")
        return
    commands = token_commands.configured(paths)
    if not has_manager:
        for name, reply in access_check.ask(watched.values(), commands).items():
            yield _reached(name, reply, _HERE)
        return
    # In a unit, not here: the shell has an ssh agent and variables that the watcher lacks, and what
    # can be read from the shell alone is what users report as "works for me, but not by itself".
    try:
        replies = access_check.ask_from_unit(paths, len(watched))
    except InsidersError as error:
        yield problem("access", error.message, error.hint)
        return
    # Only these are read once more from the shell, as each takes seconds: what the shell can read
    # and the watcher cannot lacks a variable or an agent, and is no fault of the host.
    failed = [item for name, item in watched.items() if replies.get(name, Reply()).error]
    here = access_check.ask(failed, commands)
    for name in watched:
        if name not in replies:
            # XDG_CONFIG_HOME of the shell and of the user manager may differ.
            message = "is not in the repos.toml that the watcher reads"
            hint = "`pypi-insiders watcher restart` passes your directories to the watcher"
            yield Finding("access", Verdict.PROBLEM, message, hint, name)
        elif name in here and here[name].error is None:
            message = f"is readable from your shell, but not {_WATCHER}: {replies[name].error}"
            yield Finding("access", Verdict.PROBLEM, message, _FROM_SHELL, name)
        else:
            yield _reached(name, replies[name], _WATCHER)


def _reached(name: str, reply: Reply, place: str) -> Finding:
    """Return the finding about one repository."""
    if reply.error is not None:
        # A host that is away comes back by itself; a refusal does not.
        verdict = Verdict.WARNING if reply.is_away else Verdict.PROBLEM
        message = f"cannot be read {place}: {reply.error}"
        return Finding("access", verdict, message, reply.hint, name)
    # Of a branch, tags are not needed.
    if not reply.tags and not reply.newest:
        message = f"is readable {place}, but nothing is built: {reply.lack}"
        return Finding("access", Verdict.WARNING, message, reply.hint, name)
    if reply.token_error is not None:
        message = f"is readable {place}, but only without a token: {reply.token_error}"
        return Finding("access", Verdict.WARNING, message, token_commands.HINT, name)
    return Finding("access", Verdict.OK, f"is readable {place}", None, name)
