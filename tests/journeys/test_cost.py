"""What foreign text may cost: each of it is read or refused in little time of a processor."""

import json
import os
import re
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pytest
from fixtures import Person, Watch, names
from projects import Project, create, git
from wheels import sdist, wheel

from pypi_insiders.builder import configuration
from pypi_insiders.git import diagnosis, submodules
from pypi_insiders.index import archives, file_contents
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.repositories import tags
from pypi_insiders.repositories.tags import Pattern
from pypi_insiders.update import project_name
from pypi_insiders.update.project_name import UnknownNameError
from pypi_insiders.util import disk_reserve
from pypi_insiders.util.disk_reserve import DiskFullError, Guard
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.plain_text import one_line
from pypi_insiders.util.process_group import family
from pypi_insiders.util.without_credentials import without_any_credentials

_SIZE = 512 * 1024
_MOST_S = 3.5
"""The 2 s that a process of its own may take, and what it and this one take beside them."""


@pytest.fixture
def cheap() -> Iterator[None]:
    """Fail a test that takes more of a processor, with its children."""

    def give_up(*_: object) -> None:
        pytest.fail(f"more than {_MOST_S} s of a processor")

    def spent_s() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, _MOST_S)
    begun_s = spent_s()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before or signal.SIG_DFL)
    assert spent_s() - begun_s < _MOST_S


def filled(unit: str) -> str:
    """Repeat a text until it is large."""
    return unit * (_SIZE // len(unit))


def numbered(form: str) -> str:
    """Repeat a text with another number each time until it is large."""
    return "".join(form % number for number in range(_SIZE // (len(form) + 4)))


TOO_MUCH = "pyproject.toml takes too much time or memory to parse"
TOO_DEEP = "pyproject.toml has more than 100 levels of tables and lists"
# Python 3.14 reads what earlier ones need minutes for, and refuses it for its depth or its form.
IS_QUICK = sys.version_info >= (3, 14)
MANY_PARTS = TOO_DEEP if IS_QUICK else TOO_MUCH
_TWENTY = ".".join(["a"] * 20)

TOML: dict[str, tuple[str, str | None]] = {
    "dotted key": (filled("a.") + "a = 1", MANY_PARTS),
    "tables in line": ("a = " + filled("{a=") + "1" + filled("}"), TOO_DEEP),
    "arrays": ("a = " + filled("[") + filled("]"), TOO_DEEP),
    "tables": (numbered("[a%d]\n"), None),
    "tables of twenty parts": (numbered(f"[{_TWENTY}.b%d]\n"), None),
    "keys of twenty parts": (numbered(f"{_TWENTY}.b%d = 1\n"), None),
    "arrays of tables": (filled("[[a]]\n"), None),
    "keys": (numbered("a%d = 1\n"), None),
    "keys in a table in line": ("a = {" + numbered("a%d = 1,") + "b = 1}", None),
    "tables in an array": ("a = [" + filled("{b = 1},") + "]", None),
    "string": ('a = "' + filled("a") + '"', None),
    "escapes": ('a = "' + filled("\\u0041") + '"', None),
    "ends of lines": ('a = """' + filled("\\\n") + '"""', None),
    "quotes": ("a = '''" + filled("''x") + "'''", None),
    "float": ("a = " + filled("1") + ".5", None),
    "comments": (filled("#\n"), None),
    "empty lines": (filled("\r\n"), None),
}


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("kind", TOML)
def test_a_configuration_is_read_or_refused_in_time(kind: str) -> None:
    """Keys of many parts take a time that grows with the square of their length."""
    text, refused = TOML[kind]
    assert len(text) >= _SIZE // 2
    assert configuration.complaint(text) == refused


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + filled("1"), "cannot parse pyproject.toml: Exceeds the limit"),
        (filled("."), "cannot parse pyproject.toml: Invalid statement"),
        ('a = "' + filled('\\"'), "cannot parse pyproject.toml: Unterminated string"),
        (filled("a" * 64 + "\n"), "cannot parse pyproject.toml: Expected '='"),
    ],
)
def test_what_is_no_configuration_is_told_in_time(text: str, message: str) -> None:
    """As is what is malformed somewhere."""
    assert str(configuration.complaint(text)).startswith(message)


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("setup.cfg", "[metadata]\na" + filled(" ") + "b", "is malformed"),
        # Of half the length, 3.12 and 3.13 need about as long as they may.
        ("setup.py", "x = f'" + filled("{a}") * 2 + "'", "computes the name"),
    ],
)
def test_a_name_is_read_or_not_in_time(name: str, text: str, form: str) -> None:
    """Each of the three parsers can be made to take minutes; for TOML, see below."""
    with pytest.raises(UnknownNameError) as caught:
        project_name.read({name: text})
    slow = f"its {name} takes too much time or memory to parse"
    assert str(caught.value) == (f"{name} {form}" if IS_QUICK else slow)


