"""What foreign input may cost us: lines, members of archives, and what turns text around."""

import errno
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import Person, Watch
from wheels import metadata

from pypi_insiders.builder.errors import BuildError
from pypi_insiders.index import archives, distribution
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.reporting import notification
from pypi_insiders.reporting.notification import Message
from pypi_insiders.update.release import is_lasting
from pypi_insiders.util.errors import InsidersError

_LINE_CHARS = 2500


def sdist_of(path: Path, members: Iterable[str]) -> Path:
    """Write an sdist with empty members beside its metadata."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        content = metadata("probe", "1.0").encode()
        head = tarfile.TarInfo("probe-1.0/PKG-INFO")
        head.size = len(content)
        archive.addfile(head, io.BytesIO(content))
        for name in members:
            archive.addfile(tarfile.TarInfo(f"probe-1.0/{name}"))
    return path


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/x", "..\\x", "a\\..\\..\\x", "\\x", "C:\\x", "C:x", ""]
)
def test_no_member_leads_outside_on_any_system(name: str) -> None:
    """Installers on Windows split names at backslashes too, and know drives."""
    assert not archives.is_inside(name)
    assert archives.is_inside("a/b..c/x")


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ([str(number) for number in range(20_000)], "has more than 20000 members"),
        (["d/" * 101 + "file"], "has directories more than 100 deep"),
    ],
)
def test_an_archive_has_no_more_than_can_be_handled(
    tmp_path: Path, members: list[str], complaint: str
) -> None:
    """Each member is unpacked, checked and packed again."""
    sdist = sdist_of(tmp_path / "probe-1.0.tar.gz", members)
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(DistributionError) as caught:
        archives.unpack_sdist(sdist, tmp_path / "unpacked", 0)
    assert caught.value.message == f"probe-1.0.tar.gz {complaint}"
    assert list((tmp_path / "unpacked").iterdir()) == []
    wheel = tmp_path / "probe-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("probe/first", *members):
            archive.writestr(name, "")
    with pytest.raises(DistributionError) as caught:
        archives.check(wheel)
    assert caught.value.message == f"{wheel.name} {complaint}"


def test_an_archive_is_not_read_for_ever(tmp_path: Path) -> None:
    """Reading ends at some number of members, whoever has put the file there."""
    sdist = sdist_of(tmp_path / "probe-1.0.tar.gz", map(str, range(100_000)))
    with pytest.raises(DistributionError) as caught:
        distribution.read(sdist)
    assert caught.value.message.endswith("it has more than 100000 members")


def test_a_line_of_megabytes_is_no_message(person: Person, watch: Watch) -> None:
    """Not in what is remembered, and in what `status` says; its ends are there."""
    project = watch("probe")
    project.write("1.0")
    project.hook("import sys\nsys.exit('begin' + 'x' * 3_000_000 + 'end')")
    project.push("v1.0")
    failed = person.run("update", status=1)
    assert 0 < len(failed.stderr.splitlines()[-1]) < _LINE_CHARS
    path = person.paths.state / "repositories/me/probe.json"
    message = json.loads(path.read_text())["failures"]["v1.0"]["message"]
    assert len(message) < _LINE_CHARS
    assert "begin" in message
    assert message.endswith("end")
    told = json.loads(person.run("status", "--json", status=1).stdout)["problems"]
    assert told
    assert max(len(item["text"]) for item in told) < _LINE_CHARS


def test_what_turns_text_around_is_not_printed(person: Person, watch: Watch) -> None:
    """As other control characters, in tags and in what a build writes, wherever they are told."""
    project = watch("probe")
    project.write("1.0")
    project.hook("import sys\nsys.exit('be\\u202egin')")
    project.push("v1.0")
    project.push("odd\u202etag\u2066")
    failed = person.run("update", status=1)
    assert "be?gin" in failed.stderr
    assert "odd?tag?" in failed.stderr
    shown = person.run("show", "me/probe")
    assert "be?gin" in shown.stdout
    assert "odd?tag?" in shown.stdout
    status = person.run("status", status=1)
    done = (failed, shown, status, person.run("repos", "list"))
    texts = [text for item in done for text in (item.stdout, item.stderr)]
    assert not {"\u202e", "\u2066"} & set("".join(texts))


def test_what_a_service_tells_of_itself_is_printable(tmp_path: Path) -> None:
    """`systemctl status` shows it as it comes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        code = (
            "from pypi_insiders.systemd.sd_notify import Notifier\n"
            "Notifier().notify('STATUS=building me/probe v1\\u202e\\nMAINPID=1', 'READY=1')"
        )
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        assert manager.recv(999) == b"STATUS=building me/probe v1? MAINPID=1\nREADY=1"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("x\nproblem  me: run this\n  hint: `sh`", "x problem  me: run this hint: `sh`"),
        ("a\r\nb\rc\n", "a b c"),
        ("half \ud800 a character, \udcff a byte", "half ? a character, ? a byte"),
        ("a\x0bb\x0cc\x85d\u2028e\x1b[31m", "a?b?c?d?e"),
    ],
)
def test_an_error_is_one_line_that_can_be_written(message: str, told: str) -> None:
    """Whatever name of a file or answer of a hook has become part of it; its hint as well."""
    error = InsidersError(message, message)
    assert (error.message, error.hint, str(error)) == (told, told, told)
    assert told.encode().decode().splitlines() == [told]


