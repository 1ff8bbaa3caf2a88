"""Put finished distributions into another package index that takes uploads.

The index is asked first, by file name and sha256; what is missing is uploaded; then the index is
asked again, for some take a file that they do not keep. What it has under a name never changes.

`uv publish` carries the files, one by one. What decided, tried on devpi and pypiserver:

* Without a question before, both uv and twine replace a file of a volatile index of devpi, and
  say that all is well.
* `uv publish --check-url` takes an index that wants a password for reading as one that does not
  have the file, and uploads it. So we ask ourselves, and again after every failure.
* A server that is down or dies makes twine end in a traceback of urllib3; uv tries again, and
  names the cause in a line of its own.
* twine would bring more than twenty packages. uv is with us already, and as a process of its own
  it can be ended, and has the password in its environment alone.

Source: https://docs.pypi.org/api/upload/, https://docs.astral.sh/uv/guides/package/
"""

from pypi_insiders.remote_index.credentials import VARIABLE, take_password
from pypi_insiders.remote_index.destination import Destination, destination
from pypi_insiders.remote_index.errors import PublishError
from pypi_insiders.remote_index.upload import publish

__all__ = ["VARIABLE", "Destination", "PublishError", "destination", "publish", "take_password"]
