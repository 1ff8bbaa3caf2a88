"""`pypi-insiders repos add`."""

import logging
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import click

from pypi_insiders.cli import completers
from pypi_insiders.cli.common import CommonCommand, report
from pypi_insiders.cli.unnamed import report_unnamed
from pypi_insiders.config.paths import Paths, default_paths
from pypi_insiders.config.toml_fields import as_toml
from pypi_insiders.config.validators import ASSETS, FORGES
from pypi_insiders.repositories import changes, heads, lookup, ownership, pasted, registry
from pypi_insiders.repositories.repository import (
    Repository,
    added_by,
    demand_consistent,
    is_insecure,
)
from pypi_insiders.systemd import service_status
from pypi_insiders.systemd.service_status import Condition
from pypi_insiders.systemd.unit_names import WATCHER
from pypi_insiders.update import introduction
from pypi_insiders.update.introduction import Introduction
from pypi_insiders.update.naming import Naming
from pypi_insiders.util import times
from pypi_insiders.util.errors import InsidersError, UsageError
from pypi_insiders.util.formatting import counted

IN_CLEAR_TEXT = (
    "%s: its code and its credentials are sent in clear text; builds are only as safe as the "
    "network, unless tags are signed (allowed-signers)"
)
"""The warning about a URL of http."""

no_check_option = click.option(
    "--no-check", is_flag=True, help="Check no access, and read no project names."
)


@click.command("add", cls=CommonCommand)
@click.argument("specifications", metavar="NS/PROJ[:PROJECT]...", nargs=-1, required=True)
@click.option(
    "--url", metavar="URL", help="URL from which Git fetches it (default: GitHub, over ssh)."
)
@click.option(
    "--insecure-http",
    is_flag=True,
    default=None,
    help="Allow a URL of http, over which code and credentials are sent in clear text.",
)
@click.option(
    "--tags",
    metavar="PATTERN",
    help="Build only tags that match, such as 'v*' or 'server-{version}'.",
)
@click.option(
    "--branch",
    metavar="BRANCH",
    help="Also build the head of BRANCH, as development releases.",
)
@click.option("--pre/--no-pre", default=None, help="Build pre-releases, or never build them.")
@click.option("--subdirectory", metavar="DIR", help="Directory of the project in the repository.")
@click.option(
    "--backfill",
    type=click.IntRange(1),
    metavar="N",
    help="Build the N newest releases, not only the newest one.",
)
@click.option(
    "--keep",
    type=click.IntRange(0),
    metavar="N",
    help="Keep only the N newest versions in the index (0: all).",
)
@click.option(
    "--assets",
    type=click.Choice(ASSETS),
    help="Publish files of its releases on GitHub, GitLab or Gitea: before those built, or only.",
)
@click.option(
    "--forge",
    type=click.Choice(FORGES),
    help="Program of its host, for --assets (default: by the name of a known host).",
)
@click.option(
    "--allowed-signers",
    metavar="FILE",
    shell_complete=completers.files,
    help="Build only tags signed by a key in FILE: ssh allowed signers, or a GPG keyring.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    shell_complete=completers.files,
    help="Read the token for https from FILE.",
)
@no_check_option
def add(
    specifications: tuple[str, ...], no_check: bool, **options: str | int | bool | None
) -> None:
    """Watch repositories.

    NS/PROJ is a repository on GitHub, over ssh; its address, or that of another host, can be pasted
    in its place. PROJECT is the project name (default: read from the repository). From now on, the
    index never redirects that name to the fallback index.

    Access to each new repository is checked, and its project name is read from the tag that is
    built first, for at most 10 seconds each. Problems are reported, but the repository is still
    added. For a repository that is already watched, the given options change, except --url; use
    `repos set` for that and for further keys.
    """
    if options["url"] is not None and len(specifications) != 1:
        raise UsageError("--url requires exactly one repository", "add them one by one")
    given = {key.replace("_", "-"): value for key, value in options.items() if value is not None}
    # As every command takes a path. In repos.toml there is no current directory.
    for key in ("allowed-signers", "token-file"):
        path = given.get(key)
        if isinstance(path, str) and path and not path.startswith("~"):
            given[key] = os.path.abspath(path)  # noqa: PTH100 - links stay
    paths = default_paths()
    watched = registry.load(paths.repositories)
    new = _specified(watched, specifications, has_url="url" in given)
    for key, value in given.items():
        try:
            new = [item.with_key(key, value) for item in new]
        except ValueError as error:
            raise UsageError(str(error)) from error
    # A watched one has its URL.
    for item in (item for item in new if lookup.find(watched, item.name) is None):
        try:
            demand_consistent(item)
        except UsageError as error:
            if not is_insecure(item.remote):
                raise
            words = added_by(specifications, {**given, "insecure-http": True})
            hint = f"use https, or accept that: `{shlex.join(words)}`"
            raise UsageError(error.message, hint) from error
    # Before the list is locked for the change: a host may take its 10 seconds.
    found = Introduction() if no_check else introduction.check(paths, new)
    report_added(paths, watch(paths, found, new, tuple(given)), found)


