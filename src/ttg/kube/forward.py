"""The cluster's broker at a port of this machine, for views that run here."""

from __future__ import annotations

import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from ttg.kube.brokers import PORTS, USER, broker_name
from ttg.kube.kubectl import ClusterError, Kubectl, explain

PAUSE_SECONDS = 1.0
LOGINS = {"redis": "redis://:", "rabbitmq": f"amqp://{USER}:"}


@contextmanager
def forwarded(kubectl: Kubectl, backend: str, password: str) -> Iterator[str]:
    """The broker's URL as seen from here, while this is open. Raises ``ClusterError`` when it cannot be reached."""
    line = Forwarding(kubectl, f"service/{broker_name(backend)}", next(iter(PORTS[backend].values())))
    try:
        yield f"{LOGINS[backend]}{quote(password, safe='')}@127.0.0.1:{line.port}"
    finally:
        line.close()


class Forwarding:
    """``kubectl port-forward``, started again whenever it ends: it does so when the broker's pod is replaced."""

    def __init__(self, kubectl: Kubectl, target: str, remote: int) -> None:
        self._kubectl, self._target, self._remote = kubectl, target, remote
        self._lock, self._closing = threading.Lock(), threading.Event()
        with tempfile.TemporaryFile() as said:
            self._process = self._start("", said.fileno())
            assert self._process.stdout is not None
            first = self._process.stdout.readline().decode("utf-8", "replace")
            found = re.search(r"127\.0\.0\.1:(\d+)", first)
            if found is None:
                if first:
                    self._process.kill()
                self._process.communicate()
                said.seek(0)
                reason = explain(said.read().decode("utf-8", "replace"))
                raise ClusterError(f"forwarding the port of {target}: {reason}")
        self.port = int(found[1])
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _start(self, local: str, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        words = ("port-forward", "--address", "127.0.0.1", self._target, f"{local}:{self._remote}")
        command = self._kubectl.command(*words)
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)

    def _keep(self) -> None:
        while True:
            with self._process as process:
                for _ in process.stdout or ():  # a line for each connection: a pipe that is full would stop it
                    pass
            if self._closing.wait(PAUSE_SECONDS):
                return
            with self._lock:
                if self._closing.is_set():
                    return
                self._process = self._start(str(self.port))

    def close(self) -> None:
        """End it."""
        with self._lock:
            self._closing.set()
            self._process.terminate()
        self._thread.join()
