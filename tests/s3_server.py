"""A private S3-compatible server for tests: a process on a free loopback port, with a bucket in its memory."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from importlib.util import find_spec
from uuid import uuid4

import pytest
from pyarrow import fs

from ttg.demo.local_rabbitmq import free_ports
from waiting import until

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "secret"}
BUCKET = "bucket"


class S3Server:
    """Moto's server. It can be made to refuse the credentials that it took."""

    def __init__(self) -> None:
        if find_spec("moto") is None:
            pytest.fail("expected the package `moto`: make setup", pytrace=False)
        self.port = free_ports(1)[0]
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers, within_seconds=60.0)
        self.files = fs.S3FileSystem(
            access_key="tests",
            secret_key="secret",
            endpoint_override=f"127.0.0.1:{self.port}",
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )
        self.files.create_dir(BUCKET)

    def place(self, bucket: str = BUCKET, port: int | None = None) -> str:
        """A place for stores that nobody else has."""
        where = f"endpoint_override=127.0.0.1:{port or self.port}&scheme=http&region=us-east-1"
        return f"s3://{bucket}/{uuid4().hex[:8]}?{where}"

    def objects(self, place: str) -> set[str]:
        """The keys of all objects at a :meth:`place` and below, but for empty ones that stand for folders."""
        path = place.removeprefix("s3://").partition("?")[0]
        found = self.files.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
        return {info.path for info in found if info.type is fs.FileType.File}

    def refuse(self, refuses: bool) -> None:
        """Take no credentials, or again all."""
        url, count = f"http://127.0.0.1:{self.port}/moto-api/reset-auth", b"0" if refuses else b"inf"
        request = urllib.request.Request(url, data=count, headers={"Content-Type": "text/plain"}, method="POST")
        urllib.request.urlopen(request).close()

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)

    def _answers(self) -> bool:
        assert self._process.poll() is None, "the S3 server ended"
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
            return True
        return False
