"""What `repos add` finds out at once, and what `repos set` changes."""

import json
import re
import socket
import time
from pathlib import Path

import pytest
from fallback import fallback
from fixtures import Person, Watch, free_port, names
from hostile import Index
from messages import UNNAMED
from projects import create

__all__ = ["fallback"]

NO_VERSION_HINT = "hint: releases are built from tags such as v1.0\n"


def test_what_was_added_is_asked_for_its_tags(person: Person, tmp_path: Path) -> None:
    """The person learns what will be built, and what to type next."""
    project = create(tmp_path, "probe")
    for tag in ("v1.0", "9.5.3-insiders-4.49.0", "v10.0rc1", "latest"):
        project.push(tag)
    added = person.run("repos", "add", "me/probe:probe", "--url", project.url)
    assert (added.stdout, added.stderr) == (
        "watching me/probe as probe\n",
        "me/probe: 4 tags found, latest release: 9.5.3-insiders-4.49.0\n"
        "next: `pypi-insiders update me/probe`\n",
    )
    quiet = person.run("repos", "add", "-q", "me/quiet", "--url", project.url)
    assert (quiet.stdout, quiet.stderr) == (
        "",
        UNNAMED.format("me/quiet", " (no name in pyproject.toml, setup.cfg or setup.py)").partition(
            "hint"
        )[0],
    )


@pytest.mark.parametrize(
    ("tags", "options", "told"),
    [
        ((), (), f"no tags found\n{NO_VERSION_HINT}"),
        (
            (), ("--branch", "mian"),
            "branch mian not found\n"
            "hint: list its branches: `git ls-remote --heads {url}`\n",
        ),
        (
            ("latest", "rel"), (),
            f"none of its tags is a version: latest, rel\n{NO_VERSION_HINT}",
        ),
        (
            ("v1.0",), ("--tags", "server-{version}"),
            "none of its tags is a version and matches server-{{version}}: v1.0\n"
            "hint: `pypi-insiders repos set me/probe tags=` takes every tag that is a version\n",
        ),
        (
            ("v1.0rc1",), ("--no-pre",),
            "all its releases are pre-releases\n"
            "hint: build pre-releases: `pypi-insiders repos set me/probe pre=true`\n",
        ),
    ],
)  # fmt: skip
def test_what_gives_no_release_is_said(
    person: Person, tmp_path: Path, tags: tuple[str, ...], options: tuple[str, ...], told: str
) -> None:
    """And it is watched nevertheless."""
    project = create(tmp_path, "probe")
    for tag in tags:
        project.push(tag)
    added = person.run("repos", "add", "me/probe", "--url", project.url, *options)
    assert (added.stdout, added.stderr) == (
        "watching me/probe\n",
        f"warning: me/probe: {told.format(url=project.url)}{UNNAMED.format('me/probe', '')}",
    )


def test_what_is_wrong_with_the_access_is_said(person: Person) -> None:
    """It is no reason not to add: the access may come later."""
    added = person.run("repos", "add", "me/probe", "--url", "file:///nowhere/probe.git")
    assert added.stdout == "watching me/probe\n"
    assert added.stderr == (
        "warning: me/probe: repository not found, or no access to it ('/nowhere/probe.git' does "
        "not "
        "appear to be a git repository)\n"
        "hint: check the name, and that your sponsorship or account gives access\n"
        + UNNAMED.format("me/probe", "")
    )
    (row,) = json.loads(person.run("repos", "list", "--json").stdout)["repositories"]
    assert row["name"] == "me/probe"


def test_a_project_of_a_group_is_named_by_its_path(person: Person) -> None:
    """However deep, and typed or pasted again it is the same one; another host's is not."""

    def add(*words: str) -> tuple[str, str]:
        added = person.run("repos", "add", "--no-check", *words)
        return added.stdout, added.stderr

    assert add("https://git.example/group/sub/app:app") == ("watching group/sub/app as app\n", "")
    watched = "group/sub/app is already watched"
    assert add("group/sub/app", "--keep", "3") == (f"{watched}; keep = 3\n", "")
    assert add("ssh://git@git.example:2222/group/sub/app.git") == (f"{watched}\n", "")
    assert add("http://other.example/group/sub/app:lib", "--insecure-http") == (
        "watching other.example/group/sub/app as lib\n",
        "warning: other.example/group/sub/app: its code and its credentials are sent in clear "
        "text; builds are only as safe as the network, unless tags are signed (allowed-signers)\n",
    )
    person.run("repos", "remove", "other.example/group/sub/app")
    (row,) = json.loads(person.run("repos", "list", "--json").stdout)["repositories"]
    assert (row["name"], row["url"]) == ("group/sub/app", "https://git.example/group/sub/app")


