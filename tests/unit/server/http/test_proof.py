"""server: a waitress that is not the one it was written for is found out before anybody is served.

Its limits are put into waitress's internals; with one renamed member all of them were off, without
a word.
"""

import ast
import inspect
import re
import shutil
import subprocess
import sys
import textwrap
from importlib.metadata import version
from pathlib import Path

import pytest
import waitress
from fixtures import ROOT

from pypi_insiders.server.http.proof import MEMBERS

_PROGRAM = """
from pypi_insiders.server import http
from pypi_insiders.systemd import sockets
from pypi_insiders.util.errors import InsidersError

try:
    listening = sockets.bind_host("127.0.0.1", 0)
    http.serve(None, listening, lambda: print("ready") or 1 / 0, status=lambda: "")
except InsidersError as error:
    print(error.message)
    print(error.hint)
"""


def serve(tmp_path: Path, change: tuple[str, str]) -> list[str]:
    """Start a server with a waitress in which some text is another; return what it says."""
    copy = tmp_path / "waitress"
    shutil.copytree(Path(waitress.__file__).parent, copy)
    changed = 0
    for path in copy.glob("*.py"):
        text, times = re.subn(*change, path.read_text())
        path.write_text(text)
        changed += times
    assert changed
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{_PROGRAM}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ((r"\bchannel_class\b", "connection_class"), "BaseWSGIServer has no channel_class"),
        ((r"\boutbuf_lock\b", "lock"), "HTTPChannel has no outbuf_lock"),
        ((r"self\.channel_class\(", "HTTPChannel("), "connections are not its own"),
        ((r"if request\.error:", "if False:"), "no request is refused"),
        ((r"self\.parser_class\(", "HTTPRequestParser("), "no attribute 'begun_s'"),
    ],
    ids=["renamed", "of instances", "other connections", "other refusals", "other requests"],
)
def test_a_waitress_that_has_changed_does_not_serve(
    tmp_path: Path, change: tuple[str, str], complaint: str
) -> None:
    message, hint = serve(tmp_path, change)
    start = f"limits of clients have no effect with waitress {version('waitress')}: "
    assert message.startswith(start)
    assert message.endswith(complaint)
    assert hint == "reinstall pypi-insiders with the required version of waitress"


def test_the_waitress_that_is_required_serves(tmp_path: Path) -> None:
    assert serve(tmp_path, ("waitress", "waitress")) == ["ready"]


def defined(kind: type) -> set[str]:
    """Name what a class of waitress has, and what its methods give its instances."""
    names = set()
    for base in kind.__mro__[:-1]:
        names |= set(vars(base))
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(base)))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
    return names


def used(path: Path) -> set[str]:
    """Name the attributes that a module uses, and the members of its classes."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.FunctionDef):
                    names.add(item.name)
                elif isinstance(item, ast.Assign):
                    names |= {it.id for it in ast.walk(item) if isinstance(it, ast.Name)}
    return names


def test_each_member_that_is_used_is_looked_for() -> None:
    """Who uses one more of waitress's internals adds it to those that start-up looks for."""
    theirs = {name for kind in MEMBERS for name in defined(kind) if not name.startswith("__")}
    modules = (ROOT / "pypi_insiders/server/http").glob("*.py")
    ours = {name for path in modules for name in used(path)}
    named = {name for names in MEMBERS.values() for name in names.split()}
    of_others = {"bind", "close", "debug", "environ", "getsockname", "recv"}  # sockets and modules
    assert theirs & ours - of_others == named - of_others
