"""Media types of the simple repository API.

Source: https://packaging.python.org/en/latest/specifications/simple-repository-api/
"""

SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
SIMPLE_HTML = "application/vnd.pypi.simple.v1+html"
