"""`env`: real shells are led to the index and back."""

import os
import subprocess

import pytest
from fixtures import COMMAND, Person, free_port, need


def in_shell(person: Person, shell: str, *lines: str, **given: str) -> str:
    """Run lines in a shell on whose PATH the command is; return what they print."""
    done = subprocess.run(
        [need(shell), "-c", "\n".join(lines)],
        env={
            "PATH": f"{COMMAND.parent}:{os.environ['PATH']}",
            "HOME": str(person.home),
            **given,
        },
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def evaluated(shell: str, *options: str) -> str:
    """Write the line that README.md gives for a shell."""
    command = " ".join(("pypi-insiders env", *options))
    return f"{command} | source" if shell == "fish" else f'eval "$({command})"'


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish"])
@pytest.mark.parametrize("told", ["--shell", "$SHELL", "login"])
def test_env_leads_a_shell_to_the_index_and_back(person: Person, shell: str, told: str) -> None:
    """What `env` prints is understood by the shell; `--unset` takes it back."""
    person.paths.config.mkdir(parents=True)
    port = free_port()
    (person.paths.config / "config.toml").write_text(f"[server]\nport = {port}\n")
    names = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PDM_PYPI_URL")
    given = ("--shell", shell) if told == "--shell" else ()
    variable = {"--shell": "/bin/csh", "$SHELL": f"/usr/bin/{shell}", "login": f"-{shell}"}[told]
    url = f"http://127.0.0.1:{port}/simple/"
    shown = in_shell(
        person, shell,
        evaluated(shell, *given), f"echo {' '.join(f'${name}' for name in names)}",
        evaluated(shell, *given, "--unset"), "/usr/bin/env",
        SHELL=variable,
    )  # fmt: skip
    assert shown.startswith(f"{url} {url} {url}\n")
    assert not any(name in shown for name in (*names, "PIP_TRUSTED_HOST", "PYPI_INSIDERS"))


PROXIED = {"http_proxy": "http://192.0.2.1:3128"}


_STATES: list[tuple[str, dict[str, str], list[tuple[str, ...]]]] = [
    ("localhost", {}, [()]),
    ("localhost", {}, [(), ("--uv-index",), ()]),
    ("192.0.2.2", {"PIP_TRUSTED_HOST": "a:1 b"}, [(), ()]),
    (
        "localhost",
        {
            "PIP_INDEX_URL": "https://u:p@example.org/'simple'/",
            "UV_INDEX": "x=https://example.org/ https://example.com/",
            "PIP_EXTRA_INDEX_URL": "https://example.org/",
        },
        [("--uv-index",), (), ("--uv-index",)],
    ),
    ("localhost", {**PROXIED}, [()]),
    ("localhost", {**PROXIED, "no_proxy": "a.example, .b.example"}, [(), ()]),
    ("localhost", {**PROXIED, "NO_PROXY": "127.0.0.1,a", "no_proxy": "b"}, [("--uv-index",)]),
    ("localhost", {**PROXIED, "no_proxy": "*"}, [()]),
    ("::1", {**PROXIED, "NO_PROXY": "a"}, [(), ("--uv-index",)]),
]


# Bash and zsh get the same lines as sh: one state with all that has to be quoted is enough.
@pytest.mark.parametrize(
    ("shell", "host", "before", "ways"),
    [
        *((shell, *state) for state in _STATES for shell in ("sh", "fish")),
        *((shell, *_STATES[3]) for shell in ("bash", "zsh")),
    ],
)
def test_env_takes_back_all_that_it_set_and_nothing_else(
    person: Person, shell: str, host: str, before: dict[str, str], ways: list[tuple[str, ...]]
) -> None:
    """However often and with whatever options it was called, all is as it was before."""
    person.paths.config.mkdir(parents=True)
    text = f'[server]\nhost = "{host}"\nport = {free_port()}\n'
    (person.paths.config / "config.toml").write_text(text)
    of_shell = ("_", "SHLVL", "PWD", "OLDPWD")
    given = {**before, "SHELL": f"/bin/{shell}"}
    lines = [
        "/usr/bin/env -0", *(evaluated(shell, *way) for way in ways), "/usr/bin/env -0",
        evaluated(shell, "--unset"), "/usr/bin/env -0",
    ]  # fmt: skip
    marked = [line for each in lines for line in (each, "printf '=\\0'")]
    shown = in_shell(person, shell, *marked, **given).split("=\0")
    first, during, after = (
        {word for word in part.split("\0") if word.partition("=")[0] not in of_shell}
        for part in (shown[0], shown[len(ways) + 1], shown[len(ways) + 3])
    )
    assert during != first
    assert after == first


@pytest.mark.parametrize("shell", ["sh", "fish"])
def test_env_unset_keeps_what_the_user_set_since(person: Person, shell: str) -> None:
    """Other indexes and hosts, before, behind and in place of ours."""
    port = free_port()
    person.paths.config.mkdir(parents=True)
    (person.paths.config / "config.toml").write_text(f"[server]\nport = {port}\n")
    ours = f"http://127.0.0.1:{port}"
    # As after a login with the variables that an older `env --install` wrote.
    now = {
        "PIP_INDEX_URL": f"{ours}/simple/",
        "UV_DEFAULT_INDEX": "https://example.org/simple/",
        "UV_INDEX": f"a=https://example.org/ {ours}/insiders/simple/ https://example.com/",
        "no_proxy": "127.0.0.1,a",
        "SHELL": f"/bin/{shell}",
    }
    assert (
        person.run("env", "--unset", status=0, **now).stdout
        == {
            "sh": "unset PIP_INDEX_URL;\n"
            "export UV_INDEX='a=https://example.org/ https://example.com/';\n",
            "fish": "set -e PIP_INDEX_URL;\n"
            "set -gx UV_INDEX 'a=https://example.org/ https://example.com/';\n",
        }[shell]
    )
    changed = 'NO_PROXY="first,$NO_PROXY,last"'
    assign = f"set -gx {changed.replace('=', ' ')}" if shell == "fish" else f"export {changed}"
    shown = in_shell(
        person, shell, evaluated(shell), assign, evaluated(shell), evaluated(shell, "--unset"),
        "echo $NO_PROXY; echo $no_proxy",
        **PROXIED, NO_PROXY="a", no_proxy="a", SHELL=f"/bin/{shell}",
    )  # fmt: skip
    assert shown == "first,a,last\na\n"
