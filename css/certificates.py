"""Whether files hold what TLS needs: looked at when the configuration is read, not at the first connection."""

from __future__ import annotations

import ssl


def problem_with(ca_file: str = "", cert_file: str = "", key_file: str = "") -> str:
    """What is wrong with files of a section of the configuration, and what to do; empty: nothing.

    @param key_file: if there is none the certificate's file holds the key, too.
    """
    if ca_file and not _has_certificates(ca_file):
        return f"ca_file = {ca_file} holds no certificate: put PEM in it, or correct the path"
    if cert_file and not _is_pair(cert_file, key_file):
        return "cert_file and key_file hold no certificate with its key, without a passphrase: correct them"
    return ""


def _has_certificates(path: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


def _is_pair(cert_file: str, key_file: str) -> bool:
    try:
        # Nobody could type a passphrase.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert_file, key_file or None, lambda: b"none")
    except ssl.SSLError:
        return False
    return True
