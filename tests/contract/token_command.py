"""Prints a login of RabbitMQ's OAuth 2 plugin: a token that is good for SECONDS, and says so unless it is told not to.

python token_command.py KEY SECONDS [quiet]
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import sys
import time


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(key: str, expires: int) -> str:
    rights = [f"rabbitmq.{verb}:*/*" for verb in ("configure", "write", "read")]
    claims = {"aud": ["rabbitmq"], "scope": rights, "sub": "token", "client_id": "token", "exp": expires}
    parts = ({"alg": "HS256", "typ": "JWT", "kid": "k"}, claims)
    signed = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    secret = base64.urlsafe_b64decode(key)
    return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


if __name__ == "__main__":
    key, seconds, *quiet = sys.argv[1:]
    login = {"username": "token", "password": token(key, math.ceil(time.time() + float(seconds)))}
    print(json.dumps(login if quiet else {**login, "expires_in": float(seconds)}))
