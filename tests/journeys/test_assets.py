"""Wheels for other systems: from the release on the forge, by the watcher, to pip and uv."""

from pathlib import Path

import wheels
from machine import Machine
from projects import create
from releases import MakeReleases, make_releases
from units import port

__all__ = ["make_releases", "port"]  # fixtures

TOKEN = "tok-2718281828"
MAC, WINDOWS = "cp312-cp312-macosx_11_0_arm64", "cp312-cp312-win_amd64"


def test_wheels_of_other_systems_reach_their_installers(
    machine: Machine, tmp_path: Path, make_releases: MakeReleases, port: int
) -> None:
    """Fetched by the unit, with its credential, which neither the log nor the storage sees."""
    releases = make_releases("gitlab", TOKEN)
    create(tmp_path, "probe", "me/probe").release("1.0")
    made = [wheels.wheel(tmp_path / "made", "probe", "1.0", tag=tag) for tag in (MAC, WINDOWS)]
    releases.add("v1.0", *made)
    trusted = tmp_path / "trusted.pem"
    machine.write_text(".config/pypi-insiders/config.toml", f"[server]\nport = {port}\n")
    machine.write_text(
        ".config/pypi-insiders/repos.toml",
        f'["me/probe"]\nproject = "probe"\nurl = "{releases.url}"\nassets = "only"\n'
        'forge = "gitlab"\ntoken-credential = "forge"\n',
    )
    machine.write_text("secrets/forge", f"{TOKEN}\n", mode=0o600)
    machine.write_text(
        ".config/systemd/user/pypi-insiders-watcher.service.d/override.conf",
        f"[Service]\nLoadCredential=forge:{machine.home}/secrets/forge\n"
        f"Environment=GIT_SSL_CAINFO={trusted} SSL_CERT_FILE={trusted}\n",
    )
    machine.run("pypi-insiders", "watcher", "start")
    machine.wait_for_journal(r"published probe-1.0-")
    machine.run("pypi-insiders", "server", "start")
    index = f"http://127.0.0.1:{port}/insiders/simple/"
    machine.write_text("wanted.in", "probe\n")
    for system, wheel in (("aarch64-apple-darwin", made[0]), ("windows", made[1])):
        locked = machine.run(
            "uv", "pip", "compile", "--quiet", "--no-cache", "--format", "pylock.toml",
            "--python-version", "3.12", "--python-platform", system, "--only-binary", ":all:",
            "--default-index", index, "--output-file", "pylock.toml", "wanted.in",
        )  # fmt: skip
        assert wheel.name in machine.read_text("pylock.toml"), locked.stdout
    refused = machine.run(
        "uv", "pip", "compile", "--no-cache", "--python-version", "3.12", "--only-binary", ":all:",
        "--python-platform", "linux", "--default-index", index, "wanted.in", check=False,
    )  # fmt: skip
    assert "has no wheels with a matching platform tag" in refused.stderr
    machine.run(
        "pip", "download", "--quiet", "--no-deps", "--index-url", index, "--only-binary", ":all:",
        "--platform", "win_amd64", "--python-version", "3.12", "--dest", "got", "probe",
    )  # fmt: skip
    assert machine.run("ls", "got").stdout.split() == [made[1].name]
    assert TOKEN not in machine.journal()
    assert set(releases.foreign) == {None}
