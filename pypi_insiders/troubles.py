"""Tell the person of trouble: once when it is new, and once when it is over."""

import contextlib
import json
import os
import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pypi_insiders import config, notification, standing, systemctl
from pypi_insiders.errors import InsidersError
from pypi_insiders.files import locked, remove, write_atomic
from pypi_insiders.memory import recall
from pypi_insiders.notification import Message
from pypi_insiders.paths import Paths
from pypi_insiders.shapes import shaped
from pypi_insiders.units import SERVER, WATCHER
from pypi_insiders.urls import without_any_credentials

if TYPE_CHECKING:
    from pypi_insiders.standing import Standing

_DAY_S = 86400
_LINES = 20
_SUBJECTS = 3
_NO_WAY = "for there is no desktop here and no `notify-command`"
_TEST = Message(
    "pypi-insiders: a test",
    "This is how pypi-insiders tells you what fails, and when that is over.\n",
)
_PARTS = (SERVER.name, WATCHER.name)
_AGAIN = "it comes and goes, no more is said of it for a day"


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong."""

    subject: str
    """With what: `NS/PROJ`, `server` or `watcher`."""
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
        return self.watched is not None and subject not in self.watched and subject not in _PARTS


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
    lines += [f"over: {trouble.line}" for trouble in news.over]
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
        f"pypi-insiders: {'trouble with' if news.new else 'over: trouble with'} {listed}",
        f"{text}\n`pypi-insiders status` tells the state of everything.\n",
    )


def look(paths: Paths) -> Found:
    """Look for trouble.

    Not at repositories while an update is under way, which may end their trouble; nor at a service
    that has not run since the last login, of which nobody knows whether it would fail.

    Raises:
        InsidersError: there is no user manager to ask.
    """
    socket, server, watcher = systemctl.show_each(
        (*SERVER.units, WATCHER.service),
        *("ActiveState", "SubState", "Result", "ExecMainStatus", "ExecMainExitTimestampMonotonic"),
    )
    broken = _broken_settings(paths)
    troubles = []
    subjects = set()
    if result := _failure(socket) or _failure(server):
        told = broken or f"failing ({result}); see `pypi-insiders server logs`"
        troubles.append(Trouble(SERVER.name, "", _clean(told)))
    elif _is_well(server):
        subjects.add(SERVER.name)
    standings: list[Standing] = []
    watched: frozenset[str] | None = None
    try:
        standings = standing.of_all(paths)
        watched = frozenset(item.name for item in standings)
    except InsidersError as error:
        broken = broken or error.message
    if watcher["ActiveState"] in ("inactive", "failed") or watcher["SubState"] == "start-post":
        failed = [recognize(item.name, error) for item in standings for error in item.errors]
        result = _failure(watcher)
        # That repositories fail is why it ends so, and is told of each.
        if result and (broken or not failed or watcher["ExecMainStatus"] != "1"):
            told = broken or f"updates fail ({result}); see `pypi-insiders watcher logs`"
            troubles.append(Trouble(WATCHER.name, "", _clean(told)))
        elif result or _is_well(watcher):
            subjects.add(WATCHER.name)
        troubles += failed
        subjects |= watched or set()
    return Found(tuple(troubles), frozenset(subjects), watched)


def _broken_settings(paths: Paths) -> str | None:
    try:
        config.load(paths.settings)
    except InsidersError as error:
        return error.message
    return None


def _failure(unit: dict[str, str]) -> str | None:
    """Tell how a unit fails, in systemd's word."""
    state, result = unit["ActiveState"], unit["Result"]
    is_ending = state == "deactivating" and result != "success"
    if state == "failed" or is_ending or unit["SubState"].startswith("auto-restart"):
        return result
    return None


def _is_well(unit: dict[str, str]) -> bool:
    """Tell whether a service runs, or has run to a good end."""
    if unit["ActiveState"] == "active" or unit["SubState"] == "start-post":
        return True
    has_run = unit["ExecMainExitTimestampMonotonic"] not in ("", "0")
    return unit["ActiveState"] == "inactive" and has_run and unit["Result"] == "success"


def recognize(repository: str, error: str) -> Trouble:
    """Tell which trouble an error of a repository is.

    Counts, times and commits do not make it another one; nor does how a tag fails.
    """
    if match := re.match(r"tag [^ :]+(?=: )", error):
        kind = match[0]
    else:
        kind = re.sub(r"\b[0-9a-f]*\d[0-9a-f]*\b|\d+", "0", error)
    return Trouble(repository, kind, _clean(error))


def _clean(text: str) -> str:
    """Take out credentials, and what a terminal would not show as it stands."""
    text = "".join(character if character.isprintable() else " " for character in text)
    return without_any_credentials(text)


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
        write_atomic(path, json.dumps(content, indent=1) + "\n")
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
        news = compare(memory, look(paths), int(time.time()))
        message = words(news)
        if message is None or command == ():
            if news.after != memory:
                save(paths, news.after)
            return None
        save(paths, news.before)
        program = notification.send(message, command)
        if program is None:
            return f"nobody was told, {_NO_WAY}: {message.subject}"
        save(paths, news.after)
        return f"told by {program}: {message.subject}"


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
        raise InsidersError(f"nobody can be told, {_NO_WAY}", hint)
    return program


def way(paths: Paths) -> tuple[str, ...] | None:
    """Tell by which command the person wants to be told, as `WatcherSettings` says.

    While `config.toml` cannot be read it is what it was when the units were installed.
    """
    try:
        return config.load(paths.settings).watcher.notify_command
    except InsidersError:
        told = os.environ.get(config.NOTIFY_VARIABLE)
        return None if told is None else tuple(shlex.split(told))
