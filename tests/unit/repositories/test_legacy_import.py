"""Take over from the original pypi-insiders: its list, and what else of it is here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures import Person, free_port

HINT = 'hint: it maps each repository to its project: {"NS/PROJ": "PROJECT"}\n'


@pytest.fixture
def written(person: Person) -> Path:
    """Its `repos.json`, as it writes it, where it keeps it."""
    path = person.paths.config / "repos.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pawamoy-insiders/devboard": "devboard", "me/b": "B_b"}, indent=2))
    return path


def test_its_list_is_taken_over(person: Person, written: Path) -> None:
    """From where it lies; the file stays, and doing it twice is no error."""
    before = written.read_bytes()
    person.run("repos", "add", "--no-check", "me/a:a", "me/b:b-b")
    done = person.run("repos", "import", "--no-check")
    assert (done.stdout, done.stderr) == (
        "watching pawamoy-insiders/devboard as devboard\nme/b is already watched\n", "",
    )  # fmt: skip
    again = person.run("repos", "import")
    assert (again.stdout, again.stderr) == (
        "pawamoy-insiders/devboard is already watched\nme/b is already watched\n", "",
    )  # fmt: skip
    listed = json.loads(person.run("repos", "list", "--json").stdout)["repositories"]
    assert [(row["name"], row["project"], row["url"]) for row in listed] == [
        ("me/a", "a", "git@github.com:me/a.git"),
        ("me/b", "b-b", "git@github.com:me/b.git"),
        ("pawamoy-insiders/devboard", "devboard", "git@github.com:pawamoy-insiders/devboard.git"),
    ]
    assert written.read_bytes() == before


def test_what_was_taken_over_is_asked_for_its_tags(person: Person, written: Path) -> None:
    """As with `repos add`: here git has no ssh."""
    written.write_text('{"me/a": "a"}')
    done = person.run("repos", "import", GIT_SSH_COMMAND="false")
    assert done.stdout == "watching me/a as a\n"
    assert done.stderr.startswith("warning: me/a: git ls-remote failed: ")


def test_another_file_can_be_named(person: Person, tmp_path: Path) -> None:
    """Such as one from another machine, or one that has none."""
    path = tmp_path / "others.json"
    path.write_text('{"me/a": "a"}')
    done = person.run("repos", "import", "--no-check", path)
    assert (done.stdout, done.stderr) == ("watching me/a as a\n", "")
    path.write_text("{}")
    done = person.run("repos", "import", path)
    assert (done.stdout, done.stderr) == ("", f"note: {path} names no repositories\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "{path} is not valid JSON: Expecting value: line 1 column 1 (char 0)"),
        ('["me/a"]', "{path} is not a list of repositories"),
        (
            '{"a": "a", "me/b": "b", "me/c": "-", "me/d": 1}',
            "{path}: 'a' is not a repository of the form NS/PROJ; '-' is not a project "
            "name; the project of me/d must be a string",
        ),
    ],
)
def test_what_is_no_such_list_is_refused(
    person: Person, written: Path, text: str, message: str
) -> None:
    """All that is wrong is said at once, and nothing is taken."""
    written.write_text(text)
    failed = person.run("repos", "import", status=1)
    assert (failed.stdout, failed.stderr) == (
        "", f"error: {message.format(path=written)}\n{HINT}",
    )  # fmt: skip
    assert not person.paths.repositories.exists()


def test_conflicts_are_named_and_nothing_is_taken(person: Person, written: Path) -> None:
    """With what is watched, or within the list."""
    person.run("repos", "add", "--no-check", "me/a:devboard", "me/b:other")
    before = person.paths.repositories.read_text()
    failed = person.run("repos", "import", status=1)
    assert (failed.stdout, failed.stderr) == (
        "",
        "error: devboard already belongs to me/a; me/b is already watched: project other, url "
        "git@github.com:me/b.git\n"
        "hint: change a watched repository: `pypi-insiders repos set NS/PROJ KEY=VALUE`\n",
    )
    assert person.paths.repositories.read_text() == before


def test_what_else_is_there_of_it_is_said(person: Person, written: Path, tmp_path: Path) -> None:
    """Its processes, distributions and clones; they are left alone."""
    paths = person.paths
    paths.data.mkdir(parents=True)
    (paths.data / "devboard-1.0.tar.gz").touch()
    (paths.data / "devboard-1.0-py3-none-any.whl").touch()
    (paths.cache / "me/b/.git").mkdir(parents=True)
    # The words by which it starts itself; what runs here is this program, which takes them too.
    words = [sys.executable, "-Impypi_insiders", "server", "run", f"--port={free_port()}"]
    with subprocess.Popen(words, env=person.environment, stdout=subprocess.PIPE) as server:
        assert server.stdout
        server.stdout.readline()
        told = person.run("repos", "import", "--no-check").stderr
        # With another home it would be another installation, of which nothing is imported here.
        neighbour = Person(tmp_path / "neighbour")
        neighbour.paths.config.mkdir(parents=True)
        (neighbour.paths.config / "repos.json").write_text('{"me/a": "a"}')
        other = neighbour.run("repos", "import", "--no-check").stderr
        server.terminate()
    assert "is running" not in other
    assert told == (
        "note: the server of the original is running and may use the port of this server; "
        f"stop it: `kill {server.pid}`\n"
        f"note: its published files are in {paths.data} (2 files); "
        f"to serve them, move them to {paths.distributions}\n"
        f"note: its clones in {paths.cache} are no longer used: me/b\n"
    )
    assert len(list(paths.data.glob("devboard-*"))) == 2
