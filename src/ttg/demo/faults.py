"""The faults that the demonstration injects, each with what must happen then.

A fault is done to processes that this program started itself, found by pid; nothing else is ever signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ttg.errors import RunStopped


@dataclass(frozen=True, slots=True)
class Victims:
    """What may be broken: pids of local workers by name, and how to kill the broker and cut the one worker's network.

    ``distant`` names the worker whose network can be cut.
    """

    workers: Mapping[str, int]
    kill_broker: Callable[[], None] | None = None
    cut_network: Callable[[], None] | None = None
    distant: str = ""


@dataclass(frozen=True, slots=True)
class Harm:
    """What was done: to which worker (if to one), and in words."""

    victim: str
    text: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break a run. ``takes_worker``: the run goes on with one worker less."""

    name: str
    text: str
    promise: str
    inject: Callable[[Victims], Harm]
    takes_worker: bool = False


def children_of(pid: int) -> list[int]:
    """Direct children of a process (Linux: /proc; elsewhere: ps)."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    if listing.exists():
        return [int(child) for child in listing.read_text().split()]
    answer = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = (line.split() for line in answer.stdout.splitlines())
    return [int(child) for child, parent in pairs if int(parent) == pid]


def _first(victims: Victims) -> tuple[str, int]:
    if not victims.workers:
        raise RunStopped("the demonstration found no worker to break: see the logs in the run's folder")
    return min(victims.workers.items())


def _kill_worker(victims: Victims) -> Harm:
    name, pid = _first(victims)
    os.kill(pid, signal.SIGKILL)
    return Harm(name, f"SIGKILL to worker {name} (pid {pid})")


def _freeze_worker(victims: Victims) -> Harm:
    name, pid = _first(victims)
    os.kill(pid, signal.SIGSTOP)
    return Harm(name, f"SIGSTOP to worker {name} (pid {pid}): frozen, its connection stays open")


def _kill_child(victims: Victims) -> Harm:
    name, pid = _first(victims)
    children = children_of(pid)
    if not children:
        raise RunStopped(f"worker {name} has no child process to kill at this moment: run the demonstration again")
    os.kill(children[0], signal.SIGKILL)
    return Harm(name, f"SIGKILL to the child process of worker {name} (pid {children[0]})")


def _kill_broker(victims: Victims) -> Harm:
    assert victims.kill_broker is not None, "checked before the start"
    victims.kill_broker()
    return Harm("", "SIGKILL to the broker; its supervisor starts it again")


def _cut_network(victims: Victims) -> Harm:
    assert victims.cut_network is not None, "checked before the start"
    victims.cut_network()
    return Harm(victims.distant, f"the network of worker {victims.distant} forwards nothing any more (half-open)")


FAULTS = {
    fault.name: fault
    for fault in (
        Fault(
            "worker", "kill a worker (SIGKILL)", "others take its chunks over within about a second", _kill_worker, True
        ),
        Fault("freeze", "freeze a worker (SIGSTOP)", "its lease runs out, then others take over", _freeze_worker, True),
        Fault("child", "kill a worker's child process", "the worker starts a fresh child and goes on", _kill_child),
        Fault("broker", "kill the broker", "it comes back with its data, and everybody reconnects", _kill_broker),
        Fault("network", "cut a worker's network", "its lease runs out, then others take over", _cut_network, True),
    )
}


def inject(name: str, victims: Victims) -> Harm:
    """Break something now; says what was done, and to whom."""
    return FAULTS[name].inject(victims)
