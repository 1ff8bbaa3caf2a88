"""What messages about TLS mean, of curl with GnuTLS and OpenSSL."""

from pypi_insiders.git.errors import Meaning
from pypi_insiders.util.errors import InsidersError

# The first match counts: the exact reasons come before the words that are in all of them.
TLS_MEANINGS = (
    Meaning(
        # Of OpenSSL, NSS, and GnuTLS with curl 8.
        r"[Cc]ertificate has expired|certificate expired",
        InsidersError,
        "the host's certificate has expired",
        "ask the host's owner to renew it, and check the clock of this machine: `date`",
    ),
    Meaning(
        r"certificate is not yet (?:valid|activated)|certificate is not yet",
        InsidersError,
        "the host's certificate is not valid yet",
        "check the clock of this machine: `date`",
    ),
    Meaning(
        # Of GnuTLS, then of OpenSSL.
        r"does not match target|no alternative certificate subject name",
        InsidersError,
        "the host's certificate is of another host",
        "check the name of the host in {url}",
    ),
    Meaning(
        r"http\.pinnedPubkey",
        InsidersError,
        "the host's key is not the pinned one",
        "check `http.pinnedPubkey` of git",
    ),
    Meaning(
        # GnuTLS with curl 7 does not say whether it has expired or is not trusted.
        r"SSL certificate|[Cc]ertificate verification failed|server verification failed"
        r"|[Cc]ertificate issuer is not recognized|signer not (?:trusted|found)",
        InsidersError,
        "the host's certificate is not trusted, or has expired",
        "set the certificate of its authority: `git config --global {ca_setting} FILE`",
    ),
    Meaning(
        # Of OpenSSL and GnuTLS, as where plain HTTP answers.
        r"wrong version number|unexpected TLS packet|record layer failure",
        InsidersError,
        "the host does not answer with TLS at this port",
        "check scheme and port of {url}",
    ),
    Meaning(
        r"unsafe legacy renegotiation|unsupported protocol|key too small|protocol version",
        InsidersError,
        "the host supports only outdated TLS",
        "ask the host's owner to update it",
    ),
)
