"""env: which variables are printed, for which shell."""

import json
from urllib.parse import quote

import pytest
from fixtures import Person

from pypi_insiders.config.client_variables import MEMORY


def test_env_unset_works_where_config_toml_cannot_be_read(person: Person) -> None:
    """By what the shell remembers; the reason is a note."""
    person.paths.config.mkdir(parents=True)
    settings = person.paths.config / "config.toml"
    given = dict(
        line.removeprefix("export ").removesuffix(";").replace("'", "").split("=", 1)
        for line in person.run("env", "--shell", "sh").stdout.splitlines()
    )
    settings.write_text("nonsense\n")
    done = person.run("env", "--unset", "--shell", "sh", status=0, **given)
    assert done.stdout == "".join(f"unset {name};\n" for name in given)
    assert done.stderr.startswith(f"note: {settings} is not valid TOML: ")


@pytest.mark.parametrize(
    ("variable", "name"),
    [("/bin/csh", "csh"), ("-tcsh", "tcsh"), ("/usr/bin/xonsh", "xonsh")],
)
def test_env_writes_no_syntax_that_the_shell_does_not_read(
    person: Person, variable: str, name: str
) -> None:
    """It says so instead, and what works anywhere."""
    for option in ("-v", "--unset"):
        failed = person.run("env", option, status=1, SHELL=variable)
        assert (failed.stdout, failed.stderr) == (
            "",
            f"error: $SHELL is {name}, whose syntax is not known\n"
            "hint: `pypi-insiders env --shell sh` shows what to set; or "
            "`pypi-insiders exec -- COMMAND`\n",
        )


@pytest.mark.parametrize("shell", ["", "/bin/ash", "dash", "/usr/bin/ksh"])
def test_env_knows_more_shells_by_their_name(person: Person, shell: str) -> None:
    """All of them read what sh reads, which is what there is without $SHELL, too."""
    assert person.run("env", SHELL=shell).stdout == person.run("env", "--shell", "sh").stdout


@pytest.mark.parametrize(
    ("shell", "set_"), [("zsh", "export {}={};\n"), ("fish", "set -gx {} {};\n")]
)
def test_env_leads_past_a_proxy(person: Person, shell: str, set_: str) -> None:
    """Where one is set, this machine is excepted from it; what was excepted stays so."""
    shown = person.run(
        "env", "--uv-index", "--shell", shell,
        http_proxy="http://192.0.2.1:3128", NO_PROXY="localhost,example.org",
    )  # fmt: skip
    lines = set_.format("UV_INDEX", "http://127.0.0.1:31411/insiders/simple/") + (
        "".join(
            set_.format(name, "localhost,example.org,127.0.0.1")
            for name in ("no_proxy", "NO_PROXY")
        )
    )
    assert shown.stdout.startswith(lines)
    (memory,) = shown.stdout.removeprefix(lines).splitlines()
    assert memory.startswith(set_.format("PYPI_INSIDERS_ENV", "").rstrip(";\n"))


@pytest.mark.parametrize(
    ("options", "others"),
    [
        (("--install", "--unset"), ("--install", "--unset")),
        (("--install", "--shell", "sh"), ("--install", "--shell")),
        (("--uninstall", "--unset"), ("--uninstall", "--unset")),
        (("--install", "--uninstall"), ("--install", "--uninstall")),
    ],
)
def test_env_installs_for_no_shell(
    person: Person, options: tuple[str, ...], others: tuple[str, str]
) -> None:
    """One line, exit status 2, and nothing is written."""
    failed = person.run("env", *options, status=2)
    assert (failed.stdout, failed.stderr) == (
        "",
        f"error: {others[0]} and {others[1]} exclude each other\nhint: give one of them\n",
    )
    assert list(person.home.iterdir()) == []


def test_env_installs_nothing_where_nobody_would_read_it(person: Person) -> None:
    """Without a user manager there are no units that could have the variables."""
    failed = person.run("env", "--install", status=1, PATH="/nonexistent")
    assert (failed.stdout, failed.stderr) == (
        "",
        "error: systemctl not found: systemd is not running here\n"
        'hint: for this shell: `eval "$(pypi-insiders env)"`\n',
    )
    assert list(person.home.iterdir()) == []
    gone = person.run("env", "--uninstall", PATH="/nonexistent")
    assert (gone.stdout, gone.stderr) == ("nothing was installed\n", "")


@pytest.mark.parametrize("shell", ["sh", "fish"])
def test_env_leads_uv_to_what_the_index_holds(person: Person, shell: str) -> None:
    """Only to that, beside its usual index; and back."""
    set_ = person.run("env", "--uv-index", "--shell", shell).stdout
    word = "UV_INDEX=http%3A%2F%2F127.0.0.1%3A31411%2Finsiders%2Fsimple%2F"
    assert (
        set_
        == {
            "sh": (
                "export UV_INDEX=http://127.0.0.1:31411/insiders/simple/;\n"
                f"export PYPI_INSIDERS_ENV={word};\n"
            ),
            "fish": (
                "set -gx UV_INDEX http://127.0.0.1:31411/insiders/simple/;\n"
                f"set -gx PYPI_INSIDERS_ENV {word};\n"
            ),
        }[shell]
    )


def test_env_makes_pip_trust_another_host_that_was_configured(person: Person) -> None:
    """pip would ignore an index over http elsewhere than on this machine."""
    person.paths.config.mkdir(parents=True)
    (person.paths.config / "config.toml").write_text('[server]\nhost = "192.0.2.2"\n')
    shown = person.run("env", "--shell", "sh").stdout
    assert "export PIP_TRUSTED_HOST=192.0.2.2:31411;\n" in shown


@pytest.mark.parametrize(
    ("shell", "line", "unset"),
    [
        ("/usr/bin/nu", '$env.UV_INDEX = "{url}"', "hide-env --ignore-errors UV_INDEX"),
        ("pwsh", "$env:UV_INDEX = '{url}'", "Remove-Item -ErrorAction Ignore Env:UV_INDEX"),
    ],
)
def test_nu_and_powershell_have_a_syntax_of_their_own(
    person: Person, shell: str, line: str, unset: str
) -> None:
    """By name, or as $SHELL says."""
    url = "http://127.0.0.1:31411/insiders/simple/"
    printed = person.run("env", "--uv-index", SHELL=shell).stdout.splitlines()
    assert printed[0] == line.format(url=url)
    named = {"/usr/bin/nu": "nu"}.get(shell, "powershell")
    assert person.run("env", "--uv-index", "--shell", named).stdout.splitlines() == printed
    assert person.run("env", "--unset", SHELL=shell, UV_INDEX=url).stdout == f"{unset}\n"


def test_as_json_each_variable_has_its_value(person: Person) -> None:
    """As `load-env` of Nushell reads it."""
    printed = json.loads(person.run("env", "--uv-index", "--json", SHELL="/bin/csh").stdout)
    url = "http://127.0.0.1:31411/insiders/simple/"
    variables = {"UV_INDEX": url, MEMORY: f"UV_INDEX={quote(url, safe='')}"}
    assert printed == {"version": 1, "variables": variables}
    unset = person.run("env", "--unset", "--json", UV_INDEX=url).stdout
    assert json.loads(unset)["variables"] == {"UV_INDEX": None}
    assert "exclude each other" in person.run("env", "--json", "--shell", "sh", status=2).stderr
