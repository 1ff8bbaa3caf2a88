"""suggestions: what is answered where a command or an option does not exist."""

import pytest
from fixtures import Person

NEITHER = "see `pypi-insiders --help`"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("install", ("server enable", "watcher enable")),
        ("start", ("server start", "watcher start")),
        ("stop", ("server stop", "watcher stop")),
        ("restart", ("server restart", "watcher restart")),
        ("logs", ("server logs", "watcher logs")),
        ("add", ("repos add",)),
        ("list", ("repos list",)),
        ("ls", ("repos list",)),
        ("remove", ("repos remove",)),
        ("rm", ("repos remove",)),
        ("delete", ("repos remove",)),
        ("repos rm", ("repos remove",)),
        ("repos delete", ("repos remove",)),
        ("repos ls", ("repos list",)),
        ("repos uninstall", ("repos remove",)),
        ("repos update", ("update",)),
        ("server update", ("update",)),
        ("watcher run", ("watcher start", "update")),
        ("config set", ("config edit",)),
        ("unistall", ("uninstall",)),
        ("repos remov", ("repos remove",)),
    ],
)
def test_another_word_is_answered_with_the_right_one(
    person: Person, typed: str, meant: tuple[str, ...]
) -> None:
    failed = person.run(*typed.split(), status=2)
    word = typed.rpartition(" ")[2]
    hint = f"did you mean {' or '.join(f'`pypi-insiders {words}`' for words in meant)}?"
    assert failed.stderr == f"error: no such command '{word}'\nhint: {hint}\n"


@pytest.mark.parametrize("typed", ["pubish", "nonsense", "nstall", "strat"])
def test_what_is_like_nothing_is_answered_with_help(person: Person, typed: str) -> None:
    """Above all, never with a command that deletes."""
    assert person.run(typed, status=2).stderr.endswith(f"\nhint: {NEITHER}\n")


PASSWORD = "set PYPI_INSIDERS_INDEX_PASSWORD, see `pypi-insiders help publishing`"
EDIT = "`pypi-insiders config edit`"


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("--debug-info", "`pypi-insiders doctor`"),
        ("server start -p 8080", f"set `port` under [server]: {EDIT}"),
        ("server --port 8080 start", f"set `port` under [server]: {EDIT}"),
        ("server run -p 8080", "use --port"),
        ("server run -d dists", "use --dist-dir"),
        ("server start -d dists", "`pypi-insiders server run --dist-dir DIR`"),
        ("update -p s3cret", PASSWORD),
        ("update --index-password=s3cret",
         PASSWORD),
        ("watcher start -p s3cret",
         "store it as a credential, see `pypi-insiders help publishing`"),
        ("update -i http://h/", "use --index-url"),
        ("update -u me", "use --index-user"),
        ("watcher start -u me", f"set `user` under [publish]: {EDIT}"),
        ("watcher start -s 60", f"set `interval` under [watcher]: {EDIT}"),
        ("update -r repos",
         "repositories are fetched into the cache, see `pypi-insiders config show`"),
        ("repos list -c repos.json",
         "`pypi-insiders config show` lists the files; `pypi-insiders repos import FILE` takes over "  # noqa: E501
         "the repos.json of the original"),
        ("update -L DEBUG", "use -v to show each step, or -q to show only warnings and errors"),
        ("status -P log",
         "the log is in the journal: `pypi-insiders server logs`, `pypi-insiders watcher logs`"),
    ],
)  # fmt: skip
def test_options_of_the_original_are_answered_with_todays(
    person: Person, typed: str, hint: str
) -> None:
    """Without the value, which may be a password."""
    failed = person.run(*typed.split(), status=2)
    error, said = failed.stderr.splitlines()
    assert error.startswith("error: no such option '-")
    assert said == f"hint: {hint}"
    assert "s3cret" not in failed.stderr


def test_the_version_has_the_short_option_of_the_original(person: Person) -> None:
    assert person.run("-V").stdout == person.run("--version").stdout != ""
