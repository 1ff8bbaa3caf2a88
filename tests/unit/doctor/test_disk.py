"""disk: what doctor finds of the room where files are written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures import need

_CODE = """
import subprocess, sys
from pathlib import Path
from pypi_insiders.config.paths import Paths
from pypi_insiders.doctor import disk
config, data, state, cache = (Path(sys.argv[1], name) for name in ("config", "data", "s", "c"))
data.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", sys.argv[2], "tmpfs", data], check=True)
for it in disk.look(Paths(config, data, state, cache)):
    print(it.verdict, it.message)
"""


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("size=50m", r"problem (?:50|49) MiB free for distributions"),
        ("size=500m", r"warning (?:500|499) MiB free for distributions"),
        ("size=2g", r"ok 2\.0 GiB free for distributions"),
        ("size=2g,nr_inodes=100", r"problem only 9\d inodes free for distributions"),
    ],
)
def test_a_disk_that_is_nearly_full(tmp_path: Path, options: str, found: str) -> None:
    """Is told by what lies on it; the other disks are told of on their own."""
    own_mounts = (need("unshare"), "--user", "--map-root-user", "--mount")
    told = subprocess.run(
        [*own_mounts, sys.executable, "-c", _CODE, tmp_path, options],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert len(told) == 2
    assert re.fullmatch(found, told[0])
    assert re.fullmatch(r"\w+ [.\d]+ [MG]iB free for state and cache", told[1])