def test_a_notification_is_printable(tmp_path: Path) -> None:
    """Its command gets it so, in its arguments and its input."""
    script = 'printf %s "$1" >subject; cat >text'
    command = ("sh", "-c", f"cd {tmp_path}; {script}", "sh", "{subject}")
    notification.send(Message("me/probe\u202e\nx", "tag v1\u2066: \x1b[31mred\n"), command)
    assert (tmp_path / "subject").read_text() == "me/probe? x"
    assert (tmp_path / "text").read_text() == "tag v1?: red\n"


# Runs `pypi-insiders`. When the log has some words, it takes all descriptors but a few, and when it
# has an error, it gives them back.
_HOARDER = """
import logging, os, resource, runpy, sys
words, left = sys.argv.pop(1), int(sys.argv.pop(1))
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
taken = []

def hoard(record):
    try:
        while words in record.getMessage():
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        for _ in range(left):
            os.close(taken.pop())
    while taken and record.levelno >= logging.ERROR:
        os.close(taken.pop())
    return True

for room in ("update.release", "util.process_group", "update.run"):
    logging.getLogger(f"pypi_insiders.{room}").addFilter(hoard)
sys.argv[0] = "pypi-insiders"
runpy.run_module("pypi_insiders", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("building tag", 2),
        ("hook.py get_requires_for_build_sdist", 0),
        ("hook.py build_wheel", 0),
        ("hook.py build_wheel", 2),
    ],
)
def test_a_want_of_descriptors_is_no_failure_of_a_tag(
    person: Person, watch: Watch, words: str, left: int
) -> None:
    """Like a full disk: it is told, and the next update tries again at once."""
    watch("probe").release("1.0")
    done = subprocess.run(
        [sys.executable, "-c", _HOARDER, words, str(left), "-v", "update"],
        env=person.environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith(("error: ", "hint: "))]
    assert errors[0].startswith("error: me/probe: tag v1.0: ")
    assert errors[0].endswith("Too many open files")
    assert errors[1:] == ["hint: close programs, or raise the limit: `ulimit -n`"]
    path = person.paths.state / "repositories/me/probe.json"
    assert not path.exists() or json.loads(path.read_text())["failures"] == {}
    assert "2 files published" in person.run("update").stdout


@pytest.mark.parametrize(
    ("why", "lasts"),
    [
        (OSError(errno.EMFILE, "x"), False),
        (OSError(errno.ENFILE, "x"), False),
        (OSError(errno.ENOMEM, "x"), False),
        (MemoryError(), False),
        (OSError(errno.EACCES, "x"), True),
        (ValueError("x"), True),
    ],
)
def test_what_this_process_lacks_is_found_in_any_error(why: Exception, lasts: bool) -> None:
    """Whatever it was taken for on its way."""

    def fail(hidden: bool) -> None:
        try:
            raise why
        except Exception as error:
            if hidden:
                raise BuildError("it does not build") from None
            raise DistributionError("it is damaged") from error

    with pytest.raises(DistributionError) as caught:
        fail(hidden=False)
    told = BuildError("it does not build")
    told.__cause__ = caught.value
    assert is_lasting(told) is lasts
    with pytest.raises(BuildError) as hidden:
        fail(hidden=True)
    assert is_lasting(hidden.value) is lasts
