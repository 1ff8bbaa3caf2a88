"""passwords and access: who may read or upload, and how that is kept."""

import base64
import contextlib
import hashlib
import re
import stat
import subprocess
import threading
from pathlib import Path
from queue import SimpleQueue

import pytest
from fixtures import COMMAND, Person

from pypi_insiders.config import access, passwords
from pypi_insiders.config.passwords import (
    COST,
    CREDENTIAL,
    Checker,
    Cost,
    Hash,
    Single,
    TooManyGuessesError,
    derive,
    load,
    remove,
    save,
)
from pypi_insiders.config.settings import ServerSettings
from pypi_insiders.util.errors import InsidersError, UsageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made/passwords"


@pytest.fixture
def true_cost() -> None:
    """Hashing takes as long as it does for users."""


@pytest.fixture(autouse=True)
def _cheap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another function of the same arguments, which does not take 40 ms each time."""
    if "true_cost" not in request.fixturenames:
        scrypt = hashlib.scrypt

        def cheap(password: bytes, *, salt: bytes, dklen: int, **cost: int) -> bytes:
            return scrypt(password, salt=salt + repr(cost).encode(), n=2, r=1, p=1, dklen=dklen)

        monkeypatch.setattr(hashlib, "scrypt", cheap)


def test_a_password_is_kept_hashed_and_for_its_owner_only(path: Path) -> None:
    """With a salt of its own, so that equal ones do not look equal."""
    save(path, "me", "größe")
    save(path, "you", "größe")
    users = load(path)
    assert list(users) == ["me", "you"]
    assert users["me"] != users["you"]
    assert "größe" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.usefixtures("true_cost")
def test_a_new_password_takes_the_place_of_the_old(path: Path) -> None:
    """At once, in a process that runs; others stay as they are."""
    save(path, "me", "old")
    save(path, "you", "yours")
    checker = Checker(path)
    assert (checker.is_right("me", "old"), checker.is_right("you", "yours")) == (True, True)
    save(path, "me", "new")
    assert [checker.is_right("me", word) for word in ("old", "new")] == [False, True]
    assert checker.is_right("you", "yours")
    path.unlink()
    assert not checker.is_right("me", "new")


@pytest.mark.parametrize(
    ("user", "password"),
    [("me", ""), ("me", "Secret"), ("me", "secret "), ("", ""), ("you", "secret"), ("me:", "s")],
)
def test_anything_else_is_wrong(path: Path, user: str, password: str) -> None:
    """Also a second time, from memory."""
    save(path, "me", "secret")
    checker = Checker(path)
    assert [checker.is_right(user, password) for _ in range(2)] == [False, False]
    assert checker.is_right("me", "secret")


@pytest.mark.usefixtures("true_cost")
def test_many_threads_ask_at_once(path: Path) -> None:
    """Each gets its own answer, some after having to ask again."""
    for user in "abc":
        save(path, user, user)
    checker = Checker(path)
    wrong: list[tuple[str, str]] = []

    def is_right(user: str, word: str) -> bool:
        while True:
            with contextlib.suppress(TooManyGuessesError):
                return checker.is_right(user, word)

    def ask(user: str) -> None:
        wrong.extend((user, word) for word in "abc" if is_right(user, word) != (user == word))

    threads = [threading.Thread(target=ask, args=user) for user in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_wrong_guesses_do_not_hold_up_who_is_known(path: Path) -> None:
    """However many there are, at once and one after the other; two threads are busy at most."""
    save(path, "me", "secret")
    go_on = threading.Event()
    answers: SimpleQueue[bool | str] = SimpleQueue()
    derived: list[str] = []
    busy: list[str] = []
    most_busy: list[int] = []

    def find_out(password: str, like: Hash) -> bytes:
        derived.append(password)
        busy.append(password)
        most_busy.append(len(busy))
        if password in "abc":
            assert go_on.wait(60), password
        busy.remove(password)
        return derive(password, like) if password == "secret" else b""

    checker = Checker(path, find_out)
    assert checker.is_right("me", "secret")

    def ask(password: str) -> None:
        try:
            answers.put(checker.is_right("me", password))
        except TooManyGuessesError:
            answers.put("too many")

    asking = [threading.Thread(target=ask, args=[word]) for word in ("a", "b", "c")]
    for thread in asking:
        thread.start()
    assert answers.get(timeout=60) == "too many"
    assert checker.is_right("me", "secret")
    go_on.set()
    assert [answers.get(timeout=60) for _ in range(2)] == [False, False]
    for thread in asking:
        thread.join()
    for number in range(1000):
        assert not checker.is_right("me", str(number))
    assert len(checker._answers[False]) <= 256
    assert max(most_busy) == 1  # each takes memory
    derived.clear()
    assert checker.is_right("me", "secret")
    assert derived == []


def test_passwords_are_set_at_once_by_many(person: Person) -> None:
    """None of them is lost."""
    setting = [
        subprocess.Popen(
            [COMMAND, "server", "password", name],
            env=person.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in "abcd"
    ]  # fmt: skip
    for process in setting:
        process.communicate("secret\n", timeout=60)
    assert sorted(load(person.paths.passwords)) == list("abcd")


def test_a_password_is_taken_away(person: Person) -> None:
    """At once, in a process that runs; and so is the token for uploads."""
    save(person.paths.passwords, "me", "secret")
    save(person.paths.passwords, "you", "secret")
    checker = Checker(person.paths.passwords)
    assert checker.is_right("me", "secret")
    told = [
        person.run("server", *words.split()).stdout
        for words in ("password --remove me", "password --remove me", "token --remove")
    ]
    assert told == [
        "removed the password of me\n",
        "me has no password\n",
        "__token__ has no password\n",
    ]
    assert not checker.is_right("me", "secret")
    assert list(load(person.paths.passwords)) == ["you"]


def test_a_password_is_text(person: Person) -> None:
    """What is no UTF-8 could not be sent."""
    done = subprocess.run(
        [COMMAND, "server", "password", "me"],
        env=person.environment, input=b"\xff\n", capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        2, b"error: the password is not UTF-8\nhint: write it as UTF-8\n"
    )  # fmt: skip


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(path: Path, mode: int) -> None:
    """Its hashes could be guessed at."""
    save(path, "me", "secret")
    path.chmod(mode)
    with pytest.raises(InsidersError) as caught:
        load(path)
    assert (caught.value.message, caught.value.hint) == (
        f"{path} is accessible by other users (mode {mode:04o})",
        f"`chmod 600 {path}`",
    )


@pytest.mark.usefixtures("true_cost")
def test_a_password_says_what_it_takes_to_check_it(path: Path) -> None:
    """So that new ones can take more, and old ones are still right."""
    save(path, "me", "secret")
    assert re.fullmatch(
        r"me:\$scrypt\$ln=14,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}\n", path.read_text()
    )
    salt = b"salt of a test"
    digest = hashlib.scrypt(b"secret", salt=salt, n=2**4, r=4, p=2, dklen=32)
    words = [base64.b64encode(it).decode().rstrip("=") for it in (salt, digest)]
    with path.open("a") as file:
        file.write(f"cheap:$scrypt$ln=4,r=4,p=2${words[0]}${words[1]}\n")
    checker = Checker(path)
    assert [checker.is_right("cheap", word) for word in ("secret", "Secret")] == [True, False]
    assert checker.is_right("me", "secret")


@pytest.mark.usefixtures("true_cost")
def test_a_password_in_the_old_form_is_still_right(path: Path) -> None:
    """Until it is set anew: the server writes nothing beside its configuration."""
    salt = bytes(range(16))
    digest = hashlib.scrypt(b"secret", salt=salt, n=2**14, r=8, p=1)
    words = [base64.b64encode(it).decode() for it in (salt, digest)]
    path.parent.mkdir()
    path.write_text(f"me:scrypt:{words[0]}:{words[1]}\n")
    path.chmod(0o600)
    checker = Checker(path)
    assert [checker.is_right("me", word) for word in ("secret", "Secret")] == [True, False]
    save(path, "you", "secret")
    checker = Checker(path)
    assert [checker.is_right(user, "secret") for user in ("me", "you")] == [True, True]
    assert load(path)["me"].cost == COST


def test_who_is_not_there_takes_as_much_as_who_is(path: Path) -> None:
    """Or the time that an answer takes would tell which users there are."""
    save(path, "me", "secret")
    spent: list[tuple[Cost, int]] = []

    def count(password: str, like: Hash) -> bytes:
        spent.append((like.cost, len(like.digest)))
        return derive(password, like)

    checker = Checker(path, count)
    for user in ("me", "nobody", "", "__token__"):
        assert not checker.is_right(user, "wrong")
    assert spent == [(COST, 32)] * 4
    spent.clear()
    assert not Checker(path.with_name("missing"), count).is_right("me", "secret")
    assert spent == [(COST, 32)]
    dear = f"dear:$scrypt$ln=15,r=8,p=1${'A' * 22}${'A' * 43}\n"
    path.write_text(path.read_text() + dear)
    spent.clear()
    for user in ("dear", "nobody"):
        assert not checker.is_right(user, "wrong")
    assert spent == [(Cost(log_n=15), 32)] * 2


def test_who_asks_the_same_meanwhile_is_answered_with_it(path: Path) -> None:
    """It is hashed once."""
    save(path, "me", "secret")
    asking: list[threading.Thread] = []
    derived: list[str] = []

    def find_out(password: str, like: Hash) -> bytes:
        derived.append(password)
        if not asking:
            asking.append(threading.Thread(target=checker.is_right, args=("me", "secret")))
            asking[0].start()
            while set(checker._guesses.values()) != {2}:  # until that waits for its turn
                assert asking[0].is_alive()
        return derive(password, like)

    checker = Checker(path, find_out)
    assert checker.is_right("me", "secret")
    asking[0].join()
    assert derived == ["secret"]


def test_a_single_password_is_right_for_everybody() -> None:
    """And no other one is."""
    single = Single("größe")
    assert [single.is_right("me", word) for word in ("größe", "grösse", "")] == [True, False, False]


def test_a_password_that_changes_while_it_is_checked_is_not_remembered(path: Path) -> None:
    """It was right when it was sent, and is not for ever."""
    save(path, "me", "old")
    asking: list[threading.Thread] = []

    def find_out(password: str, like: Hash) -> bytes:
        if not asking:
            save(path, "me", "new")
            before = checker._users
            asking.append(threading.Thread(target=checker.is_right, args=("me", "other")))
            asking[0].start()
            while checker._users == before:  # until that has read the file
                assert asking[0].is_alive()
        return derive(password, like)

    checker = Checker(path, find_out)
    assert checker.is_right("me", "old")
    asking[0].join()
    assert [checker.is_right("me", word) for word in ("old", "new")] == [False, True]


def test_nothing_is_the_password_of_who_is_not_there(path: Path) -> None:
    """Whatever it is hashed to: also to that with which it is compared."""
    save(path, "me", "secret")
    checker = Checker(path, lambda _password, like: bytes(len(like.digest)))
    assert [checker.is_right("nobody", "x") for _ in range(2)] == [False, False]


@pytest.mark.parametrize(
    "cost",
    ["ln=17,r=8,p=1", "ln=14,r=99,p=1", "ln=14,r=8,p=5", "ln=0,r=8,p=1", "ln=99,r=8,p=1",
     "ln=14,r=0,p=1", "ln=14,r=8,p=0"],
)  # fmt: skip
def test_a_password_that_takes_too_much_is_refused(path: Path, cost: str) -> None:
    """Nobody can make the server take all memory by a line in the file."""
    save(path, "you", "secret")
    path.write_text(f"{path.read_text()}me:$scrypt${cost}${'A' * 22}${'A' * 43}\n")
    with pytest.raises(InsidersError) as caught:
        load(path)
    assert (caught.value.message, caught.value.hint) == (
        f"{path}, line 2: checking the password of me takes too much memory",
        f"remove the line: `sed -i 2d {path}`, then `pypi-insiders server password me`",
    )
    assert not Checker(path).is_right("me", "secret")


_SALT_AND_HASH = f"{'A' * 22}${'A' * 43}"


@pytest.mark.parametrize(
    "line",
    ["me", "me:secret", "me:scrypt:a:b:c", ":scrypt:AAAA:AAAA", "x:bcrypt:AAAA:AAAA",
     "me:scrypt:AAAAAAAAAAAA:AA==", f"me:$scrypt$ln=14,r=8${_SALT_AND_HASH}",
     f"me:$scrypt$ln=14,r=8,p=1{_SALT_AND_HASH}", f":$scrypt$ln=14,r=8,p=1${_SALT_AND_HASH}",
     f"me:$scrypt$ln=14,r=8,p=1${_SALT_AND_HASH}AA", f"me:$argon2id$ln=14,r=8,p=1${_SALT_AND_HASH}",
     f"me:$scrypt$ln=14,r=8,p=1${_SALT_AND_HASH}$", "me:$scrypt$ln=14,r=8,p=1$AAAA$AAAA",
     f"me:$scrypt$ln=-1,r=8,p=1${_SALT_AND_HASH}", f"me:$scrypt$ln=14,r=8,p=1${'A' * 400}$AAAA"],
)  # fmt: skip
def test_a_line_that_nobody_can_use_is_named(path: Path, line: str) -> None:
    """A comment and an empty line are none."""
    save(path, "you", "secret")
    path.write_text(f"# mine\n\n{path.read_text()}{line}\n")
    with pytest.raises(InsidersError) as caught:
        load(path)
    assert (caught.value.message, caught.value.hint) == (
        f"{path}, line 4: not USER:HASH",
        f"remove the line: `sed -i 4d {path}`, then `pypi-insiders server password USER`",
    )


def test_the_hint_for_a_damaged_file_mends_it(person: Person, tmp_path: Path) -> None:
    """What sets a password reads the file first, so the line has to go before."""
    path = person.paths.passwords
    save(path, "you", "secret")
    path.write_text(f"{path.read_text()}bad\n")
    done = subprocess.run(
        [COMMAND, "server", "password", "me"],
        input="secret\n", env=person.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    remove = re.search("`(sed [^`]*)`", done.stderr)
    assert remove is not None
    subprocess.run(["sh", "-c", remove[1]], check=True)
    save(path, "me", "secret")
    assert list(load(path)) == ["you", "me"]


def test_a_damaged_credential_is_not_to_be_edited(tmp_path: Path) -> None:
    """It is a copy, which nobody can write."""
    path = tmp_path / CREDENTIAL
    path.write_text("bad\n")
    path.chmod(0o400)
    with pytest.raises(InsidersError) as caught:
        load(path)
    assert caught.value.hint == "correct the file in LoadCredential=pypi-insiders-passwords"


def test_that_nobody_is_left_is_logged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every client gets 401 from then on, and the log says why."""
    save(path, "me", "secret")
    checker = Checker(path)
    assert checker.is_right("me", "secret")
    assert remove(path, "me")
    assert not checker.is_right("me", "secret")
    assert caplog.messages == [f"{path} has no user: all requests are refused"]


