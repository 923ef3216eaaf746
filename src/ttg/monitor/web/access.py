"""Who may look and who may change: token, host and origin checks; headers that keep the page to itself. Pure."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

COOKIE = "ttg_token"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one dashboard. ``token`` is empty only on loopback, where instead the ``Host`` must be loopback too
    (so that a foreign page cannot reach it through a name of its own)."""

    host: str
    token: str

    @classmethod
    def to(cls, host: str, token: str | None) -> Access:
        """Loopback needs no token; any other address gets one, made up if none is given."""
        if token or host in LOOPBACK:
            return cls(host, token or "")
        return cls(host, secrets.token_urlsafe(24))

    def refusal(self, method: str, headers: Mapping[str, str], cookies: Mapping[str, str], offered: str) -> str:
        """Why this request is refused; empty if it may pass. Header names in lower case."""
        host = headers.get("host", "")
        if not self.token and _name(host) not in LOOPBACK:
            return "expected to be asked for by a loopback name, such as 127.0.0.1"
        if self.token and not self.knows(cookies, headers, offered):
            return "expected the token that was printed when the dashboard started: open /?token=…"
        if method not in ("GET", "HEAD") and not _same_origin(headers, host):
            return "expected a request from this very page"
        return ""

    def knows(self, cookies: Mapping[str, str], headers: Mapping[str, str], offered: str) -> bool:
        """Whether the caller shows the token: as cookie, as bearer, or offered in the address."""
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        return any(
            hmac.compare_digest(shown.encode(), self.token.encode())
            for shown in (cookies.get(COOKIE, ""), bearer, offered)
        )


def _same_origin(headers: Mapping[str, str], host: str) -> bool:
    """Browsers send ``Origin`` with every POST; without one it is not our page."""
    return urlsplit(headers.get("origin", "")).netloc == host != ""


def _name(host: str) -> str:
    """``[::1]:8000`` is ``::1``."""
    return urlsplit(f"//{host}").hostname or ""
