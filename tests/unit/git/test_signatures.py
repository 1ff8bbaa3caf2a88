"""remotes.verify: tags that are signed by real keys, of ssh and of gpg."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from fixtures import need
from projects import Project, git
from signers import Signer, gpg, gpg_homes, gpg_signer, project, signers, ssh_signer

from pypi_insiders import git as remotes
from pypi_insiders.git import SignatureError
from pypi_insiders.util.errors import InsidersError

__all__ = ["gpg_homes", "project", "signers"]

pytestmark = pytest.mark.usefixtures("gitconfig")


@dataclass(frozen=True)
class Checked:
    """What came of checking a tag."""

    project: Project
    mirror: Path

    def complaint(self, tag: str, signers: Path, commit: str = "HEAD") -> str | None:
        """Say why a tag of the project is refused; `None` if it is not."""
        self.project.send()
        remotes.fetch(self.project.url, self.mirror)
        commit = git(self.project.tree, "rev-parse", commit)
        try:
            remotes.verify(self.mirror, tag, commit, signers)
        except SignatureError as error:
            return error.message
        return None


@pytest.fixture
def checked(project: Project, tmp_path: Path) -> Checked:
    """The checks of this project."""
    return Checked(project, tmp_path / "mirror.git")


def retag(project: Project, tag: str, change: tuple[str, str], source: str) -> None:
    """Make a tag from the object of another one, with something changed in it."""
    path = project.tree / ".git/changed"
    content = subprocess.run(
        ["git", "cat-file", "tag", source], cwd=project.tree, capture_output=True, text=True
    ).stdout
    assert change[0] in content
    path.write_text(content.replace(*change))
    name = git(project.tree, "hash-object", "-t", "tag", "-w", str(path))
    git(project.tree, "update-ref", f"refs/tags/{tag}", name)


def test_the_message_of_a_signed_tag_is_without_its_signature(
    project: Project, checked: Checked, signers: tuple[Signer, Signer]
) -> None:
    tags = ["v0.1", "v0.2"]
    for tag, signer in zip(tags, signers, strict=True):
        signer.sign(project, tag)
    checked.complaint("v0.1", signers[0].file)
    assert [remotes.tag_message(checked.mirror, tag) for tag in tags] == tags


def test_a_tag_by_an_allowed_key_passes(
    project: Project, checked: Checked, signers: tuple[Signer, Signer]
) -> None:
    """And one by another key does not."""
    ann, bob = signers
    ann.sign(project, "v1.0")
    bob.sign(project, "v1.1")
    assert checked.complaint("v1.0", ann.file) is None
    assert checked.complaint("v1.1", ann.file) == (
        f"tag v1.1 is signed by a key that is not in {ann.file}"
    )
    assert checked.complaint("v1.0", bob.file) == (
        f"tag v1.0 is signed by a key that is not in {bob.file}"
    )


def test_a_tag_without_a_signature_does_not_pass(
    project: Project, checked: Checked, signers: tuple[Signer, Signer]
) -> None:
    """Neither an annotated one nor a lightweight one, even if its commit is signed."""
    ann, _ = signers
    git(project.tree, "tag", "--annotate", "--message", "v1.0", "v1.0")
    options = [word for option in ann.options for word in ("-c", option)]
    git(
        project.tree, *options, "commit", "--quiet", "--allow-empty", "--gpg-sign",
        "--message", "signed", **ann.environment,
    )  # fmt: skip
    git(project.tree, "tag", "v1.1")
    assert checked.complaint("v1.0", ann.file, "v1.0^{commit}") == "tag v1.0 is not signed"
    assert checked.complaint("v1.1", ann.file) == (
        "tag v1.1 is not signed: it is a lightweight tag"
    )
    assert checked.complaint("v9", ann.file) == "tag v9 not found"


def test_a_signature_is_for_one_name_and_one_commit(
    project: Project, checked: Checked, signers: tuple[Signer, Signer]
) -> None:
    """A signed old release cannot be presented as a new one."""
    ann, _ = signers
    ann.sign(project, "v1.0")
    git(project.tree, "update-ref", "refs/tags/v2.0", git(project.tree, "rev-parse", "v1.0"))
    assert checked.complaint("v2.0", ann.file) == (
        "tag v2.0 was signed as v1.0, and has been renamed"
    )
    head, old = (git(project.tree, "rev-parse", name)[:9] for name in ("HEAD", "v0.1"))
    assert checked.complaint("v1.0", ann.file, "v0.1") == (
        f"tag v1.0 is signed for commit {head}, not for commit {old}"
    )


def test_a_tag_that_was_changed_does_not_pass(
    project: Project, checked: Checked, signers: tuple[Signer, Signer]
) -> None:
    """Neither another name, nor another commit, nor another message."""
    ann, _ = signers
    ann.sign(project, "v1.0")
    head, old = (git(project.tree, "rev-parse", name) for name in ("HEAD", "v0.1"))
    retag(project, "v2.0", ("tag v1.0", "tag v2.0"), "v1.0")
    retag(project, "v1.0", (head, old), "v1.0")
    for tag, commit in (("v2.0", "HEAD"), ("v1.0", "v0.1")):
        assert checked.complaint(tag, ann.file, commit) == (
            f"tag {tag} is signed, but the signature is invalid: the tag was changed after signing"
        )


def test_a_signature_of_the_other_kind_does_not_pass(
    project: Project, checked: Checked, tmp_path: Path, gpg_homes: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Even if it is good and the person's own gpg trusts it, and another stands before it."""
    by_ssh, by_gpg = ssh_signer(tmp_path, "ann"), gpg_signer(tmp_path, gpg_homes, "bob")
    monkeypatch.setenv("GNUPGHOME", by_gpg.environment["GNUPGHOME"])
    by_gpg.sign(project, "v1.0")
    by_ssh.sign(project, "v1.1")
    assert checked.complaint("v1.0", by_ssh.file) == (
        f"tag v1.0 has an OpenPGP signature, but {by_ssh.file} has no such keys"
    )
    assert checked.complaint("v1.1", by_gpg.file) == (
        f"tag v1.1 has an ssh signature, but {by_gpg.file} has no such keys"
    )
    options = [word for option in by_gpg.options for word in ("-c", option)]
    message = "v1.2\n\n-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----"
    git(project.tree, *options, "tag", "--sign", "--message", message, "v1.2")
    assert checked.complaint("v1.2", by_ssh.file) == (
        f"tag v1.2 has an OpenPGP signature, but {by_ssh.file} has no such keys"
    )


