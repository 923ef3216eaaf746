"""``ttg doctor`` against real servers with good and with bad settings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from front import front
from rabbitmq_server import RabbitMQServer
from servers import RedisServer, ask, valkey_program
from ttg.brokers.base import BrokerConfig
from ttg.brokers.rabbitmq import checks
from ttg.cli import main
from ttg.run.doctor import Finding, examine
from ttg.settings import read_settings
from waiting import until


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))


@pytest.fixture
def redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    server = RedisServer(valkey_program(), *getattr(request, "param", ())).start()
    yield server
    server.close()


def findings(url: str | None) -> dict[str, Finding]:
    """By subject; several of one subject: the worst."""
    found = asyncio.run(examine(read_settings(), url))
    worst = sorted(found, key=lambda finding: ("problem", "note", "good").index(finding.level), reverse=True)
    assert all(finding.advice for finding in found if finding.level != "good"), "a finding without advice"
    return {finding.subject: finding for finding in worst}


def levels(url: str | None) -> dict[str, str]:
    return {subject: finding.level for subject, finding in findings(url).items()}


def test_a_good_server_has_only_good_findings(redis: RedisServer) -> None:
    found = levels(redis.url)
    subjects = ("broker", "version", "eviction", "persistence", "memory", "recovery", "clock", "keys")
    assert {subject: found[subject] for subject in subjects} == dict.fromkeys(subjects, "good")


ALLOWED = ("on", "nopass", "resetchannels", "allkeys", "allcommands")
BAD = ("--maxmemory-policy", "allkeys-lru", "--maxmemory", "1mb", "--appendonly", "no")


@pytest.mark.parametrize("redis", [BAD], indirect=True)
def test_bad_settings_are_found(redis: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    found = levels(redis.url)
    assert (found["eviction"], found["persistence"], found["memory"]) == ("problem", "note", "problem")
    assert main(["doctor", "--broker", redis.url]) == 3
    said = capsys.readouterr().out
    assert "maxmemory-policy is allkeys-lru" in said
    assert "→ CONFIG SET maxmemory-policy noeviction" in said


MANAGED = ("--rename-command", "CONFIG", "", "--maxmemory-policy")


@pytest.mark.parametrize(
    "redis", [(*MANAGED, "allkeys-lfu"), (*MANAGED, "volatile-lru")], indirect=True, ids=["allkeys", "volatile"]
)
def test_where_config_is_forbidden_info_says_it(redis: RedisServer, request: pytest.FixtureRequest) -> None:
    found = findings(redis.url)
    policy, level = ("allkeys-lfu", "problem") if "allkeys" in request.node.name else ("volatile-lru", "good")
    assert (found["eviction"].level, policy in found["eviction"].text) == (level, True), found["eviction"]
    assert found["persistence"].level == "good"


def test_what_may_not_be_read_is_a_note(redis: RedisServer) -> None:
    ask(redis.url, "ACL", "SETUSER", "modest", *ALLOWED, "-info", "-config")
    found = levels(redis.url.replace("unix://", "unix://modest:x@"))
    assert (found["eviction"], found["persistence"], found["recovery"]) == ("note", "note", "good")


def test_one_address_that_leads_to_two_servers_is_a_problem(redis: RedisServer) -> None:
    other = RedisServer(valkey_program()).start()
    try:
        finding = asyncio.run(_through_front(str(redis.socket), str(other.socket)))["servers"]
    finally:
        other.close()
    assert (finding.level, "led to 2 servers" in finding.text) == ("problem", True), finding
    assert levels(redis.url)["servers"] == "good"


def test_a_limit_of_arguments_is_named(redis: RedisServer) -> None:
    finding = asyncio.run(_through_front(str(redis.socket), most_arguments=2_000))["arguments"]
    assert (finding.level, "max number of arguments" in finding.text) == ("problem", True), finding
    assert levels(redis.url)["arguments"] == "good"


async def _through_front(*targets: str, most_arguments: int = 1 << 20) -> dict[str, Finding]:
    async with front(*targets, most_arguments=most_arguments) as url:
        return {finding.subject: finding for finding in await examine(read_settings(), url)}


def test_a_forbidden_client_list_says_that_recovery_is_slower(redis: RedisServer) -> None:
    ask(redis.url, "ACL", "SETUSER", "default", "-client|list")
    finding = findings(redis.url)["recovery"]
    assert finding.level == "note"
    assert "lease" in finding.text


def test_a_user_without_info_and_client_can_work(redis: RedisServer, tmp_path: Path) -> None:
    ask(redis.url, "ACL", "SETUSER", "modest", *ALLOWED, "-info", "-client")
    url = redis.url.replace("unix://", "unix://modest:x@")
    found = levels(url)
    assert (found["permissions"], found["memory"], found["recovery"]) == ("good", "note", "note")
    target = f"{Path(__file__).with_name('workloads.py')}:value"
    assert main(["run", target, "i=1,2", "--workers", "1", "--out", str(tmp_path / "run"), "--broker", url, "-q"]) == 0


def test_a_user_who_may_not_do_what_is_needed_is_told_exactly_what(redis: RedisServer, tmp_path: Path) -> None:
    ask(redis.url, "ACL", "SETUSER", "poor", *ALLOWED, "-xadd", "-xgroup|delconsumer", "-hset")
    ask(redis.url, "ACL", "SETUSER", "stranger", *ALLOWED[:-2], "~other.*", "allcommands")
    poor = findings(redis.url.replace("unix://", "unix://poor:x@"))["permissions"]
    assert (poor.level, poor.advice) == ("problem", "ACL SETUSER <user> +hset +xadd +xgroup|delconsumer")
    stranger = findings(redis.url.replace("unix://", "unix://stranger:x@"))["permissions"]
    assert (stranger.level, stranger.advice) == ("problem", "ACL SETUSER <user> ~ttg.*")
    assert ask(redis.url, "KEYS", "*") == [], "asking has changed nothing"


@pytest.mark.parametrize("redis", [("--cluster-enabled", "yes")], indirect=True)
def test_a_cluster_is_named_and_permissions_are_asked_for_its_keys(redis: RedisServer) -> None:
    ask(redis.url, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    until(lambda: b"cluster_state:ok" in ask(redis.url, "CLUSTER", "INFO"))
    found = findings(redis.url)
    assert (found["cluster"].level, found["permissions"].level) == ("good", "good")
    assert "{ttg}" in found["cluster"].text
    ask(redis.url, "ACL", "SETUSER", "stranger", "on", "nopass", "resetchannels", "~ttg.*", "allcommands")
    stranger = findings(redis.url.replace("unix://", "unix://stranger:x@"))["permissions"]
    assert stranger.advice == "ACL SETUSER <user> ~{ttg}.*"


def test_keys_of_another_program_are_a_problem(redis: RedisServer) -> None:
    ask(redis.url, "SET", "ttg.tasks", "not a stream")
    assert "ttg.tasks is a string" in findings(redis.url)["keys"].text


def test_a_broker_that_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--broker", "redis://127.0.0.1:1", "--json"]) == 3
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert [finding["subject"] for finding in found if finding["level"] == "problem"] == ["broker"]


def test_without_a_broker_it_looks_for_the_embedded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels(None)["broker"] == "good"
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert levels(None)["broker"] == "problem"


def test_a_folder_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "file" / "home"))
    assert levels(None)["run registry"] == "problem"


def test_rabbitmq(rabbitmq: RabbitMQServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTG_NAMESPACE", "checkup")
    found = levels(rabbitmq.url)
    assert {found[subject] for subject in ("broker", "version", "queues", "permissions", "management")} == {"good"}
    rabbitmq.create("checkup.tasks", **{"x-queue-type": "classic"})
    assert levels(rabbitmq.url)["queues"] == "problem"
    rabbitmq.delete("checkup.tasks")
    asyncio.run(rabbitmq.set("max_message_size", 1 << 20))
    finding = findings(rabbitmq.url)["messages"]
    asyncio.run(rabbitmq.set("max_message_size", 128 << 20))
    assert (finding.level, "max_message_size is 1.0 MiB" in finding.text) == ("problem", True), finding
    assert levels(rabbitmq.url)["messages"] == "good"


def test_a_policy_that_throws_tasks_away_is_named(rabbitmq: RabbitMQServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for three a run of 300 did one parameter a second, and did not say why."""
    monkeypatch.setenv("TTG_NAMESPACE", "checkup")
    set_policy = ("set_policy", "--apply-to", "queues")
    try:
        asyncio.run(rabbitmq.control(*set_policy, "others", "^other", '{"max-length": 3}'))
        assert "policies" not in findings(rabbitmq.url)
        asyncio.run(rabbitmq.control(*set_policy, "small", "^check", '{"max-length": 3, "message-ttl": 60000}'))
        finding = findings(rabbitmq.url)["policies"]
        assert finding.level == "problem"
        assert "'small' gives checkup.tasks max-length 3, message-ttl 60000" in finding.text
    finally:
        asyncio.run(rabbitmq.control("clear_policy", "small"))
        asyncio.run(rabbitmq.control("clear_policy", "others"))


