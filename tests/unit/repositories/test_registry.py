"""Names and URLs that a person may give, and the list that is kept of them."""

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from pypi_insiders.config.paths import Paths
from pypi_insiders.repositories.registry import (
    add,
    change,
    edit,
    former_keys,
    load,
    save,
)
from pypi_insiders.repositories.repository import (
    Repository,
    parse_name,
    parse_project,
    parse_specification,
    parse_url,
)
from pypi_insiders.util.errors import InsidersError, UsageError

_URL_HINT = (
    "use https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH, git://HOST/PATH or file:///PATH"
)


KEYS = (
    "project, url, insecure-http, keep, tags, branch, pre, max-new, backfill, subdirectory, "
    "python, network, readable, path, strict, allowed-signers, public-until-built, submodules, "
    "history, lfs, sdist, as-of-tag, build-from-source, assets, forge, interval, "
    "token-file, token-credential, token-command"
)


def _refusal(call: Callable[..., object], *arguments: object) -> tuple[type, str, str | None]:
    with pytest.raises(InsidersError) as caught:
        call(*arguments)
    return type(caught.value), caught.value.message, caught.value.hint


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("squidfunk/mkdocs-material-insiders", "squidfunk/mkdocs-material-insiders"),
        ("a/b.git", "a/b"),
        ("a/b.git.git", "a/b"),  # as it is read again
        ("A_1/b.c-d", "A_1/b.c-d"),
        ("a/.github", "a/.github"),
        ("group/sub/project.git", "group/sub/project"),
        ("git.example/a/b/c/d", "git.example/a/b/c/d"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert parse_name(text) == name


@pytest.mark.parametrize(
    "text",
    ["", "a", "a/", "/a", "a//b", "../x", "./x", "a/..", "a/.", "a/.git", "a/..git",
     "-x/y", "x/-y", "a b/c", "a/../c", "a/b//c", "~/x", "ä/b", "a/b:c", "a\\b", "a/b\n", "a/b\0",
     "$(id)/x", "https://github.com/a/b"],
)  # fmt: skip
def test_other_names_are_refused(text: str) -> None:
    assert _refusal(parse_name, text) == (
        UsageError,
        f"{text!r} is not a repository of the form NS/PROJ",
        "for example squidfunk/mkdocs-material-insiders; for other hosts than GitHub add --url",
    )


@pytest.mark.parametrize("parse", [parse_name, parse_project, parse_specification])
def test_no_credentials_of_an_address_are_shown(parse: Callable[[str], object]) -> None:
    """Which was pasted where something else is wanted."""
    with pytest.raises(UsageError, match=r"'https://host\.example/x'") as refused:
        parse("https://me:secret@host.example/x")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "name"), [("mkdocs-material", "mkdocs-material"), ("A..B__c", "a-b-c"), ("X1", "x1")]
)
def test_project_names_are_normalized(text: str, name: str) -> None:
    assert parse_project(text) == name


@pytest.mark.parametrize("text", ["", "-a", "a-", "a b", "ä", "../x", "a/b", "a\n", "a\0", "a:b"])
def test_other_project_names_are_refused(text: str) -> None:
    assert _refusal(parse_project, text) == (
        UsageError,
        f"{text!r} is not a project name",
        "use letters, digits, '.', '_' and '-', such as mkdocs-material",
    )


@pytest.mark.parametrize(
    ("text", "repository"),
    [
        ("a/b", Repository("a/b")),
        ("a/b.git", Repository("a/b")),
        ("a/b:C_d", Repository("a/b", "c-d")),
    ],
)
def test_specifications(text: str, repository: Repository) -> None:
    assert parse_specification(text) == repository


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/b:", "'' is not a project name"),
        ("a/b:c:d", "'c:d' is not a project name"),
        ("a:b", "'a' is not a repository of the form NS/PROJ"),
        ("https://h/x", "'https://h/x' is not NS/PROJ"),
        ("a/b@v1", "a/b@v1 names a tag or a branch; every new release of a repository is built"),
    ],
)
def test_other_specifications_are_refused(text: str, message: str) -> None:
    assert _refusal(parse_specification, text)[:2] == (UsageError, message)


