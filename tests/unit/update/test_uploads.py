"""uploads: an index that does not answer."""

from pathlib import Path

import pytest
from fixtures import free_port
from wheels import wheel

from pypi_insiders import remote_index
from pypi_insiders.config.settings import PublishSettings
from pypi_insiders.remote_index import PublishError
from pypi_insiders.update import uploads
from pypi_insiders.util.silent_hosts import SilentHosts


def test_an_index_that_does_not_answer_is_not_asked_for_each_release(tmp_path: Path) -> None:
    """Each would wait for its timeout; the next update uploads what is left."""
    url = f"http://127.0.0.1:{free_port()}/"
    destination = remote_index.destination(PublishSettings(), url, "me", "password")
    assert destination is not None
    hosts, file = SilentHosts(1), wheel(tmp_path, "probe", "1.0")
    for words in ("index unreachable", "was not asked, as it has not answered for 1 other"):
        with pytest.raises(PublishError, match=words) as caught:
            uploads.upload_files(destination, hosts, [file])
        assert caught.value.is_unreachable
