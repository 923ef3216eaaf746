"""A certificate authority of the tests' own, and a certificate for this machine's loopback address, made by openssl."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

AUTHORITY = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=TTG test authority")
REQUEST = ("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost")
NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1\n"


def can_be_made() -> bool:
    """Whether there is an openssl on this machine."""
    return shutil.which("openssl") is not None


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the authority's certificate, and a server's certificate signed by it with its key."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        """New ones in ``folder``."""
        made = cls(folder / "authority.pem", folder / "server.pem", folder / "server.key")
        authority_key, request, names = folder / "authority.key", folder / "server.csr", folder / "names"
        names.write_text(NAMES)
        signing = ("x509", "-req", "-days", "2", "-CAcreateserial", "-extfile", names)
        _openssl(*AUTHORITY, "-keyout", authority_key, "-out", made.authority)
        _openssl(*REQUEST, "-keyout", made.key, "-out", request)
        _openssl(*signing, "-in", request, "-CA", made.authority, "-CAkey", authority_key, "-out", made.certificate)
        return made


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
