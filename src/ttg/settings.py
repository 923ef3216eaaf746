"""The one place that reads the environment. Everything else takes typed values.

=========================== ==================== ==========================================================
variable                    default              meaning
=========================== ==================== ==========================================================
``TTG_BROKER``              –                    broker URL; ``--broker`` overrides it
``QUEUE_BACKEND``           –                    ``redis`` or ``rabbitmq``: use the variables below
``REDIS_HOST``              ``localhost``        also ``REDIS_PORT`` (6379), ``REDIS_PASSWORD``, ``REDIS_DB`` (0)
``RABBITMQ_HOST``           ``localhost``        also ``RABBITMQ_PORT`` (5672), ``RABBITMQ_VHOST`` (``/``)
``RABBITMQ_USER``           – (required)         and ``RABBITMQ_PASSWORD``; there is no default account
``RABBITMQ_MAX_RETRIES``    3                    also ``TTG_MAX_RETRIES``, for either broker
``RABBITMQ_RETRY_DELAY_MS`` 5000                 also ``TTG_RETRY_DELAY_MS``, for either broker
``RABBITMQ_QUEUE_TYPE``     ``quorum``           or ``classic``
``TTG_NAMESPACE``           ``ttg``              prefix of every queue, stream and key
``TTG_LEASE_SECONDS``       15                   how long a silent worker keeps its tasks
``TTG_CA_FILE``             –                    CA bundle for ``rediss://`` and ``amqps://``
``TTG_CERT_FILE``           –                    our certificate, for servers that ask for one; also ``TTG_KEY_FILE``
``TTG_CREDENTIALS_COMMAND`` –                    what prints user and password, see :mod:`ttg.brokers.credentials`
``TTG_SECRET``              –                    shared secret that signs functions sent through a broker
``TTG_STORE``               –                    where large results and inputs pass; ``--store`` overrides it
``TTG_LABELS``              –                    what workers here have: ``gpu,mem=large``; see ``--label``
``TTG_HOME``                ``~/.local/state/ttg`` where runs are registered
``TTG_RUN_IDENTITY``        – (made up)          identity of a new run, for whoever starts one and may start it again
``LOG_LEVEL``               ``INFO``             also ``LOG_FORMAT``: ``text`` or ``json``
=========================== ==================== ==========================================================

``OTEL_EXPORTER_OTLP_ENDPOINT`` is where dashboards and metrics servers send traces, if anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from ttg import units
from ttg.brokers.base import BrokerConfig, backend_of
from ttg.errors import SettingsError
from ttg.spec import RetryPolicy

T = TypeVar("T")

BACKENDS = ("redis", "rabbitmq")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says, parsed and checked. ``broker_url`` is ``None`` when it names no broker."""

    broker_url: str | None = field(repr=False)
    namespace: str
    lease_seconds: float
    queue_type: str
    retry: RetryPolicy
    tls_files: dict[str, str]
    credentials_command: str = field(repr=False)
    secret: str | None = field(repr=False)
    home: Path
    store: str | None
    labels: tuple[str, ...]
    run_identity: str | None
    otlp_endpoint: str | None
    log_level: str
    log_format: str

    def broker_config(self, url: str, *, retry_delay_ms: int | None = None) -> BrokerConfig:
        """The typed configuration for the broker at ``url``; a URL that cannot be one is a :class:`SettingsError`."""
        return BrokerConfig(
            url=check_url(url),
            namespace=self.namespace,
            lease_seconds=self.lease_seconds,
            retry_delay_ms=self.retry.delay_ms if retry_delay_ms is None else retry_delay_ms,
            queue_type=self.queue_type,
            tls=self.tls_files,
            credentials_command=self.credentials_command,
        )


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from ``environment`` (default: the process's own)."""
    env = os.environ if environment is None else environment
    return Settings(
        broker_url=_broker_url(env),
        namespace=env.get("TTG_NAMESPACE") or "ttg",
        lease_seconds=_number(env, "TTG_LEASE_SECONDS", 15.0, least=1.0),
        queue_type=_choice(env, "RABBITMQ_QUEUE_TYPE", ("quorum", "classic")),
        retry=_retry(env),
        tls_files=_tls_files(env),
        credentials_command=_credentials_command(env),
        secret=env.get("TTG_SECRET") or None,
        home=_home(env),
        store=_read(env, "TTG_STORE", units.place, None),
        labels=_read(env, "TTG_LABELS", units.labels, ()),
        run_identity=env.get("TTG_RUN_IDENTITY") or None,
        otlp_endpoint=env.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None,
        log_level=_choice(env, "LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR")),
        log_format=_choice(env, "LOG_FORMAT", ("text", "json")),
    )


