"""Who may look and who may change: token and origin checks; headers that keep the page to itself. Pure."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

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
    """The rules of one dashboard: whoever shows ``token`` may look, for on a machine of many users loopback is
    everybody's. A foreign page that reaches it through a name of its own has no token."""

    token: str

    @classmethod
    def by(cls, token: str | None) -> Access:
        """The token is made up if none is given."""
        return cls(token or secrets.token_urlsafe(24))

    @property
    def cookie(self) -> str:
        """Its name: browsers give a host's cookies to all its ports, and several dashboards may be open."""
        return f"ttg_{hashlib.sha256(self.token.encode()).hexdigest()[:12]}"

    def refusal(self, method: str, headers: Mapping[str, str], cookies: Mapping[str, str], offered: str) -> str:
        """Why this request is refused; empty if it may pass. Header names in lower case."""
        if not self.knows(cookies, headers, offered):
            return "expected the token: open the whole link, with ?token=…, that was printed when the dashboard started"
        if method not in ("GET", "HEAD") and not _same_origin(headers, headers.get("host", "")):
            return "expected a request from this very page"
        return ""

    def knows(self, cookies: Mapping[str, str], headers: Mapping[str, str], offered: str) -> bool:
        """Whether the caller shows the token: as cookie, as bearer, or offered in the address."""
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        return any(
            hmac.compare_digest(shown.encode(), self.token.encode())
            for shown in (cookies.get(self.cookie, ""), bearer, offered)
        )


def _same_origin(headers: Mapping[str, str], host: str) -> bool:
    """Browsers send ``Origin`` with every POST; without one it is not our page."""
    return urlsplit(headers.get("origin", "")).netloc == host != ""
