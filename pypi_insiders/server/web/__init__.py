"""The index over HTTP, as a WSGI application around pypiserver."""
