"""Why a connection did not come about, in words that name a setting."""

CAUSES = (
    ("certificate has expired", "its certificate has expired"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not signed by FLYWHEEL_TLS_CA"),
    ("Hostname Verification", "its certificate is not for this host name; make one that names it (subjectAltName)"),
    ("WRONG_VERSION_NUMBER", "it speaks no TLS, and FLYWHEEL_TLS_… is set here"),
    ("Tls handshake failed", "the TLS handshake failed"),
)
"""gRPC's words for it, and ours; the first that fits counts."""
CLOSED = "it closed the connection; it may want TLS (FLYWHEEL_TLS_CA) and a certificate of ours (FLYWHEEL_TLS_CERT)"


def cause(message: str) -> str:
    """From the text of an UNAVAILABLE; empty when it says nothing about TLS."""
    for sign, words in CAUSES:
        if sign in message:
            return words
    return CLOSED if "failed to connect" in message and "Socket closed" in message else ""