def test_a_parser_that_others_end_is_no_fault_of_the_text() -> None:
    """What the kernel kills for want of memory is tried again."""
    found: list[InsidersError] = []

    def ask() -> None:
        try:
            configuration.complaint(TOML["dotted key"][0])
        except InsidersError as error:
            found.append(error)

    others = set(family(os.getpid()))  # such as what forks for other tests
    asking = threading.Thread(target=ask)
    asking.start()
    while not (children := set(family(os.getpid())) - others):
        assert asking.is_alive()
    os.kill(children.pop(), signal.SIGKILL)
    asking.join()
    assert [(error.message, error.hint) for error in found] == [
        (
            "pypi_insiders.builder.configuration was killed by signal 9",
            "the next update tries again",
        )
    ]


def test_an_update_goes_on_beside_a_configuration_that_takes_for_ever(
    person: Person, watch: Watch
) -> None:
    """The tag has failed, for good; the others are built."""
    evil, good = watch("evil"), watch("good")
    evil.write("1.0")
    path = evil.tree / "pyproject.toml"
    path.write_text(path.read_text() + "\n[tool.x]\n" + filled("a.") + "a = 1\n")
    evil.push("v1.0")
    good.release("1.0")
    failed = person.run("update", status=1)
    assert f"error: me/evil: tag v1.0: {MANY_PARTS}\n" in failed.stderr
    assert person.distributions() == names("good-1.0")
    assert "(failed before; next try after " in person.run("update", status=1).stderr


def test_to_watch_a_repository_takes_no_longer_for_its_configuration(
    person: Person, tmp_path: Path
) -> None:
    """Its name is not known then, and is told so."""
    project = create(tmp_path, "evil")
    project.write("1.0")
    path = project.tree / "pyproject.toml"
    path.write_text(path.read_text() + "\n[tool.x]\n" + "a." * 60_000 + "a = 1\n")
    project.push("v1.0")
    added = person.run("repos", "add", "me/evil", "--url", project.url)
    why = "pyproject.toml is not valid TOML" if IS_QUICK else f"its {TOO_MUCH}"
    assert f"project name unknown ({why});" in added.stderr


_HEADS = {
    "many fields": numbered("a%d:\n"),
    "parts in parts": "".join(
        f"Content-Type: multipart/mixed; boundary=b{number}\n\n--b{number}\n"
        for number in range(300)
    )
    + filled("\n"),
    "a field many times": filled("Classifier: a\n"),
    "lines of a field": "Summary: a\n" + filled(" b\n"),
}


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("kind", _HEADS)
def test_metadata_are_read_in_time(tmp_path: Path, kind: str) -> None:
    """The index reads them, too, of whatever lies in its directory."""
    path = wheel(tmp_path, "probe", "1.0", "Requires-Python: >=3.9", _HEADS[kind])
    assert file_contents.read(path).requires_python == ">=3.9"


def test_fields_that_are_looked_at_are_short(tmp_path: Path) -> None:
    """What nobody can mean is not given to every client."""
    path = wheel(tmp_path, "probe", "1.0", "Requires-Python: " + ">=3," * 20_000 + ">=3")
    with pytest.raises(DistributionError) as caught:
        file_contents.read(path)
    assert caught.value.message == f"{path.name} is damaged: its metadata is too large"


def test_metadata_end_where_those_of_installers_end(tmp_path: Path) -> None:
    """Behind an empty line, or one that is no field, nothing counts."""
    for line in ("", "this is no field"):
        path = wheel(tmp_path, "probe", "1.0", line, "Requires-Python: >=3.9")
        assert file_contents.read(path).requires_python is None
    path = wheel(tmp_path, "probe", "1.0", "From x", "Requires-Python: >=3.9,", "  <4")
    assert file_contents.read(path).requires_python == ">=3.9,\n  <4"


