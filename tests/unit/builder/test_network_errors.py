"""network_errors: what programs print without a network, each as one of them printed it."""

import pytest

from pypi_insiders.builder.network_errors import has_network_error


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: Retrying (Retry(total=4, connect=None)) after connection broken by 'NewConnection"
        "Error('<pip._vendor.urllib3.connection.HTTPSConnection>: Failed to establish a new "
        "connection: [Errno -3] Temporary failure in name resolution')': /simple/six/",
        "ERROR: Could not find a version that satisfies the requirement six (from versions: none)",
        "  cause: failed to lookup address information: Temporary failure in name resolution",
        "  cause: dns error",
        "error: failed to lookup address information: Name does not resolve",
        "HttpRequestException: Name or service not known (api.nuget.org:443)",
        "Error: connect EAFNOSUPPORT 1.1.1.1:443 - Local (undefined:undefined)",
        "npm error code EAI_AGAIN",
        "npm error network request to https://registry.npmjs.org/is-odd failed, reason: "
        "getaddrinfo ENOTFOUND registry.npmjs.org",
        "Error: connect ENETUNREACH 1.1.1.1:443 - Local (0.0.0.0:0)",
        "  [6] Could not resolve hostname (Could not resolve host: index.crates.io)",
        "  [6] Couldn't resolve host name (Could not resolve host: static.crates.io)",
        "  failed to resolve address for github.com: Temporary failure in name resolution; "
        "class=Net (12)",
        "fatal: unable to access 'https://github.com/a/b/': Could not resolve host: github.com",
        "ssh: Could not resolve hostname github.com: Name or service not known",
        "fatal: unable to look up github.com (port 9418) (Temporary failure in name resolution)",
        "curl: (6) Could not resolve host: pypi.org",
        "curl: (5) Could not resolve proxy: proxy.example",
        "curl: (7) Failed to connect to 1.1.1.1 port 443 after 0 ms: Couldn't connect to server",
        "wget: unable to resolve host address 'pypi.org'",
        "wget: bad address 'pypi.org'",
        "urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>",
        "socket.gaierror: [Errno -5] No address associated with hostname",
        "OSError: [Errno 97] Address family not supported by protocol",
        "OSError: [Errno 101] Network is unreachable",
        "go: x: dial tcp: lookup proxy.golang.org on [::1]:53: read: connection refused",
        "java.net.UnknownHostException: repo.maven.apache.org",
        '  6;"Couldn\'t resolve host name"',
    ],
)  # fmt: skip
def test_a_program_without_a_network(line: str) -> None:
    assert has_network_error(f"Preparing\n{line}\nThe end")


@pytest.mark.parametrize(
    "line",
    [
        "FileNotFoundError: [Errno 2] No such file or directory: 'network'",
        "ERROR: Could not find a version that satisfies the requirement six==9 (from versions: 1)",
        "could not resolve the host type of x86_64",
        "npm error code ERESOLVE",
    ],
)
def test_a_program_that_fails_otherwise(line: str) -> None:
    assert not has_network_error(line)
