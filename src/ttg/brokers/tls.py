"""TLS towards a broker, the same for each of them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from ttg.errors import SettingsError

ADVICE = "check host and port, and set TTG_CA_FILE to the certificate of the authority that signed the server's"

_REFUSALS = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE", "UNKNOWN_CA", "CERTIFICATE_UNKNOWN")
"""Alerts of a server that wants to see another certificate of ours."""


def asks_for_certificate(error: BaseException, files: Mapping[str, str]) -> str:
    """What to say of a server that does not take us without a certificate, or not with ours; empty for other errors."""
    if not isinstance(error, ssl.SSLError) or not any(alert in str(error).upper() for alert in _REFUSALS):
        return ""
    if certificate := files.get("cert_file"):
        return f"the server does not accept the certificate of {certificate} (TTG_CERT_FILE): {error}"
    return f"the server asks for a certificate that it accepts: set TTG_CERT_FILE and TTG_KEY_FILE ({error})"


def tls_context(files: Mapping[str, str]) -> ssl.SSLContext:
    """Servers are verified against ``ca_file`` (default: the system's authorities); we show ``cert_file``, if given,
    whose key is in ``key_file``. Raises ``SettingsError`` for a file that cannot be read."""
    try:
        context = ssl.create_default_context(cafile=files.get("ca_file"))
        if certificate := files.get("cert_file"):
            context.load_cert_chain(certificate, files.get("key_file"))
    except OSError as error:
        raise SettingsError(
            "expected readable PEM files for TLS (TTG_CA_FILE, TTG_CERT_FILE, TTG_KEY_FILE), "
            f"got {', '.join(files.values())}: {error}"
        ) from error
    return context