def _explained(text: str) -> str:
    return str(diagnosis.explain(text, "fetch", diagnosis.Remote("https://host.invalid/x")))


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    ("do", "text"),
    [
        (one_line, "a" + filled(" ") + "b"),
        (one_line, filled(" \n ")),
        (without_any_credentials, filled("a")),
        (without_any_credentials, filled("a://")),
        (_explained, filled("project ")),
        (_explained, filled("a\n")),
        (_explained, filled("token ")),
        (_explained, filled("remote: ")),
    ],
)
def test_what_builds_and_hosts_write_is_told_in_time(do: Callable[[str], str], text: str) -> None:
    """A search that begins at every character again would take hours."""
    assert len(do(text)) <= len(text)


@pytest.mark.usefixtures("cheap")
def test_a_url_of_a_submodule_is_short() -> None:
    """Each `../` of it would be taken off a copy of the rest."""
    with pytest.raises(InsidersError) as caught:
        submodules.absolute(filled("../"), "https://host.invalid/me/probe")
    assert caught.value.message.startswith("the URL of a submodule is too long: ")


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("tag", ["1." + 5000 * "9", 256 * "1", filled("v1-insiders"), filled("1.")])
def test_a_tag_that_is_longer_than_any_file_name_is_no_version(tag: str) -> None:
    """Python reads no number of so many digits, and patterns would be tried for long."""
    assert tags.version_of(tag) is None
    assert Pattern("*-{version}*").version_of(tag) is None
    assert not Pattern().matches(tag)
    assert tags.version_of(255 * "1") is not None


def test_tags_that_name_no_commit_have_failed(person: Person, watch: Watch) -> None:
    """They are not fetched anew at each update, and the tag is not taken for a damaged mirror."""
    project = watch("probe")
    project.release("1.0")
    blob = git(project.tree, "hash-object", "-w", "pyproject.toml")
    git(project.tree, "tag", "v9.0", blob)
    git(project.tree, "push", "--quiet", "origin", "--tags")
    done = person.run("-v", "update")
    line = "warning: me/probe: tag v9.0 skipped: it refers to a blob, not to a commit\n"
    assert line in done.stderr
    assert "made anew" not in done.stderr
    assert person.distributions() == names("probe-1.0")
    again = person.run("-v", "update")
    assert "v9.0" not in again.stderr
    assert " fetch " not in again.stderr
    asked = person.run("update", "me/probe", "--tag", "v9.0", status=1)
    assert "error: me/probe: it refers to a blob, not to a commit\n" in asked.stderr


@pytest.mark.parametrize("time_s", [2**32, 99999999999999, 9223372036854775000])
def test_a_commit_of_a_time_that_no_file_can_have_is_built_with_the_last(
    person: Person, watch: Watch, time_s: int
) -> None:
    """Told once, and not a reason to fail."""
    project = watch("probe")
    project.write("1.0")
    git(project.tree, "add", "--all")
    when = {f"GIT_{who}_DATE": f"@{time_s} +0000" for who in ("AUTHOR", "COMMITTER")}
    git(project.tree, "commit", "--quiet", "--message", "x", **when)
    git(project.tree, "tag", "v1.0")
    git(project.tree, "push", "--quiet", "origin", "HEAD", "--tags")
    done = person.run("update")
    assert re.search(rf"time {time_s} of commit \w+ is out of range for archives", done.stderr)
    assert person.distributions() == names("probe-1.0")


def test_only_the_first_of_many_odd_tags_are_remembered(person: Person, watch: Watch) -> None:
    """A state of megabytes would be read by each command."""
    project = watch("probe")
    commit = project.release("1.0")
    refs = [f"{commit} refs/tags/junk-{number:06}\n" for number in range(1000)]
    packed = ["# pack-refs with: peeled fully-peeled sorted \n", *refs]
    (project.remote / "packed-refs").write_text("".join(packed))
    assert "and 995 more" in person.run("update").stderr
    content = json.loads((person.paths.state / "repositories/me/probe.json").read_text())
    assert content["passed_over"] == [f"junk-{number:06}" for number in range(100)]
    assert person.run("update").stderr == ""


_MIB = 1024 * 1024


def free_bytes(directory: Path) -> int:
    """Tell what is free on a disk."""
    seen = os.statvfs(directory)
    return seen.f_bavail * seen.f_frsize


def reserve_all_but(person: Person, size_bytes: int) -> None:
    """Let builds write only so much."""
    person.paths.config.mkdir(parents=True, exist_ok=True)
    reserve = (free_bytes(person.home) - size_bytes) // _MIB
    person.paths.settings.write_text(f'[build]\ndisk-reserve = "{reserve}MiB"\n')


