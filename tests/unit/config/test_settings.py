"""What config.toml may say, and what is said when it is wrong."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from pypi_insiders.config.settings import (
    BuildSettings,
    PublishSettings,
    ServerSettings,
    Settings,
    WatcherSettings,
    as_document,
    load_settings,
    parse_settings,
    template,
)
from pypi_insiders.config.toml_fields import as_toml
from pypi_insiders.config.validators import (
    parse_check_url,
    parse_fallback_url,
    parse_host,
    parse_interval,
)
from pypi_insiders.util.errors import InsidersError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def _refusal(path: Path) -> tuple[str, str | None]:
    with pytest.raises(InsidersError) as caught:
        load_settings(path)
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize("text", [None, "", "[server]\n[watcher]\n"])
def test_what_is_not_said_has_its_default(path: Path, text: str | None) -> None:
    if text is not None:
        path.write_text(text)
    assert load_settings(path) == Settings(
        ServerSettings(host="localhost", port=31411, fallback_url=None),
        WatcherSettings(interval_s=1800),
    )


def test_every_key(path: Path) -> None:
    path.write_text(
        '[server]\nhost = "192.0.2.1"\nport = 8080\nfallback-url = "https://index.example/simple"\n'
        '[watcher]\ninterval = "2h"\nkeep = 3\nmax-new = 9\nunreachable-grace = "6h"\n'
        'repository-timeout = "2h"\n'
        'public-versions = false\nnotify-command = ["mail", "me"]\n'
        'token-command = {"GitHub.com" = ["gh", "auth", "token"], "[::1]:443" = ["x"]}\n'
        '[build]\nsandbox = "required"\njobs = 4\ndisk-reserve = "3MiB"\nas-of-tag = false\n'
        '[publish]\nindex-url = "https://index.example/"\nuser = "me"\nlocal = false\n'
        'check-url = "https://index.example/+simple/"\n'
    )
    assert load_settings(path) == Settings(
        ServerSettings("192.0.2.1", 8080, "https://index.example/simple"),
        WatcherSettings(
            7200,
            3,
            9,
            21600,
            repository_timeout_s=7200,
            public_versions=False,
            notify_command=("mail", "me"),
            token_command={"github.com": ("gh", "auth", "token"), "[::1]": ("x",)},
        ),
        BuildSettings("required", 4, disk_reserve_bytes=3 * 1024**2, as_of_tag=False),
        PublishSettings(
            "https://index.example/",
            "me",
            local=False,
            check_url="https://index.example/+simple/",
        ),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[watcher]\nmax-new = 0", "watcher.max-new must be 1 or more, not 0"),
        (
            "[watcher]\nunreachable-grace = 5",
            'watcher.unreachable-grace must be 0 for none, or a time such as "30min", "6h" or "1d",'
            " not 5",
        ),
        *(
            (
                f"[watcher]\nnotify-command = {value}",
                'watcher.notify-command must be a list of words such as ["mail", "-s", '
                '"{subject}", "me"], or []',
            )
            for value in ('"mail me"', '[""]', '["mail", 1]', '["a\\nb"]')
        ),
        *(
            (f"[watcher]\ntoken-command = {value}", f"watcher.token-command {message}")
            for value, message in {
                '["gh", "s3cret"]': "must be a table of hosts and commands, such as "
                '{"github.com" = ["gh", "auth", "token"]}',
                '{"https://h" = ["gh"]}': "must name a host, or HOST:PORT, such as "
                '{"github.com" = ["gh", "auth", "token"]}: not \'https://h\'',
                '{h = "s3cret"}': 'of h must be a list of words such as ["gh", "auth", "token"]',
                "{h = []}": 'of h must be a list of words such as ["gh", "auth", "token"]',
                '{h = ["a\\nb"]}': 'of h must be a list of words such as ["gh", "auth", "token"]',
            }.items()
        ),
        (
            "[build]\nsandbox = true",
            'build.sandbox must be "auto", "required" or "off", not True',
        ),
        ("[build]\njobs = -1", "build.jobs must be 0 for one per processor, or a number, not -1"),
        (
            '[build]\ndisk-reserve = "5%"',
            'build.disk-reserve must be 0 for none, or a size such as "500MB" or '
            "\"2GiB\", not '5%'",
        ),
        ("[build]\nas-of-tag = 1", "build.as-of-tag must be true or false, not 1"),
        ('[publish]\nuser = "a:b"', "publish.user must be a user name without a colon, not 'a:b'"),
        (
            '[publish]\nindex-url = "https://me:secret@h/"',
            "publish.index-url must not contain credentials",
        ),
        (
            '[publish]\ncheck-url = "https://me:secret@h/"',
            "publish.check-url must not contain credentials",
        ),
        (
            '[publish]\ncheck-url = "packages.example"',
            "publish.check-url must be the URL of an index such as "
            "\"https://packages.example/simple/\", not 'packages.example'",
        ),
    ],
)
def test_wrong_values_are_named(path: Path, line: str, message: str) -> None:
    path.write_text(line)
    assert _refusal(path) == (f"{path}: {message}", f"edit {path}")


def test_all_problems_are_named_at_once(path: Path) -> None:
    path.write_text("""\
