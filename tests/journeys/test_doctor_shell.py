"""doctor: what pip, uv and PDM use where it is called, and lock files that it finds there."""

import json
import os
from pathlib import Path

import pytest
from fixtures import COMMAND, free_port
from shells import (
    COMMANDS,
    FULL,
    OWN,
    PROGRAMS,
    PROJECT,
    REMEDY,
    Shell,
    Told,
    index,
    served,
    serving,
    shell,
)

__all__ = ["index", "served", "shell"]

ELSEWHERE = "https://packages.example/simple/"
NOT_USED = "nothing wrong, but not configured to use the index yet"


@pytest.mark.parametrize(
    ("client", "files", "variables", "told"),
    [
        (
            "pip",
            {".config/pip/pip.conf": f"[global]\nindex-url = {FULL}\n"},
            {},
            "uses the index (~/.config/pip/pip.conf)",
        ),
        (
            "pip",
            {
                ".pip/pip.conf": f"[install]\nindex_url = {ELSEWHERE}\n",
                ".config/pip/pip.conf": f"[install]\nindex-url={FULL}\n[global]\nindex-url=/nope\n",
            },
            {},
            "uses the index (~/.config/pip/pip.conf)",
        ),
        (
            "pip",
            {
                "own.conf": f"[global]\nindex-url = {FULL}\n",
                ".config/pip/pip.conf": "[install]\nindex-url = /nope\n",
            },
            {"PIP_CONFIG_FILE": "../../own.conf"},
            "uses the index (../../own.conf)",
        ),
        (
            "pip",
            {
                "all/pip/pip.conf": f"[global]\nindex-url = {FULL}\n",
                "relative/pip/pip.conf": "[global]\nindex-url = /nope\n",
            },
            {"XDG_CONFIG_DIRS": "HOME/all:../../relative"},
            "uses the index (~/all/pip/pip.conf)",
        ),
        (
            "pip",
            {".config/pip/pip.conf": f"[global]\nindex-url = {FULL}\n"},
            {"PIP_CONFIG_FILE": os.devnull},
            NOT_USED,
        ),
        ("uv", {}, {"UV_DEFAULT_INDEX": f"mine={FULL}"}, "uses the index (UV_DEFAULT_INDEX)"),
        ("uv", {}, {"UV_INDEX_URL": FULL}, "uses the index (UV_INDEX_URL)"),
        ("uv", {}, {"UV_INDEX": OWN}, "uses the index first (UV_INDEX)"),
        ("uv", {}, {"UV_EXTRA_INDEX_URL": OWN}, "uses the index first (UV_EXTRA_INDEX_URL)"),
        (
            "uv",
            {".config/uv/uv.toml": f'[[index]]\nurl = "{FULL}"\ndefault = true\n'},
            {},
            "uses the index (~/.config/uv/uv.toml)",
        ),
        (
            "uv",
            {"src/uv.toml": f'extra-index-url = ["{OWN}"]\n', "src/app/pyproject.toml": ""},
            {},
            "uses the index first (~/src/uv.toml)",
        ),
        (
            "uv",
            {"src/app/pyproject.toml": f'[tool.uv]\nindex-url = "{FULL}"\n'},
            {},
            "uses the index (./pyproject.toml)",
        ),
        (
            "uv",
            {"x.toml": f'[[index]]\nurl = "{OWN}"\n'},
            {"UV_CONFIG_FILE": "../../x.toml"},
            "uses the index first (../../x.toml)",
        ),
        (
            "uv",
            {".config/uv/uv.toml": f'index-url = "{FULL}"\n'},
            {"UV_NO_CONFIG": "1"},
            NOT_USED,
        ),
        (
            "uv",
            {"src/app/uv.toml": f'[[index]]\nname = "mine"\nurl = "{OWN}"\nexplicit = true\n'},
            {},
            "uses the index for single packages (./uv.toml)",
        ),
    ],
)
@pytest.mark.usefixtures("index")
def test_what_is_told_of_a_client_is_what_it_does(
    shell: Shell, client: str, files: dict[str, str], variables: dict[str, str], told: str
) -> None:
    """It gets what only the index has, wherever that is set, or it does not."""
    for path, text in files.items():
        shell.write(path, text)
    is_used = "single" not in told and told != NOT_USED
    assert shell.doctor(client, **variables) == [("ok", told, REMEDY if told == NOT_USED else None)]
    done = shell.run(*COMMANDS[client], **variables)
    assert (done.returncode == 0) == is_used, done.stderr