@pytest.mark.parametrize(
    "url",
    ["https://github.com/a/b.git", "HTTPS://h/x", "http://h/x", "https://me@h/x",
     "https://org@dev.azure.com/org/My%20Project/_git/repo",
     f"https://{'o' * 50}@dev.azure.com/{'o' * 50}/project/_git/repo", "https://h:8443/x", "ssh://git@h:22/x",
     "ssh://[2001:db8::1]/x", "git@github.com:a/b.git", "host:path", "host:/abs/path",
     "git://h/x", "file:///srv/git/x.git"],
)  # fmt: skip
def test_urls(url: str) -> None:
    assert parse_url(url) == url


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ext::sh -c x", "is not the URL of a Git repository"),
        ("ext::sh", "is not the URL of a Git repository"),
        ("fd::17/foo", "is not the URL of a Git repository"),
        ("me@ext::sh", "is not the URL of a Git repository"),
        ("-oProxyCommand=x:y", "is not the URL of a Git repository"),
        ("--upload-pack=x", "is not the URL of a Git repository"),
        ("https://h/x\n", "is not the URL of a Git repository"),
        ("https://h/x\0", "is not the URL of a Git repository"),
        ("https://h/a b", "is not the URL of a Git repository"),
        ("ssh://-oProxyCommand=x/y", "has no host or no path"),
        ("https://", "has no host or no path"),
        ("https://h", "has no host or no path"),
        ("https:///x", "has no host or no path"),
        ("file:///", "has no host or no path"),
        ("http://", "has no host or no path"),
        ("ftp://h/x", "has an unsupported scheme"),
        ("git+ssh://h/x", "has an unsupported scheme"),
        ("javascript:", "has an unsupported scheme"),
        ("git@-h:x", "is not the URL of a Git repository"),
        ("git@h:-x", "is not the URL of a Git repository"),
        ("/srv/git/x", "is not the URL of a Git repository"),
        ("../x", "is not the URL of a Git repository"),
        ("", "is not the URL of a Git repository"),
        ("https:/h/x", "has no host or no path"),
        ("https://h/\udcff", "is not the URL of a Git repository"),
        ("ssh://h:99999/x", "is not a URL"),
        ("https://[::1/x", "is not a URL"),
    ],
)
def test_other_urls_are_refused(url: str, complaint: str) -> None:
    assert _refusal(parse_url, url) == (UsageError, f"{url!r} {complaint}", _URL_HINT)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:secret@h/x", "https://h/x"),
        ("https://ghp_secret@h/x", "https://h/x"),
        ("https://glpat-secret@h/x", "https://h/x"),
        (f"https://{'secret' * 6}@h/x", "https://h/x"),
        ("http://me:secret@h/x", "http://h/x"),
        ("ssh://me:secret@h/x", "ssh://h/x"),
        ("git://me:secret@h/x", "git://h/x"),
    ],
)
def test_credentials_are_refused_without_repeating_them(url: str, shown: str) -> None:
    assert _refusal(parse_url, url) == (
        UsageError,
        f"{shown!r} contains a credential, which would be stored in plain text",
        "remove it from the URL and store it in git: `git help credentials`",
    )


@pytest.mark.parametrize(
    "url",
    ["http://me:secret@h/x", "https://me:se secret@h/x", "https://me:secret@h", "-https://secret@h",
     "https://me:se@secret@h/x", "https://me:se/secret@h/x", "https:/me:secret@h/x",
     "me:secret@h:x", "https:me:secret@h/x"],
)  # fmt: skip
def test_no_refusal_repeats_a_password(url: str) -> None:
    """Not even where it is what makes the URL a wrong one."""
    assert "secret" not in _refusal(parse_url, url)[1]


def test_a_query_is_refused_because_it_could_be_a_token() -> None:
    message = _refusal(parse_url, "https://h/x?token=secret")[1]
    assert message == "'https://h/x' contains a credential, which would be stored in plain text"


def test_a_user_that_looks_like_an_option_is_refused() -> None:
    assert _refusal(parse_url, "ssh://-x@h/y")[1] == "'ssh://h/y' has no host or no path"


def test_one_project_cannot_be_listed_for_two_repositories(tmp_path: Path) -> None:
    path = tmp_path / "repos.toml"
    path.write_text('["a/b"]\nproject = "x"\n["c/d"]\nproject = "X"\n')
    assert _refusal(load, path)[1] == f"{path}: x already belongs to a/b"


