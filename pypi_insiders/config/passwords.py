"""Keep and check the passwords of those who may read or upload, hashed."""

import base64
import hashlib
import hmac
import logging
import os
import re
import secrets
import shlex
import stat
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pypi_insiders.util.errors import InsidersError, UsageError
from pypi_insiders.util.files import read_text, write_atomic

_log = logging.getLogger(__name__)

UPLOADER = "__token__"
"""The user name that goes with a token for uploads, as on PyPI."""
CREDENTIAL = "pypi-insiders-passwords"
"""The systemd credential that takes the place of the file. Source: systemd.exec(5)."""

# Of one guess: whoever writes the file must not take all memory, or a thread for minutes.
_MOST_MEMORY_BYTES = 64 * 1024 * 1024
_MOST_PARALLEL = 4
_HASH_BYTES = range(8, 65)
_ANSWERS = 256
# One is found out, and one waits: no more threads than that, or nobody else would be answered.
_GUESSES_AT_ONCE = 2


@dataclass(frozen=True)
class Cost:
    """What scrypt takes for each guess. Source: RFC 7914."""

    log_n: int = 14
    block: int = 8
    parallel: int = 1

    @property
    def memory_bytes(self) -> int:
        """How much memory it takes."""
        return 128 * self.block * ((1 << self.log_n) + self.parallel + 2)

    @property
    def is_bearable(self) -> bool:
        """Whether it can be spent."""
        return (
            0 < self.log_n < 32
            and self.block > 0
            and 0 < self.parallel <= _MOST_PARALLEL
            and self.memory_bytes <= _MOST_MEMORY_BYTES
        )


COST = Cost()
"""That of new passwords: 16 MiB of memory, and some 40 ms."""
_NO_HASH = bytes(32)


@dataclass(frozen=True)
class Hash:
    """A password, hashed; written as `$scrypt$ln=14,r=8,p=1$SALT$HASH`, both in base64.

    Source: the PHC string format, https://github.com/P-H-C/phc-string-format.
    """

    salt: bytes
    digest: bytes
    cost: Cost = COST

    def __str__(self) -> str:
        """Write it."""
        cost = f"ln={self.cost.log_n},r={self.cost.block},p={self.cost.parallel}"
        return f"$scrypt${cost}${_encoded(self.salt)}${_encoded(self.digest)}"


Derive = Callable[[str, Hash], bytes]


def derive(password: str, like: Hash) -> bytes:
    """Hash a password as another was hashed; this is what takes time and memory."""
    return hashlib.scrypt(
        password.encode(),
        salt=like.salt,
        n=1 << like.cost.log_n,
        r=like.cost.block,
        p=like.cost.parallel,
        maxmem=like.cost.memory_bytes,
        dklen=len(like.digest),
    )


def hashed(password: str) -> Hash:
    """Hash a password with a salt of its own."""
    new = Hash(secrets.token_bytes(16), _NO_HASH)
    return replace(new, digest=derive(password, new))


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    plain = text.rstrip("=")
    content = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    if len(content) not in _HASH_BYTES:
        raise ValueError(text)
    return content


_PHC = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,5}),p=(\d{1,2})\$([^$]+)\$([^$]+)", re.ASCII)
_OLD = re.compile(r"scrypt:([^:]+):([^:]+)")


def _read(text: str) -> Hash:
    """Read a hashed password, also as it was written before it named its cost.

    Raises:
        ValueError: it is none.
    """
    if old := _OLD.fullmatch(text):
        return Hash(_decoded(old[1]), _decoded(old[2]))
    match = _PHC.fullmatch(text)
    if match is None:
        raise ValueError(text)
    log_n, block, parallel, salt, digest = match.groups()
    return Hash(_decoded(salt), _decoded(digest), Cost(int(log_n), int(block), int(parallel)))


