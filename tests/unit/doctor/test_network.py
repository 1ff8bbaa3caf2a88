"""doctor: the index for all other names, and the clock, as a real server tells the time."""

import email.utils
import http.server
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures import Person, free_port, need

from pypi_insiders.doctor import network
from pypi_insiders.doctor.network import TimedAnswer

Serve = Callable[..., str]
UNKNOWN = ("", ", synchronized", ", not synchronized")
SET = "certificates, timers and upload times depend on it: `timedatectl set-ntp true`"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start indexes; each answers every question alike."""
    servers = []

    def serve(status: int = 200, *, behind_s: float | None = 0, age_s: int | None = None) -> str:
        class Index(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_response_only(status if "Accept" in self.headers else 406)
                if behind_s is not None:
                    date = email.utils.formatdate(time.time() - behind_s, usegmt=True)
                    self.send_header("Date", date)
                if age_s is not None:
                    self.send_header("Age", str(age_s))
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Index)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/simple/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(
    person: Person, url: str, *, status: int = 0, **environment: str
) -> dict[str, list[str | None]]:
    """Run `doctor` with a fallback; tell what it says of it and of the clock."""
    person.paths.config.mkdir(parents=True, exist_ok=True)
    settings = f'[server]\nport = {free_port()}\nfallback-url = "{url}"\n'
    person.paths.settings.write_text(settings)
    done = person.run("doctor", "--json", status=status, **environment)
    return {
        item["check"]: [item["severity"], item["text"], item["hint"]]
        for item in json.loads(done.stdout)["findings"]
        if item["check"] in ("fallback", "clock")
    }


def test_a_fallback_that_answers(person: Person, serve: Serve) -> None:
    """The time that it took is told, and the clock compared with its own."""
    url = serve()
    found = ask(person, url)
    verdict, message, hint = found["fallback"]
    assert (verdict, hint) == ("ok", None)
    assert str(message).startswith(f"{url} answers (0.")
    verdict, message, hint = found["clock"]
    assert (verdict, hint) == ("ok", None)
    assert message in {f"the same as at {url}{kept}" for kept in UNKNOWN}


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_fallback_that_has_no_packages_is_a_warning(
    person: Person, serve: Serve, status: int
) -> None:
    """Every other name would be missing."""
    url = serve(status)
    assert ask(person, url)["fallback"] == [
        "warning",
        f"{url} answers {status} for the page of pip",
        "check `fallback-url` under [server]",
    ]


def test_a_fallback_that_only_knows_get_is_well(person: Person, serve: Serve) -> None:
    """405 is no word on what a client would get."""
    assert ask(person, serve(405))["fallback"][0] == "ok"


def test_a_fallback_out_of_reach_is_a_warning(person: Person) -> None:
    """What the index holds can be had all the same; the clock is not judged."""
    url = f"http://127.0.0.1:{free_port()}/simple/"
    found = ask(person, url)
    assert found["fallback"] == [
        "warning",
        f"no answer at {url} (Connection refused): only projects of this index can be installed",
        "start it, or set another `fallback-url` under [server]",
    ]
    assert found["clock"][0] == "ok"
    assert found["clock"][1] in {f"not compared{kept}" for kept in UNKNOWN}


def test_no_fallback_is_well_and_nobody_is_asked(person: Person) -> None:
    """As the settings say; the clock is not compared."""
    found = ask(person, "")
    assert found["fallback"] == [
        "ok", "none, as `fallback-url` is empty: only projects of this index are found", None
    ]  # fmt: skip
    assert found["clock"][1] in {f"not compared{kept}" for kept in UNKNOWN}


def test_a_slow_fallback_is_a_warning() -> None:
    """From three seconds on."""
    url = "https://packages.example/simple/"
    slow, fast = (next(iter(network.look(url, TimedAnswer(took_s, 200)))) for took_s in (3.2, 2.9))
    assert (slow.verdict, slow.message, slow.hint) == (
        "warning",
        f"{url} answers (3.2 s)",
        "installers are slow for all other projects",
    )
    assert fast.verdict == "ok"


@pytest.mark.parametrize(
    ("behind_s", "verdict", "told"),
    [
        (200, "ok", None),
        (-200, "ok", None),
        (605, "warning", "10 min ahead of"),
        (-605, "warning", "10 min behind"),
        (2 * 86400 + 60, "problem", "2 d ahead of"),
    ],
)
def test_a_clock_that_is_wrong(
    person: Person, serve: Serve, behind_s: float, verdict: str, told: str | None
) -> None:
    """By minutes it is a warning, by days a problem."""
    url = serve(behind_s=behind_s)
    found = ask(person, url, status=int(verdict == "problem"))["clock"]
    words = f"{told} that of {url}" if told else f"the same as at {url}"
    assert found[0] == verdict
    assert found[1] in {words + kept for kept in UNKNOWN}
    assert found[2] == (SET if told else None)


def test_what_a_cache_has_kept_is_no_wrong_clock(person: Person, serve: Serve) -> None:
    """Its age is told beside its date."""
    assert ask(person, serve(behind_s=7200, age_s=7200))["clock"][0] == "ok"


def test_who_tells_no_time_is_not_compared_with(person: Person, serve: Serve) -> None:
    """Not every server sends a date."""
    assert ask(person, serve(behind_s=None))["clock"][1] in {
        f"not compared{kept}" for kept in UNKNOWN
    }


# `req -x509` makes no certificate of another time. Source: openssl-ca(1).
AUTHORITY = """\
[ca]
default_ca = own
[own]
database = database
serial = serial
new_certs_dir = .
default_md = sha256
policy = policy
x509_extensions = extensions
[policy]
commonName = supplied
[extensions]
basicConstraints = critical, CA:TRUE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
subjectAltName = DNS:localhost
"""


def test_a_certificate_that_has_expired_makes_the_clock_doubtful(
    person: Person, tmp_path: Path
) -> None:
    """A clock that is years ahead looks like that."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    for name, text in {"authority.conf": AUTHORITY, "database": "", "serial": "01\n"}.items():
        (tmp_path / name).write_text(text)
    for command in (
        ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=localhost", "-keyout", key, "-out", "request.pem"),
        ("ca", "-batch", "-selfsign", "-notext", "-config", "authority.conf", "-keyfile", key,
         "-startdate", "20010203000000Z", "-enddate", "20010205000000Z",
         "-in", "request.pem", "-out", certificate),
    ):  # fmt: skip
        subprocess.run([need("openssl"), *command], cwd=tmp_path, check=True, capture_output=True)
    port = free_port()
    with serving(port, key, certificate):
        url = f"https://localhost:{port}/simple/"
        assert ask(person, url, SSL_CERT_FILE=str(certificate))["fallback"] == [
            "warning",
            f"the certificate of {url} is not valid at this time (certificate has expired)",
            "check the clock: `timedatectl`",
        ]


@contextmanager
def serving(port: int, key: Path, certificate: Path) -> Iterator[None]:
    """TimedAnswer with TLS."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http.server.HTTPServer(("127.0.0.1", port), http.server.BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()