def test_what_other_servers_and_fronts_of_rabbitmq_are_told() -> None:
    assert [checks.version("RabbitMQ", number)[0] for number in ("3.9.1", "4.1.0-rc.1")] == ["problem", "good"]
    level, _, text, _ = checks.version("LavinMQ", "2.1.0")
    assert (level, text) == ("note", "LavinMQ 2.1.0: TTG was never tried with it")
    assert [checks.one_broker(names)[0] for names in ({"a"}, {"a", "b"})] == ["good", "problem"]
    urls = ("amqp://h/%2F?nodes=1", "amqp://h/%2F")
    assert [len(checks.single_node(BrokerConfig(url), 3)) for url in urls] == [1, 0]
    assert not checks.single_node(BrokerConfig(urls[0]), 1)


def test_rabbitmq_without_permissions_or_management(rabbitmq: RabbitMQServer) -> None:
    asyncio.run(rabbitmq.control("add_user", "guest2", "secret"))
    asyncio.run(rabbitmq.control("set_permissions", "guest2", "^other", ".*", ".*"))
    url = f"amqp://guest2:secret@127.0.0.1:{rabbitmq.port}/%2F"
    found = levels(f"{url}?management={rabbitmq.management_port}")
    assert (found["permissions"], found["management"]) == ("problem", "note")
    assert levels(f"{url}?management=1")["management"] == "note"


