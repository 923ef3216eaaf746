"""Servers that many tests share, and which tests run together when several processes share the suite."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import settings

from rabbitmq_server import SecureRabbitMQ
from s3_server import S3Server
from servers import RedisServer, valkey_program

WIDE = ("module", "session")

settings.register_profile("ttg", deadline=None)  # how long an example takes is a matter of the machine
settings.load_profile("ttg")


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[SecureRabbitMQ]:
    """One private RabbitMQ node for all tests of this process; who breaks it mends it, in a namespace of its own."""
    server = SecureRabbitMQ()
    asyncio.run(server.start())
    yield server
    server.close()


@pytest.fixture(scope="module")
def valkey() -> Iterator[RedisServer]:
    """A private Valkey server for the tests of one module."""
    server = RedisServer(valkey_program()).start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """One private S3 server for all tests of this process, each at a place of its own."""
    server = S3Server()
    yield server
    server.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a server or another expensive fixture go to one process, all others wherever there is room."""
    for item in items:
        if isinstance(item, pytest.Function) and (group := _shared_fixtures(item)):
            item.add_marker(pytest.mark.xdist_group(group))


def _shared_fixtures(item: pytest.Function) -> str:
    """The module, and the parameters of what its tests share; nothing when the test shares nothing."""
    definitions = (found[-1] for found in item._fixtureinfo.name2fixturedefs.values())
    ours = {fixture.argname for fixture in definitions if fixture.scope in WIDE and fixture.baseid.startswith("tests")}
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    chosen = [str(parameters[name]) for name in sorted(ours & parameters.keys())]
    return "-".join((item.location[0], *chosen)) if ours else ""
