"""`server hook`: what is pasted into the form of a forge."""

import re

import pytest
from fixtures import Person

NOT_NAMED = "note: forges need a host name of this index: set `names` under [server]\n"
OFF = "note: hooks are off: set `hooks = true` under [server], and `pypi-insiders server restart`\n"


@pytest.fixture
def watching(person: Person) -> Person:
    person.paths.config.mkdir(parents=True)
    person.paths.repositories.write_text('["me/one"]\n["me/two"]\n')
    return person


def test_the_secret_is_created_once_and_replaced_on_request(watching: Person) -> None:
    """Also with -q, for otherwise nothing could be pasted."""
    first = watching.run("server", "hook", "-q", "me/two")
    secret = watching.paths.hook_secret.read_text().strip()
    assert re.fullmatch("whsec_[A-Za-z0-9+/]{43}=", secret)
    assert watching.paths.hook_secret.stat().st_mode & 0o777 == 0o600
    assert first.stdout == f"http://127.0.0.1:31411/hooks/me/two\nsecret: {secret}\n"
    again = watching.run("server", "hook", "ME/Two")
    assert (again.stdout, again.stderr) == (first.stdout, OFF + NOT_NAMED)
    replaced = watching.run("server", "hook", "--new", "me/two").stdout
    assert replaced != first.stdout
    assert f"secret: {watching.paths.hook_secret.read_text()}" in replaced


def test_the_url_has_the_name_by_which_forges_reach_the_index(watching: Person) -> None:
    watching.paths.settings.write_text(
        '[server]\nhooks = true\nnames = ["packages.example", "other.example"]\n'
    )
    shown = watching.run("server", "hook")
    assert shown.stdout.splitlines()[:2] == [
        "https://packages.example/hooks/me/one",
        "https://packages.example/hooks/me/two",
    ]
    assert shown.stderr == ""


def test_a_secret_that_others_can_read_is_not_used(watching: Person) -> None:
    watching.run("server", "hook")
    watching.paths.hook_secret.chmod(0o644)
    failed = watching.run("server", "hook", status=1)
    assert failed.stderr == (
        f"error: {watching.paths.hook_secret} is accessible by other users (mode 0644)\n"
        f"hint: `chmod 600 {watching.paths.hook_secret}`\n"
    )
    assert "secret" not in failed.stdout


def test_a_name_that_is_not_watched_creates_no_secret(watching: Person) -> None:
    failed = watching.run("server", "hook", "me/three", status=1)
    assert failed.stderr.startswith("error: me/three is not a watched repository")
    assert not watching.paths.hook_secret.exists()