def test_without_a_url_git_goes_to_github_over_ssh() -> None:
    assert Repository("a/b").remote == "git@github.com:a/b.git"
    assert Repository("a/b", None, "https://h/x").remote == "https://h/x"


def test_what_is_saved_is_loaded_in_the_same_order(tmp_path: Path) -> None:
    path = tmp_path / "made/repos.toml"
    items = [
        Repository("z/Last", "last", "ssh://git@h/last"),
        Repository("a/b.c"),
        Repository("m/n", None, "file:///srv/n"),
        Repository("a/d", "d"),
    ]
    save(path, items)
    assert path.read_text() == (
        "# The repositories that pypi-insiders watches, written by `pypi-insiders repos`.\n"
        "# You may edit this file; its commands keep your comments and layout.\n\n"
        '["z/Last"]\nproject = "last"\nurl = "ssh://git@h/last"\n\n'
        '["a/b.c"]\n\n'
        '["m/n"]\nurl = "file:///srv/n"\n\n'
        '["a/d"]\nproject = "d"\n'
    )
    assert list(load(path).items()) == [(item.name, item) for item in items]


def test_without_a_file_nothing_is_watched(tmp_path: Path) -> None:
    assert load(tmp_path / "repos.toml") == {}


def test_what_is_edited_is_saved(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path, tmp_path, tmp_path)
    with edit(paths) as watched:
        watched["a/b"] = Repository("a/b", keep=5)
        with paths.locks.repositories.open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert load(paths.repositories) == {"a/b": Repository("a/b", keep=5)}


def test_an_edit_that_fails_saves_nothing(tmp_path: Path) -> None:
    def fail(watched: dict[str, Repository]) -> None:
        watched["a/b"] = Repository("a/b")
        raise UsageError("wrong")

    paths = Paths(tmp_path, tmp_path, tmp_path, tmp_path)
    with pytest.raises(UsageError), edit(paths) as watched:
        fail(watched)
    assert load(paths.repositories) == {}


def test_what_a_person_wrote_is_normalized(tmp_path: Path) -> None:
    path = tmp_path / "repos.toml"
    path.write_text('["a/b.git"]\nproject = "My_Dist"\n')
    assert load(path) == {"a/b": Repository("a/b", "my-dist")}


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "repos.toml"
    path.write_text("""\
"a/b" = 1
["../x"]
["c/d"]
trunk = "main"
["e/f"]
project = 5
["g/h"]
project = "-"
["i/j"]
url = "http://me:secret@h/x"
["k/l"]
""")
    assert _refusal(load, path) == (
        InsidersError,
        f'{path}: a/b must be a table: ["a/b"]; '
        "'../x' is not a repository of the form NS/PROJ; "
        f"c/d: unknown key trunk (known: {KEYS}); "
        "e/f: project must be a string; "
        "g/h: '-' is not a project name; "
        "i/j: 'http://h/x' contains a credential, which would be stored in plain text",
        f"edit {path}",
    )


def test_a_file_is_read_as_it_is_changed(tmp_path: Path) -> None:
    """A single carriage return is no line end in TOML, so no command could change this file."""
    path = tmp_path / "repos.toml"
    path.write_bytes(b'\r["a/b"]\n')
    assert _refusal(load, path)[0] == InsidersError
    path.write_bytes(b'["a/b"]\nkeep = ' + 5000 * b"9")  # of which Python makes no number
    assert _refusal(load, path)[0] == InsidersError
    path.write_bytes(b'["a/b"]\r\nproject = "b"\r\n')
    assert load(path) == {"a/b": Repository("a/b", "b")}


def test_no_credentials_of_the_name_of_a_table_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "repos.toml"
    for text in ('["https://me:secret@h/x"]\ntrunk = "main"\n', '"https://me:secret@h/x" = 1\n'):
        path.write_text(text)
        with pytest.raises(InsidersError, match="'https://h/x' is not a repository") as refused:
            load(path)
        assert "secret" not in str(refused.value)


def test_all_problems_of_one_repository_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "repos.toml"
    path.write_text('["a/b"]\ntrunk = "main"\nproject = 5\nurl = 6\n')
    assert _refusal(load, path) == (
        InsidersError,
        f"{path}: a/b: unknown key trunk (known: {KEYS}); "
        "a/b: project must be a string; a/b: url must be a string",
        f"edit {path}",
    )