def _specified(
    watched: Mapping[str, Repository], texts: Iterable[str], *, has_url: bool
) -> list[Repository]:
    known, new = dict(watched), list[Repository]()
    for text in texts:
        item = lookup.specified(known, text, has_url=has_url)
        other = lookup.find({one.name: one for one in new}, item.name)
        of_github = Repository(item.name).remote
        # A name that is watched already means that one, but two new ones may both be meant.
        is_name = pasted.parse(text) is None
        if is_name and other and not pasted.is_same(other.url or of_github, of_github):
            raise UsageError(
                f"{item.name} is listed twice: as {other.url}, and without a host",
                f"list it once; to watch that of GitHub, list its address: {of_github}",
            )
        # Two of them can have the same name on different hosts.
        known.setdefault(item.name, item)
        new.append(item)
    return new


def watch(
    paths: Paths, found: Introduction, new: Sequence[Repository], given: Sequence[str]
) -> list[Repository]:
    """Add repositories, and print what changed.

    Args:
        paths: where everything is.
        found: the results of checking them.
        new: what is to be watched.
        given: the keys that change where the repository is watched already.

    Returns:
        Those that were not watched before, or were checked again.
    """
    new = found.named(new)
    before, after = changes.add(paths, new)
    for item in {item.name.casefold(): item for item in new}.values():
        if old := lookup.find(before, item.name):
            now = after[old.name].keys
            # The project may come from the repository, without an option that names it.
            keys = ("project", *given) if "project" in now else given
            changed = [key for key in keys if old.keys.get(key) != now[key]]
            said = "".join(f"; {key} = {as_toml(now[key])}" for key in changed)
            report(f"{item.name} is already watched{said}")
        else:
            (added,) = lookup.select(after, (item.name,))
            report(f"watching {added.name}" + (f" as {added.project}" if added.project else ""))
    return [it for name, it in after.items() if name not in before or name in found.replies]


def report_added(paths: Paths, fresh: Iterable[Repository], found: Introduction) -> None:
    """Report the problems of repositories of `watch`, and the tags that are built first."""
    log = logging.getLogger(__name__)
    readable = []
    for item in fresh:
        reply = found.replies.get(item.name)
        if reply and (problem := reply.error or reply.lack):
            log.warning("%s: %s", item.name, problem)
            if reply.hint:
                log.info("hint: %s", reply.hint)
        if reply and reply.newest:
            tags = counted(reply.tags, "tag")
            kind = "first build:" if heads.branch_of(reply.newest) else "latest release:"
            log.info("%s: %s found, %s %s", item.name, tags, kind, reply.newest)
        naming = found.namings.get(item.name)
        if is_insecure(item.remote):
            log.warning(IN_CLEAR_TEXT, item.name)
        if item.project is None:
            report_unnamed(item.name, naming, _owner(paths, naming))
        # Of a project that has another origin nothing is published yet.
        if reply and reply.newest and not (naming and naming.claimed):
            readable.append(item.name)
    if readable:
        one = f" {readable[0]}" if len(readable) == 1 else ""
        log.info("next: %s", _next(f"`pypi-insiders update{one}`"))


def _owner(paths: Paths, naming: Naming | None) -> str | None:
    """Return the watched repository that has a project of which another one has the name too."""
    if naming is None or naming.claimed is None:
        return None
    watched = registry.load(paths.repositories).values()
    return ownership.owners(paths, watched).get(naming.claimed)


def _next(update: str) -> str:
    """Return what builds a new repository, and when."""
    try:
        now = datetime.now().astimezone()
        look = service_status.look(WATCHER, now)
    except InsidersError:  # no user manager, and so no watcher
        return update
    if look.condition != Condition.RUNNING:
        return f"{update}, or `pypi-insiders watcher enable` for this and all later releases"
    at = f" in {times.span(times.at(look.next_run, now) - now)}" if look.next_run else ""
    return f"the watcher builds it{at}, or now: {update}"
