"""web.hooks: who may request an update, and of what."""

import base64
import hmac
import io
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from pypi_insiders.config import hook_secret
from pypi_insiders.config.passwords import Single
from pypi_insiders.config.paths import Paths
from pypi_insiders.server.web import hook_signatures
from pypi_insiders.server.web.application import make_app
from pypi_insiders.server.web.guard import RequestGuard
from pypi_insiders.server.web.hooks import MAX_BYTES, HookReceiver
from pypi_insiders.server.web.request import Request
from pypi_insiders.server.web.responses import Response, text
from pypi_insiders.util.errors import InsidersError

SECRET = "It's-a-Secret-to-Everybody"
REPOSITORIES = '["me/my-probe"]\n\n["group/sub/deep"]\nurl = "https://git.example/group/sub/deep"\n'
# Of the documentation of GitHub, "Testing the webhook payload validation".
GITHUB = (
    "It's a Secret to Everybody",
    b"Hello, World!",
    "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
)
# Of the Standard Webhooks specification.
STANDARD = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
STANDARD_SECRET, STANDARD_BODY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'


def is_right(headers: dict[str, str], body: bytes, *secrets: str, now_s: float = 0) -> bool:
    return hook_signatures.is_right(headers.get, body, secrets, now_s)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("X-Hub-Signature-256", "sha256="),
        ("X-Gitea-Signature", ""),
        ("X-Forgejo-Signature", ""),
    ],
)
def test_a_signature_of_the_body(name: str, prefix: str) -> None:
    """Of the secret, or of one of several; of nothing else."""
    secret, body, digest = GITHUB
    right = f"{prefix}{digest}"
    assert is_right({name: right}, body, secret)
    assert is_right({name: right}, body, "another", secret)
    assert not is_right({name: right}, body + b" ", secret)
    assert not is_right({name: right}, body, "another")
    assert not is_right({name: right}, body)
    other = digest if prefix else f"sha256={digest}"
    for wrong in ("", prefix, digest[:-1], right[:-1], f"{right}0", other, f"{right[:-1]}\xe9"):
        assert not is_right({name: wrong}, body, secret), wrong
    assert not is_right({"X-Hub-Signature": right}, body, secret)


def test_the_secret_token_of_gitlab_is_the_secret() -> None:
    assert is_right({"X-Gitlab-Token": SECRET}, b"", "another", SECRET)
    for wrong in ("", SECRET[:-1], f"{SECRET} ", SECRET.lower(), "\xff"):
        assert not is_right({"X-Gitlab-Token": wrong}, b"", SECRET), wrong


def test_the_signing_token_of_gitlab_is_valid_for_five_minutes() -> None:
    """Each part of the message is signed."""

    def check(secret: str = STANDARD_SECRET, after_s: int = 0, **changes: str) -> bool:
        headers = STANDARD | {f"webhook-{name}": value for name, value in changes.items()}
        return is_right(headers, STANDARD_BODY, secret, now_s=1614265330 + after_s)

    right = STANDARD["webhook-signature"]
    assert check()
    assert check(after_s=300)
    assert check(after_s=-300)
    assert check(signature=f"v1,AAAA v2,x {right}")
    assert not check(after_s=301)
    assert not check(after_s=-301)
    assert not check("whsec_AAAA")
    assert not check("whsec_")
    assert not check("whsec_not base64")
    assert not check(STANDARD_SECRET.removeprefix("whsec_"))
    assert not check(id="msg_other")
    assert not check(timestamp="1614265331")
    for stamp in ("", "-1", "1e9", "9" * 5000, "\xb2"):
        assert not check(timestamp=stamp), stamp
    for signature in ("", "v1,", right.removeprefix("v1,"), f"v1a{right[2:]}"):
        assert not check(signature=signature), signature
    assert not is_right(STANDARD, STANDARD_BODY + b" ", STANDARD_SECRET, now_s=1614265330)


@pytest.fixture
def paths(paths: Paths) -> Paths:
    paths.config.mkdir()
    paths.repositories.write_text(REPOSITORIES)
    paths.hook_secret.write_text(f"# old and new\n{SECRET}\nanother-secret-of-mine\n")
    paths.hook_secret.chmod(0o600)
    return paths


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    (tmp_path / "runtime").mkdir()
    return tmp_path / "runtime"


def requested(runtime: Path) -> list[str]:
    return sorted(path.name for path in runtime.glob("hooks/*"))


def post(
    hooks: HookReceiver,
    path: str = "/hooks/me/my-probe",
    event: str | None = "push",
    *,
    secret: str = SECRET,
    body: bytes = b"{}",
    **headers: str,
) -> Response:
    signature = hmac.digest(secret.encode(), body, "sha256").hex()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "HTTP_X_HUB_SIGNATURE_256": f"sha256={signature}",
        **headers,
    }
    if event is not None:
        environ["HTTP_X_GITHUB_EVENT"] = event
    return hooks.take(Request(environ))


