"""A private RabbitMQ node for tests, and what tests do to it behind TTG's back."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika

import certificates
from certificates import Certificates
from tools import need_broker
from ttg.demo.local_rabbitmq import LocalRabbitMQ, free_ports

TLS = """\
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {files.authority}
ssl_options.certfile = {files.certificate}
ssl_options.keyfile = {files.key}
"""


class RabbitMQServer(LocalRabbitMQ):
    """A node in a new folder that can be killed, left dead, and started again with what it had stored."""

    def __init__(self) -> None:
        need_broker("rabbitmq")
        super().__init__(Path(tempfile.mkdtemp(prefix="ttg-test-")))

    async def kill(self) -> None:
        """SIGKILL, without being started again: the supervisor is killed, and the kernel kills its server with it."""
        for process in self._supervisors:
            process.kill()
            process.wait()
        await self._wait_until_gone()
        await self.stop()

    async def _wait_until_gone(self) -> None:
        self._supervisors, supervisors = [], self._supervisors
        await self._wait_until(lambda: not self._answers(), "did not go away")
        self._supervisors = supervisors

    def close(self) -> None:
        """End it and remove its folder."""
        asyncio.run(self.stop())
        self.remove()

    def remove(self) -> None:
        """Remove the folder of a stopped node."""
        shutil.rmtree(self.folder)

    async def queues(self, namespace: str) -> dict[str, dict[str, Any]]:
        """What ``rabbitmqctl list_queues`` says, by the name's suffix."""
        columns = ("name", "type", "messages", "consumers", "messages_ready", "messages_unacknowledged")
        rows = json.loads(await self.control("list_queues", *columns, "--formatter", "json", "--quiet"))
        prefix = f"{namespace}."
        return {row["name"].removeprefix(prefix): row for row in rows if row["name"].startswith(prefix)}

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

    def first_of_stream(self, queue: str) -> Any:
        """The properties of the first message of a stream."""
        with self.channel() as channel:
            channel.basic_qos(prefetch_count=1)
            consumed = channel.consume(queue, arguments={"x-stream-offset": "first"}, inactivity_timeout=10)
            _, properties, _ = next(consumed)
            return properties

    async def set(self, setting: str, value: int) -> None:
        """Change a setting of the running server, for channels opened from now on."""
        await self.control("eval", f"application:set_env(rabbit, {setting}, {value}).")

    def delete(self, queue: str) -> None:
        """Delete a queue, whatever is in it."""
        with self.channel() as channel:
            channel.queue_delete(queue)


class SecureRabbitMQ(RabbitMQServer):
    """A node that also listens for TLS, where openssl is there to make its certificate."""

    def __init__(self) -> None:
        super().__init__()
        self.tls_port = free_ports(1)[0]
        self.certificates = Certificates.make(self.folder) if certificates.can_be_made() else None

    def _configure(self) -> None:
        """With the plugin for tokens, which checks none before :meth:`set_token_key`."""
        super()._configure()
        plugins = (self.folder / "enabled_plugins").read_text(encoding="ascii").strip("[].\n").split(",")
        self._write("enabled_plugins", f"[{','.join([*filter(None, plugins), 'rabbitmq_auth_backend_oauth2'])}].\n")
        if self.certificates is not None:
            with (self.folder / "rabbitmq.conf").open("a") as file:
                file.write(TLS.format(port=self.tls_port, files=self.certificates))

    async def set_token_key(self, key: str) -> None:
        """Let in who has a token that is signed (HS256) with ``key``, besides those with a password."""
        jwk = f'#{{<<"kty">> => <<"oct">>, <<"k">> => <<"{key}">>, <<"alg">> => <<"HS256">>}}'
        keys = f'[{{default_key, <<"k">>}}, {{signing_keys, #{{<<"k">> => {{map, {jwk}}}}}}}]'
        oauth2 = "application:set_env(rabbitmq_auth_backend_oauth2,"
        backends = "[rabbit_auth_backend_oauth2, rabbit_auth_backend_internal]"
        await self.control(
            "eval",
            f'{oauth2} resource_server_id, <<"rabbitmq">>), {oauth2} key_config, {keys}), '
            f"application:set_env(rabbit, auth_backends, {backends}).",
        )

    @property
    def log_text(self) -> str:
        return "".join(file.read_text(errors="replace") for file in (self.folder / "log").glob("*.log"))

    @property
    def tls_url(self) -> str:
        return f"amqps://{self.user}:{self.password}@localhost:{self.tls_port}/%2F"