@pytest.mark.parametrize(
    ("files", "variables", "told"),
    [
        (
            {".config/pdm/config.toml": f'[pypi]\nurl = "{FULL}"\n'},
            {},
            "uses the index (~/.config/pdm/config.toml)",
        ),
        (
            {
                ".config/pdm/config.toml": f'[pypi]\nurl = "{ELSEWHERE}"\n',
                "src/app/pdm.toml": f'[pypi]\nurl = "{FULL}"\n',
            },
            {},
            "uses the index (./pdm.toml)",
        ),
        (
            {
                "src/app/pyproject.toml": "[[tool.pdm.source]]\n"
                f'name = "pypi"\nurl = "{FULL}"\nverify_ssl = true\n'
            },
            {"PDM_PYPI_URL": ELSEWHERE},
            "uses the index (./pyproject.toml)",
        ),
    ],
)
@pytest.mark.usefixtures("index")
def test_what_is_told_of_pdm_is_what_it_does(
    shell: Shell, pdm: Path, files: dict[str, str], variables: dict[str, str], told: str
) -> None:
    """It finds what only the index has."""
    for path, text in {"src/app/pyproject.toml": "", **files}.items():
        shell.write(path, PROJECT + text if path.endswith("pyproject.toml") else text)
    assert shell.doctor("PDM", **variables) == [("ok", told, None)]
    done = shell.run(pdm, "lock", "--quiet", **variables)
    assert done.returncode == 0, done.stderr


USED = ("ok", "uses the index (PIP_INDEX_URL)", None)
MIXED = "takes the highest version of OURS/simple/ (PIP_EXTRA_INDEX_URL) and its main index"


@pytest.mark.parametrize(
    ("client", "variables", "told"),
    [
        (
            "pip",
            {"PIP_EXTRA_INDEX_URL": FULL},
            ("problem", MIXED, '`unset PIP_EXTRA_INDEX_URL; eval "$(pypi-insiders env)"`'),
        ),
        (
            "pip",
            {"PIP_INDEX_URL": FULL, "PIP_EXTRA_INDEX_URL": "https://me:secret@packages.example/a"},
            (
                "problem",
                "uses the index, and takes a higher version from https://packages.example/a "
                "(PIP_EXTRA_INDEX_URL)",
                "`unset PIP_EXTRA_INDEX_URL`",
            ),
        ),
        (
            "pip",
            {"PIP_INDEX_URL": OWN},
            ("warning", f"{OWN} (PIP_INDEX_URL) serves only the projects of this index", REMEDY),
        ),
        (
            "PDM",
            {"PDM_PYPI_URL": "OURS/"},
            ("warning", "OURS/ (PDM_PYPI_URL) is not the URL of an index", REMEDY),
        ),
        ("PDM", {}, ("ok", NOT_USED, REMEDY)),
        ("PDM", {"PDM_PYPI_URL": FULL}, ("ok", "uses the index (PDM_PYPI_URL)", None)),
        ("pip", {"PIP_INDEX_URL": FULL}, USED),
        ("pip", {"PIP_INDEX_URL": "http://localhost:PORT/simple"}, USED),
        ("pip", {"PIP_INDEX_URL": "https://index.example/simple/"}, USED),
        (
            "pip",
            {"PIP_INDEX_URL": ELSEWHERE, "PIP_EXTRA_INDEX_URL": "https://another.example/"},
            ("ok", f"uses {ELSEWHERE} (PIP_INDEX_URL), and not the index", REMEDY),
        ),
        (
            "uv",
            {"UV_DEFAULT_INDEX": FULL, "UV_INDEX": ELSEWHERE},
            (
                "problem",
                f"asks {ELSEWHERE} (UV_INDEX) before the index, and takes packages from there "
                "first",
                "`unset UV_INDEX`",
            ),
        ),
        (
            "PDM",
            {"PDM_CONFIG_FILE": "HOME/nope", "PDM_PYPI_URL": ELSEWHERE},
            ("ok", f"uses {ELSEWHERE} (PDM_PYPI_URL), and not the index", REMEDY),
        ),
        (
            "uv",
            {"UV_INDEX": f"{OWN} {ELSEWHERE}"},
            ("ok", "uses the index first (UV_INDEX)", None),
        ),
        (
            "uv",
            {"UV_DEFAULT_INDEX": OWN},
            ("warning", f"{OWN} (UV_DEFAULT_INDEX) serves only the projects of this index", REMEDY),
        ),
    ],
)
def test_a_client_that_is_half_led_to_the_index(
    shell: Shell, client: str, variables: dict[str, str], told: Told
) -> None:
    """What it would take from elsewhere is said, and no password is shown."""
    assert shell.doctor(client, **variables) == [told]


