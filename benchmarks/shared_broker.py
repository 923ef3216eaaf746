"""What a broker that many runs share costs the next one: ``python -m benchmarks.shared_broker [--ttg PATH] [WHAT …]``.

- ``filling``: size of the broker after each tenth of 50 finished runs; flat once runs leave it.
- ``ghost``: rate of a run on two running workers beside a run of priority 3 whose coordinator was killed, as a share of
  its rate before; 1 when a ghost costs nothing.
- ``history``: time to the first row of a new run beside 300 MB of results of others, and the bytes that its coordinator
  received until its end, on RabbitMQ.

``--ttg`` names another ``ttg`` command to measure, for a comparison. Prints one JSON object per figure.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection, create_server, socket
from urllib.parse import urlsplit

from benchmarks.brokers import broker

FUNCTIONS = """\
import os, time
def wide(i):
    return os.urandom(20_000).hex()
def quick(i):
    return i
def slow(i):
    time.sleep(0.005)
    return i
"""


class Place:
    """A folder with functions, and a broker."""

    def __init__(self, ttg: str, folder: Path, url: str) -> None:
        self.ttg, self.folder, self.url = ttg, folder, url
        (folder / "f.py").write_text(FUNCTIONS)
        self.environment = {**os.environ, "TTG_HOME": str(folder / "home"), "TTG_BROKER": url, "TTG_LEASE_SECONDS": "5"}

    def start(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        where = {**self.environment, **environment}
        log = (self.folder / "log").open("ab")
        return subprocess.Popen([self.ttg, *words], cwd=self.folder, env=where, stdout=log, stderr=log)

    def run(self, function: str, size: int, name: str, *options: str, **environment: str) -> float:
        """Seconds of a whole run."""
        began = time.perf_counter()
        process = self.start("run", f"f.py:{function}", f"i=range(0,{size})", "--run-id", name, *options, **environment)
        if process.wait() != 0:
            sys.exit(f"the run failed: {(self.folder / 'log').read_text()[-2000:]}")
        return time.perf_counter() - began


def size_of_broker(kind: str, url: str, folder: Path) -> int:
    """Redis: memory of its data; RabbitMQ: what it has on disk."""
    if kind == "rabbitmq":
        return sum(file.stat().st_size for file in (folder / "mnesia").rglob("*") if file.is_file())
    with create_connection((urlsplit(url).hostname or "", urlsplit(url).port or 0)) as line:
        line.sendall(b"INFO memory\r\n")
        text = line.recv(1 << 16).decode()
    return int(text.partition("used_memory:")[2].split()[0])


def filling(ttg: str, kind: str, folder: Path, runs: int = 50) -> Iterator[dict[str, object]]:
    """Runs that leave 4 MB of results each."""
    with broker(kind, folder / "broker") as url:
        assert url is not None
        place = Place(ttg, folder, url)
        for number in range(1, runs + 1):
            place.run("wide", 100, f"r{number}", "--workers", "1", "-q", "--keep-results", "16M")
            if number % (runs // 10) == 0:
                yield {"runs": number, "broker_bytes": size_of_broker(kind, url, folder / "broker")}


def ghost(ttg: str, kind: str, folder: Path) -> Iterator[dict[str, object]]:
    """The same run before and after somebody was killed."""
    with broker(kind, folder / "broker") as url:
        assert url is not None
        place = Place(ttg, folder, url)
        workers = [place.start("worker", "--name", f"w{n}") for n in range(2)]
        try:
            place.run("slow", 400, "warm", "--workers", "0")
            alone = place.run("slow", 2000, "alone", "--workers", "0")
            victim = place.start(
                "run", "f.py:slow", "i=range(0,100000)", "--run-id", "victim", "--workers", "0", "--priority", "3"
            )
            time.sleep(3.0)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            time.sleep(12.0)
            beside = place.run("slow", 2000, "beside", "--workers", "0")
            yield {"alone_seconds": round(alone, 2), "beside_a_ghost_seconds": round(beside, 2)}
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait()


def history(ttg: str, kind: str, folder: Path) -> Iterator[dict[str, object]]:
    """One large run, then a small one through a counting proxy."""
    with broker(kind, folder / "broker") as url:
        assert url is not None
        place = Place(ttg, folder, url)
        place.run("wide", 7500, "large", "--workers", "2", "-q", "--keep-results", "2G")
        with counting_proxy(url) as (through, received):
            workers = [place.start("worker", "--name", "w1")]
            try:
                time.sleep(3.0)
                before, began = received(), time.perf_counter()
                options = ("--workers", "0", "--out", str(folder / "small"), "--broker", through)
                process = place.start("run", "f.py:quick", "i=range(0,100)", "--run-id", "small", *options)
                while not any((folder / "small" / "results").glob("*.parquet")) and process.poll() is None:
                    time.sleep(0.005)
                first = time.perf_counter() - began
                code = process.wait()
                received_bytes = received() - before
                yield {"first_row_seconds": round(first, 2), "received_bytes": received_bytes, "exit": code}
            finally:
                for worker in workers:
                    worker.terminate()
                    worker.wait()


@contextmanager
def counting_proxy(url: str) -> Iterator[tuple[str, Callable[[], int]]]:
    """The broker behind a port of ours, and how many bytes it has sent through it."""
    parts = urlsplit(url)
    server, total = create_server(("127.0.0.1", 0)), [0]

    def copy(source: socket, target: socket, counts: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                total[0] += len(data) if counts else 0
                target.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, target):
                end.close()

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            behind = create_connection((parts.hostname or "", parts.port or 0))
            for source, target, counts in ((client, behind, False), (behind, client, True)):
                threading.Thread(target=copy, args=(source, target, counts), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield url.replace(f":{parts.port}", f":{server.getsockname()[1]}"), lambda: total[0]
    finally:
        server.close()


FIGURES = {"filling": filling, "ghost": ghost, "history": history}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shared_broker", description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="*", choices=[[], *FIGURES], default=list(FIGURES), metavar="WHAT")
    parser.add_argument("--ttg", default=str(Path(sys.executable).with_name("ttg")), help="the ttg command to measure")
    parser.add_argument("--broker", choices=("redis", "rabbitmq"), action="append", help="default: both")
    args = parser.parse_args()
    for what in args.what:
        for kind in args.broker or ("redis", "rabbitmq"):
            with tempfile.TemporaryDirectory(prefix="ttg-shared-") as folder:
                for figures in FIGURES[what](args.ttg, kind, Path(folder)):
                    print(json.dumps({"what": what, "broker": kind, **figures}), flush=True)


if __name__ == "__main__":
    main()
