"""The faults that the demonstration and the fault tests inject: one list, so that what is shown is what is tested.

A fault is done to processes that this program started itself, found by pid; nothing else is ever signalled.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Victims:
    """What may be broken: pids of local workers by name, and how to hit the broker and the network."""

    workers: Mapping[str, int]
    kill_broker: Callable[[], Awaitable[None]] | None = None
    cut_network: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break a run. ``inject`` returns what it did, in words."""

    name: str
    text: str
    promise: str
    inject: Callable[[Victims], Awaitable[str]]


def children_of(pid: int) -> list[int]:
    """Direct children of a process (Linux: /proc; elsewhere: ps)."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    if listing.exists():
        return [int(child) for child in listing.read_text().split()]
    return _children_by_ps(pid)


def _children_by_ps(pid: int) -> list[int]:
    import subprocess

    answer = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = (line.split() for line in answer.stdout.splitlines())
    return [int(child) for child, parent in pairs if int(parent) == pid]


def _first(victims: Victims) -> tuple[str, int]:
    return next(iter(victims.workers.items()))


async def _kill_worker(victims: Victims) -> str:
    name, pid = _first(victims)
    os.kill(pid, signal.SIGKILL)
    return f"SIGKILL to worker {name} (pid {pid})"


async def _freeze_worker(victims: Victims) -> str:
    name, pid = _first(victims)
    os.kill(pid, signal.SIGSTOP)
    return f"SIGSTOP to worker {name} (pid {pid}): frozen, its connection stays open"


async def _kill_child(victims: Victims) -> str:
    name, pid = _first(victims)
    children = children_of(pid)
    if not children:
        return f"worker {name} has no child process now: nothing was killed"
    os.kill(children[0], signal.SIGKILL)
    return f"SIGKILL to the child process of worker {name} (pid {children[0]})"


async def _kill_broker(victims: Victims) -> str:
    if victims.kill_broker is None:
        return "this broker is not ours to break: nothing was done"
    await victims.kill_broker()
    return "SIGKILL to the broker; started again"


async def _cut_network(victims: Victims) -> str:
    if victims.cut_network is None:
        return "no proxy between worker and broker: nothing was done"
    await victims.cut_network()
    return "one worker's network connection forwards nothing any more (half-open)"


FAULTS = {
    fault.name: fault
    for fault in (
        Fault(
            "worker", "kill a worker (SIGKILL)", "its chunks finish on the others within a second or two", _kill_worker
        ),
        Fault("freeze", "freeze a worker (SIGSTOP)", "its lease runs out, then others take over", _freeze_worker),
        Fault("child", "kill a worker's child process", "the worker starts a fresh child and goes on", _kill_child),
        Fault("broker", "kill the broker and restart it", "everybody reconnects; the ledger fills gaps", _kill_broker),
        Fault("network", "cut a worker's network", "its lease runs out, then others take over", _cut_network),
    )
}


async def inject(name: str, victims: Victims) -> str:
    """Break something now; returns what was done, in words."""
    await asyncio.sleep(0)
    return await FAULTS[name].inject(victims)