@pytest.mark.usefixtures("index")
def test_a_port_without_an_index_is_a_warning(shell: Shell) -> None:
    """As after a change of the port; another index of ours is none."""
    settings = shell.person.paths.settings
    text = settings.read_text()
    settings.write_text(text.replace(str(shell.port), str(free_port())))
    gone = f"http://127.0.0.1:{free_port()}/simple/"
    variables = {"PIP_INDEX_URL": gone, "UV_DEFAULT_INDEX": FULL, "PDM_PYPI_URL": gone}
    assert shell.doctor("pip", "uv", "PDM", **variables) == [
        ("warning", f"no index answers at {gone} (PIP_INDEX_URL)", REMEDY),
        ("ok", "uses another index on this machine, OURS/simple/ (UV_DEFAULT_INDEX)", None),
        ("warning", f"no index answers at {gone} (PDM_PYPI_URL)", REMEDY),
    ]


def test_a_damaged_file_of_a_client_is_a_warning(shell: Shell) -> None:
    """The client will say the same; the others are looked at."""
    shell.write(".config/pip/pip.conf", "index-url = https://me:secret@packages.example/\n")
    shell.write(".config/uv/uv.toml", "[[index\n")
    shell.write("src/app/pdm.toml", "pypi = 1\n")
    pip, uv, pdm = shell.doctor("pip", "uv", "PDM")
    assert pip[0] == uv[0] == "warning"
    assert pip[1].startswith("~/.config/pip/pip.conf is not a valid configuration file: ")
    assert "secret" not in pip[1]
    assert uv[1].startswith("~/.config/uv/uv.toml is not valid TOML: ")
    assert (pip[2], uv[2]) == ("edit ~/.config/pip/pip.conf", "edit ~/.config/uv/uv.toml")
    assert pdm == (
        "warning",
        "its settings cannot be read ('int' object has no attribute 'get')",
        None,
    )


UV_HINT = '`unset UV_DEFAULT_INDEX; eval "$(pypi-insiders env --uv-index)"; uv lock`'


def test_a_uv_lock_that_has_caught_the_url_is_cured_by_the_hint(shell: Shell) -> None:
    """For what the index does not hold it is a warning, for what it holds it is not."""
    variables = {"UV_DEFAULT_INDEX": FULL, "UV_INDEX_URL": FULL}
    hint = UV_HINT.replace("UV_DEFAULT_INDEX", "UV_DEFAULT_INDEX UV_INDEX_URL")
    settings = shell.person.paths.settings
    settings.write_text(f"[server]\nport = {shell.port}\n")  # the usual fallback
    shell.write("src/app/pyproject.toml", PROJECT.replace('"]', '", "pluggy"]'))
    uv = PROGRAMS / "uv"
    with serving(shell.person, shell.port):
        locked = shell.run(uv, "lock", "--quiet", **variables)
        assert locked.returncode == 0, locked.stderr
        assert shell.doctor("lock files", **variables) == [
            (
                "warning",
                "2 packages in uv.lock have the URL of this index, 1 of them public: not "
                "installable without this index",
                hint,
            )
        ]
        words = hint.split("`")[1]
        path = f"{COMMAND.parent}:{os.environ['PATH']}"
        cured = shell.run("sh", "-ec", words, PATH=path, **variables)
        assert cured.returncode == 0, cured.stderr
    assert shell.doctor("lock files") == [
        ("ok", "1 package in uv.lock has the URL of this index, none of them public", None)
    ]