prot = 1
[server]
host = "example.org"
port = 0
fallback_url = "https://index.example/simple/"
fallback-url = "example.org"
colour = "blue"
[watcher]
interval = "7min"
intervall = "5min"
[sever]
port = 1
""")
    assert _refusal(path) == (
        f"{path}: unknown key prot (known: server, watcher, build, publish); "
        "server.host must be \"localhost\" or an IP address, not 'example.org'; "
        "server.port must be a port from 1 to 65535, not 0; "
        "unknown key server.fallback_url (did you mean fallback-url?); "
        'server.fallback-url must be the URL of an index such as "https://pypi.org/simple/", '
        "not 'example.org'; "
        "unknown key server.colour (known: host, port, fallback-url, "
        "idle-timeout, names, auth, uploads, hooks); "
        'watcher.interval must divide an hour or a day evenly, such as "5min", "30min", "6h" or '
        "\"1d\", not '7min'; "
        "unknown key watcher.intervall (did you mean interval?); "
        "unknown table sever (did you mean server?)",
        f"edit {path}",
    )


def test_a_table_cannot_be_a_value(path: Path) -> None:
    path.write_text("server = 8080\n")
    assert _refusal(path) == (f"{path}: server must be a table: [server]", f"edit {path}")


def test_broken_toml_is_located(path: Path) -> None:
    path.write_text("[server]\nport = = 1\n")
    assert _refusal(path) == (
        f"{path} is not valid TOML: Invalid value (at line 2, column 8)",
        f"edit {path}",
    )


def test_other_encodings_are_refused(path: Path) -> None:
    path.write_bytes('[server]\n# für alle\nhost = "::1"\n'.encode("latin-1"))
    assert _refusal(path) == (
        f"cannot read {path}: it is not UTF-8 (byte 12)",
        "save it as UTF-8",
    )


def test_an_unreadable_file_is_no_missing_file(path: Path) -> None:
    path.mkdir()
    assert _refusal(path) == (
        f"cannot read {path}: Is a directory",
        "move that file or directory away",
    )


@pytest.mark.parametrize("port", ["65536", "-1", "true", '"80"', "80.0"])
def test_what_is_no_port_is_refused(path: Path, port: str) -> None:
    path.write_text(f"[server]\nport = {port}\n")
    value = {"true": "True", '"80"': "'80'"}.get(port, port)
    assert _refusal(path) == (
        f"{path}: server.port must be a port from 1 to 65535, not {value}",
        f"edit {path}",
    )


@pytest.mark.parametrize("port", [1, 65535])
def test_the_outermost_ports(path: Path, port: int) -> None:
    path.write_text(f"[server]\nport = {port}\n")
    assert load_settings(path).server.port == port


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("60s", 60),
        ("1min", 60),
        ("5min", 300),
        ("5 min", 300),
        ("30m", 1800),
        ("60min", 3600),
        ("1h", 3600),
        ("6hr", 21600),
        ("12h", 43200),
        ("1d", 86400),
        ("1day", 86400),
        ("24h", 86400),
    ],
)
def test_intervals_that_divide_evenly(text: str, seconds: int) -> None:
    assert parse_interval(text) == seconds


@pytest.mark.parametrize(
    "value",
    ["0s", "7s", "45s", "90s", "7min", "45min", "90min", "5h", "2d", "48h",
     "30", "30 minutes", "-5min", "5min\n", "5  min", "1.5h", "1h 30min", "",
     30, 1800.0, True, None, ["5min"]],
)  # fmt: skip
def test_other_intervals_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="evenly") as caught:
        parse_interval(value)
    assert str(caught.value) == (
        f'must divide an hour or a day evenly, such as "5min", "30min", "6h" or "1d", not {value!r}'
    )


@pytest.mark.parametrize(
    ("host", "addresses", "url"),
    [
        ("localhost", ("127.0.0.1:80", "[::1]:80"), "http://127.0.0.1:80"),
        ("192.0.2.1", ("192.0.2.1:80",), "http://192.0.2.1:80"),
        ("2001:DB8:0::1", ("[2001:db8::1]:80",), "http://[2001:db8::1]:80"),
        ("0.0.0.0", ("0.0.0.0:80",), "http://127.0.0.1:80"),
        ("::", ("[::]:80",), "http://[::1]:80"),
    ],
)
def test_addresses_and_url(host: str, addresses: tuple[str, ...], url: str) -> None:
    """A wildcard is listened on, and reached through loopback."""
    server = ServerSettings(host=parse_host(host), port=80)
    assert (server.addresses, server.url) == (addresses, url)


@pytest.mark.parametrize(
    "value", ["", "example.org", "Localhost", "127.1", "0127.0.0.1", "[::1]", "::1\n", 1, None]
)
def test_other_hosts_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        parse_host(value)
    assert str(caught.value) == f'must be "localhost" or an IP address, not {value!r}'


@pytest.mark.parametrize(
    "url", ["https://pypi.org/simple/", "http://192.0.2.1:3141/root", "https://[2001:db8::1]/", ""]
)
def test_fallback_urls(url: str) -> None:
    assert parse_fallback_url(url) == url


@pytest.mark.parametrize(
    "value",
    [" ", "pypi.org", "//pypi.org/", "http://", "https:///simple/", "ftp://pypi.org/", "file:///x",
     "javascript:alert(1)", "https://h:0/", "https://h:99999/", "https://h:x/", "https://[::1/",
     "https://h/a b", "https://h/\r\nSet-Cookie: x", "https://h/\0", 1, None],
)  # fmt: skip
def test_other_fallback_urls_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        parse_fallback_url(value)
    assert str(caught.value) == (
        f'must be the URL of an index such as "https://pypi.org/simple/", not {value!r}'
    )


@pytest.mark.parametrize("user", ["me:secret", "me", ":secret"])
def test_a_fallback_url_with_credentials_is_refused_without_repeating_them(
    path: Path, user: str
) -> None:
    path.write_text(f'[server]\nfallback-url = "https://{user}@index.example/"\n')
    assert _refusal(path) == (
        f"{path}: server.fallback-url must not contain credentials",
        f"edit {path}",
    )


@pytest.mark.parametrize("tail", ["?", "?a=b", "#", "#a"])
@pytest.mark.parametrize("parse", [parse_fallback_url, parse_check_url])
def test_names_cannot_be_appended_to_a_query_or_a_fragment(
    tail: str, parse: Callable[[object], str]
) -> None:
    with pytest.raises(ValueError, match="must not have a query or a fragment"):
        parse(f"https://example.org/simple/{tail}")


SELF = "must not be this index itself, which would redirect in a loop"


@pytest.mark.parametrize("path_", ["", "/", "/simple", "/simple/", "/insiders/simple/"])
@pytest.mark.parametrize(
    ("host", "at"),
    [
        ("localhost", "http://localhost:4711"),
        ("localhost", "http://LOCALHOST.:4711"),
        ("localhost", "http://127.0.0.1:4711"),
        ("localhost", "http://127.1:4711"),
        ("localhost", "http://0.0.0.0:4711"),
        ("localhost", "http://[::1]:4711"),
        ("localhost", "http://[0:0:0:0:0:0:0:1]:4711"),
        ("localhost", "http://[::ffff:127.0.0.1]:4711"),
        ("127.0.0.1", "http://localhost:4711"),
        ("0.0.0.0", "http://127.0.0.2:4711"),
        ("192.0.2.2", "http://192.0.2.2:4711"),
        ("localhost", "http://Packages.Example:4711"),
        ("localhost", "https://packages.example"),
        ("localhost", "http://packages.example:80"),
    ],
)
def test_the_index_is_not_its_own_fallback(path: Path, host: str, at: str, path_: str) -> None:
    """However it is spelled: pip would follow the redirects until it gives up."""
    url = f"{at}{path_}"
    path.write_text(
        f'[server]\nfallback-url = "{url}"\nhost = "{host}"\nport = 4711\n'
        'names = ["packages.example"]\n'
    )
    assert _refusal(path) == (
        f"{path}: server.fallback-url {SELF}: {url!r}",
        f"edit {path}",
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:4712/simple/",
        "http://192.0.2.3:4711/simple/",
        "https://packages.example/root/pypi/+simple/",
        "http://packages.example:3141/simple/",
        "https://example.org/simple/",
    ],
)
def test_another_index_of_this_machine_is_a_fallback(path: Path, url: str) -> None:
    """Such as devpi, on another port or behind the same proxy."""
    path.write_text(
        f'[server]\nfallback-url = "{url}"\nport = 4711\nnames = ["packages.example"]\n'
    )
    assert load_settings(path).server.fallback_url == url


@pytest.mark.parametrize(
    "url", ["ftp://me:secret@h/", "https://me:secret@h:99999/", "https://me:secret@h/a b"]
)
def test_no_refusal_repeats_a_password(url: str) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        parse_fallback_url(url)
    assert "secret" not in str(caught.value)


def _uncommented(text: str) -> str:
    return re.sub(r"^# (?=[a-z-]+ = )", "", text, flags=re.MULTILINE)


def test_the_template_says_nothing_and_names_every_key_with_its_default(path: Path) -> None:
    """Keys without a default have an example."""
    assert parse_settings(path, template()) == Settings()
    told = tomllib.loads(_uncommented(template()))
    parse_settings(path, _uncommented(template()))
    for table, content in as_document(Settings()).items():
        assert told[table].keys() == content.keys()
        defaults = {key: value for key, value in content.items() if value is not None}
        assert {key: told[table][key] for key in defaults} == defaults


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, 0), (1, "1s"), (90, "90s"), (600, "10min"), (7200, "2h")]
)
def test_a_span_is_said_in_the_largest_unit_that_fits(seconds: int, text: int | str) -> None:
    """As a person would have written it."""
    settings = Settings(server=ServerSettings()._replace(idle_timeout_s=seconds))
    assert as_document(settings)["server"]["idle-timeout"] == text


@pytest.mark.parametrize("text", ["1TiB", "3MiB", "5KiB", "7KB"])
def test_a_size_is_written_in_the_largest_unit_that_fits(path: Path, text: str) -> None:
    document = as_document(parse_settings(path, f'build.disk-reserve = "{text}"'))
    assert document["build"]["disk-reserve"] == text


def test_what_is_said_of_settings_is_understood(path: Path) -> None:
    """Whatever their values."""
    settings = Settings(
        ServerSettings("::1", 8080, 'https://h/"', 90, ("a.example", "b"), auth=True),
        WatcherSettings(86400, 2, 9, 0),
        BuildSettings("off", 4, as_of_tag=False),
        PublishSettings("https://h/", "j\u00f6\\", local=False),
    )
    text = "".join(
        f"{table}.{key} = {as_toml(value)}\n"
        for table, content in as_document(settings).items()
        for key, value in content.items()
        if value is not None
    )
    assert parse_settings(path, text) == settings
