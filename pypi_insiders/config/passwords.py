"""Store and check hashed passwords of readers and uploaders."""

import base64
import logging
import os
import re
import shlex
import stat
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from pypi_insiders.util.errors import InsidersError, UsageError
from pypi_insiders.util.files import read_text, write_atomic

_log = logging.getLogger(__name__)

UPLOADER = "__token__"
"""The user name for tokens, as on PyPI."""
CREDENTIAL = "pypi-insiders-passwords"
"""The systemd credential that replaces the file. Source: systemd.exec(5)."""

# The file may be written by another tool: no entry may take all memory for one guess, or block a
# thread for minutes.
_MOST_MEMORY_BYTES = 64 * 1024 * 1024
# `p` multiplies the time of scrypt, and hardly changes its memory.
_MOST_PARALLEL = 4
_HASH_BYTES = range(8, 65)
_ANSWERS = 256
# One is computed and one waits. With more, guesses would occupy all threads of the server.
_GUESSES_AT_ONCE = 2


class Cost(NamedTuple):
    """The cost parameters of scrypt. Source: RFC 7914."""

    log_n: int = 14
    block: int = 8
    parallel: int = 1

    @property
    def memory_bytes(self) -> int:
        """The memory that one computation takes."""
        return 128 * self.block * ((1 << self.log_n) + self.parallel + 2)

    @property
    def is_bearable(self) -> bool:
        """Whether the cost is within the limits of this program."""
        return (
            0 < self.log_n < 32
            and self.block > 0
            and 0 < self.parallel <= _MOST_PARALLEL
            and self.memory_bytes <= _MOST_MEMORY_BYTES
        )


# The recommendation of scrypt's author for logins. An installer logs in with each request, so
# answers are cached.
COST = Cost()
"""The cost of new passwords: 16 MiB of memory, about 40 ms."""
_NO_HASH = bytes(32)


class Hash(NamedTuple):
    """A hashed password; its text is `$scrypt$ln=14,r=8,p=1$SALT$HASH`, both in base64.

    Source: the PHC string format, https://github.com/P-H-C/phc-string-format.
    """

    salt: bytes
    digest: bytes
    cost: Cost = COST

    def __str__(self) -> str:
        """Return its line in the file."""
        cost = f"ln={self.cost.log_n},r={self.cost.block},p={self.cost.parallel}"
        return f"$scrypt${cost}${_encoded(self.salt)}${_encoded(self.digest)}"


Derive = Callable[[str, Hash], bytes]


def derive(password: str, like: Hash) -> bytes:
    """Return the scrypt hash of a password with the salt and cost of another hash."""
    import hashlib

    return hashlib.scrypt(
        password.encode(),
        salt=like.salt,
        n=1 << like.cost.log_n,
        r=like.cost.block,
        p=like.cost.parallel,
        # OpenSSL's default limit is 32 MiB, less than `_MOST_MEMORY_BYTES`.
        maxmem=like.cost.memory_bytes,
        dklen=len(like.digest),
    )


def hashed(password: str) -> Hash:
    """Hash a password with a new salt."""
    new = Hash(os.urandom(16), _NO_HASH)
    return new._replace(digest=derive(password, new))


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    plain = text.rstrip("=")
    # The PHC format omits the padding; some tools write it.
    content = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    if len(content) not in _HASH_BYTES:
        raise ValueError(text)
    return content


_PHC = r"(?a)\$scrypt\$ln=(\d{1,2}),r=(\d{1,5}),p=(\d{1,2})\$([^$]+)\$([^$]+)"
_OLD = r"scrypt:([^:]+):([^:]+)"


def _read(text: str) -> Hash:
    """Parse a hashed password.

    Raises:
        ValueError: the text is not a hash.
    """
    # Written by versions before the cost was part of the text; it was the default.
    if old := re.fullmatch(_OLD, text):
        return Hash(_decoded(old[1]), _decoded(old[2]))
    match = re.fullmatch(_PHC, text)
    if match is None:
        raise ValueError(text)
    log_n, block, parallel, salt, digest = match.groups()
    return Hash(_decoded(salt), _decoded(digest), Cost(int(log_n), int(block), int(parallel)))


