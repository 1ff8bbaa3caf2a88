"""Give a detail of one repository: what was built from what, and what was not."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_version
from packaging.version import Version

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.toml_fields import as_toml
from pypi_insiders.index import store, yanks
from pypi_insiders.reporting import snapshot
from pypi_insiders.reporting.judgement import judge
from pypi_insiders.reporting.verdict import Item, Severity
from pypi_insiders.repositories import registry, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, Check, RepositoryState
from pypi_insiders.util import times
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import is_there
from pypi_insiders.util.formatting import two_columns


@dataclass(frozen=True)
class RepositoryDetail:
    """What there is to tell of a repository."""

    name: str
    """`NS/PROJ`, as it is spelled in `repos.toml`."""
    repository: Repository | None
    """As it is watched; `None`: it is not any more."""
    known: RepositoryState
    check: Check
    held: frozenset[str]
    """The files that the index still holds, of all that were published."""
    yanked: dict[str, str]
    """Version to the reason, for its distribution; versions in their canonical form."""
    served: str | None = None
    """The version that installers get; `None`: none, or it is not watched any more."""
    items: tuple[Item, ...] = ()
    """What the judgement says of it."""
    build_logs: Mapping[str, Path] = field(default_factory=dict)
    """Tag that failed to the file with what its build wrote."""

    @property
    def url(self) -> str | None:
        """Where Git finds it."""
        return self.repository.remote if self.repository else self.known.remote

    @property
    def project(self) -> str | None:
        """What it builds; `None` before the first build, if nobody said so."""
        named = self.repository.project if self.repository else None
        return named or self.known.project

    @property
    def begins_anew(self) -> bool:
        """Whether what was built is of another URL or distribution than those of now."""
        item = self.repository
        return bool(item and self.known.builds) and not (
            item and self.known.is_of(item.remote, item.project)
        )

    @property
    def builds(self) -> list[Build]:
        """Newest version first."""
        return sorted(self.known.builds, key=lambda build: Version(build.version), reverse=True)

    def yank_of(self, build: Build) -> str | None:
        """Tell why a build is yanked, in words that may be empty; `None`: it is not."""
        return self.yanked.get(canonicalize_version(build.version))


def give(paths: Paths, name: str, now: datetime) -> RepositoryDetail:
    """Find out what is known of a repository, also of one that is watched no longer.

    Args:
        paths: where everything is.
        name: `NS/PROJ`, in any case.
        now: with a time zone, in which times are told.

    Raises:
        UsageError: the name is malformed.
        InsidersError: nothing is known of it, or what is known cannot be read.
    """
    seen = snapshot.take(paths, now)
    watched = {} if isinstance(seen.watched, InsidersError) else dict(seen.watched)
    name = registry.meant(watched, name)
    known = state.load(paths.state, name)
    item = registry.find(watched, name)
    if item is None and known == RepositoryState():
        registry.select(registry.load(paths.repositories), (name,))  # says why
    name = item.name if item else known.name or name
    changed = {file.file for file in seen.differences}
    yanked = yanks.load(paths.distributions, paths.state).get(known.project or "", {})
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
        {tag: log for tag in known.failures if is_there(log := paths.build_log(name, tag))},
    )


def as_json(detail: RepositoryDetail) -> str:
    """Write an detail for scripts; what nobody knows is `null`."""
    known = detail.known
    content = {
        "name": detail.name,
        "watched": detail.repository is not None,
        "url": detail.url,
        "distribution": detail.project,
        "settings": detail.repository.keys if detail.repository else None,
        "checked_at": _time(detail.check.checked_at),
        "tried_at": _time(detail.check.tried_at),
        "unreachable_since": _time(detail.check.unreachable_since),
        "version": detail.served,
        "errors": detail.check.errors,
        "warnings": detail.check.warnings,
        "problems": [item.text for item in detail.items if item.severity == Severity.PROBLEM],
        "begins_anew": detail.begins_anew,
        "builds": [_build(detail, build) for build in detail.builds],
        "failures": [
            {
                "tag": tag,
                "commit": failure.commit,
                "message": failure.message,
                "count": failure.count,
                "failed_at": _time(failure.failed_at),
                "next_at": _time(failure.next_at),
            }
            for tag, failure in known.failures.items()
        ],
        "left_out": known.left_out,
        "passed_over": known.passed_over,
        "former_files": [
            {"name": name, "held": name in detail.held} for name in known.former_files
        ],
    }
    return json.dumps(content, indent=2)


def _build(detail: RepositoryDetail, build: Build) -> dict[str, Any]:
    is_recalled = build.sandboxed is None  # found again by the tags: how it was made is lost
    yank = detail.yank_of(build)
    return {
        "version": build.version,
        "tag": build.tag,
        "commit": build.commit,
        "built_at": _time(build.built_at),
        "sandboxed": build.sandboxed,
        "requirements": build.requirements or (None if is_recalled else {}),
        "uploaded_to": build.uploaded_to,
        "yanked": yank is not None,
        "yank_reason": yank or None,
        "files": [
            {"name": name, "sha256": digest, "held": name in detail.held}
            for name, digest in build.files.items()
        ],
    }


def _time(epoch_s: int | None) -> str | None:
    return None if epoch_s is None else times.rfc3339(epoch_s)


def as_text(detail: RepositoryDetail, now: datetime, *, in_full: bool) -> str:
    """Write an detail for people.

    Args:
        detail: what there is to tell.
        now: for "12 min ago"; with a time zone, in which times are told.
        in_full: also with what was installed to build each version.
    """
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
        "distribution": detail.project or "not known before the first build",
    }
    if item:
        shown = {key: value for key, value in item.keys.items() if key not in rows}
        rows["settings"] = ", ".join(f"{key} = {as_toml(value)}" for key, value in shown.items())
    rows["served"] = detail.served or ""
    rows["last checked"] = _last_check(detail, now)
    rows["last attempt"] = _last_try(detail, now)
    if check.unreachable_since is not None:
        rows["unreachable"] = f"since {times.told(check.unreachable_since, now)}"
    if detail.begins_anew:
        rows["note"] = (
            f"what is below was built as {detail.known.project} from {detail.known.remote}; "
            "the next update begins anew"
        )
    yield from _indented([(key, value) for key, value in rows.items() if value])


def _last_try(detail: RepositoryDetail, now: datetime) -> str:
    """Tell of the last update that looked at it, unless that is the last check and it is well."""
    check = detail.check
    if check.tried_at is None or (not check.errors and check.tried_at == check.checked_at):
        return ""
    outcome = "failed" if check.errors else "succeeded"
    if not check.errors and check.unreachable_since is not None:
        outcome = "its host was unreachable"
    return f"{times.told(check.tried_at, now)}, {outcome}"


def _judged(detail: RepositoryDetail) -> Iterator[str]:
    """Write what is wrong; tags that fail follow below, with all there is to know of them."""
    failing = {f"tag {tag}: {failure.message}" for tag, failure in detail.known.failures.items()}
    for item in detail.items:
        if item.text not in failing:
            yield f"{item.severity}: {item.text}"


def _last_check(detail: RepositoryDetail, now: datetime) -> str:
    if detail.check.checked_at is not None:
        return times.told(detail.check.checked_at, now)
    if detail.known != RepositoryState():
        return "not known"
    return f"never; `pypi-insiders update {detail.name}` does it now"


def _build_lines(
    detail: RepositoryDetail, build: Build, now: datetime, *, in_full: bool
) -> Iterator[str]:
    words = [f"{build.version}  {build.tag} ({build.commit:.9})"]
    words.append(f"built {times.told(build.built_at, now)}")
    if build.sandboxed is not None:
        words.append("sandboxed" if build.sandboxed else "not sandboxed")
    yank = detail.yank_of(build)
    if yank is not None:
        words.append("yanked: " + yank if yank else "yanked")
    words += [f"uploaded to {url}" for url in build.uploaded_to]
    yield ", ".join(words)
    rows = [
        (name, f"sha256:{digest}{'' if name in detail.held else '  not served'}")
        for name, digest in build.files.items()
    ]
    yield from _indented(rows)
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
        yield f"failed {often}: {tag} ({failure.commit:.9}): {failure.message}"
        yield f"  last {times.told(failure.failed_at, now)}, {again}"
        if tag in detail.build_logs:
            yield f"  build output: {detail.build_logs[tag]}"


def _tags_and_files(detail: RepositoryDetail) -> Iterator[str]:
    known = detail.known
    rows = {
        "skipped, because there are newer ones": known.left_out,
        "skipped, because not a version": known.passed_over,
        "published before it stood for another repository or distribution": known.former_files,
    }
    for what, names in rows.items():
        if names:
            yield f"{what}: {', '.join(names)}"


def _indented(rows: list[tuple[str, str]]) -> Iterator[str]:
    return (f"  {line}" for line in two_columns(rows))
