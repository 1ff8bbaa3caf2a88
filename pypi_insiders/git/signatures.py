"""Verify signatures of tags."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pypi_insiders.git.command import LOCAL, TIMEOUT_S, attempt, in_mirror
from pypi_insiders.util import process
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import cannot, read_bytes
from pypi_insiders.util.formatting import last_line

# The last match in a tag is its signature. Source: parse_signed_buffer in git's gpg-interface.c.
_SIGNATURE = re.compile(r"^-----BEGIN (PGP|SSH|SIGNED) (?:SIGNATURE|MESSAGE)-----", re.MULTILINE)
_KINDS = {"PGP": "an OpenPGP", "SSH": "an ssh", "SIGNED": "an X.509"}
# Source: ssh-keygen(1), "ALLOWED SIGNERS"; sshd(8), "AUTHORIZED_KEYS FILE FORMAT".
_KEY_TYPE = r"(?:sk-)?(?:ssh-|ecdsa-)[a-z0-9@.-]+"
_SIGN_HINT = "`git tag --sign` creates signed tags"
_SSH_HINT = "write one key per line: `PRINCIPAL KEYTYPE KEY`, such as `* ssh-ed25519 AAAA...`"
# Source: RFC 9580, section 4.2; GnuPG's kbx/keybox-blob.c.
_ARMORED = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_KEYBOX = b"KBXf"

# Status codes of gpg. Source: GnuPG's doc/DETAILS, "General status codes".
_REASONS = {
    "NO_PUBKEY": " by a key that is not in {signers}",
    "BADSIG": ", but the signature is invalid: the tag was changed after signing",
    "REVKEYSIG": " by a revoked key",
    "EXPKEYSIG": " by an expired key",
    "EXPSIG": " with an expired signature",
    "ERRSIG": ", but the signature cannot be verified",
}


class SignatureError(InsidersError):
    """A tag is not signed by an allowed key."""


def verify(mirror: Path, tag: str, commit: str, signers: Path) -> None:
    """Require that a tag is signed by an allowed key, with this name and for this commit.

    Args:
        mirror: a mirror filled by `fetch`.
        tag: its name.
        commit: full hash of the commit to build.
        signers: a file with ssh's allowed signers, or with public keys of OpenPGP.

    Raises:
        SignatureError: the tag is not signed by an allowed key.
        InsidersError: the file cannot be read or has another format, or ssh-keygen or gpg is
            missing.

    Source: git-verify-tag(1); git-config(1), `gpg.ssh.allowedSignersFile`; ssh-keygen(1), "ALLOWED
    SIGNERS".
    """
    name, kind = _object_of(mirror, tag)
    if kind != "tag":
        # The signature of its commit does not count: many commits are signed that are no release.
        raise SignatureError(f"tag {tag} is not signed: it is a lightweight tag", _SIGN_HINT)
    content = in_mirror(mirror, "cat-file", "tag", name)
    _check_words(content, tag, commit)
    signatures = _SIGNATURE.findall(content)
    if not signatures:
        raise SignatureError(f"tag {tag} is not signed", _SIGN_HINT)
    wanted = "SSH" if _has_ssh_keys(signers) else "PGP"
    # Only the kind of the keys in the file: an OpenPGP signature, for example, would be verified
    # with the user's keyring, and any key in it would be trusted.
    if signatures[-1] != wanted:
        raise SignatureError(
            f"tag {tag} has {_KINDS[signatures[-1]]} signature, but {signers} has no such keys"
        )
    if wanted == "SSH":
        _verify_by_ssh(mirror, name, tag, signers)
    else:
        _verify_by_gpg(mirror, name, tag, signers)


def _object_of(mirror: Path, tag: str) -> tuple[str, str]:
    """Return the object of a tag and its type."""
    listed = in_mirror(
        mirror, "for-each-ref", "--format=%(objectname) %(objecttype) %(refname)", "refs/tags"
    )
    for line in listed.splitlines():
        name, kind, ref = line.split(" ", 2)
        if ref == f"refs/tags/{tag}":
            return name, kind
    raise SignatureError(f"tag {tag} not found", "the next update tries again")


def _check_words(content: str, tag: str, commit: str) -> None:
    """Require that a tag object has this name and this commit.

    Raises:
        SignatureError: it has another name or another object.
    """
    found = re.match(r"object ([0-9a-f]+)\ntype (\w+)\ntag ([^\n]+)\n", content)
    if found is None:
        raise SignatureError(f"tag {tag} is malformed")
    # A signed old release could be offered under the name of a new one. Source: git-mktag(1).
    if found[3] != tag:
        raise SignatureError(f"tag {tag} was signed as {found[3]}, and has been renamed")
    if found[2] != "commit" or found[1] != commit:
        raise SignatureError(
            f"tag {tag} is signed for {found[2]} {found[1]:.9}, not for commit {commit:.9}"
        )


def _has_ssh_keys(signers: Path) -> bool:
    """Return whether a file has ssh's allowed signers; `False` for public keys of OpenPGP.

    Raises:
        InsidersError: it cannot be read, or has another format.
    """
    try:
        content = read_bytes(signers)
    except OSError as error:
        raise cannot("read", signers, error) from error
    # Every packet of OpenPGP starts with the bit 0x80, which ASCII text never has.
    if _ARMORED in content or content[8:12] == _KEYBOX or content[:1] >= b"\x80":
        return False
    lines = [line.strip() for line in content.decode(errors="replace").splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise InsidersError(f"{signers} has no keys", _SSH_HINT)
    for line in keys:
        # The usual mistake is a public key without a principal, for which ssh-keygen would only
        # report that no principal matches.
        if re.match(rf"(?!{_KEY_TYPE}\s)\S+.*\s{_KEY_TYPE}\s+[A-Za-z0-9+/]", line) is None:
            raise InsidersError(f"{signers} has a malformed line", _SSH_HINT)
    return True


def _verify_by_ssh(mirror: Path, name: str, tag: str, signers: Path) -> None:
    _need("ssh-keygen", "install OpenSSH's client")
    # By default git accepts a valid signature of any key; `fully` requires a key of the file.
    settings = LOCAL.adding(
        {},
        f"gpg.ssh.allowedSignersFile={signers.absolute()}",
        "gpg.minTrustLevel=fully",
        # Git chooses the program by the kind of the signature; only ssh-keygen may run.
        "gpg.openpgp.program=false",
        "gpg.x509.program=false",
    )
    result = attempt(f"--git-dir={mirror}", "verify-tag", "--raw", name, settings=settings)
    if result.status == 0:
        return
    errors = result.stderr
    # By its messages: the exit status of ssh-keygen is the same for all of these.
    if "No principal matched" in errors:
        raise SignatureError(f"tag {tag} is signed by a key that is not in {signers}")
    if "incorrect signature" in errors or "Could not verify signature" in errors:
        raise SignatureError(
            f"tag {tag} is signed, but the signature is invalid: the tag was changed after signing"
        )
    raise SignatureError(f"tag {tag} is not signed by a key in {signers}: {last_line(errors)}")


def _verify_by_gpg(mirror: Path, name: str, tag: str, signers: Path) -> None:
    _need("gpg", "install GnuPG")
    with _gpg_home(signers) as home:
        settings = LOCAL.adding(
            {"GNUPGHOME": str(home)}, "gpg.ssh.program=false", "gpg.x509.program=false"
        )
        result = attempt(f"--git-dir={mirror}", "verify-tag", "--raw", name, settings=settings)
    statuses = re.findall(r"^\[GNUPG:\] (\w+)", result.stderr, re.MULTILINE)
    # Also after success: git since 2.54 accepts a key that expired after it had signed.
    for status, reason in _REASONS.items():
        if status in statuses:
            raise SignatureError(f"tag {tag} is signed{reason.format(signers=signers)}")
    if result.status == 0:
        return
    raise SignatureError(f"tag {tag} is not signed by a key in {signers}")


@contextmanager
def _gpg_home(signers: Path) -> Iterator[Path]:
    """Create a home directory of gpg with only the signers' keys.

    Raises:
        InsidersError: the keys cannot be read.

    Source: gpg(1), "OPTIONS".
    """
    # Not the user's home: any key in its keyring could have signed.
    with tempfile.TemporaryDirectory(prefix="pypi-insiders-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        # Without this file a newer gpg starts keyboxd, which would outlive the directory.
        (home / "common.conf").touch()
        # `trust-model always`: a key in the file of signers is trusted, without a web of trust.
        (home / "gpg.conf").write_text("no-autostart\nno-auto-key-retrieve\ntrust-model always\n")
        # A keybox is copied, because gpg imports only armored and binary keys.
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
                    "create the file with `gpg --export KEY`",
                )
        yield home


def _need(program: str, hint: str) -> None:
    if shutil.which(program) is None:
        raise InsidersError(f"{program}, which verifies signatures, was not found", hint)
