"""Which brokers are under test, and what is said about a tool that is missing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tools import BROKERS, brokers_under_test, need_broker, need_program


def test_all_brokers_are_under_test_unless_some_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TTG_TEST_BROKERS", raising=False)
    assert brokers_under_test() == set(BROKERS)
    monkeypatch.setenv("TTG_TEST_BROKERS", "memory, valkey,")
    assert brokers_under_test() == {"memory", "valkey"}


def test_a_broker_that_does_not_exist_is_no_restriction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTG_TEST_BROKERS", "redis,kafka")
    with pytest.raises(ValueError, match="expected any of memory, valkey, redis, rabbitmq, got kafka"):
        brokers_under_test()


@pytest.mark.parametrize("name", ["redis", "rabbitmq"])
def test_a_missing_broker_is_a_failure_unless_it_is_left_out(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TTG_TEST_TOOLS", "skip")
    monkeypatch.setenv("TTG_TEST_BROKERS", name)
    with pytest.raises(pytest.fail.Exception, match=rf"apt-get install {name}-server.*TTG_TEST_BROKERS"):
        need_broker(name)
    monkeypatch.setenv("TTG_TEST_BROKERS", "memory")
    with pytest.raises(pytest.skip.Exception, match=f"TTG_TEST_BROKERS leaves out {name}"):
        need_broker(name)


def test_a_missing_program_is_a_failure_unless_tools_may_be_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TTG_TEST_TOOLS", raising=False)
    with pytest.raises(pytest.fail.Exception, match="expected chrome or chromium on PATH: install chromium"):
        need_program("chrome", "chromium", install="chromium")
    monkeypatch.setenv("TTG_TEST_TOOLS", "skip")
    with pytest.raises(pytest.skip.Exception, match="expected chrome"):
        need_program("chrome", "chromium", install="chromium")


def test_no_two_test_modules_have_one_name() -> None:
    """They lie in no package, so pytest would import only the first."""
    names = Counter(path.name for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert not [name for name, count in names.items() if count > 1]
