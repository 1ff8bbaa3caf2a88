"""Take over from insiders, the successor of the original: its clones are its list."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures import Person

TOKEN = "ghp_" + "x" * 36


def clone(directory: Path, url: str, project: str | None = None) -> None:
    """Write what `insiders index add` leaves of a repository: a clone, its tag checked out."""
    subprocess.run(["git", "init", "--quiet", directory], check=True)
    subprocess.run(["git", "-C", directory, "remote", "add", "origin", url], check=True)
    if project:
        (directory / "pyproject.toml").write_text(f'[project]\nname = "{project}"\n')


@pytest.fixture
def cache(person: Person) -> Path:
    """Where it clones by default."""
    return person.paths.cache.parent / "insiders"


def test_its_clones_are_taken_over(person: Person, cache: Path) -> None:
    """Without settings of it: by their addresses, with the project that each has."""
    clone(cache / "a", "git@github.com:me/a", "A_a")
    clone(cache / "b", f"https://me:{TOKEN}@git.example/group/sub/b.git")
    (cache / "no-clone").mkdir()
    done = person.run("repos", "import", "--no-check")
    assert done.stdout == "watching me/a as a-a\nwatching group/sub/b\n"
    assert done.stderr.startswith(f"note: its clones in {cache} are no longer used\n")
    assert 'url = "https://git.example/group/sub/b.git"' in person.paths.repositories.read_text()
    again = person.run("repos", "import", "--no-check")
    assert again.stdout == "me/a is already watched\ngroup/sub/b is already watched\n"


def test_each_is_watched_where_it_is(person: Person, cache: Path) -> None:
    """With two clones of one repository, and one of GitHub that is called like another."""
    person.paths.config.mkdir(parents=True)
    (person.paths.config / "repos.json").write_text('{"me/a": "a"}')
    clone(cache / "a", "https://git.example/me/a.git", "other-a")
    clone(cache / "b", "https://git.example/me/b.git", "b")
    clone(cache / "b2", "https://git.example/me/b.git", "b")
    done = person.run("repos", "import", "--no-check")
    assert done.stdout == (
        "watching me/a as a\nwatching git.example/me/a as other-a\nwatching me/b as b\n"
    )
    listed = json.loads(person.run("repos", "list", "--json").stdout)["repositories"]
    assert [(row["name"], row["url"]) for row in listed] == [
        ("me/a", "git@github.com:me/a.git"),
        ("git.example/me/a", "https://git.example/me/a.git"),
        ("me/b", "https://git.example/me/b.git"),
    ]


def test_what_is_no_clone_of_its_own_is_named(person: Person, cache: Path) -> None:
    """As a work tree of another repository, which has no address."""
    clone(cache / "a", "git@github.com:me/a", "a")
    (cache / "b").mkdir()
    (cache / "b/.git").write_text("gitdir: /elsewhere/.git/worktrees/b\n")
    done = person.run("repos", "import", "--no-check")
    assert done.stdout == "watching me/a as a\n"
    assert "note: not taken over, as they belong to clones elsewhere: b\n" in done.stderr


def test_its_settings_say_where_they_are(person: Person, tmp_path: Path) -> None:
    """Also in a file of another place, which is known by its tables."""
    clone(tmp_path / "sources/a", "git@github.com:me/a", "a")
    (person.home / "old").mkdir()
    (person.home / "old/a-1.0.tar.gz").touch()
    text = (
        f'[index]\nurl = "http://localhost:8123"\nsources-directory = "{tmp_path}/sources"\n'
        'distributions-directory = "~/old"\n[project]\nnamespace = "me"\n'
    )
    settings = person.paths.config.parent / "insiders/insiders.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(text)
    told = (
        f"note: its published files are in {person.home}/old (1 file); "
        f"to serve them, move them to {person.paths.distributions}\n"
        f"note: its clones in {tmp_path}/sources are no longer used\n"
        "note: its index used port 8123; to use it here, set `port = 8123` under [server]\n"
    )
    done = person.run("repos", "import", "--no-check")
    assert (done.stdout, done.stderr) == ("watching me/a as a\n", told)
    other = tmp_path / "old.toml"
    settings.rename(other)
    done = person.run("repos", "import", "--no-check", other)
    assert (done.stdout, done.stderr) == ("me/a is already watched\n", told)


def test_both_programs_are_taken_over_at_once(person: Person, cache: Path) -> None:
    """A repository of both is one."""
    clone(cache / "a", "git@github.com:Me/A.git", "a")
    person.paths.config.mkdir(parents=True)
    (person.paths.config / "repos.json").write_text('{"me/a": "a", "me/b": "b"}')
    done = person.run("repos", "import", "--no-check")
    assert sorted(done.stdout.casefold().splitlines()) == [
        "watching me/a as a",
        "watching me/b as b",
    ]


def test_a_clone_that_cannot_be_watched_is_named(person: Person, cache: Path) -> None:
    """And nothing is taken."""
    clone(cache / "a", "git@github.com:me/a", "a")
    clone(cache / "b", "../relative")
    subprocess.run(["git", "init", "--quiet", cache / "c"], check=True)
    failed = person.run("repos", "import", "--no-check", status=1)
    assert failed.stdout == ""
    assert failed.stderr.startswith(f"error: clones in {cache}: b: ")
    assert "; c: " in failed.stderr
    assert not person.paths.repositories.exists()


@pytest.fixture
def index(person: Person, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Its index: a program of its name that runs until its input ends."""
    program = tmp_path / "bin/insiders"
    program.parent.mkdir()
    program.write_text("import sys\nprint('ready', flush=True)\nsys.stdin.read()\n")
    with subprocess.Popen(
        [sys.executable, program, "index", "start", "--background"],
        env=person.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        yield process


def test_its_index_is_named(person: Person, cache: Path, index: subprocess.Popen[bytes]) -> None:
    """As it has the port."""
    clone(cache / "a", "git@github.com:me/a", "a")
    told = person.run("repos", "import", "--no-check").stderr
    assert told.startswith(
        "note: the index of insiders is running and may use the port of this server; "
        f"stop it: `kill {index.pid}`\n"
    )
