"""``python script_stage.py WAY FUNCTION COUNT FOLDER``: a user's script that calls ``ttg.run``; as such, from a thread
of its own, or where an event loop is running, as in a notebook."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from pathlib import Path

import ttg

WORKLOADS = Path(__file__).with_name("workloads.py")


def call() -> None:
    function, count, folder = sys.argv[2:]
    ttg.run(f"{WORKLOADS}:{function}", {"i": range(int(count))}, workers=2, run_id="mine", out=folder, progress=False)


async def cell() -> None:
    call()


def in_thread() -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started us may ignore it
    {"script": call, "notebook": lambda: asyncio.run(cell()), "thread": in_thread}[sys.argv[1]]()
