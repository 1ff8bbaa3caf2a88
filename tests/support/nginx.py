"""A real nginx, for one test."""

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fixtures import need


@contextmanager
def running(prefix: Path, server: str) -> Iterator[None]:
    """Run nginx with a minimal configuration.

    Args:
        prefix: a directory for what it writes, made by this; another user must reach it.
        server: what its one server is told.
    """
    nginx = need("nginx")
    prefix.mkdir()
    temporary = "".join(
        f"  {kind}_temp_path {prefix}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (prefix / "minimal.conf").write_text(
        f"daemon off;\npid {prefix}/pid;\nerror_log stderr notice;\nevents {{}}\nhttp {{\n"
        f"  log_format short '$status $uri $sent_http_content_type';\n"
        f"  access_log {prefix}/access.log short;\n{temporary}  server {{\n{server}  }}\n}}\n"
    )
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    if user is not None:
        os.chown(prefix, user, -1)
    command: list[str | Path] = [nginx, "-e", "stderr", "-p", prefix, "-c", prefix / "minimal.conf"]
    groups = None if user is None else list[int]()
    tested = subprocess.run(
        [*command, "-t"], user=user, extra_groups=groups, capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stderr
    assert "[warn]" not in tested.stderr
    with subprocess.Popen(
        command, user=user, extra_groups=groups, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            said = ""
            while "start worker processes" not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            yield
        finally:
            process.terminate()
