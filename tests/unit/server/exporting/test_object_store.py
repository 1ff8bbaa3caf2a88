"""The adapter of obstore: settings and errors."""

from pathlib import Path

import pytest
from obstore import exceptions, store

from pypi_insiders.server.exporting import object_store
from pypi_insiders.server.exporting.object_store import ObjectStore
from pypi_insiders.util.errors import InsidersError

XML = (
    "Generic S3 error: Error performing PUT https://s3/b/x in 5ms - Server returned non-2xx status "
    "code: {}: <?xml version='1.0'?><Error><Code>{}</Code></Error>\n\nDebug source:\nGeneric {{"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (XML.format("404 Not Found", "NoSuchBucket"), "there is no bucket b"),
        (XML.format("403 Forbidden", "AccessDenied"), "access denied (AccessDenied)"),
        (XML.format("403 Forbidden", "SignatureDoesNotMatch"), "access denied (SignatureDoesNot"),
        (XML.format("503 Slow", "SlowDown"), "SlowDown"),
        ("Generic S3 error: Error performing PUT http://169.254.169.254/x", "no credentials found"),
        ("Generic S3 error: Error performing GET https://s3/b", "the object store is unreachable"),
        ("Generic MicrosoftAzure error: Account must be specified", "Account must be specified"),
    ],
)
def test_an_error_is_one_line(text: str, expected: str) -> None:
    """It has nothing of the request, which may be signed."""
    error = object_store._explained("s3://b/x", exceptions.GenericError(text))
    assert error.message.startswith(f"cannot export to s3://b/x: {expected}")
    assert "\n" not in error.message
    assert error.hint


@pytest.mark.parametrize("kind", ["PermissionDeniedError", "UnauthenticatedError"])
def test_denied_is_told_whatever_the_text(kind: str) -> None:
    error = object_store._explained("s3://b/x", getattr(exceptions, kind)("no"))
    assert error.message == "cannot export to s3://b/x: access denied (no reason)"


def test_an_endpoint_that_is_no_url_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library panics of it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "s3.example.com")
    with pytest.raises(InsidersError, match="AWS_ENDPOINT_URL is not a URL"):
        ObjectStore("s3://b/x")


@pytest.mark.parametrize("end", ["\n", "\r"])
def test_a_line_end_in_a_variable_is_one_line(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes from a file, or with a secret of CI, and the library panics of it."""
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", "not of this store\n")
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"secret{end}")
    with pytest.raises(InsidersError) as error:
        ObjectStore("s3://b/x")
    assert error.value.message == (
        "AWS_SESSION_TOKEN contains a line end or another control character"
    )


def test_any_other_setting_of_which_the_library_panics_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "secret")
    monkeypatch.setenv("AWS_REGION", "no region")
    with pytest.raises(InsidersError) as error:
        ObjectStore("s3://b/x").list()
    assert error.value.message == (
        "cannot export to s3://b/x: a setting of the object store is invalid"
    )


def test_a_credential_of_the_unit_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has the names of the environment; those of other stores are left out."""
    (tmp_path / object_store.CREDENTIAL).write_text(
        "AWS_SECRET_ACCESS_KEY = a=b\n\nAZURE_STORAGE_ACCOUNT_KEY=c\n"
    )
    assert object_store._settings("s3://b") == {}
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert object_store._settings("s3://b") == {"aws_secret_access_key": "a=b"}
    assert object_store._settings("az://b") == {"azure_storage_account_key": "c"}


def test_a_wrong_setting_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / object_store.CREDENTIAL).write_text("AWS_NOPE=secret\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(InsidersError) as error:
        ObjectStore("s3://b/x")
    assert "secret" not in f"{error.value.message} {error.value.hint}"


def test_an_object_that_is_gone_does_not_keep_the_others(tmp_path: Path) -> None:
    """Another machine may have deleted it, or a killed export; some stores say so."""
    objects = ObjectStore("s3://b/x", store.LocalStore(tmp_path))
    for key in ("packages/a", "packages/b"):
        objects.put(key, b"", {})
    objects.delete(["packages/gone", "packages/a", "packages/b"])
    assert objects.list() == {}