def source(path: Path) -> Path:
    """Find where the passwords are: in a credential of the service, or else in the file."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(directory, CREDENTIAL) if directory else None
    return credential if credential is not None and credential.exists() else path


def load(path: Path) -> dict[str, Hash]:
    """Read user names and hashed passwords, one `USER:HASH` a line; none without a file.

    Raises:
        InsidersError: the file cannot be read, others than its owner may read it, or a line is
            not of that form, or asks for too much memory or time.
    """
    text = read_text(path)
    if text is None:
        return {}
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise InsidersError(f"{path} has mode {mode:04o}: others may read it", f"chmod 600 {path}")
    users = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        user, _, wanted = line.strip().partition(":")
        try:
            users[user] = _read(wanted)
        except ValueError:
            user = ""
        if not user:
            raise InsidersError(
                f"{path}, line {number}: not USER:HASH", _without(path, number, "USER")
            )
        if not users[user].cost.is_bearable:
            raise InsidersError(
                f"{path}, line {number}: to check the password of {user} takes too much memory",
                _without(path, number, user),
            )
    return users


def _without(path: Path, number: int, user: str) -> str:
    """Write how to replace a line that keeps the file from being read, and so from being set."""
    if path.name == CREDENTIAL:
        return f"correct the file that LoadCredential={CREDENTIAL} names"
    remove_line = f"sed -i {number}d {shlex.quote(str(path))}"
    return f"remove the line: `{remove_line}`, then `pypi-insiders server password {user}`"


def save(path: Path, user: str, password: str) -> None:
    """Set the password of a user; the caller lets nobody else write meanwhile.

    Raises:
        UsageError: the name or the password cannot be sent by HTTP.
        InsidersError: the file cannot be written; it is as it was.

    Source: RFC 7617, on what they may hold.
    """
    if not user or ":" in user or user.startswith("#") or not user.isprintable() or " " in user:
        raise UsageError(f"{user!r} cannot be a user name", "letters, digits, '.', '_', '-', '@'")
    if re.search(r"[\x00-\x1f\x7f]", password):
        raise UsageError("a password cannot have control characters", "letters and digits")
    _write(path, load(path) | {user: hashed(password)})


def remove(path: Path, user: str) -> bool:
    """Take the password of a user away; say whether there was one. As `save` otherwise."""
    users = load(path)
    if users.pop(user, None) is None:
        return False
    _write(path, users)
    return True


def _write(path: Path, users: Mapping[str, Hash]) -> None:
    write_atomic(path, "".join(f"{name}:{wanted}\n" for name, wanted in users.items()), mode=0o600)


class TooManyGuessesError(Exception):
    """So many passwords are being found out about that one more has to wait."""


class Single:
    """Check for one password, whoever gives it; for a process that makes one up."""

    def __init__(self, password: str) -> None:
        self._password = password.encode()

    def is_right(self, _user: str, password: str) -> bool:
        """Check whether this is the password."""
        return hmac.compare_digest(password.encode(), self._password)


class Checker:
    """Check passwords against a file that may change while this runs.

    Args:
        path: as `load` reads it.
        derive: hashes a password.
    """

    def __init__(self, path: Path, derive: Derive = derive) -> None:
        self._path = path
        self._derive = derive
        self._seen: tuple[int, int] | None = None
        self._users: dict[str, Hash] = {}
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        # Apart, so that no number of guesses makes the right ones be found out again.
        self._answers: dict[bool, set[bytes]] = {True: set(), False: set()}
        self._guesses: Counter[bytes] = Counter()
        self._turn = threading.Lock()

    def is_right(self, user: str, password: str) -> bool:
        """Check whether this is the password of that user; remember the last answers.

        While the file cannot be read, or others may read it, nobody has a password.

        Raises:
            TooManyGuessesError: others are found out about, which takes as long as they please;
                what is known is told at any time.
        """
        # Hashed with a key of this process: passwords do not stay in memory.
        asked = hmac.digest(self._key, f"{user}:{password}".encode(), "sha256")
        with self._lock:
            self._reload()
            known = self._known(asked)
            if known is not None:
                return known
            if asked not in self._guesses and len(self._guesses) >= _GUESSES_AT_ONCE:
                raise TooManyGuessesError
            self._guesses[asked] += 1
        try:
            with self._turn:  # one at a time: each takes memory
                return self._find_out(asked, user, password)
        finally:
            with self._lock:
                self._guesses[asked] -= 1
                self._guesses += Counter()  # without those that nobody waits for

    def _known(self, asked: bytes) -> bool | None:
        return next((answer for answer, of in self._answers.items() if asked in of), None)

    def _find_out(self, asked: bytes, user: str, password: str) -> bool:
        with self._lock:
            known, wanted = self._known(asked), self._users.get(user)
            costs = [it.cost for it in self._users.values()]
        if known is not None:
            return known  # by whoever had the turn before
        # As slow for a user who is not there.
        cost = max(costs, key=lambda it: it.memory_bytes * it.parallel, default=COST)
        tried = wanted or Hash(bytes(16), _NO_HASH, cost)
        is_same = hmac.compare_digest(self._derive(password, tried), tried.digest)
        is_right = is_same and wanted is not None
        with self._lock:
            if self._users.get(user) == wanted:
                answers = self._answers[is_right]
                if len(answers) >= _ANSWERS:
                    answers.clear()
                answers.add(asked)
        return is_right

    def _reload(self) -> None:
        try:
            status = self._path.stat()
            seen = (status.st_ctime_ns, status.st_ino)  # of its mode, too
        except OSError:
            seen = (0, 0)
        if seen != self._seen:
            self._seen = seen
            for answers in self._answers.values():
                answers.clear()
            try:
                self._users = load(self._path)
            except (InsidersError, OSError) as error:
                _log.error("%s; until then nobody is let in", error)
                self._users = {}
            else:
                if not self._users:
                    _log.error("%s has no user: nobody is let in", self._path)
