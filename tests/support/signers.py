"""People with real keys, of ssh and of gpg, who sign tags."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from fixtures import need
from projects import Project, create, git


@dataclass(frozen=True)
class Signer:
    """Somebody with a key."""

    options: tuple[str, ...]
    """By which git signs with it."""
    file: Path
    """What says that it is allowed."""
    environment: dict[str, str]

    def sign(self, project: Project, tag: str) -> None:
        """Make a signed tag."""
        options = [word for option in self.options for word in ("-c", option)]
        git(
            project.tree, *options, "tag", "--force", "--sign", "--message", tag, tag,
            **self.environment,
        )  # fmt: skip


def ssh_signer(directory: Path, name: str) -> Signer:
    """Make a key of ssh."""
    key, signers = directory / name, directory / f"{name}.signers"
    subprocess.run([need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    signers.write_text(f'# who may\n\n* namespaces="git" {Path(f"{key}.pub").read_text()}')
    return Signer(("gpg.format=ssh", f"user.signingKey={key}.pub"), signers, {})


def gpg(home: Path, *arguments: str | Path) -> None:
    """Run gpg in a home of its own."""
    subprocess.run(
        [need("gpg"), "--homedir", home, "--batch", "--quiet", *arguments],
        check=True, capture_output=True,
    )  # fmt: skip


@contextmanager
def _agents() -> Iterator[list[Path]]:
    homes: list[Path] = []
    program = need("gpgconf")
    yield homes
    for home in homes:
        subprocess.run([program, "--homedir", home, "--kill", "all"], check=True)


@pytest.fixture
def gpg_homes() -> Iterator[list[Path]]:
    """The homes of gpg that a test has made; their agents end with it."""
    with _agents() as homes:
        yield homes


def gpg_signer(
    directory: Path, homes: list[Path], name: str, *, is_expired: bool = False
) -> Signer:
    """Make a key of OpenPGP."""
    # Hours later: a key that took long would be newer than what it signs.
    times = ("20200101T000000", "20200101T120000")
    made_at, signs_at = (("--faked-system-time", it) if is_expired else () for it in times)
    home = directory / f"{name}.gnupg"
    home.mkdir(mode=0o700)
    homes.append(home)
    gpg(
        home, *made_at, "--passphrase", "", "--quick-gen-key", f"{name}@example.org",
        "ed25519", "sign", "1d" if is_expired else "never",
    )  # fmt: skip
    program = directory / f"{name}-gpg"
    program.write_text(f'#!/bin/sh\nexec gpg {" ".join(signs_at)} "$@"\n')
    program.chmod(0o755)
    keys = directory / f"{name}.keys"
    gpg(home, "--output", keys, "--export")
    options = (f"user.signingKey={name}@example.org", f"gpg.program={program}")
    return Signer(options, keys, {"GNUPGHOME": str(home)})


@pytest.fixture(scope="session", params=["ssh", "gpg"])
def signers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Signer, Signer]]:
    """Somebody who is allowed, and somebody else, with keys of the same kind."""
    directory = tmp_path_factory.mktemp("signers")
    if request.param == "ssh":
        yield ssh_signer(directory, "ann"), ssh_signer(directory, "bob")
        return
    with _agents() as homes:
        yield gpg_signer(directory, homes, "ann"), gpg_signer(directory, homes, "bob")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with two commits, the first of which has the lightweight tag `v0.1`."""
    project = create(tmp_path, "probe")
    project.release("0.1", annotated=False)
    project.release("0.2", annotated=False)
    return project