def test_keys_of_openpgp_may_be_armored_or_a_keybox(
    project: Project, checked: Checked, tmp_path: Path, gpg_homes: list[Path]
) -> None:
    """As `gpg --export --armor` writes them, and as gpg itself keeps them."""
    ann = gpg_signer(tmp_path, gpg_homes, "ann")
    ann.sign(project, "v1.0")
    armored = tmp_path / "armored"
    home = Path(ann.environment["GNUPGHOME"])
    gpg(home, "--armor", "--output", armored, "--export")
    assert checked.complaint("v1.0", armored) is None
    if (home / "pubring.kbx").exists():
        assert checked.complaint("v1.0", home / "pubring.kbx") is None


def test_an_expired_key_does_not_pass(
    project: Project, checked: Checked, tmp_path: Path, gpg_homes: list[Path]
) -> None:
    """It could have been stolen since."""
    ann = gpg_signer(tmp_path, gpg_homes, "ann", is_expired=True)
    ann.sign(project, "v1.0")
    assert checked.complaint("v1.0", ann.file) == "tag v1.0 is signed by an expired key"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "FILE has no keys; write one key per line: "),
        (b"# nobody\n", "FILE has no keys; write one key per line: "),
        (b"hello\n", "FILE has a malformed line; write one key per line: "),
        (b"ssh-ed25519 AAAA me\n", "FILE has a malformed line; write one key per line: "),
        (b"\x99nonsense", "FILE has no public keys (gpg: "),
        (None, "cannot read FILE: No such file or directory; None"),
    ],
)
def test_a_file_without_keys_is_said(
    checked: Checked, gpg_homes: list[Path], tmp_path: Path, content: bytes | None, message: str
) -> None:
    """It is no fault of the tag."""
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    gpg_signer(tmp_path, gpg_homes, "ann").sign(checked.project, "v1.0")
    with pytest.raises(InsidersError) as caught:
        checked.complaint("v1.0", file)
    said = f"{caught.value.message}; {caught.value.hint}"
    assert said.startswith(message.replace("FILE", str(file)))


def test_without_the_program_that_checks_it_is_said(
    checked: Checked, signers: tuple[Signer, Signer], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Nothing passes then."""
    ann, _ = signers
    ann.sign(checked.project, "v1.0")
    assert checked.complaint("v1.0", ann.file) is None
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "git").symlink_to(need("git"))
    monkeypatch.setenv("PATH", str(programs))
    commit = git(checked.project.tree, "rev-parse", "HEAD")
    with pytest.raises(
        InsidersError, match=r"^(gpg|ssh-keygen), which verifies signatures, was not"
    ):
        remotes.verify(checked.mirror, "v1.0", commit, ann.file)