class WithoutStreams(RabbitMQServer):
    """A new node whose feature flag for streams was never enabled."""

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {"RABBITMQ_FEATURE_FLAGS": "quorum_queue,implicit_default_bindings"}


@pytest.fixture
def without_streams() -> Iterator[WithoutStreams]:
    server = WithoutStreams()
    asyncio.run(server.start())
    yield server
    server.close()


def test_a_broker_without_streams_is_named_before_a_run_meets_it(
    without_streams: WithoutStreams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = findings(without_streams.url)["streams"]
    assert found.level == "problem"
    assert "this broker has not" in found.text
    assert "enable_feature_flag stream_queue" in found.advice
    monkeypatch.chdir(tmp_path)
    Path("sim.py").write_text("def f(i):\n    return i\n")
    for command in (["run", "sim.py:f", "i=range(3)"], ["worker", "--exit-when-idle", "1s"]):
        assert main([*command, "--broker", without_streams.url]) == 3
    said = capsys.readouterr().err
    assert "stream queues, which this broker has not" in said
    assert "Traceback" not in said


def test_a_store_is_tried(tmp_path: Path) -> None:
    found = {str(place): asyncio.run(examine(read_settings(), None, str(place)))[-1] for place in (tmp_path, "/proc")}
    assert [(finding.subject, finding.level) for finding in found.values()] == [("store", "good"), ("store", "problem")]
    assert not list(tmp_path.iterdir())
