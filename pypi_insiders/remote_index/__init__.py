"""Upload distributions to another package index, and read the simple API of indexes.

An upload compares file names and sha256 with the index first, uploads the missing files, and reads
the index again, as some indexes accept a file and do not keep it. A file of an index never changes.

`uv publish` uploads the files, one by one. Why, tested with devpi and pypiserver:

* Without a check before, both uv and twine replace a file of a volatile devpi index, and report
  success.
* `uv publish --check-url` treats an index that requires a password for reading as one without the
  file, and uploads it. So the check is made here, and repeated after every failure.
* twine ends with a traceback of urllib3 if the server is down or dies; uv retries, and prints the
  cause on a line of its own.
* twine has more than twenty dependencies. uv is installed already, and runs as a process, which can
  be killed, and gets the password in its environment only.

Source: https://docs.pypi.org/api/upload/, https://docs.astral.sh/uv/guides/package/
"""

from pypi_insiders.remote_index.credentials import VARIABLE, take_password
from pypi_insiders.remote_index.destination import Destination, destination
from pypi_insiders.remote_index.errors import PublishError
from pypi_insiders.remote_index.upload import publish

__all__ = ["VARIABLE", "Destination", "PublishError", "destination", "publish", "take_password"]