def _read(env: Mapping[str, str], name: str, read: Callable[[str], T], default: T) -> T:
    try:
        return read(env[name]) if env.get(name) else default
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None


def check_url(url: str) -> str:
    """``url`` itself if its scheme is one of ours."""
    backend_of(url)
    return url


def check_command(text: str) -> str:
    """``text`` itself if it can be split into words as a shell would. ``ValueError`` otherwise."""
    import shlex

    if not shlex.split(text):
        raise ValueError("expected a command, got nothing")
    return text


def named_brokers(env: Mapping[str, str]) -> dict[str, str]:
    """The brokers that ``env`` names by address, by kind (``redis``, ``rabbitmq``): nothing is guessed."""
    named = {}
    if env.get("REDIS_HOST"):
        named["redis"] = _redis_url(env)
    if env.get("RABBITMQ_HOST"):
        named["rabbitmq"] = _rabbitmq_url(env)
    if url := env.get("TTG_BROKER"):
        named[backend_of(url)] = url
    return named


def _broker_url(env: Mapping[str, str]) -> str | None:
    if url := env.get("TTG_BROKER"):
        try:
            return check_url(url)
        except SettingsError as error:
            raise SettingsError(f"TTG_BROKER: {error}") from None
    backend = env.get("QUEUE_BACKEND")
    if not backend:
        return None
    if backend not in BACKENDS:
        raise SettingsError(f"QUEUE_BACKEND: expected redis or rabbitmq, got {backend!r}")
    return _redis_url(env) if backend == "redis" else _rabbitmq_url(env)


def _redis_url(env: Mapping[str, str]) -> str:
    user, password = env.get("REDIS_USER", ""), env.get("REDIS_PASSWORD", "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if password else ""
    port = int(_number(env, "REDIS_PORT", 6379, least=1))
    return f"redis://{login}{env.get('REDIS_HOST') or 'localhost'}:{port}/{env.get('REDIS_DB') or '0'}"


def _rabbitmq_url(env: Mapping[str, str]) -> str:
    user, password = env.get("RABBITMQ_USER", ""), env.get("RABBITMQ_PASSWORD", "")
    if not (user and password) and not env.get("TTG_CREDENTIALS_COMMAND"):
        raise SettingsError(
            "QUEUE_BACKEND=rabbitmq needs RABBITMQ_USER and RABBITMQ_PASSWORD: set both to an account of your broker, "
            "or TTG_CREDENTIALS_COMMAND to what prints them"
        )
    port = int(_number(env, "RABBITMQ_PORT", 5672, least=1))
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    vhost = quote(env.get("RABBITMQ_VHOST") or "/", safe="")
    return f"amqp://{login}@{env.get('RABBITMQ_HOST') or 'localhost'}:{port}/{vhost}"


def _retry(env: Mapping[str, str]) -> RetryPolicy:
    retries = "TTG_MAX_RETRIES" if env.get("TTG_MAX_RETRIES") else "RABBITMQ_MAX_RETRIES"
    delay = "TTG_RETRY_DELAY_MS" if env.get("TTG_RETRY_DELAY_MS") else "RABBITMQ_RETRY_DELAY_MS"
    return RetryPolicy(int(_number(env, retries, 3, least=0)), int(_number(env, delay, 5000, least=0)))


def _credentials_command(env: Mapping[str, str]) -> str:
    command = env.get("TTG_CREDENTIALS_COMMAND") or ""
    try:
        return check_command(command) if command else ""
    except ValueError as error:
        raise SettingsError(f"TTG_CREDENTIALS_COMMAND: {error}") from None


def _tls_files(env: Mapping[str, str]) -> dict[str, str]:
    files = {name: env.get(f"TTG_{name.upper()}") or "" for name in ("ca_file", "cert_file", "key_file")}
    if files["key_file"] and not files["cert_file"]:
        raise SettingsError("TTG_KEY_FILE: expected the certificate that it is the key of in TTG_CERT_FILE, got none")
    return {name: file for name, file in files.items() if file}


def _home(env: Mapping[str, str]) -> Path:
    if home := env.get("TTG_HOME"):
        return Path(home)
    state = env.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "ttg"


def _number(env: Mapping[str, str], name: str, default: float, *, least: float) -> float:
    text = env.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError as error:
        raise SettingsError(f"{name}: expected a number, got {text!r}") from error
    if not least <= number < 1e12:
        raise SettingsError(f"{name}: expected a number of at least {least:g}, got {text!r}")
    return number


def _choice(env: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    text = env.get(name) or choices[0]
    for choice in choices:
        if text.lower() == choice.lower():
            return choice
    raise SettingsError(f"{name}: expected one of {', '.join(choices)}, got {text!r}")
