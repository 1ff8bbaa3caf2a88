"""Notify the user of each problem: once when it is new, and once when it is over."""

import contextlib
import json
import os
import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import NOTIFY_VARIABLE, Settings, load_settings
from pypi_insiders.reporting import notification, services_seen, snapshot
from pypi_insiders.reporting.directory import Files
from pypi_insiders.reporting.index_check import Fetched
from pypi_insiders.reporting.judgement import judge
from pypi_insiders.reporting.notification import Message
from pypi_insiders.reporting.verdict import CONFIG, INDEX, PASSWORDS, REPOSITORIES, STATE
from pypi_insiders.systemd.service_status import Condition, Services
from pypi_insiders.systemd.unit_names import PARTS, SERVER, WATCHER
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import locked, remove, write_atomic
from pypi_insiders.util.json_fields import shaped, written
from pypi_insiders.util.own_files import recall

_DAY_S = 86400
_LINES = 20
_SUBJECTS = 3
_NO_WAY = "no desktop here, and no `notify-command` is set"
_TEST = Message(
    "pypi-insiders: a test",
    "pypi-insiders notifies you like this of each new problem, and of its end.\n",
)
_PARTS = (SERVER.name, WATCHER.name)
_AGAIN = "it comes and goes; no further message about it for a day"


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong."""

    subject: str
    """As that of an item of the judgement: `NS/PROJ`, `server`, `config.toml` ..."""
    kind: str
    """The same as long as it is the same trouble; empty where there can be but one."""
    text: str
    """In one line."""

    @property
    def key(self) -> str:
        """By what it is remembered."""
        return f"{self.subject}: {self.kind}" if self.kind else self.subject

    @property
    def line(self) -> str:
        """What a person reads of it."""
        return f"{self.subject}: {self.text}"


@dataclass(frozen=True)
class Told:
    """Trouble that the person was told of last, or is still to be told of."""

    trouble: Trouble
    told_at: int | None = None
    """In seconds of the epoch; `None`: nobody could be reached yet."""
    again: bool = False
    """It came back soon after its end; neither is told of again for a day."""


@dataclass(frozen=True)
class Memory:
    """What the person knows; each by the key of the trouble."""

    known: Mapping[str, Told]
    """What is wrong, as far as the person knows."""
    over: Mapping[str, int]
    """When they were told that it was over, in seconds of the epoch; for a day."""


@dataclass(frozen=True)
class Found:
    """What one look has found."""

    troubles: tuple[Trouble, ...]
    subjects: frozenset[str]
    """All that was looked at and of which is known how it is."""
    watched: frozenset[str] | None = None
    """The repositories; `None`: nobody knows."""

    def is_gone(self, subject: str) -> bool:
        """Tell whether a repository is no longer watched."""
        return "/" in subject and self.watched is not None and subject not in self.watched


@dataclass(frozen=True)
class News:
    """What the person is to be told."""

    new: tuple[Told, ...]
    over: tuple[Trouble, ...]
    before: Memory
    """What to remember until they have been told."""
    after: Memory
    """What to remember then."""


def compare(memory: Memory, found: Found, now_s: int) -> News:
    """Tell what is new of trouble and what is over.

    What comes back within a day of its end is told once more; then nothing is said of it for a day,
    neither that it is over, so that the last word about what comes and goes is that it is wrong.

    Args:
        memory: what the person knows.
        found: by a look just now.
        now_s: seconds of the epoch.
    """
    past = {key: at for key, at in memory.over.items() if 0 <= now_s - at < _DAY_S}
    after: dict[str, Told] = {}
    before: dict[str, Told] = {}
    ended = []
    there = {trouble.key: trouble for trouble in found.troubles}
    for key, told in memory.known.items():
        if found.is_gone(told.trouble.subject):
            continue  # whoever no longer watches it need not hear
        lasts = key in there or told.trouble.subject not in found.subjects
        if told.told_at is None:
            if lasts:
                before[key] = told
            continue
        before[key] = told
        is_quiet = told.again and 0 <= now_s - told.told_at < _DAY_S
        if lasts or is_quiet:
            after[key] = replace(told, again=is_quiet)
        else:
            ended.append(told.trouble)
    for key, trouble in there.items():
        before.setdefault(key, Told(trouble, again=key in past))
    new = tuple(told for key, told in before.items() if told.told_at is None)
    after |= {told.trouble.key: replace(told, told_at=now_s) for told in new}
    past = {key: at for key, at in past.items() if key not in before}
    return News(
        new,
        tuple(ended),
        Memory(before, memory.over),
        Memory(after, past | {trouble.key: now_s for trouble in ended}),
    )


def words(news: News) -> Message | None:
    """Write what is to be told, all in one message; `None`: nothing is."""
    lines = [f"{told.trouble.line}{f' ({_AGAIN})' if told.again else ''}" for told in news.new]
    lines += [f"recovered: {trouble.line}" for trouble in news.over]
    if not lines:
        return None
    about = [told.trouble.subject for told in news.new] or [item.subject for item in news.over]
    subjects = list(dict.fromkeys(about))
    more = len(subjects) - _SUBJECTS
    listed = ", ".join(subjects[:_SUBJECTS]) + (f" and {more} more" if more > 0 else "")
    if len(lines) > _LINES:
        lines[_LINES:] = [f"and {len(lines) - _LINES} more"]
    text = "\n".join(lines)
    return Message(
        f"pypi-insiders: {'problem with' if news.new else 'recovered:'} {listed}",
        f"{text}\n`pypi-insiders status` shows the state of everything.\n",
    )


def look(paths: Paths, known: Iterable[str] = ()) -> Found:
    """Look for problems.

    Not at repositories while an update is running, which may end their problems; nor at a service
    that has not run since the last login, of which nobody knows whether it would fail. An idle
    index is not started only to be looked at.

    Args:
        paths: where everything is.
        known: the subjects of the problems that the user knows.

    Raises:
        InsidersError: there is no user manager to ask.
    """
    has_known = INDEX in known
    seen = snapshot.take(
        paths,
        datetime.now().astimezone(),
        lambda files, services, settings: _fetch(files, services, settings, is_known=has_known),
    )
    services = seen.services
    if not isinstance(services, Services):
        raise services or InsidersError("nobody looked at the services")
    watcher = services.units[WATCHER.service]
    is_updating = bool(seen.pending) or not (
        watcher["ActiveState"] in ("inactive", "failed") or watcher["SubState"] == "start-post"
    )
    watched: frozenset[str] | None = None
    if not isinstance(seen.watched, InsidersError):
        watched = frozenset(seen.watched)
    # While an update is running nobody knows how these are.
    by_updates = {WATCHER.name, *(watched or ()), *filter(None, seen.held.values()), *seen.held}
    subjects = {CONFIG, PASSWORDS, REPOSITORIES, STATE, *(f"{part.name} units" for part in PARTS)}
    if seen.fetched is not None and not seen.fetched.needs_password:
        subjects.add(INDEX)
    if _is_well(services.units[SERVER.service]):
        subjects.add(SERVER.name)
    if not is_updating:
        subjects |= by_updates - {WATCHER.name}
        if _failure(watcher) or _is_well(watcher):
            subjects.add(WATCHER.name)
    judged = judge(seen)
    services_seen.remember(paths, seen, judged)
    troubles = tuple(
        Trouble(item.subject, item.kind, item.text)
        for item in judged.problems
        if not (is_updating and item.subject in by_updates)
    )
    return Found(troubles, frozenset(subjects), watched)


def _fetch(
    files: Files, services: Services | InsidersError, settings: Settings | None, *, is_known: bool
) -> Fetched | None:
    if isinstance(services, Services) and not is_known:
        server = services.server
        if server.condition == Condition.RUNNING and not server.is_working:
            return None
    return snapshot.fetch_as_client(files, services, settings)


def _failure(unit: Mapping[str, str]) -> bool:
    """Tell whether a unit fails."""
    is_ending = unit["ActiveState"] == "deactivating" and unit["Result"] != "success"
    return unit["ActiveState"] == "failed" or is_ending


def _is_well(unit: Mapping[str, str]) -> bool:
    """Tell whether a service runs, or has run to a good end."""
    if unit["ActiveState"] == "active" or unit["SubState"] == "start-post":
        return True
    has_run = unit["ExecMainExitTimestampMonotonic"] not in ("", "0")
    return unit["ActiveState"] == "inactive" and has_run and unit["Result"] == "success"


def load(paths: Paths) -> Memory:
    """Read what the person knows; nothing where that is lost, or was damaged and is set aside."""
    known: dict[str, Told] = {}
    for part in _PARTS:
        with contextlib.suppress(InsidersError):
            known |= recall(_known(paths, part), _understand_known) or {}
    over: dict[str, int] = {}
    with contextlib.suppress(InsidersError):
        over = recall(_over(paths), _understand_over) or {}
    return Memory(known, over)


def _understand_known(text: str) -> dict[str, Told]:
    found = [
        shaped(Told, {**item, "trouble": shaped(Trouble, item["trouble"])})
        for item in json.loads(text)
    ]
    return {told.trouble.key: told for told in found}


def _understand_over(text: str) -> dict[str, int]:
    return {str(key): int(at) for key, at in json.loads(text).items()}


def save(paths: Paths, memory: Memory) -> None:
    """Write what the person knows; where that is nothing, no file is left.

    Raises:
        InsidersError: it cannot be written.
    """
    for part in _PARTS:
        items = [
            asdict(told)
            for told in memory.known.values()
            if (told.trouble.subject == SERVER.name) == (part == SERVER.name)
        ]
        _put(_known(paths, part), items)
    _put(_over(paths), dict(memory.over))
    with contextlib.suppress(OSError):
        paths.troubles.rmdir()


def _known(paths: Paths, part: str) -> Path:
    # The units look whether these are there, which costs less than to start this program.
    return paths.troubles / f"{part}.json"


def _over(paths: Paths) -> Path:
    return paths.state / "troubles-over.json"


def _put(path: Path, content: list[dict[str, Any]] | dict[str, int]) -> None:
    if content:
        write_atomic(path, written(content, indent=1))
    else:
        remove(path)


def tell(paths: Paths) -> str | None:
    """Look for trouble, and tell the person what is new of it and what is over.

    Returns:
        What was done, in one line; `None`: there is nothing to tell.

    Raises:
        InsidersError: there is no user manager to ask, or the person could not be told; the next
            call tries that again.
    """
    with locked(paths.troubles_lock):
        command = way(paths)
        memory = load(paths)
        known = {told.trouble.subject for told in memory.known.values()}
        news = compare(memory, look(paths, known), int(time.time()))
        message = words(news)
        if message is None or command == ():
            if news.after != memory:
                save(paths, news.after)
            return None
        save(paths, news.before)
        program = notification.send(message, command)
        if program is None:
            return f"no notification was sent ({_NO_WAY}): {message.subject}"
        save(paths, news.after)
        return f"sent by {program}: {message.subject}"


def send_test(paths: Paths) -> str:
    """Send the person a message that is none; return the program that took it.

    Raises:
        InsidersError: it could not be sent, or the person does not want any.
    """
    hint = f"set `notify-command` under [watcher] in {paths.settings}"
    command = way(paths)
    if command == ():
        raise InsidersError("`notify-command = []` turns all messages off", hint)
    program = notification.send(_TEST, command)
    if program is None:
        raise InsidersError(f"no notification can be sent: {_NO_WAY}", hint)
    return program


def way(paths: Paths) -> tuple[str, ...] | None:
    """Tell by which command the person wants to be told, as `WatcherSettings` says.

    While `config.toml` cannot be read it is what it was when the units were installed.
    """
    try:
        return load_settings(paths.settings).watcher.notify_command
    except InsidersError:
        told = os.environ.get(NOTIFY_VARIABLE)
        return None if told is None else tuple(shlex.split(told))