def bomb(project: Project, paths: int) -> None:
    """Release a commit with one large file at many paths, of which git keeps one."""
    project.write("1.0")
    (project.tree / "large").write_bytes(b"x" * 32 * _MIB)  # of zeros, git makes holes
    git(project.tree, "add", "--all")
    blob = git(project.tree, "hash-object", "-w", "large")
    places = (("--cacheinfo", f"100644,{blob},d/{number}") for number in range(paths))
    git(project.tree, "update-index", "--add", *chain.from_iterable(places))
    git(project.tree, "commit", "--quiet", "--message", "x")
    git(project.tree, "tag", "v1.0")
    git(project.tree, "push", "--quiet", "origin", "HEAD", "--tags")


def test_a_checkout_leaves_room_on_the_disk(person: Person, watch: Watch) -> None:
    """Git writes it, and few bytes can become very many."""
    project = watch("bomb")
    bomb(project, 100)
    reserve_all_but(person, 400 * _MIB)
    before = free_bytes(person.home)
    failed = person.run("update", status=1)
    assert re.search(
        r"^error: me/bomb: tag v1\.0: the build was killed after writing \d+ MiB: less than the "
        r"`disk-reserve` of ", failed.stderr, re.MULTILINE,
    )  # fmt: skip
    assert free_bytes(person.home) > before - 150 * _MIB
    assert list((person.paths.cache / "builds").iterdir()) == []


def test_a_mirror_leaves_room_on_the_disk(person: Person, watch: Watch) -> None:
    """Git fetches it; nothing of what it was ended at is kept, and no tag has failed."""
    project = watch("heavy")
    # To compress so much, and to push it, takes most of a minute, and tests nothing.
    for directory in (project.tree, project.remote):
        git(directory, "config", "core.compression", "0")
        git(directory, "config", "core.bigFileThreshold", "1m")
    borrowed = project.remote / "objects/info/alternates"
    borrowed.write_text(f"{project.tree / '.git/objects'}\n")
    project.write("1.0")
    with (project.tree / "large").open("wb") as file:
        file.truncate(400 * _MIB)
    project.push("v1.0")
    reserve_all_but(person, 150 * _MIB)
    failed = person.run("update", status=1)
    assert re.search(
        r"^error: me/heavy: (tag v1\.0: )?git fetch: stopped because the disk is almost full$",
        failed.stderr, re.MULTILINE,
    )  # fmt: skip
    path = person.paths.state / "repositories/me/heavy.json"
    assert not path.exists() or json.loads(path.read_text())["failures"] == {}
    packs = person.paths.mirror("me/heavy").parent.rglob("tmp_*")
    assert list(packs) == []


@pytest.mark.parametrize("left_mib", [8, 400])
def test_what_is_unpacked_leaves_room_on_the_disk(tmp_path: Path, left_mib: int) -> None:
    """What an sdist says of its size is compared with what is free; and so it is while it is read.

    Others may write, too: what was free then may be taken.
    """
    path = sdist(tmp_path, "probe", "1.0", content=bytes(64 * _MIB))
    (tmp_path / "unpacked").mkdir()
    guard = Guard(free_bytes(tmp_path) - left_mib * _MIB)
    with guard.guarding(tmp_path) as use:
        if left_mib == 400:
            use.used_bytes = 0  # it is the one to be ended
        with pytest.raises(DiskFullError) as caught:
            archives.unpack_sdist(path, tmp_path / "unpacked", 0)
        if left_mib == 400:
            use.used_bytes = None
            shutil.rmtree(tmp_path / "unpacked")
            (tmp_path / "unpacked").mkdir()
            archives.unpack_sdist(path, tmp_path / "unpacked", 0)
    told = caught.value.message
    if left_mib == 8:
        assert re.fullmatch(
            r"64 MiB required, \d+ [KM]iB available on disk|stopped because .*", told
        )
    else:
        assert told == disk_reserve.ALMOST_FULL


def test_what_is_read_to_be_written_stops_when_the_disk_is_full(tmp_path: Path) -> None:
    """Every 16 MiB it is looked."""
    guard = Guard(0)
    path = tmp_path / "large"
    path.write_bytes(bytes(40 * _MIB))
    with guard.guarding(tmp_path) as use, path.open("rb") as file:
        watched = disk_reserve.Watched(file)
        assert len(watched.read(17 * _MIB)) == 17 * _MIB
        use.used_bytes = 0
        with pytest.raises(DiskFullError):
            watched.read(17 * _MIB)