def test_a_key_is_read_by_its_former_name(tmp_path: Path) -> None:
    """Also where somebody types it; only the table that changes gets the name of today."""
    path = tmp_path / "repos.toml"
    path.write_text('# mine\n["a/b"]\ndistribution = "b"\n\n["c/d"]\ndistribution = "d"\n')
    watched = load(path)
    assert [item.project for item in watched.values()] == ["b", "d"]
    assert former_keys(path) == {name: {"distribution": "project"} for name in ("a/b", "c/d")}
    save(path, change(watched, "a/b", {"distribution": "x"}).values())
    assert path.read_text() == '# mine\n["a/b"]\nproject = "x"\n\n["c/d"]\ndistribution = "d"\n'
    save(path, change(load(path), "c/d", {"keep": "5"}).values())
    assert path.read_text().endswith('["c/d"]\nproject = "d"\nkeep = 5\n')
    assert former_keys(path) == {}
    # Also where no text of the file is that name.
    path.write_text('["a/b"]\n"distri\\u0062ution" = "b"\n')
    assert former_keys(path) == {"a/b": {"distribution": "project"}}


def test_a_key_by_both_of_its_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "repos.toml"
    path.write_text('["a/b"]\nproject = "b"\ndistribution = "c"\n')
    assert _refusal(load, path)[1] == (
        f"{path}: a/b: distribution is the former name of project: keep only one"
    )


def test_one_repository_cannot_be_listed_in_two_spellings(tmp_path: Path) -> None:
    """They would share their mirror and their state."""
    path = tmp_path / "repos.toml"
    path.write_text('["a/b"]\n["A/B"]\n')
    assert _refusal(load, path)[0] is InsidersError


def _by_name(*items: Repository) -> dict[str, Repository]:
    return {item.name: item for item in items}


AB, CD = Repository("A/b", "ab"), Repository("c/D")
KNOWN = _by_name(AB, CD)


def test_add_appends_and_changes_nothing_that_was_given() -> None:
    given = dict(KNOWN)
    new = [Repository("n/1"), Repository("n/2", "two", "https://h/2")]
    assert list(add(given, new).values()) == [AB, CD, *new]
    assert given == KNOWN


@pytest.mark.parametrize(
    "again",
    [AB, Repository("a/B"), Repository("A/b", "ab"), Repository("A/B", "ab")],
)
def test_what_is_watched_already_stays_as_it_is(again: Repository) -> None:
    assert list(add(KNOWN, [again, again]).items()) == list(KNOWN.items())


@pytest.mark.parametrize(
    ("new", "message", "hint"),
    [
        (
            [Repository("a/B", "other")],
            "A/b is already watched: project ab, url git@github.com:A/b.git",
            "change it: `pypi-insiders repos set A/b project=other`",
        ),
        (
            [Repository("c/d", None, "https://h/x")],
            "c/D is already watched: project not known yet, url git@github.com:c/D.git",
            "change it: `pypi-insiders repos set c/D url=https://h/x`",
        ),
        (
            [Repository("n/1"), Repository("n/2", "ab")],
            "ab already belongs to A/b",
            "a project can belong to one repository only",
        ),
        (
            [Repository("n/1", "x"), Repository("n/2", "x")],
            "x already belongs to n/1",
            "a project can belong to one repository only",
        ),
    ],
)
def test_conflicts_are_refused(new: list[Repository], message: str, hint: str) -> None:
    given = dict(KNOWN)
    assert _refusal(add, given, new) == (InsidersError, message, hint)
    assert given == KNOWN