@pytest.mark.parametrize("user", ["", "a:b", "a b", "#a", "a\n"])
def test_a_user_must_have_a_name_that_can_be_sent(path: Path, user: str) -> None:
    """Nothing is written."""
    with pytest.raises(UsageError):
        save(path, user, "secret")
    assert not path.exists()


def test_a_credential_takes_the_place_of_the_file(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd hands it over."""
    save(path, "me", "of the file")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = ServerSettings(auth=True)
    assert access.passwords_for(settings, path).is_right("me", "of the file")
    save(tmp_path / passwords.CREDENTIAL, "me", "of systemd")
    assert access.passwords_for(settings, path).is_right("me", "of systemd")


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        (
            ServerSettings(auth=True),
            "`auth` is set, but {path} has no user",
            "`pypi-insiders server password USER`",
        ),
        (
            ServerSettings(uploads=True),
            "`uploads` is set, but {path} has no token",
            "`pypi-insiders server token`",
        ),
    ],
)
def test_who_is_asked_for_a_password_must_have_one(
    path: Path, settings: ServerSettings, message: str, hint: str
) -> None:
    """Else nobody at all could read or upload."""
    with pytest.raises(InsidersError) as caught:
        access.passwords_for(settings, path)
    assert (caught.value.message, caught.value.hint) == (message.format(path=path), hint)


@pytest.mark.parametrize(
    ("host", "is_open"),
    [("localhost", False), ("127.0.0.1", False), ("127.1.2.3", False), ("::1", False),
     ("0.0.0.0", True), ("::", True), ("192.0.2.1", True), ("fe80::1", True)],
)  # fmt: skip
def test_only_loopback_needs_no_password(host: str, is_open: bool) -> None:
    """With passwords every address will do."""
    bound = [ServerSettings("127.0.0.1", 1), ServerSettings(host, 2)]
    access.demand_auth(True, bound)
    if not is_open:
        access.demand_auth(False, bound)
        return
    with pytest.raises(InsidersError) as caught:
        access.demand_auth(False, bound)
    assert caught.value.message.endswith("is reachable from other machines without a password")
    assert "reachable from other machines" in caught.value.message


@pytest.mark.usefixtures("true_cost")
def test_a_password_is_read_from_standard_input(person: Person) -> None:
    """Never from an argument, which every user of the machine can see."""
    empty = person.run("server", "password", "me", status=2)
    assert empty.stderr == ("error: the password is empty\nhint: write it on standard input\n")
    assert not person.paths.passwords.exists()
    done = subprocess.run(
        [COMMAND, "server", "password", "me"],
        env=person.environment, input="se cret\nmore\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"me has a password, in {person.paths.passwords}\n"
    assert Checker(person.paths.passwords).is_right("me", "se cret")


@pytest.mark.usefixtures("true_cost")
def test_a_new_token_takes_the_place_of_the_old(person: Person) -> None:
    """Readers stay."""
    save(person.paths.passwords, "me", "secret")
    first, second = (person.run("server", "token").stdout.strip() for _ in range(2))
    checker = Checker(person.paths.passwords)
    assert [checker.is_right("__token__", token) for token in (first, second)] == [False, True]
    assert checker.is_right("me", "secret")
