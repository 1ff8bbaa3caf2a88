"""Put finished distributions into another package index that takes uploads.

The index is asked first, by file name and sha256; what is missing is uploaded; then the index is
asked again, for some take a file that they do not keep. What it has under a name never changes.

`uv publish` carries the files, one by one. What decided between it and twine, tried on devpi and
pypiserver:

* twine replaces a file of devpi without a word, as the protocol has it there, and a server that
  dies makes it end in the traceback of another library. It would be twenty more packages; uv is
  with us already, and as a process of its own it can be ended and keeps the password to itself.
* uv tries again when a connection breaks, and says in one line each what was the cause of what.
* `--check-url` is left out: uv takes an index that wants a password for reading as one that does
  not have the file, and uploads it. We have asked before, and ask again after every failure.

Source: https://docs.pypi.org/api/upload/, https://docs.astral.sh/uv/guides/package/
"""

from pypi_insiders.publishing.account import VARIABLE
from pypi_insiders.publishing.destination import Destination, destination
from pypi_insiders.publishing.failure import PublishError
from pypi_insiders.publishing.upload import publish

__all__ = ["VARIABLE", "Destination", "PublishError", "destination", "publish"]
