"""What is lost or cannot be read takes no name from the index, and `update` fails of it too."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from fixtures import HEALTHY, Person, run_command
from hostile import request, serving
from machine import Machine
from projects import Project, create, git
from wheels import wheel

from pypi_insiders.config.paths import held_names_copies
from pypi_insiders.index.catalog import Catalog
from pypi_insiders.index.metadata_cache import MetadataCache
from pypi_insiders.repositories import held_names, releases, state, unpublish
from pypi_insiders.repositories.state import Build, Failure, RepositoryState
from pypi_insiders.server.current_names import CurrentNames
from pypi_insiders.update import removal

WATCHED = '["me/probe"]\nproject = "probe"\nurl = "file:///nowhere/probe.git"\n'
UNNAMED = '["me/probe"]\nurl = "file:///nowhere/probe.git"\n'


def call(person: Person, *words: str) -> CompletedProcess[str]:
    """Run a command to its end, however it ends."""
    return run_command(words, person.environment)


def watch(person: Person, text: str = WATCHED) -> None:
    """Write the list of watched repositories."""
    person.paths.config.mkdir(parents=True, exist_ok=True)
    person.paths.repositories.write_text(text)


def _failing(person: Person) -> None:
    """Write the state of a repository of which nothing was ever built."""
    failure = Failure("c" * 40, "no such backend", 1, 1, 2)
    state.save(person.paths.state, "me/probe", RepositoryState(failures={"v1": failure}))


def _watched(person: Person) -> None:
    watch(person)


def _read_from_its_files(person: Person) -> None:
    watch(person, UNNAMED)
    _failing(person)
    held_names.hold(person.paths, {"probe": "me/probe"})


def _built(person: Person) -> None:
    watch(person, UNNAMED)
    build = Build("v1", "c" * 40, "1.0", 1, {"probe-1.0.tar.gz": "0" * 64})
    known = RepositoryState("probe", [build], "file:///nowhere/probe.git")
    state.save(person.paths.state, "me/probe", known)


def _by_hand(person: Person) -> None:
    wheel(person.paths.distributions, "probe", "1.0")
    with closing(MetadataCache(person.paths.record, person.paths.distributions)) as record:
        assert Catalog(person.paths.distributions, record).project("probe")


def _in_an_odd_form(person: Person) -> None:
    person.paths.distributions.mkdir(parents=True)
    (person.paths.distributions / "probe-1.0.tar.zst").write_bytes(b"x")


def _taken_back(person: Person) -> None:
    wheel(person.paths.distributions, "probe", "1.0")
    unpublish.unpublish(person.paths, releases.find_published(person.paths, "probe", []))


SOURCES: list[Callable[[Person], None]] = [
    _watched, _read_from_its_files, _built, _by_hand, _in_an_odd_form, _taken_back,
]  # fmt: skip


@pytest.mark.parametrize("prepare", SOURCES)
def test_a_name_survives_the_loss_of_any_file(
    tmp_path: Path, prepare: Callable[[Person], None]
) -> None:
    """Each file in turn: of the settings, of the state, beside the distributions."""
    person = Person(tmp_path / "all")
    person.home.mkdir()
    prepare(person)
    held_names.sync(person.paths)
    files = sorted(path for path in person.home.rglob("*") if path.is_file())
    assert len(files) > 2
    lost = []
    for number, path in enumerate(files):
        other = Person(tmp_path / str(number))
        shutil.copytree(person.home, other.home)
        (other.home / path.relative_to(person.home)).unlink()
        if "probe" not in held_names.load(other.paths).repositories:
            lost.append(path.name)
    assert lost == []


def test_a_server_writes_nothing_beside_the_distributions(person: Person) -> None:
    """It may not, where it is confined; the state has a copy all the same."""
    watch(person)
    person.paths.distributions.mkdir(parents=True)
    CurrentNames(person.paths).current()
    assert list(person.paths.distributions.iterdir()) == []
    in_state, beside = held_names_copies(person.paths)
    assert json.loads(in_state.read_text()) == {"probe": "me/probe"}
    held_names.sync(person.paths)
    assert json.loads(beside.read_text()) == {"probe": "me/probe"}


def test_no_directory_of_distributions_is_made_for_a_list(person: Person) -> None:
    """An empty one would hide that it is gone."""
    watch(person)
    held_names.sync(person.paths)
    held_names.hold(person.paths, {"other": "me/other"})
    assert not person.paths.distributions.exists()


def _lose_names(person: Person) -> None:
    for path in (person.paths.held_names, *held_names_copies(person.paths)):
        path.unlink(missing_ok=True)


def _empty_names(person: Person) -> None:
    for path in (person.paths.held_names, *held_names_copies(person.paths)):
        path.unlink(missing_ok=True)
    person.paths.held_names.write_text("{}")


@pytest.mark.parametrize("text", [None, "", "[broken"])
@pytest.mark.parametrize("lose", [_lose_names, _empty_names])
def test_a_repository_whose_name_is_lost_stops_every_unknown_name(
    person: Person, lose: Callable[[Person], None], text: str | None
) -> None:
    """Its state is there, and nobody removed it: any name may be its."""
    watch(person)
    _failing(person)
    person.paths.distributions.mkdir(parents=True)
    person.paths.repositories.unlink()
    if text is not None:
        watch(person, text)
    lose(person)
    error = held_names.load(person.paths).error
    assert error is not None
    with serving(person.home) as index:
        for path in ("/simple/probe/", "/packages/probe-1.0.tar.gz", "/packages/x", "/x/1/json"):
            assert index.ask(request("GET", path)).status == 503
    status, update = call(person, "status"), call(person, "update")
    assert error.message in status.stdout
    assert (status.returncode, update.returncode) == (1, 1)
    assert (error.message if text != "[broken" else "is not valid TOML") in update.stderr


def test_a_repository_whose_name_is_lost_can_be_removed(person: Person) -> None:
    """As the hint says; a repository that is watched without a name is not lost."""
    watch(person, UNNAMED)
    _failing(person)
    assert held_names.load(person.paths).error is None
    person.paths.repositories.unlink()
    error = held_names.load(person.paths).error
    assert error is not None
    assert error.message == (
        f"project name of me/probe lost: {person.paths.repositories} lists no "
        "repositories, and me/probe was not removed"
    )
    assert error.hint == (
        "restore the file, or `pypi-insiders repos add me/probe`, "
        "or `pypi-insiders repos remove me/probe`"
    )
    person.run("repos", "remove", "me/probe")
    assert held_names.load(person.paths).error is None


@pytest.mark.parametrize("kept", [".taken-back.json", ".yanked.json"])
def test_the_lists_beside_the_distributions_name_projects(person: Person, kept: str) -> None:
    """They are all that is left when the settings and the state are lost."""
    person.paths.distributions.mkdir(parents=True)
    (person.paths.distributions / kept).write_text('{"probe": {"1.0": "unpublished"}}')
    assert held_names.load(person.paths).repositories == {"probe": None}
    assert held_names.release(person.paths, ["probe"]) == ["probe"]
    _lose_names(person)
    assert held_names.load(person.paths).repositories == {}


def test_what_was_given_up_stays_taken_back(person: Person) -> None:
    """Its name goes; who watches it again does not get the release again."""
    _taken_back(person)
    held_names.sync(person.paths)
    assert held_names.release(person.paths, ["probe"]) == ["probe"]
    path = person.paths.distributions / ".taken-back.json"
    assert json.loads(path.read_text()) == {"probe": {"1.0": "given up"}}


HELD = (
    "/project/probe/", "/packages/probe-1.0.tar.gz", "/packages/probe-1.0.tgz",
    "/packages/probe-1.0.tar.gz.metadata", "/packages/probe-1.0.tar.zst", "/probe/json",
    "/probe/1.0/json", "/pypi/probe/json", "/pypi/probe/1.0/json",
)  # fmt: skip


@pytest.mark.parametrize("prepare", SOURCES[:-2])
def test_a_held_name_is_never_merely_not_found(
    person: Person, prepare: Callable[[Person], None]
) -> None:
    """Wherever it stands in an address."""
    person.paths.distributions.mkdir(parents=True)
    prepare(person)
    held_names.sync(person.paths)
    for path in person.paths.distributions.glob("*.whl"):
        path.unlink()
    with serving(person.home) as index:
        found = {path: index.ask(request("GET", path)).status for path in HELD}
        assert {path: it for path, it in found.items() if it not in (409, 410, 503)} == {}
        assert index.ask(request("GET", "/other/1.0/json")).status == 404
        assert index.ask(request("GET", "/packages/other-1.0.tgz")).status == 404


def _renamed(person: Person) -> None:
    """Write the state of a repository that published `probe` before it stood for `other`."""
    person.paths.distributions.mkdir(parents=True, exist_ok=True)
    watch(person, WATCHED.replace('"probe"', '"other"'))
    known = RepositoryState("other", [], former_files=["probe-1.0.tar.gz"])
    state.save(person.paths.state, "me/probe", known)


def test_a_former_name_is_known_by_the_state_alone(person: Person) -> None:
    """It stays, its repository is named, and the hint gives it up."""
    _renamed(person)
    with serving(person.home) as index:
        answer = index.ask(request("GET", "/simple/probe/"))
    assert answer.status == 409
    status = call(person, "status")
    assert "and me/probe now builds other" in status.stdout
    hint = "restore the files, or give up the name: `pypi-insiders unpublish probe --all`"
    assert (status.returncode, hint in status.stdout) == (1, True)
    assert "probe is no longer held" in person.run("unpublish", "--yes", "probe", "--all").stdout
    _lose_names(person)
    assert "probe" not in held_names.load(person.paths).repositories


def test_a_former_name_of_which_files_are_lost_is_not_let_go(person: Person) -> None:
    """Before somebody unpublishes it, or the repository goes with all that it published."""
    _renamed(person)
    assert removal.let_go(person.paths, ["probe"]) == []
    person.run("repos", "remove", "me/probe")
    assert held_names.load(person.paths).repositories["probe"] == "me/probe"
    watch(person, WATCHED.replace('"probe"', '"other"'))
    done = person.run("repos", "remove", "--purge", "--yes", "me/probe")
    assert "probe is no longer held" in done.stdout
    assert held_names.load(person.paths).repositories == {}


def _project(tmp_path: Path, name: str = "probe") -> Project:
    return create(tmp_path, name)


def _broken(tmp_path: Path) -> Project:
    project = _project(tmp_path)
    project.write("1.0", backend="flit")
    path = project.tree / "pyproject.toml"
    path.write_text(path.read_text().replace("flit_core.buildapi", "no.such"))
    project.push("v1.0")
    return project


def _add(person: Person, project: Project, *options: str) -> None:
    person.run("repos", "add", "me/probe:probe", "--url", project.url, *options)


def _well(person: Person, tmp_path: Path) -> None:
    project = _project(tmp_path)
    project.release("1.0")
    _add(person, project)
    person.run("update")


def _without_tags(person: Person, tmp_path: Path) -> None:
    project = _project(tmp_path)
    project.write("1.0")
    git(project.tree, "add", "--all")
    git(project.tree, "commit", "-qm", "x")
    git(project.tree, "push", "-q", "origin", "HEAD")
    _add(person, project)


def _without_versions(person: Person, tmp_path: Path) -> None:
    project = _project(tmp_path)
    project.release("1.0", tag="latest")
    _add(person, project)


def _only_pre_releases(person: Person, tmp_path: Path) -> None:
    project = _project(tmp_path)
    project.release("1.0rc1")
    _add(person, project, "--no-pre")


def _unsigned(person: Person, tmp_path: Path) -> None:
    project = _project(tmp_path)
    project.release("1.0")
    signers = tmp_path / "signers"
    signers.write_text("me@example.org ssh-ed25519 AAAA\n")
    _add(person, project, "--allowed-signers", str(signers))


def _not_built(person: Person, tmp_path: Path) -> None:
    _add(person, _broken(tmp_path))


def _not_built_and_list_lost(person: Person, tmp_path: Path) -> None:
    _not_built(person, tmp_path)
    call(person, "update")
    person.paths.repositories.unlink()


def _list_lost(person: Person, tmp_path: Path) -> None:
    _well(person, tmp_path)
    person.paths.repositories.unlink()


def _files_lost(person: Person) -> None:
    for path in person.paths.distributions.glob("probe*"):
        path.unlink()


def _list_and_files_lost(person: Person, tmp_path: Path) -> None:
    _list_lost(person, tmp_path)
    _files_lost(person)


def _removed_and_files_lost(person: Person, tmp_path: Path) -> None:
    _well(person, tmp_path)
    person.run("repos", "remove", "me/probe")
    _files_lost(person)


def _odd_file(person: Person, tmp_path: Path) -> None:
    _well(person, tmp_path)
    (person.paths.distributions / "other-1.0.tar.zst").write_bytes(b"x")


def _only_an_odd_file(person: Person, _tmp_path: Path) -> None:
    _in_an_odd_form(person)


def _nothing(_person: Person, _tmp_path: Path) -> None:
    pass


def _broken_list(person: Person, tmp_path: Path) -> None:
    _well(person, tmp_path)
    watch(person, "[broken")


STATES: dict[Callable[[Person, Path], None], str | None] = {
    _nothing: None,
    _well: None,
    _list_lost: None,
    _without_tags: None,
    _without_versions: "none of its tags is a version: latest",
    _only_pre_releases: "`pypi-insiders repos set me/probe pre=true`",
    _unsigned: "`pypi-insiders repos set me/probe allowed-signers=FILE`",
    _not_built: "no.such",
    _not_built_and_list_lost: "probe was served (from me/probe)",
    _list_and_files_lost: "probe-1.0.tar.gz is missing",
    _removed_and_files_lost: "probe-1.0.tar.gz is missing",
    _odd_file: "other-1.0.tar.zst is not a file that an index serves",
    _only_an_odd_file: "probe-1.0.tar.zst is not a file that an index serves",
    _broken_list: "is not valid TOML",
}


@pytest.mark.parametrize(("prepare", "told"), list(STATES.items()))
def test_an_update_fails_of_what_status_calls_a_problem(
    person: Person, tmp_path: Path, prepare: Callable[[Person, Path], None], told: str | None
) -> None:
    """And of nothing else, the first time and every other time."""
    prepare(person, tmp_path)
    for _ in range(2):
        update = call(person, "update")
        status = call(person, "status")
        assert (update.returncode == 1) == (status.returncode == 1) == (told is not None)
        assert (told or "") in update.stderr


HINTS: dict[Callable[[Path], None], str] = {
    lambda path: path.symlink_to("nowhere/else"): "restore nowhere/else, or remove the link: `rm ",
    lambda path: path.touch(): "move that file or directory away",
    os.mkfifo: "move that file or directory away",
}


@pytest.mark.parametrize(("put", "hint"), list(HINTS.items()), ids=["link", "file", "fifo"])
@pytest.mark.parametrize("place", ["state", "distributions"])
def test_what_stands_where_a_directory_would_be_made_is_a_problem(
    person: Person, tmp_path: Path, put: Callable[[Path], None], hint: str, place: str
) -> None:
    """No update can write there, as an update says too."""
    _well(person, tmp_path)
    path: Path = getattr(person.paths, place)
    shutil.rmtree(path)
    put(path)
    for _ in range(2):
        update, status = call(person, "update"), call(person, "status")
        assert (update.returncode, status.returncode) == (1, 1)
        assert f"updates cannot write in {path}" in status.stdout
        assert hint in status.stdout


def test_what_the_user_took_back_is_no_failure_of_an_update(person: Person, tmp_path: Path) -> None:
    """As `status` says, installers are stopped; but no update could change that."""
    _well(person, tmp_path)
    person.run("unpublish", "--yes", "probe", "--all")
    assert person.run("update").returncode == 0
    assert "all releases of me/probe were unpublished" in (call(person, "status").stdout)


DIRECTORIES = {
    "config": ".config/pypi-insiders",
    "data": ".local/share/pypi-insiders",
    "distributions": ".local/share/pypi-insiders/dists",
    "state": ".local/state/pypi-insiders",
    "cache": ".cache/pypi-insiders",
}
COMMANDS = (
    ("status",), ("doctor",), ("update",), ("repos", "list"), ("show", "me/probe"),
    ("server", "status"), ("server", "start"), ("watcher", "status"),
)  # fmt: skip


@pytest.mark.parametrize("directory", list(DIRECTORIES.values()), ids=list(DIRECTORIES))
def test_a_directory_that_cannot_be_read_hangs_and_breaks_nothing(
    machine: Machine, port: int, tmp_path: Path, directory: str
) -> None:
    """Clients are served or told why, and so is whoever asks."""
    machine.write_text(".config/pypi-insiders/config.toml", f"[server]\nport = {port}\n")
    machine.write_text(".config/pypi-insiders/repos.toml", WATCHED)
    machine.run("install", "-D", "-t", ".local/share/pypi-insiders/dists",
                str(wheel(tmp_path, "other", "1.0")))  # fmt: skip
    machine.run("mkdir", "-p", ".cache/pypi-insiders")
    machine.run("pypi-insiders", "server", "start")
    assert machine.get(f"http://127.0.0.1:{port}/simple/other/").status == 200
    machine.run("systemctl", "--user", "stop", "pypi-insiders-server.service")
    machine.run("chmod", "000", directory)
    for name in ("other", "probe"):
        answer = machine.get(f"http://127.0.0.1:{port}/simple/{name}/")
        assert answer.status in (200, 409, 503)
    told = [(words, machine.run("pypi-insiders", *words, check=False)) for words in COMMANDS]
    assert [done.stderr for _, done in told if "Traceback" in done.stderr] == []
    assert [words for words, done in told if done.returncode not in (0, 1, 3, 4)] == []
    codes = {words[0]: done.returncode for words, done in told if len(words) == 1}
    if directory != DIRECTORIES["cache"]:
        assert codes == {"status": 1, "doctor": 1, "update": 1}
    assert "Traceback" not in machine.journal()
    machine.run("chmod", "700", directory)
    machine.run("pypi-insiders", "server", "start")
    assert machine.get(f"http://127.0.0.1:{port}/health") == HEALTHY
    assert machine.get(f"http://127.0.0.1:{port}/simple/other/").status == 200


def test_a_start_fails_of_an_index_that_ends_when_it_is_ready(machine: Machine, port: int) -> None:
    """It was started, but serves nobody."""
    machine.write_text(".config/pypi-insiders/config.toml", f"[server]\nport = {port}\n")
    machine.run("pypi-insiders", "server", "start")
    machine.run("pypi-insiders", "server", "stop")
    machine.write_text(
        ".config/systemd/user/pypi-insiders-server.service.d/zz.conf",
        "[Service]\nNotifyAccess=all\nRestartSec=60\nExecStart=\n"
        "ExecStart=/bin/sh -c 'systemd-notify --ready; exit 1'\n",
    )
    # On a busy machine it may end only after it was looked at.
    done = machine.wait_for(("pypi-insiders", "server", "start"), lambda done: done.returncode == 1)
    assert done.stderr.endswith("hint: see why: `pypi-insiders server logs`\n")
    if done.stderr.startswith("error: systemctl"):  # for systemd 262 the start itself has failed
        assert int(machine.run("systemctl", "--version").stdout.split()[1]) > 257
        assert "did not take the steps required by its unit configuration" in done.stderr
    else:
        assert done.stdout.startswith("server: failing (exit-code")
        assert done.stderr.startswith("error: the index was started, and is failing\n")


def test_the_next_request_after_a_mend_finds_the_index(machine: Machine, port: int) -> None:
    """It waits in the socket's queue until the process is gone that refused, and not for that."""
    good = f"[server]\nport = {port}\n"
    machine.write_text(".config/pypi-insiders/config.toml", good)
    machine.run("pypi-insiders", "server", "start")
    url = f"http://127.0.0.1:{port}/simple/"
    for wrong in ("prot = 1\n", "auth = true\n", "uploads = true\n"):
        machine.write_text(".config/pypi-insiders/config.toml", good + wrong)
        machine.run("systemctl", "--user", "stop", "pypi-insiders-server.service")
        assert machine.get(url).status == 503
        machine.write_text(".config/pypi-insiders/config.toml", good)
        assert machine.get(url).status == 200
        status = machine.run("pypi-insiders", "server", "status", check=False)
        assert status.stdout.startswith(f"server: running at {url}\n")