def test_nothing_is_asked_without_need(person: Person) -> None:
    """Not with `--no-check`, and not what is already watched, with its project."""
    nowhere = ("--url", "file:///nowhere/probe.git")
    added = person.run("repos", "add", "--no-check", "me/probe", *nowhere)
    assert (added.stdout, added.stderr) == (
        "watching me/probe\n",
        UNNAMED.format("me/probe", ""),
    )
    person.run("repos", "set", "me/probe", "project=probe")
    again = person.run("repos", "add", "me/probe", "--keep", "2", *nowhere)
    assert (again.stdout, again.stderr) == ("me/probe is already watched; keep = 2\n", "")


def test_several_are_asked_and_the_silent_one_not_for_long(person: Person) -> None:
    """A host that takes the connection and says nothing holds nobody up for more than 10 s."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"git://127.0.0.1:{silent.getsockname()[1]}/me/probe.git"
        begin_s = time.monotonic()
        added = person.run("repos", "add", "me/probe", "--url", url)
        took_s = time.monotonic() - begin_s
    assert added.stderr == (
        "warning: me/probe: git ls-remote timed out after 10 s\n"
        "hint: the next update tries again\n" + UNNAMED.format("me/probe", "")
    )
    assert 10 <= took_s < 20


def test_keys_are_set_and_taken_away(person: Person) -> None:
    """Each value is read as its key wants; what changed is told."""
    person.run("repos", "add", "--no-check", "me/probe")
    done = person.run(
        "repos", "set", "ME/Probe", "keep=5", "pre=false", "tags=server-{version}",
        "python=3.12, 3.13", "token-file=~/token", "url=ssh://git@h/x=y", "project=My_Dist",
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (
        'me/probe: project = "my-dist"\n'
        'me/probe: url = "ssh://git@h/x=y"\n'
        "me/probe: keep = 5\n"
        'me/probe: tags = "server-{version}"\n'
        "me/probe: pre = false\n"
        'me/probe: python = ["3.12", "3.13"]\n'
        'me/probe: token-file = "~/token"\n',
        "",
    )
    done = person.run("repos", "set", "me/probe", "keep=", "pre=true", 'python=["3.13"]', "url=")
    assert done.stdout == (
        'me/probe: url reset to its default (was "ssh://git@h/x=y")\n'
        "me/probe: keep reset to its default (was 5)\n"
        "me/probe: pre = true (was false)\n"
        'me/probe: python = ["3.13"] (was ["3.12", "3.13"])\n'
    )
    assert person.paths.repositories.read_text().partition("\n\n")[2] == (
        '["me/probe"]\nproject = "my-dist"\ntags = "server-{version}"\npre = true\n'
        'python = [\n    "3.13",\n]\ntoken-file = "~/token"\n'
    )
    written_ns = person.paths.repositories.stat().st_mtime_ns
    again = person.run("repos", "set", "me/probe", "pre=true", "network=")
    assert again.stdout == "me/probe: nothing changed\n"
    assert person.paths.repositories.stat().st_mtime_ns == written_ns


HELP_HINT = "see `pypi-insiders repos set --help`"


@pytest.mark.parametrize(
    ("word", "status", "message", "hint"),
    [
        ("kep=5", 2, "unknown key kep (did you mean keep?)", HELP_HINT),
        ("max_new=5", 2, "unknown key max_new (did you mean max-new?)", HELP_HINT),
        ("keep=many", 2, "keep must be a number", HELP_HINT),
        ("keep=1.5", 2, "keep must be a number", HELP_HINT),
        ("max-new=0", 2, "max-new must be 1 or more, not 0", HELP_HINT),
        ("pre=yes", 2, "pre must be true or false", HELP_HINT),
        ("python=[3.12", 2, "python must be a list", HELP_HINT),
        (
            "python=2.7", 2,
            'python must be a list of versions such as ["3.12", "3.13"], not [\'2.7\']', HELP_HINT,
        ),
        (
            "token-file=token", 2,
            "token-file must be an absolute path or start with \"~/\", not 'token'",
            HELP_HINT,
        ),
        (
            "tags=v 1", 2, "tags must be a pattern of tags, not 'v 1'",
            "such as 'v*' or 'server-{version}'",
        ),
        (
            "project=-", 2, "'-' is not a project name",
            "use letters, digits, '.', '_' and '-', such as mkdocs-material",
        ),
        (
            "url=https://me:s3cret@h/x", 2,
            "'https://h/x' contains a credential, which would be stored in plain text",
            "remove it from the URL and store it in git: `git help credentials`",
        ),
        (
            "project=other", 1, "other already belongs to me/other",
            "a project can belong to one repository only",
        ),
    ],
)  # fmt: skip
def test_wrong_keys_change_nothing(
    person: Person, word: str, status: int, message: str, hint: str
) -> None:
    """Not even those beside them that are right."""
    person.run("repos", "add", "--no-check", "me/probe", "me/other:other")
    before = person.paths.repositories.read_text()
    failed = person.run("repos", "set", "me/probe", "strict=true", word, status=status)
    assert (failed.stdout, failed.stderr) == ("", f"error: {message}\nhint: {hint}\n")
    assert person.paths.repositories.read_text() == before


def test_what_another_one_has_built_cannot_be_had(
    person: Person, watch: Watch, fallback: Index
) -> None:
    """The first build gave the name an owner, though `repos.toml` does not say so."""
    nowhere = ("--url", "file:///nowhere/x.git")
    person.run("repos", "add", "--no-check", "me/before", *nowhere)
    watch("probe", named=False).release("1.0")
    person.run("update", "me/probe")
    person.run("repos", "add", "--no-check", "me/after", *nowhere)
    for name in ("me/before", "me/after"):
        failed = person.run("repos", "set", name, "project=probe", status=1)
        assert failed.stderr == (
            "error: probe already belongs to me/probe\n"
            "hint: a project can belong to one repository only\n"
        )


def test_with_another_url_it_begins_anew(
    person: Person, watch: Watch, tmp_path: Path, fallback: Index
) -> None:
    """That is said, and nothing of the former is taken for what it has now."""
    watch("probe", named=False).release("1.0")
    person.run("update")
    other = create(tmp_path, "other")
    other.release("2.0")
    done = person.run("repos", "set", "me/probe", f"url={other.url}")
    assert done.stderr == (
        "warning: me/probe: project name unknown; until it is known, installers can get a "
        "public package of that name\n"
        "hint: `pypi-insiders repos set me/probe project=PROJECT`\n"
        "note: the next update of me/probe starts from scratch; published files stay\n"
    )
    assert json.loads(person.run("repos", "list", "--json").stdout)["repositories"] == [
        {"name": "me/probe", "url": other.url, "project": None, "served_version": None,
         "tag": None, "keep": None, "reason": "no release yet: no tag is a release",
         "distribution": None, "version": None}
    ]  # fmt: skip
    assert "starting from scratch" in person.run("update").stderr
    assert person.distributions() == names("other-2.0", "probe-1.0")
    same = person.run("repos", "set", "me/probe", "project=other")
    assert (same.stdout, same.stderr) == ('me/probe: project = "other"\n', "")


def test_a_host_out_of_reach_is_said_at_once(person: Person) -> None:
    """With what git says of it."""
    url = f"https://127.0.0.1:{free_port()}/me/far.git"
    told = person.run("repos", "add", "me/far", "--url", url).stderr
    assert re.fullmatch(
        r"warning: me/far: host unreachable \(.*\)\n"
        r"hint: check the network; the next update tries again\n"
        + re.escape(UNNAMED.format("me/far", "")),
        told,
    )
