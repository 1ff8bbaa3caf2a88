"""Check who has signed a tag."""

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pypi_insiders.git.command import LOCAL, TIMEOUT_S, GitSettings, attempt, in_mirror
from pypi_insiders.util import process
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import cannot, read_bytes
from pypi_insiders.util.formatting import last_line

# The last one in a tag is its signature. Source: parse_signed_buffer in git's gpg-interface.c.
_SIGNATURE = re.compile(r"^-----BEGIN (PGP|SSH|SIGNED) (?:SIGNATURE|MESSAGE)-----", re.MULTILINE)
_KINDS = {"PGP": "an OpenPGP", "SSH": "an ssh", "SIGNED": "an X.509"}
# Source: ssh-keygen(1), "ALLOWED SIGNERS"; sshd(8), "AUTHORIZED_KEYS FILE FORMAT".
_KEY_TYPE = r"(?:sk-)?(?:ssh-|ecdsa-)[a-z0-9@.-]+"
_SIGN_HINT = "`git tag --sign` makes signed ones"
_SSH_HINT = "one line a key: `PRINCIPAL KEYTYPE KEY`, such as `* ssh-ed25519 AAAA...`"
# Source: RFC 9580, section 4.2; GnuPG's kbx/keybox-blob.c.
_ARMORED = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_KEYBOX = b"KBXf"

# What gpg says of a signature. Source: GnuPG's doc/DETAILS, "General status codes".
_REASONS = {
    "NO_PUBKEY": " by a key that is not in {signers}",
    "BADSIG": ", and the signature does not fit: the tag was changed after it",
    "REVKEYSIG": " by a key that is revoked",
    "EXPKEYSIG": " by a key that has expired",
    "EXPSIG": " by a signature that has expired",
    "ERRSIG": ", and the signature cannot be checked",
}


class SignatureError(InsidersError):
    """A tag is not signed by whom it should be."""


def verify(mirror: Path, tag: str, commit: str, signers: Path) -> None:
    """Check that a tag was signed by an allowed key, under this name and for this commit.

    Only what the tag itself says counts: a lightweight tag says nothing, and the signature of its
    commit is no release.

    Args:
        mirror: what `fetch` filled.
        tag: its name.
        commit: full hash of what is to be built.
        signers: a file with ssh's allowed signers, or with public keys of OpenPGP.

    Raises:
        SignatureError: the tag is not signed by one of them; the message says why.
        InsidersError: the file cannot be read or is neither, or the program to check with is not
            there.

    Source: git-verify-tag(1); git-config(1), `gpg.ssh.allowedSignersFile`; ssh-keygen(1), "ALLOWED
    SIGNERS".
    """
    name, kind = _object_of(mirror, tag)
    if kind != "tag":
        raise SignatureError(f"tag {tag} is not signed: it is a lightweight one", _SIGN_HINT)
    content = in_mirror(mirror, "cat-file", "tag", name)
    _check_words(content, tag, commit)
    signatures = _SIGNATURE.findall(content)
    if not signatures:
        raise SignatureError(f"tag {tag} is not signed", _SIGN_HINT)
    wanted = "SSH" if _has_ssh_keys(signers) else "PGP"
    # Not whatever git supports: with keys of ssh in the file, gpg would check by the keyring of the
    # user, and trust anyone in there.
    if signatures[-1] != wanted:
        raise SignatureError(
            f"tag {tag} has {_KINDS[signatures[-1]]} signature, and {signers} has no such keys"
        )
    if wanted == "SSH":
        _verify_by_ssh(mirror, name, tag, signers)
    else:
        _verify_by_gpg(mirror, name, tag, signers)


def _object_of(mirror: Path, tag: str) -> tuple[str, str]:
    """Name the object to which a tag leads, and its type."""
    listed = in_mirror(
        mirror, "for-each-ref", "--format=%(objectname) %(objecttype) %(refname)", "refs/tags"
    )
    for line in listed.splitlines():
        name, kind, ref = line.split(" ", 2)
        if ref == f"refs/tags/{tag}":
            return name, kind
    raise SignatureError(f"tag {tag} is not there any more", "the next update looks again")


def _check_words(content: str, tag: str, commit: str) -> None:
    """Check that a tag object names this commit and itself.

    Raises:
        SignatureError: it does not.
    """
    found = re.match(r"object ([0-9a-f]+)\ntype (\w+)\ntag ([^\n]+)\n", content)
    if found is None:
        raise SignatureError(f"tag {tag} is malformed")
    # Otherwise an old one could stand under a new name. Source: git-mktag(1).
    if found[3] != tag:
        raise SignatureError(f"tag {tag} was made as {found[3]}: somebody has renamed it")
    if found[2] != "commit" or found[1] != commit:
        raise SignatureError(
            f"tag {tag} is for the {found[2]} {found[1]:.9}, not for the commit {commit:.9}"
        )