def source(path: Path, name: str = CREDENTIAL) -> Path:
    """Return the path of the passwords: the service's credential if it exists, else the file."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(directory, name) if directory else None
    return credential if credential is not None and credential.exists() else path


def load(path: Path) -> dict[str, Hash]:
    """Read users and their hashed passwords, one `USER:HASH` per line; empty without a file.

    Raises:
        InsidersError: the file cannot be read, is accessible by other users, or has a line that is
            malformed or too costly to check.
    """
    users = {}
    for number, line in enumerate((read_private(path) or "").splitlines(), 1):
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
                f"{path}, line {number}: checking the password of {user} takes too much memory",
                _without(path, number, user),
            )
    return users


def read_private(path: Path) -> str | None:
    """Read a file that only the user may read; `None`: it does not exist.

    Raises:
        InsidersError: it cannot be read, or is accessible by other users.
    """
    text = read_text(path)
    if text is None:
        return None
    # Like ssh with private keys: who can read the hashes can guess offline.
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise InsidersError(
            f"{path} is accessible by other users (mode {mode:04o})",
            f"`chmod 600 {shlex.quote(str(path))}`",
        )
    return text


def _without(path: Path, number: int, user: str) -> str:
    """Return the hint to replace a malformed line."""
    if path.name == CREDENTIAL:
        return f"correct the file in LoadCredential={CREDENTIAL}"
    # `server password` alone cannot help: it reads the file first, and fails on the line.
    remove_line = f"sed -i {number}d {shlex.quote(str(path))}"
    return f"remove the line: `{remove_line}`, then `pypi-insiders server password {user}`"


def save(path: Path, user: str, password: str) -> None:
    """Set the password of a user; the caller holds the lock of the file.

    Raises:
        UsageError: the user name or password cannot be sent over HTTP.
        InsidersError: the file cannot be written.

    Source: RFC 7617, section 2.
    """
    if not user or ":" in user or user.startswith("#") or not user.isprintable() or " " in user:
        raise UsageError(
            f"{user!r} is not a valid user name",
            "use letters, digits, '.', '_', '-' and '@'",
        )
    # The server refuses credentials with control characters.
    if re.search(r"[\x00-\x1f\x7f]", password):
        raise UsageError(
            "a password must not contain control characters", "use letters, digits and punctuation"
        )
    _write(path, load(path) | {user: hashed(password)})


def remove(path: Path, user: str) -> bool:
    """Remove a user; return whether it existed. The caller holds the lock of the file."""
    users = load(path)
    if users.pop(user, None) is None:
        return False
    _write(path, users)
    return True


def _write(path: Path, users: Mapping[str, Hash]) -> None:
    write_atomic(path, "".join(f"{name}:{wanted}\n" for name, wanted in users.items()), mode=0o600)


class TooManyGuessesError(Exception):
    """Too many unknown passwords are being checked."""


class Single:
    """Check a single generated password, for any user name."""

    def __init__(self, password: str) -> None:
        self._password = password.encode()

    def is_right(self, _user: str, password: str) -> bool:
        """Return whether the password is right."""
        # `==` stops at the first difference: its time reveals how much of a guess is right.
        import hmac

        return hmac.compare_digest(password.encode(), self._password)


class Checker:
    """Check passwords against a file, which is read again when it changes.

    Args:
        path: the file of `load`.
        derive: the hash function.
    """

    def __init__(self, path: Path, derive: Derive = derive) -> None:
        self._path = path
        self._derive = derive
        self._seen: tuple[int, int] | None = None
        self._users: dict[str, Hash] = {}
        self._key = os.urandom(32)
        self._lock = threading.Lock()
        # Separate caches: wrong guesses, however many, do not evict right passwords.
        self._answers: dict[bool, set[bytes]] = {True: set(), False: set()}
        self._guesses: Counter[bytes] = Counter()
        self._turn = threading.Lock()

    def is_right(self, user: str, password: str) -> bool:
        """Return whether the password of a user is right; cache the answer.

        Every password is wrong while the file cannot be read.

        Raises:
            TooManyGuessesError: other unknown passwords are being checked; cached answers are
                always available.
        """
        import hmac

        # The cache's key is a keyed hash, so that passwords do not stay in memory.
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
            with self._turn:  # one at a time: each takes up to `_MOST_MEMORY_BYTES`
                return self._find_out(asked, user, password)
        finally:
            with self._lock:
                self._guesses[asked] -= 1
                self._guesses += Counter()  # drops counts of zero

    def _known(self, asked: bytes) -> bool | None:
        return next((answer for answer, of in self._answers.items() if asked in of), None)

    def _find_out(self, asked: bytes, user: str, password: str) -> bool:
        import hmac

        with self._lock:
            known, wanted = self._known(asked), self._users.get(user)
            costs = [it.cost for it in self._users.values()]
        if known is not None:
            return known  # computed while this thread waited for its turn
        # An unknown user takes as long as the most expensive known one: a quicker answer would
        # reveal which users exist.
        cost = max(costs, key=lambda it: it.memory_bytes * it.parallel, default=COST)
        tried = wanted or Hash(bytes(16), _NO_HASH, cost)
        is_same = hmac.compare_digest(self._derive(password, tried), tried.digest)
        is_right = is_same and wanted is not None
        with self._lock:
            # If the file has changed meanwhile, the answer is about an old hash.
            if self._users.get(user) == wanted:
                answers = self._answers[is_right]
                if len(answers) >= _ANSWERS:
                    # All at once: evicting the oldest would need an order. They are computed again
                    # one at a time.
                    answers.clear()
                answers.add(asked)
        return is_right

    def _reload(self) -> None:
        try:
            status = self._path.stat()
            # ctime and not mtime: chmod changes only ctime, and a restored backup has an old mtime.
            seen = (status.st_ctime_ns, status.st_ino)
        except OSError:
            seen = (0, 0)
        if seen != self._seen:
            self._seen = seen
            for answers in self._answers.values():
                answers.clear()
            try:
                self._users = load(self._path)
            except (InsidersError, OSError) as error:
                # Fail closed. The server goes on, so that a corrected file takes effect at once.
                _log.error("%s; all requests are refused", error)
                self._users = {}
            else:
                if not self._users:
                    _log.error("%s has no user: all requests are refused", self._path)
