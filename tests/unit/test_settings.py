"""The environment, read in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from ttg import units
from ttg.brokers.base import BrokerConfig
from ttg.errors import SettingsError
from ttg.run.local_workers import WorkerCommand
from ttg.settings import read_settings
from ttg.spec import RetryPolicy
from ttg.worker.config import WorkerConfig
from ttg.worker.protocol import Setup


def test_without_variables_there_is_no_broker_and_the_documented_defaults_hold() -> None:
    settings = read_settings({"HOME": "/h"})
    assert settings.broker_url is None
    assert (settings.namespace, settings.queue_type, settings.lease_seconds) == ("ttg", "quorum", 15.0)
    assert settings.retry == RetryPolicy(3, 5000)


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({"QUEUE_BACKEND": "redis"}, "redis://localhost:6379/0"),
        ({"QUEUE_BACKEND": "redis", "REDIS_HOST": "r", "REDIS_PORT": "7000"}, "redis://r:7000/0"),
        ({"QUEUE_BACKEND": "redis", "REDIS_PASSWORD": "p@ss/word"}, "redis://:p%40ss%2Fword@localhost:6379/0"),
        (
            {"QUEUE_BACKEND": "rabbitmq", "RABBITMQ_USER": "u", "RABBITMQ_PASSWORD": "p", "RABBITMQ_HOST": "q"},
            "amqp://u:p@q:5672/%2F",
        ),
        ({"TTG_BROKER": "rediss://h:1", "QUEUE_BACKEND": "rabbitmq"}, "rediss://h:1"),
    ],
)
def test_the_backend_toggle(environment: dict[str, str], url: str) -> None:
    assert read_settings(environment).broker_url == url


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"QUEUE_BACKEND": "kafka"}, "QUEUE_BACKEND: expected redis or rabbitmq, got 'kafka'"),
        ({"QUEUE_BACKEND": "rabbitmq"}, "needs RABBITMQ_USER and RABBITMQ_PASSWORD"),
        ({"TTG_BROKER": "http://x:secret@y"}, r"got 'http://x:\*\*\*@y'"),
        ({"RABBITMQ_MAX_RETRIES": "many"}, "RABBITMQ_MAX_RETRIES: expected a number, got 'many'"),
        ({"TTG_LEASE_SECONDS": "0"}, "at least 1"),
        ({"RABBITMQ_QUEUE_TYPE": "lazy"}, "expected one of quorum, classic"),
        ({"LOG_FORMAT": "xml"}, "expected one of text, json"),
    ],
)
def test_values_that_cannot_work_say_what_was_expected(environment: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        read_settings(environment)


def test_retry_variables_hold_for_either_broker_and_ours_win() -> None:
    assert read_settings({"RABBITMQ_MAX_RETRIES": "1", "RABBITMQ_RETRY_DELAY_MS": "20"}).retry == RetryPolicy(1, 20)
    assert read_settings({"RABBITMQ_MAX_RETRIES": "1", "TTG_MAX_RETRIES": "7"}).retry.max_retries == 7


def test_home_follows_the_desktop_convention() -> None:
    assert read_settings({"TTG_HOME": "/a"}).home == Path("/a")
    assert read_settings({"XDG_STATE_HOME": "/b"}).home == Path("/b/ttg")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pw@h:1/0", "redis://:***@h:1/0"),
        ("amqp://user:p@w@h/v", "amqp://user:***@h/v"),
        ("redis://h:1", "redis://h:1"),
    ],
)
def test_passwords_are_masked(url: str, shown: str) -> None:
    assert BrokerConfig(url).masked_url == shown


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30.0), ("2min", 120.0), ("1.5h", 5400.0), ("7", 7.0), (7, 7.0)]
)
def test_times(text: object, seconds: float) -> None:
    assert units.seconds(text) == seconds


@pytest.mark.parametrize(("text", "size"), [("512M", 512 << 20), ("2GiB", 2 << 30), ("100", 100), ("1kb", 1024)])
def test_sizes(text: str, size: int) -> None:
    assert units.size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "fast", "5 parsecs", "-1s", "1.2.3s", -1, True, float("inf")])
def test_nonsense_times_are_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match=r"expected a time such as 500ms"):
        units.seconds(text)


def test_nothing_that_is_printed_to_find_a_fault_has_a_secret_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TTG_BROKER", "redis://user:sesame@somewhere")
    monkeypatch.setenv("TTG_SECRET", "sesame")
    monkeypatch.setenv("TTG_CREDENTIALS_COMMAND", "echo sesame")
    settings = read_settings()
    assert settings.secret == "sesame"  # noqa: S105
    things: list[object] = [
        settings,
        settings.broker_config("redis://user:sesame@somewhere"),
        WorkerConfig("w", secret="sesame"),
        WorkerCommand((), {"TTG_SECRET": "sesame"}, tmp_path),
        Setup("r", b"sesame"),
    ]
    assert not [thing for thing in things if "sesame" in repr(thing)]