@pytest.mark.parametrize(
    "path",
    ["/hooks/me/my-probe", "/hooks/ME/My-Probe/", "/hooks/me%2Fmy-probe", "/hooks/me/my-probe.git"],
)
@pytest.mark.parametrize("event", ["push", "create", "release", None])
def test_a_push_creates_the_file_of_its_instance(
    paths: Paths, runtime: Path, path: str, event: str | None
) -> None:
    """Once, however often it is sent."""
    for _ in range(2):
        answer = post(HookReceiver(paths, runtime), path, event)
        assert (answer.status, answer.body) == (
            "202 Accepted",
            b"an update of me/my-probe is requested\n",
        )
    assert requested(runtime) == [r"me-my\x2dprobe"]
    assert (runtime / "hooks").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("event", ["Push Hook", "Tag Push Hook", "Release Hook"])
def test_events_of_gitlab(paths: Paths, runtime: Path, event: str) -> None:
    answer = post(
        HookReceiver(paths, runtime), "/hooks/group/sub/deep", None, secret="x" * 20,
        HTTP_X_GITLAB_TOKEN="another-secret-of-mine", HTTP_X_GITLAB_EVENT=event,
    )  # fmt: skip
    assert (answer.status, requested(runtime)) == ("202 Accepted", ["group-sub-deep"])


@pytest.mark.parametrize(
    ("event", "status"), [("ping", "204 No Content"), ("issues", "202 Accepted")]
)
def test_other_events_request_nothing(paths: Paths, runtime: Path, event: str, status: str) -> None:
    assert post(HookReceiver(paths, runtime), event=event).status == status
    unknown = post(HookReceiver(paths, runtime), "/hooks/me/unknown", event)
    assert unknown.status == "404 Not Found"
    assert requested(runtime) == []


@pytest.mark.parametrize("path", ["/hooks/me/my-probe", "/hooks/me/unknown", "/hooks/", "/hooks/%"])
def test_without_a_signature_nobody_learns_what_is_watched(
    paths: Paths, runtime: Path, path: str
) -> None:
    for event in ("push", "ping", "issues", None):
        answer = post(HookReceiver(paths, runtime), path, event, secret="not the secret")
        assert (answer.status, answer.body) == (
            "403 Forbidden",
            b"the signature is missing or wrong\n",
        )
    assert requested(runtime) == []


@pytest.mark.parametrize(
    ("host", "method", "status"),
    [
        ("packages.example", "POST", "202"),
        ("127.0.0.1:31411", "POST", "202"),
        ("elsewhere.example", "POST", "421"),
        ("packages.example", "PUT", "401"),
        ("packages.example", "GET", "401"),
    ],
)
def test_a_hook_needs_the_name_of_the_index_and_no_password(
    host: str, method: str, status: str
) -> None:
    """Everything else does."""
    nothing: Any = None
    guard = RequestGuard(["packages.example"], ["127.0.0.1"], users=Single("secret"))
    app = make_app(nothing, guard, nothing, take_hook=lambda _: text("202 Accepted", ""))
    answers: list[str] = []

    def start(status: str, *_: Any) -> Any:
        answers.append(status)

    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": "/hooks/me/probe",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": host,
    }
    list(app(environ, start))
    assert answers[0][:3] == status


@pytest.mark.parametrize("key", ["hooks", "uploads"])
def test_what_is_off_is_told_to_the_owner_alone(key: str, caplog: pytest.LogCaptureFixture) -> None:
    """With the setting to change, once; a stranger gets the answer of any other path."""
    nothing: Any = None
    app = make_app(nothing, RequestGuard(["packages.example"], ["127.0.0.1"]), nothing)

    def answer_to(path: str, host: str = "packages.example") -> tuple[str, bytes]:
        answers: list[str] = []

        def start(status: str, *_: Any) -> Any:
            answers.append(status)

        environ = {
            "REQUEST_METHOD": "POST", "PATH_INFO": path, "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": host,
        }  # fmt: skip
        body = b"".join(app(environ, start))
        return answers[0], body

    path = {"hooks": "/hooks/me/probe", "uploads": "/"}[key]
    answer_to(path, "elsewhere.example")
    assert caplog.messages == []
    answers = {answer_to(path), answer_to(path), answer_to("/other")}
    assert answers == {("405 Method Not Allowed", b"this index is read-only\n")}
    assert caplog.messages == [
        f"{key} are off: set `{key} = true` under [server], and `pypi-insiders server restart`"
    ]