@pytest.mark.parametrize("url", ["http://h/x", "HTTP://me@h/x"])
def test_http_is_taken_after_a_yes_only(tmp_path: Path, url: str) -> None:
    """`repos add` prints the command that says yes; `set` too; the file needs the key."""
    shown = url.replace("me@", "")
    message = (
        f"{shown} is not encrypted: others on the network can read and change the code, and read "
        "the credentials"
    )
    item = Repository("n/1", "one", url)
    assert _refusal(add, {}, [item]) == (
        UsageError,
        message,
        "use https, or set insecure-http",
    )
    assert _refusal(change, KNOWN, "c/D", {"url": url}) == (
        UsageError,
        message,
        f"use https, or accept that: `pypi-insiders repos set c/D url={url} insecure-http=true`",
    )
    known = {"c/D": Repository("c/D", "d", url, insecure_http=True)}
    assert _refusal(change, known, "c/D", {"insecure-http": ""})[2] == (
        "use https, or accept that: `pypi-insiders repos set c/D insecure-http=true`"
    )
    path = tmp_path / "repos.toml"
    path.write_text(f'["n/1"]\nurl = "{url}"\n')
    assert _refusal(load, path)[1] == f"{path}: n/1: {message} (insecure-http is not set)"
    path.write_text(f'["n/1"]\nurl = "{url}"\ninsecure-http = true\n')
    accepted = load(path)
    assert add({}, accepted.values()) == accepted
    changed = change(KNOWN, "c/D", {"url": url, "insecure-http": "true"})
    assert _refusal(change, changed, "c/D", {"insecure-http": ""})[1] == message


def test_a_name_of_more_than_two_parts_needs_a_url(tmp_path: Path) -> None:
    """GitHub has none, so it cannot be guessed."""
    message = "a/b/c needs a URL: repositories on GitHub are named NS/PROJ"
    hint = "`pypi-insiders repos add a/b/c --url URL`"
    assert _refusal(add, {}, [Repository("a/b/c")]) == (UsageError, message, hint)
    path = tmp_path / "repos.toml"
    path.write_text('["a/b/c"]\n')
    assert _refusal(load, path)[1] == f"{path}: a/b/c: {message}"


def test_every_key_survives_being_written(tmp_path: Path) -> None:
    path = tmp_path / "repos.toml"
    item = Repository(
        "a/b",
        "my-dist",
        "ssh://git@h/b",
        keep=2,
        tags="server-{version}",
        pre=False,
        max_new=3,
        subdirectory="packages/server",
        python=("3.12", "3.13"),
        network=True,
        strict=True,
        allowed_signers="~/signers",
        token_file="/etc/token",
        token_credential="github",
        token_command=("gh", "auth", "token"),
    )
    save(path, [item])
    assert load(path) == {"a/b": item}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('tags = "v 1"', "tags must be a pattern of tags, not 'v 1'"),
        (
            'tags = "{version}{version}"',
            "tags must contain {version} only once, not '{version}{version}'",
        ),
        ("pre = 1", "pre must be true or false"),
        ("max-new = 0", "max-new must be 1 or more, not 0"),
        (
            'subdirectory = "../x"',
            "subdirectory must be a path below the repository, not '../x'",
        ),
        ("python = []", 'python must be a list of versions such as ["3.12", "3.13"], not []'),
        (
            'python = ["2.7"]',
            'python must be a list of versions such as ["3.12", "3.13"], not [\'2.7\']',
        ),
        ('python = "3.12"', "python must be a list"),
        ("readable = []", 'readable must be a list of paths such as ["~/data"], not []'),
        ("readable = [1]", 'readable must be a list of paths such as ["~/data"], not [1]'),
        (
            'readable = ["data"]',
            "readable must be an absolute path or start with \"~/\", not 'data'",
        ),
        (
            'path = ["~/x", "/home/me/.ssh/bin"]',
            "path must not have /home/me/.ssh/bin, which may contain credentials",
        ),
        ('path = ["/a:b"]', "path must not have '/a:b': a colon separates directories in PATH"),
        (
            'token-file = "token"',
            "token-file must be an absolute path or start with \"~/\", not 'token'",
        ),
        (
            'token-credential = "../x"',
            "token-credential must be the name of a systemd credential, not '../x'",
        ),
        ('token-command = "gh"', "token-command must be a list"),
        (
            "token-command = []",
            'token-command must be a list of words such as ["gh", "auth", "token"]',
        ),
        (
            'token-command = ["", "s3cret"]',
            'token-command must be a list of words such as ["gh", "auth", "token"]',
        ),
        ("allowed_signers = 1", "unknown key allowed_signers (did you mean allowed-signers?)"),
    ],
)
def test_wrong_values_of_keys_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "repos.toml"
    path.write_text(f'["a/b"]\n{line}\n')
    assert _refusal(load, path) == (InsidersError, f"{path}: a/b: {message}", f"edit {path}")
