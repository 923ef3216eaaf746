"""TLS towards a broker, the same for each of them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from ttg.errors import SettingsError

ADVICE = "check host and port, and set TTG_CA_FILE to the certificate of the authority that signed the server's"


def tls_context(files: Mapping[str, str]) -> ssl.SSLContext:
    """Servers are verified against ``ca_file`` (default: the system's authorities); we show ``cert_file``, if given,
    whose key is in ``key_file``. Raises ``SettingsError`` for a file that cannot be read."""
    try:
        context = ssl.create_default_context(cafile=files.get("ca_file"))
        if certificate := files.get("cert_file"):
            context.load_cert_chain(certificate, files.get("key_file"))
    except OSError as error:
        raise SettingsError(
            f"expected readable PEM files for TLS (TTG_CA_FILE), got {', '.join(files.values())}: {error}"
        ) from error
    return context