def test_a_directory_that_was_made_again_is_seen(
    machine: Machine, port: int, tmp_path: Path
) -> None:
    """A service sees those that were there when it started, so it ends for the next request."""
    data, url = ".local/share/pypi-insiders", f"http://127.0.0.1:{port}/simple/other/"
    made = str(wheel(tmp_path, "other", "1.0"))
    machine.write_text(".config/pypi-insiders/config.toml", f"[server]\nport = {port}\n")
    publish = ("install", "-D", "-t", f"{data}/dists", made)
    machine.run(*publish)
    machine.run("pypi-insiders", "server", "start")
    assert machine.get(url).status == 200
    for is_running in (True, False):
        if not is_running:
            machine.run("systemctl", "--user", "stop", "pypi-insiders-server.service")
        machine.run("rm", "-r", data)
        assert machine.get(url).status == 503
        machine.run(*publish)
        _until_served(machine, url)


def test_settings_in_a_directory_that_was_made_again_are_seen(machine: Machine, port: int) -> None:
    """As by a tool that puts all dotfiles into their places anew."""
    config, url = ".config/pypi-insiders", f"http://127.0.0.1:{port}/simple/probe/"
    settings = f"[server]\nport = {port}\n"
    machine.write_text(f"{config}/config.toml", settings)
    machine.run("pypi-insiders", "server", "start")
    assert machine.get(url).status == 303
    for is_running in (True, False):
        machine.run("rm", "-r", config)
        if not is_running:
            machine.run("systemctl", "--user", "stop", "pypi-insiders-server.service")
            assert machine.get(url).status == 303  # by an index that sees no directory
        machine.write_text(f"{config}/config.toml", settings)
        machine.write_text(f"{config}/repos.toml", WATCHED)
        _until_served(machine, url, 409)
        machine.run("pypi-insiders", "repos", "remove", "me/probe")
        _until_served(machine, url, 303)


def _until_served(machine: Machine, url: str, status: int = 200) -> None:
    """Ask until the answer is as wanted."""
    machine.wait_for_answer(url, lambda answer: answer.status == status)
