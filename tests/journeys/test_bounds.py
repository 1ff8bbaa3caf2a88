"""What foreign input may cost us: lines, members of archives, and what turns text around."""

import json
import subprocess
import sys

import pytest
from fixtures import Person, Watch

_LINE_CHARS = 2500


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


# Runs `pypi-insiders`. When the log has some words, it takes all descriptors but a few, and when it
# has an error, it gives them back.
_HOARDER = """
import logging, os, resource, runpy, sys
words, left = sys.argv.pop(1), int(sys.argv.pop(1))
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
taken = []

make = logging.getLogRecordFactory()

def hoard(*args, **options):
    record = make(*args, **options)
    try:
        while words in record.getMessage():
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        for _ in range(left):
            os.close(taken.pop())
    while taken and record.levelno >= logging.ERROR:
        os.close(taken.pop())
    return record

logging.setLogRecordFactory(hoard)
sys.argv[0] = "pypi-insiders"
runpy.run_module("pypi_insiders", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("building tag", 2),
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
    assert "published 2 files" in person.run("update").stdout
