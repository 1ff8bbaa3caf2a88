"""Tell the person what fails: each trouble once, and once more when it is over."""

import contextlib
import json
import logging
import os
import re
import shlex
import textwrap
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from pypi_insiders import config, messenger, standing, systemctl, units
from pypi_insiders.errors import InsidersError
from pypi_insiders.files import locked, read_text, remove, write_atomic
from pypi_insiders.messenger import Message, NobodyError
from pypi_insiders.paths import Paths
from pypi_insiders.units import SERVER, WATCHER, Part

_log = logging.getLogger(__name__)

_PAUSE_S = 86400
_SUBJECT_WIDTH = 120
_NEXT = "see `pypi-insiders status`\n"


@dataclass(frozen=True)
class Trouble:
    """Something that fails."""

    part: str
    """The name of the part whose work it is."""
    line: str
    """What a person reads."""
    repository: str | None = None
    """`NS/PROJ`, if it is about one of them."""
    told_at: int | None = None
    """When the person was told, in seconds of the epoch; `None`: not yet."""
    is_over: bool = False
    """It was told, and that it is over too."""
    is_back: bool = False
    """It came back soon after that, and is told only if it lasts."""

    @property
    def key(self) -> str:
        """What is the same as long as it is the same trouble: no numbers, hashes, random names.

        Those of a tag stay: another tag is another trouble.
        """
        if self.part == SERVER.name:
            return self.part
        tag = re.match(r"(?:\S+/\S+: )?tag \S+: ", self.line)
        begin = tag.end() if tag else 0
        rest = re.sub(r"\btmp\w{8}\b|\b[0-9a-f]{7,64}\b|\d+", "#", self.line[begin:])
        return f"{self.part}: {self.line[:begin]}{rest}"


@dataclass(frozen=True)
class News:
    """What the person is to be told, and what is to be remembered then."""

    new: list[Trouble]
    over: list[Trouble]
    told: dict[str, Trouble]
    """Key to trouble, if the person can be told."""

    @property
    def untold(self) -> dict[str, Trouble]:
        """Key to trouble, if nobody can be told."""
        return self.told | {trouble.key: trouble for trouble in self.new + self.over}


@dataclass(frozen=True)
class Look:
    """What fails now."""

    part: Part
    troubles: list[Trouble]
    watched: frozenset[str] | None = None
    """The repositories that are watched; `None`: that is not known, and nothing of it is over."""


def tell(paths: Paths, parts: Iterable[Part]) -> None:
    """Look at parts, and tell the person what has changed, if anything has.

    Raises:
        InsidersError: the person could not be told because the command failed; it is tried again
            when the next update ends.
    """
    with locked(paths.notify_lock):
        for part in parts:
            # First, so that a service that comes up from now on is not missed.
            remove(paths.skip_notify / f"{part.name}-ok")
            look = _look_at_server(paths) if part == SERVER else _look_at_watcher(paths)
            _tell(paths, look)


def _tell(paths: Paths, look: Look) -> None:
    found = news(_load(paths), look, int(time.time()))
    known, failure = found.told, None
    if found.new or found.over:
        message = compose(found.new, found.over)
        try:
            if way := messenger.send(message, _command(paths)):
                _log.info("told by %s: %s", way, message.subject)
        except NobodyError as error:
            known = found.untold
            _log.warning("nobody could be told: %s\n%s", error.message, message.body.rstrip())
            _log.info("hint: %s", error.hint)
        except InsidersError as error:
            known, failure = found.untold, error
    _save(paths, known)
    _save_what_to_skip(paths, known)
    if failure:
        raise failure


def news(known: Mapping[str, Trouble], look: Look, now_s: int) -> News:
    """Compare what fails now with what the person was told.

    What comes back within a day after it was told is told only if it still fails after that day,
    so that something that fails now and then is told once a day. Troubles of a repository that is
    no longer watched are forgotten.

    Args:
        known: what was remembered last, by key; also of the other part.
        look: what fails now.
        now_s: seconds of the epoch.
    """
    now = {trouble.key: trouble for trouble in look.troubles}
    new, over = [], []
    told: dict[str, Trouble] = {}
    for key, trouble in now.items():
        before = known.get(key, trouble)
        is_back = before.is_back or before.is_over
        after = replace(before, line=trouble.line, is_over=False, is_back=is_back)
        told[key] = after
        if after.told_at is None or (is_back and now_s >= after.told_at + _PAUSE_S):
            new.append(after)
    for key, before in known.items():
        if key in now:
            continue
        if before.part != look.part.name or (before.repository and look.watched is None):
            told[key] = before  # nothing is known of it now
            if before.told_at is None:
                new.append(before)
        elif before.told_at is None or _is_unwatched(before, look):
            continue
        elif not (before.is_over or before.is_back):
            over.append(before)
            told[key] = replace(before, is_over=True)
        elif now_s < before.told_at + _PAUSE_S:
            told[key] = replace(before, is_over=True, is_back=False)
    told |= {item.key: replace(item, told_at=now_s, is_back=False) for item in new}
    return News(new, over, told)