@pytest.mark.parametrize(
    ("files", "variables", "hint"),
    [
        ({}, {}, '`eval "$(pypi-insiders env --uv-index)"; uv lock`'),
        ({}, {"UV_DEFAULT_INDEX": FULL}, UV_HINT),
        ({}, {"UV_INDEX_URL": FULL}, UV_HINT.replace("UV_DEFAULT_INDEX", "UV_INDEX_URL")),
        (
            {},
            {"UV_DEFAULT_INDEX": FULL, "SHELL": "/usr/bin/fish"},
            "`set -e UV_DEFAULT_INDEX; pypi-insiders env --uv-index | source; uv lock`",
        ),
        (
            {"src/app/uv.toml": f'index-url = "{FULL}"\n'},
            {"UV_DEFAULT_INDEX": ELSEWHERE},
            "remove OURS/simple/ from ./uv.toml; then "
            '`eval "$(pypi-insiders env --uv-index)"; uv lock`',
        ),
    ],
)
def test_the_hint_for_a_uv_lock_unsets_what_was_found_set(
    shell: Shell, files: dict[str, str], variables: dict[str, str], hint: str
) -> None:
    """Nothing that leads elsewhere, and in the words of the shell."""
    shell.write("src/app/uv.lock", _PACKAGE.format("one") + _POETRY)
    for path, text in files.items():
        shell.write(path, text)
    ((_, _, told),) = shell.doctor("lock files", **variables)
    assert told is not None
    assert told.replace(shell.url, "OURS") == hint


_PACKAGE = '[[package]]\nname = "{}"\nversion = "1"\n'
_POETRY = '[package.source]\ntype = "legacy"\nurl = "http://localhost:PORT/simple"\n'
_PDM = 'files = [{{url = "http://[::1]:PORT/packages/{}-1.tar.gz", hash = "sha256:0"}}]\n'


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, [("ok", "none found", None)]),
        (
            {"uv.lock": _PACKAGE.format("one"), "a/b/c/poetry.lock": "not looked at"},
            [("ok", "2 found, without the URL of this index", None)],
        ),
        (
            {"a/poetry.lock": _PACKAGE.format("one") + _POETRY + _PACKAGE.format("two")},
            [
                (
                    "warning",
                    "1 package in a/poetry.lock has the URL of this index, 1 of them public: not "
                    "installable without this index",
                    "a source in pyproject.toml that ends in /insiders/simple/, and `poetry lock`",
                )
            ],
        ),
        (
            {
                "pdm.lock": _PACKAGE.format("Probe.Insiders") + _PDM.format("probe"),
                "z/pdm.lock": _PACKAGE.format("gone") + _PDM.format("gone"),
            },
            [
                (
                    "ok",
                    "1 package in pdm.lock has the URL of this index, none of them public",
                    None,
                ),
                (
                    "warning",
                    "1 package in z/pdm.lock has the URL of this index, 1 of them public: not "
                    "installable without this index",
                    "`pdm lock --strategy no_static_urls`",
                ),
            ],
        ),
        (
            {
                "uv.lock": "[[package\nhttp://127.0.0.1:PORT/",
                **dict.fromkeys(
                    (
                        ".hidden/uv.lock",
                        ".venv/uv.lock",
                        "node_modules/uv.lock",
                        "env/x/uv.lock",
                        "a/b/c/d/uv.lock",
                    ),
                    _PACKAGE.format("one") + _POETRY,
                ),
                "env/pyvenv.cfg": "",
            },
            [
                (
                    "warning",
                    "uv.lock cannot be read: Expected ']]' at the end of an array declaration "
                    "(at line 1, column 10)",
                    "`uv lock`",
                )
            ],
        ),
    ],
)
def test_lock_files_are_found_and_read(
    shell: Shell, files: dict[str, str], told: list[Told]
) -> None:
    """Those of uv, PDM and Poetry, a few levels deep, and none that others have made."""
    for path, text in files.items():
        shell.write(f"src/app/{path}", text)
    assert shell.doctor("lock files") == told


def test_a_directory_that_is_gone_has_no_lock_files(shell: Shell) -> None:
    """All else is looked at."""
    command = 'rmdir "$PWD" && exec "$0" doctor --json'
    done = shell.run("sh", "-c", command, COMMAND)
    found = [item for item in json.loads(done.stdout)["findings"] if item["check"] == "lock files"]
    assert [item["text"] for item in found] == ["the current directory no longer exists"]