def _has_ssh_keys(signers: Path) -> bool:
    """Tell whether a file has ssh's allowed signers, or else public keys of OpenPGP.

    Raises:
        InsidersError: it cannot be read, or is neither.
    """
    try:
        content = read_bytes(signers)
    except OSError as error:
        raise cannot("read", signers, error) from error
    # 0x80 is the first bit of each packet of OpenPGP; no text in ASCII has it.
    if _ARMORED in content or content[8:12] == _KEYBOX or content[:1] >= b"\x80":
        return False
    lines = [line.strip() for line in content.decode(errors="replace").splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise InsidersError(f"{signers} has no keys", _SSH_HINT)
    for line in keys:
        # The most common mistake is the public key as it is, without a principal: ssh-keygen would
        # say that nobody matches.
        if re.match(rf"(?!{_KEY_TYPE}\s)\S+.*\s{_KEY_TYPE}\s+[A-Za-z0-9+/]", line) is None:
            raise InsidersError(f"{signers} has a line that is no allowed signer", _SSH_HINT)
    return True


def _verify_by_ssh(mirror: Path, name: str, tag: str, signers: Path) -> None:
    _need("ssh-keygen", "install OpenSSH's client")
    # A signature by any key is good, but trusted is only one that was found in the file.
    settings = _with(
        f"gpg.ssh.allowedSignersFile={signers.absolute()}",
        "gpg.minTrustLevel=fully",
        # Whatever the kind of a signature says, git can run nothing but ssh-keygen.
        "gpg.openpgp.program=false",
        "gpg.x509.program=false",
    )
    result = attempt(f"--git-dir={mirror}", "verify-tag", "--raw", name, settings=settings)
    if result.status == 0:
        return
    said = result.stderr
    # Its exit status is the same whatever is wrong.
    if "No principal matched" in said:
        raise SignatureError(f"tag {tag} is signed by a key that is not in {signers}")
    if "incorrect signature" in said or "Could not verify signature" in said:
        raise SignatureError(
            f"tag {tag} is signed, and the signature does not fit: the tag was changed after it"
        )
    raise SignatureError(f"tag {tag} is not signed by a key of {signers}: {last_line(said)}")


def _verify_by_gpg(mirror: Path, name: str, tag: str, signers: Path) -> None:
    _need("gpg", "install GnuPG")
    with _gpg_home(signers) as home:
        settings = _with(
            "gpg.ssh.program=false",
            "gpg.x509.program=false",
            environment={"GNUPGHOME": str(home)},
        )
        result = attempt(f"--git-dir={mirror}", "verify-tag", "--raw", name, settings=settings)
    if result.status == 0:
        return
    statuses = re.findall(r"^\[GNUPG:\] (\w+)", result.stderr, re.MULTILINE)
    for status, reason in _REASONS.items():
        if status in statuses:
            raise SignatureError(f"tag {tag} is signed{reason.format(signers=signers)}")
    raise SignatureError(f"tag {tag} is not signed by a key of {signers}")


@contextmanager
def _gpg_home(signers: Path) -> Iterator[Path]:
    """Make a home for gpg in which there are the signers' keys and nothing else.

    Raises:
        InsidersError: they cannot be read.

    Source: gpg(1), "OPTIONS"; `common.conf` keeps a newer gpg from starting a daemon for its keys.
    """
    with tempfile.TemporaryDirectory(prefix="pypi-insiders-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        (home / "common.conf").touch()
        # `trust-model always`: that the keys are in the file of signers is all the trust there is.
        (home / "gpg.conf").write_text("no-autostart\nno-auto-key-retrieve\ntrust-model always\n")
        # gpg cannot import a keybox, as it can armored and binary keys.
        if read_bytes(signers)[8:12] == _KEYBOX:
            shutil.copyfile(signers, home / "pubring.kbx")
        else:
            imported = process.run(
                ["gpg", "--homedir", name, "--batch", "--quiet", "--import", str(signers)],
                timeout_s=TIMEOUT_S,
            )
            if imported.status != 0:
                raise InsidersError(
                    f"{signers} has no public keys ({last_line(imported.stderr)})",
                    "`gpg --export KEY` writes such a file",
                )
        yield home


def _need(program: str, hint: str) -> None:
    if shutil.which(program) is None:
        raise InsidersError(f"{program} was not found, which checks signatures", hint)


def _with(*options: str, environment: Mapping[str, str] | None = None) -> GitSettings:
    return GitSettings((*LOCAL.options, *options), {**LOCAL.environment, **(environment or {})})
