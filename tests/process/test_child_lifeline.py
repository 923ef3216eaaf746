"""No child outlives its supervisor, whatever the child is doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import until

SUPERVISOR = """
import asyncio, sys
from ttg.worker.process import ChildProcess

class Owner:
    def on_message(self, message, bulk):
        print(child.pid, flush=True)
    def on_broken(self, text): ...
    def on_exit(self, exit): ...

async def main():
    global child
    child = ChildProcess(Owner(), 0)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("frozen", [False, True], ids=["listening", "stopped"])
def test_a_child_dies_with_its_supervisor(frozen: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        assert is_alive(child)
        if frozen:
            os.kill(child, signal.SIGSTOP)
        supervisor.kill()
        until(lambda: is_alive(child), lambda alive: not alive, within_seconds=5)
