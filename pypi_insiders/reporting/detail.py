"""Report one repository: what was built from what, and what was not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_version
from packaging.version import Version

from pypi_insiders.config.paths import Paths, build_log
from pypi_insiders.config.toml_fields import as_toml
from pypi_insiders.index import store
from pypi_insiders.index.release_lists import YANKED
from pypi_insiders.reporting import json_output, snapshot
from pypi_insiders.reporting.json_output import moment
from pypi_insiders.reporting.judgement import judge
from pypi_insiders.reporting.verdict import Item, Severity
from pypi_insiders.repositories import heads, held_names, lookup, registry, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, Check, RepositoryState
from pypi_insiders.util import times
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there
from pypi_insiders.util.formatting import two_columns


@dataclass(frozen=True)
class RepositoryDetail:
    """The details of one repository."""

    name: str
    """`NS/PROJ`, as in `repos.toml`."""
    repository: Repository | None
    """Its table in `repos.toml`; `None`: it is no longer watched."""
    known: RepositoryState
    check: Check
    held: frozenset[str]
    """The published files that the index serves as they were published."""
    yanked: dict[str, str]
    """Yanked version, in its canonical form, to the reason."""
    served: str | None = None
    """The version that installers get; `None`: none, or it is no longer watched."""
    items: tuple[Item, ...] = ()
    """The items of the judgement about it."""
    build_logs: Mapping[str, Path] = field(default_factory=dict)
    """Failed tag to the file with the output of its build."""

    @property
    def url(self) -> str | None:
        """The URL that Git fetches from."""
        return self.repository.remote if self.repository else self.known.remote

    @property
    def project(self) -> str | None:
        """The project name; `None`: unknown until the first build."""
        named = self.repository.project if self.repository else None
        return named or self.known.project

    @property
    def is_outdated(self) -> bool:
        """Whether its builds are of another URL or project than `repos.toml` has now."""
        # The state is of what was built last: `repos set` does not touch it, the next update does.
        item = self.repository
        return bool(item and self.known.builds) and not (
            item and self.known.is_of(item.remote, item.project)
        )

    @property
    def builds(self) -> list[Build]:
        """Newest version first."""
        # By version, not by time: `update --tag` builds older ones later.
        return sorted(self.known.builds, key=lambda build: Version(build.version), reverse=True)

    def yank_of(self, build: Build) -> str | None:
        """Return why a build is yanked, which may be empty; `None`: it is not yanked."""
        return self.yanked.get(canonicalize_version(build.version))


def give(paths: Paths, name: str, now: datetime) -> RepositoryDetail:
    """Return the details of a repository, also of one that is no longer watched.

    Args:
        paths: all paths of the program.
        name: `NS/PROJ`, in any case.
        now: its time zone is that of all times.

    Raises:
        UsageError: the name is malformed.
        InsidersError: the repository is unknown, or its state cannot be read.
    """
    # Files only: what one repository has built does not depend on systemd, and `show` is fast.
    seen = snapshot.take(paths, now)
    watched = {} if isinstance(seen.watched, InsidersError) else dict(seen.watched)
    # Removed ones too: an address of another host must not show what was built from this one.
    name = lookup.meant(held_names.with_removed(paths, watched, {}), name)
    known = state.load(paths.state, name)
    item = lookup.find(watched, name)
    if item is None and known == RepositoryState():
        lookup.select(registry.load(paths.repositories), (name,))  # raises, with suggestions
    # As it is spelled there, not as it was typed: hosts ignore the case of names.
    name = item.name if item else known.name or name
    # A file with other bytes than were published is not served, though it is in the directory.
    changed = {file.file for file in seen.differences}
    yanked = YANKED.load(paths.distributions, paths.state).get(known.project or "", {})
    # The newest build need not be the one that installers get: it may be yanked or a pre-release.
    standing = next((found for found in seen.standings if found.name == name), None)
    return RepositoryDetail(
        name,
        item,
        known,
        state.load_checks(paths.state).get(name, Check()),
        frozenset(file for file in store.present(paths.distributions, known.files)) - changed,
        {canonicalize_version(version): reason for version, reason in yanked.items()},
        standing.newest.version if standing and standing.newest else None,
        judge(seen).about((name, item.project if item else known.project)),
        {tag: log for tag in known.failures if is_there(log := build_log(paths, name, tag))},
    )


def as_json(detail: RepositoryDetail) -> str:
    """Return the details for scripts; what is unknown is `null`."""
    known, check = detail.known, detail.check
    is_watched = detail.repository is not None
    by_severity = {
        severity: [json_output.item(item) for item in detail.items if item.severity == severity]
        for severity in Severity
    }
    return json_output.document({
        "name": detail.name,
        "watched": is_watched,
        "url": detail.url,
        "project": detail.project,
        "settings": detail.repository.keys if detail.repository else None,
        "checked_at": moment(check.checked_at),
        "tried_at": moment(check.tried_at),
        "first_unreachable_at": moment(check.unreachable_since),
        "served_version": detail.served,
        "problems": by_severity[Severity.PROBLEM],
        "warnings": by_severity[Severity.WARNING],
        "notes": by_severity[Severity.NOTE],
        "outdated": detail.is_outdated,
        "builds": [_build(detail, build) for build in detail.builds],
        "failures": [
            {
                "tag": tag,
                "commit": failure.commit,
                "message": failure.message,
                "hint": failure.hint,
                "count": failure.count,
                "failed_at": moment(failure.failed_at),
                "next_at": moment(failure.next_at),
            }
            for tag, failure in known.failures.items()
        ],
        "waiting": [
            {"tag": tag, "commit": it.commit, "since": moment(it.since), "reason": it.reason}
            for tag, it in known.waiting.items()
        ],
        "skipped_tags": known.left_out,
        "ignored_tags": known.passed_over,
        "former_files": [
            {"name": name, "served": name in detail.held, "held": name in detail.held}
            for name in known.former_files
        ],
        # Deprecated (`help json`).
        "distribution": detail.project,
        "unreachable_since": moment(check.unreachable_since),
        "errors": check.errors,
        "begins_anew": detail.is_outdated,
        "left_out": known.left_out,
        "passed_over": known.passed_over,
    })  # fmt: skip


def _build(detail: RepositoryDetail, build: Build) -> dict[str, Any]:
    # Restored by the tags after the state was lost: an empty table would deny its requirements.
    is_recalled = build.sandboxed is None and not build.assets
    yank = detail.yank_of(build)
    return {
        "version": build.version,
        "tag": build.tag,
        "commit": build.commit,
        "message": build.message,
        "built_at": moment(build.built_at),
        "sandboxed": build.sandboxed,
        "requirements": build.requirements or (None if is_recalled else {}),
        "remark": build.remark or None,
        "uploaded_to": build.uploaded_to,
        "yanked": yank is not None,
        "yank_reason": yank or None,
        "files": [
            {
                "name": name,
                "sha256": digest,
                "served": name in detail.held,
                "held": name in detail.held,
            }
            for name, digest in build.files.items()
        ],
        "assets": [
            {
                "name": name,
                "sha256": asset.sha256,
                "size_bytes": asset.size_bytes,
                "updated_at": asset.updated_at or None,
                "changed": asset.changed,
            }
            for name, asset in build.assets.items()
        ],
    }


def as_text(detail: RepositoryDetail, now: datetime, *, in_full: bool) -> str:
    """Return the details as text.

    Args:
        detail: of the repository.
        now: for "12 min ago"; its time zone is that of all times.
        in_full: also list the build requirements of each version.
    """
    # Lazy parts that turn out to be empty must not leave two blank lines.
    sections = [_head(detail, now), _judged(detail)]
    sections += [_build_lines(detail, build, now, in_full=in_full) for build in detail.builds]
    sections.append(_failures(detail, now))
    sections.append(_tags_and_files(detail))
    return "\n\n".join("\n".join(section) for section in map(list, sections) if section)


def _head(detail: RepositoryDetail, now: datetime) -> Iterator[str]:
    item, check = detail.repository, detail.check
    yield detail.name + ("" if item else " (no longer watched)")
    rows = {
        "url": detail.url or "-",
        "project": detail.project or "unknown until the first build",
    }
    if item:
        # Those with a row of their own are not repeated.
        shown = {key: value for key, value in item.keys.items() if key not in rows}
        rows["settings"] = ", ".join(f"{key} = {as_toml(value)}" for key, value in shown.items())
    rows["served"] = detail.served or ""
    rows["last checked"] = _last_check(detail, now)
    rows["last attempt"] = _last_try(detail, now)
    if check.unreachable_since is not None:
        rows["unreachable"] = f"since {times.told(check.unreachable_since, now)}"
    if detail.is_outdated:
        rows["note"] = (
            f"what is below was built as {detail.known.project} from {detail.known.remote}; "
            "the next update starts from scratch"
        )
    yield from _indented([(key, value) for key, value in rows.items() if value])


def _last_try(detail: RepositoryDetail, now: datetime) -> str:
    """Return the last attempt of an update; nothing if that is the last check, and succeeded."""
    check = detail.check
    if check.tried_at is None or (not check.errors and check.tried_at == check.checked_at):
        return ""
    outcome = "failed" if check.errors else "succeeded"
    # Within `unreachable-grace` this is no failure, and no success either.
    if not check.errors and check.unreachable_since is not None:
        outcome = "host unreachable"
    return f"{times.told(check.tried_at, now)}, {outcome}"


def _judged(detail: RepositoryDetail) -> Iterator[str]:
    """Yield what is wrong; failed tags follow below, with when they are tried again."""
    # In the same words as the judgement has them.
    failures = detail.known.failures.items()
    failing = {f"{heads.subject(tag)}: {failure.message}" for tag, failure in failures}
    for item in detail.items:
        if item.text not in failing:
            yield f"{item.severity}: {item.text}"


def _last_check(detail: RepositoryDetail, now: datetime) -> str:
    if detail.check.checked_at is not None:
        return times.told(detail.check.checked_at, now)
    # Built, so it was checked; the file with the times of checks is lost.
    if detail.known != RepositoryState():
        return "unknown"
    return f"never; `pypi-insiders update {detail.name}` checks it now"


def _build_lines(
    detail: RepositoryDetail, build: Build, now: datetime, *, in_full: bool
) -> Iterator[str]:
    commit = "" if build.is_head else f" ({build.commit:.9})"
    words = [f"{build.version}  {build.tag}{commit}"]
    words.append(f"built {times.told(build.built_at, now)}")
    # Unknown of a restored build: "not sandboxed" would be a claim.
    if build.sandboxed is not None:
        words.append("sandboxed" if build.sandboxed else "not sandboxed")
    yank = detail.yank_of(build)
    if yank is not None:
        words.append("yanked: " + yank if yank else "yanked")
    words += [f"uploaded to {url}" for url in build.uploaded_to]
    yield ", ".join(words)
    rows = [
        (
            name,
            f"sha256:{digest}{'  asset' if name in build.assets else ''}"
            f"{'' if name in detail.held else '  not served'}",
        )
        for name, digest in build.files.items()
    ]
    yield from _indented(rows)
    if build.remark:
        yield f"  {build.remark}"
    if in_full and build.requirements:
        listed = (f"{name} {version}" for name, version in sorted(build.requirements.items()))
        yield f"  built with {', '.join(listed)}"


def _failures(detail: RepositoryDetail, now: datetime) -> Iterator[str]:
    for tag, failure in detail.known.failures.items():
        often = "once" if failure.count == 1 else f"{failure.count} times"
        again = (
            f"tried again from {times.told(failure.next_at, now)}"
            if failure.next_at > now.timestamp()
            else "tried again by the next update"
        )
        commit = "" if heads.branch_of(tag) else f" ({failure.commit:.9})"
        yield f"failed {often}: {tag}{commit}: {failure.message}"
        yield f"  last {times.told(failure.failed_at, now)}, {again}"
        if tag in detail.build_logs:
            yield f"  build output: {detail.build_logs[tag]}"
        if detail.project and detail.served and detail.repository:
            version = detail.repository.rules(1).pattern.version_of(tag)
        else:
            version = None
        # The version of a head is not known before its build, and the next head replaces it.
        if version:
            yield f"  never build it: `pypi-insiders unpublish {detail.project} {version}`"


def _tags_and_files(detail: RepositoryDetail) -> Iterator[str]:
    known = detail.known
    rows = {
        "skipped tags, older than those that were built": known.left_out,
        "ignored tags, not releases": known.passed_over,
        "files of an earlier url or project": known.former_files,
    }
    for what, names in rows.items():
        if names:
            yield f"{what}: {', '.join(names)}"


def _indented(rows: list[tuple[str, str]]) -> Iterator[str]:
    return (f"  {line}" for line in two_columns(rows))
