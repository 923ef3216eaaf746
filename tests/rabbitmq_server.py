"""A private RabbitMQ node for tests, and what tests do to it behind TTG's back."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika

from ttg.brokers.local_rabbitmq import LocalRabbitMQ, find_scripts


def installed() -> bool:
    """Whether there is a RabbitMQ on this machine."""
    return find_scripts() is not None


class RabbitMQServer(LocalRabbitMQ):
    """A node in a new folder that can be killed, left dead, and started again with what it had stored."""

    def __init__(self) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="ttg-test-")))

    async def kill(self) -> None:
        """SIGKILL, without being started again: the keeper is killed, and the kernel kills its server with it."""
        for process in self._keepers:
            process.kill()
            process.wait()
        await self._wait_until_gone()
        await self.stop()

    async def _wait_until_gone(self) -> None:
        self._keepers, keepers = [], self._keepers
        await self._wait_until(lambda: not self._answers(), "did not go away")
        self._keepers = keepers

    def close(self) -> None:
        """End it and remove its folder."""
        asyncio.run(self.stop())
        shutil.rmtree(self.folder)

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """A channel of another program."""
        connection = pika.BlockingConnection(pika.URLParameters(self.url.partition("?")[0]))
        try:
            yield connection.channel()
        finally:
            connection.close()

    def push(self, queue: str, body: bytes, **properties: Any) -> None:
        """Publish a message."""
        with self.channel() as channel:
            channel.confirm_delivery()
            channel.basic_publish("", queue, body, pika.BasicProperties(**properties), mandatory=True)

    def create(self, queue: str, *bodies: bytes, **arguments: Any) -> None:
        """A queue of another program, with messages."""
        with self.channel() as channel:
            channel.queue_declare(queue, durable=True, arguments=arguments)
            channel.confirm_delivery()
            for body in bodies:
                channel.basic_publish("", queue, body)

    def contents(self, queue: str) -> list[bytes]:
        """The bodies of all messages of a queue (not a stream); they are given back."""
        with self.channel() as channel:
            count = channel.queue_declare(queue, passive=True).method.message_count
            return [channel.basic_get(queue)[2] for _ in range(count)]

    def delete(self, queue: str) -> None:
        """Delete a queue, whatever is in it."""
        with self.channel() as channel:
            channel.queue_delete(queue)