def _is_unwatched(trouble: Trouble, look: Look) -> bool:
    return trouble.repository is not None and trouble.repository not in (look.watched or ())


def compose(new: list[Trouble], over: list[Trouble]) -> Message:
    """Write one message of all that has changed."""
    told = [trouble.line for trouble in new] + [f"over: {trouble.line}" for trouble in over]
    subject = told[0] if len(told) == 1 else _count(len(new), len(over))
    return Message(
        f"pypi-insiders: {textwrap.shorten(subject, _SUBJECT_WIDTH, placeholder=' ...')}",
        "".join(f"{line}\n" for line in told) + _NEXT,
    )


def _count(new: int, over: int) -> str:
    parts = [f"{new} failures"] if new > 1 else ["a failure"] if new else []
    parts += [f"{over} are over"] if over > 1 else ["one is over"] if over else []
    return ", ".join(parts)


TEST = Message("pypi-insiders: a test", "this is how you will be told what fails\n" + _NEXT)


def test(paths: Paths) -> str | None:
    """Send the person a message that says nothing; return what did it, `None` if it is off.

    Raises:
        InsidersError: it did not work.
    """
    return messenger.send(TEST, config.load(paths.settings).watcher.notify_command)


def _command(paths: Paths) -> tuple[str, ...]:
    """Tell the command; while config.toml is wrong, which is told too, that of the unit."""
    try:
        return config.load(paths.settings).watcher.notify_command
    except InsidersError:
        return tuple(shlex.split(os.environ.get(units.NOTIFY_COMMAND, "")))


def _look_at_server(paths: Paths) -> Look:
    state = systemctl.show(SERVER.service, "ActiveState", "SubState")
    if state["ActiveState"] in ("active", "inactive") or state["SubState"] == "start-post":
        return Look(SERVER, [])
    reason = _wrong_settings(paths) or "see `pypi-insiders server logs`"
    return Look(SERVER, [Trouble(SERVER.name, f"the index does not run: {reason}")])


def _look_at_watcher(paths: Paths) -> Look:
    name = WATCHER.name
    wrong = _wrong_settings(paths)
    troubles = [Trouble(name, wrong)] if wrong else []
    watched = None
    try:
        standings = standing.of_all(paths)
        watched = frozenset(item.name for item in standings)
        troubles += [
            Trouble(name, f"{item.name}: {error}", item.name)
            for item in standings
            for error in item.errors
        ]
    except InsidersError as error:
        troubles.append(Trouble(name, error.message))
    if not troubles and (result := _result()) != "success":
        line = f"an update failed ({result}); see `pypi-insiders watcher logs`"
        troubles.append(Trouble(name, line))
    return Look(WATCHER, troubles, watched)


def _wrong_settings(paths: Paths) -> str | None:
    try:
        config.load(paths.settings)
    except InsidersError as error:
        return error.message
    return None


def _result() -> str:
    """Tell how the last update ended, in systemd's words."""
    try:
        return systemctl.show(WATCHER.service, "Result")["Result"]
    except InsidersError:  # without a user manager, whoever runs `update` sees that
        return "success"


def _load(paths: Paths) -> dict[str, Trouble]:
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        content = json.loads(read_text(paths.troubles) or "{}")
        return {key: Trouble(**item) for key, item in content.items()}
    return {}


def _save(paths: Paths, known: Mapping[str, Trouble]) -> None:
    content = {key: asdict(trouble) for key, trouble in known.items()}
    text = json.dumps(content, indent=1) + "\n"
    if text != read_text(paths.troubles):
        write_atomic(paths.troubles, text)


def _save_what_to_skip(paths: Paths, known: Mapping[str, Trouble]) -> None:
    """Say which instances of the unit need not start until something changes."""
    lasting = [trouble for trouble in known.values() if not trouble.is_over]
    fails = {trouble.part for trouble in lasting}
    # Updates come often: they also bring what could not be told.
    is_waiting = any(trouble.told_at is None for trouble in lasting)
    skipped = {
        SERVER.name: SERVER.name in fails,
        f"{SERVER.name}-ok": SERVER.name not in fails,
        f"{WATCHER.name}-ok": WATCHER.name not in fails and not is_waiting,
    }
    for instance, is_skipped in skipped.items():
        path = paths.skip_notify / instance
        if not is_skipped:
            remove(path)
        elif not path.exists():
            write_atomic(path, "")