def test_refusals_are_logged_once_a_minute(
    paths: Paths, runtime: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = HookReceiver(paths, runtime)
    for _ in range(3):
        post(hooks, secret="not the secret")
    assert caplog.record_tuples == [
        (
            "pypi_insiders.server.web.hooks",
            logging.WARNING,
            "a hook was refused: its signature is missing or wrong",
        )
    ]


@pytest.mark.parametrize("path", ["/hooks/me/unknown", "/hooks/", "/hooks/../me/my-probe"])
def test_a_name_that_is_not_watched(
    paths: Paths, runtime: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, once a minute, whatever strangers send: the address in a form is wrong."""
    hooks = HookReceiver(paths, runtime)
    post(hooks, secret="not the secret")
    for _ in range(2):
        answer = post(hooks, path)
        assert (answer.status, requested(runtime)) == ("404 Not Found", [])
    name = path.removeprefix("/hooks/")
    assert caplog.messages[1:] == [f"a hook was refused: {name!r} is not watched"]
    post(HookReceiver(paths, runtime), "/hooks/" + "x\n" * 9999)
    assert len(caplog.messages[-1]) < 500
    assert "\n" not in caplog.messages[-1]


def test_a_large_body_is_not_read(paths: Paths, runtime: Path) -> None:
    class Unread(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise AssertionError(size)

    environ = {"wsgi.input": Unread(), "CONTENT_LENGTH": str(MAX_BYTES + 1)}
    assert post(HookReceiver(paths, runtime), **environ).status == "413 Content Too Large"  # type: ignore[arg-type]
    assert post(HookReceiver(paths, runtime), body=bytes(MAX_BYTES)).status == "202 Accepted"


@pytest.mark.parametrize(
    ("secret", "mode", "why"),
    [
        ("", 0o600, "`hooks` is set, but {} has no secret"),
        ("# none\n\n", 0o600, "`hooks` is set, but {} has no secret"),
        (f"{SECRET}\nshort\n", 0o600, "secret 2 in {} is not 16 or more printable characters"),
        (f"{SECRET} and more\n", 0o600, "secret 1 in {} is not 16 or more printable characters"),
        (SECRET, 0o640, "{} is accessible by other users (mode 0640)"),
    ],
)
def test_without_a_safe_secret_no_hook_is_taken(
    paths: Paths, runtime: Path, secret: str, mode: int, why: str
) -> None:
    paths.hook_secret.write_text(secret)
    paths.hook_secret.chmod(mode)
    with pytest.raises(InsidersError) as caught:
        hook_secret.load(paths.hook_secret)
    assert caught.value.message == why.format(paths.hook_secret)
    answer = post(HookReceiver(paths, runtime), secret=secret)
    assert (answer.status, requested(runtime)) == ("503 Service Unavailable", [])


def test_a_credential_replaces_the_file(
    paths: Paths, runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    credential = tmp_path / hook_secret.CREDENTIAL
    credential.write_text("secret-of-the-unit\n")
    credential.chmod(0o400)
    assert post(HookReceiver(paths, runtime)).status == "403 Forbidden"
    assert post(HookReceiver(paths, runtime), secret="secret-of-the-unit").status == "202 Accepted"


def test_what_cannot_be_requested_is_not_accepted(
    paths: Paths, runtime: Path, tmp_path: Path
) -> None:
    """Without a unit, with a file in the way, with a broken list; nothing is written elsewhere."""
    failed = "503 Service Unavailable"
    assert post(HookReceiver(paths, None)).status == failed
    (runtime / "hooks").mkdir()
    link = runtime / r"hooks/me-my\x2dprobe"
    link.symlink_to(tmp_path / "elsewhere")
    assert post(HookReceiver(paths, runtime)).status == failed
    assert not (tmp_path / "elsewhere").exists()
    link.unlink()
    (runtime / "hooks").rmdir()
    (runtime / "hooks").touch()
    assert post(HookReceiver(paths, runtime)).status == failed
    paths.repositories.write_text("[")
    assert post(HookReceiver(paths, runtime)).status == failed


def test_a_new_secret_is_for_every_form(paths: Paths) -> None:
    """Also for the signing token of GitLab, which is a key of 32 bytes in base64."""
    secret = hook_secret.create(paths.hook_secret)
    assert hook_secret.load(paths.hook_secret) == (secret,)
    assert paths.hook_secret.stat().st_mode & 0o777 == 0o600
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    assert (secret[:6], len(key)) == ("whsec_", 32)
    stamp = str(int(time.time()))
    signature = base64.b64encode(hmac.digest(key, f"1.{stamp}.".encode(), "sha256")).decode()
    headers = {
        "webhook-id": "1",
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{signature}",
    }
    assert is_right(headers, b"", secret, now_s=time.time())
    assert hook_secret.create(paths.hook_secret) != secret
