import subprocess
import sys

import pytest

from pypi_insiders.util.threads import begin


def test_what_a_thread_raises_is_raised_where_its_result_is_wanted() -> None:
    assert begin(lambda: 5).result() == 5
    with pytest.raises(ZeroDivisionError):
        begin(lambda: 1 // 0).result()


def test_a_thread_that_waits_does_not_keep_the_process_from_ending() -> None:
    program = (
        "import threading; from pypi_insiders.util.threads import begin; "
        "begin(threading.Event().wait)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
