"""Safe clean-up: list exactly what will go, ask, remove that and nothing else.

What counts as ours: the broker's queues and keys of our namespace (the broker's own ``purge`` knows their exact names
and deletes by name, never by pattern, never by flushing), Kubernetes resources that carry our label, and run folders
that were registered when they were created. When it cannot be told whether something is ours, it stays.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ttg.brokers import connect
from ttg.brokers.base import Broker, BrokerConfig
from ttg.clock import unix_time
from ttg.errors import TTGError
from ttg.messages import RunStatus
from ttg.results.folder import RunFolder, forget_run, list_runs
from ttg.settings import Settings

RUN_ENTRIES = ("results", "dead", "logs", "broker", "rows", "lock", "run.json")
"""Everything a run writes into its folder; ``run.json`` last, since it makes it one."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Something of ours that can be removed: how it is called, what is in it, and how it goes."""

    what: str
    details: tuple[str, ...]
    remove: Callable[[], Awaitable[None]]


async def find_in_broker(settings: Settings, url: str) -> Removal | None:
    """Our namespace in the broker at ``url``; ``None`` when there is nothing of ours. Changes nothing. Raises
    ``BrokerError``, also when queues under our names may be somebody else's."""
    config = settings.broker_config(url)
    broker = connect(config, "cleanup")
    try:
        counts = await broker.purge(None, dry_run=True)
        active = await _active_runs(broker) if counts else []
    finally:
        await broker.close()
    if not counts:
        return None

    async def remove() -> None:
        await _purge(config)

    details = (*(f"ACTIVE: run {run}" for run in active), *(f"{name}: {count:,}" for name, count in counts.items()))
    return Removal(f"{broker.backend} at {config.masked_url}, namespace {config.namespace!r}", details, remove)


async def _active_runs(broker: Broker) -> list[str]:
    now = unix_time()
    return sorted(record.run for record in await broker.list_runs() if record.status_at(now) is RunStatus.ACTIVE)


async def _purge(config: BrokerConfig) -> None:
    broker = connect(config, "cleanup")
    try:
        await broker.purge(None)
    finally:
        await broker.close()


def find_runs(home: Path) -> list[Removal]:
    """Registered run folders that no coordinator holds."""
    return [removal for folder in list_runs(home) if (removal := _run(folder, home))]


def _run(folder: RunFolder, home: Path) -> Removal | None:
    try:
        folder.lock().close()
    except TTGError:
        return None

    async def remove() -> None:
        with folder.lock():
            forget_run(folder, home)
            _remove_ours(folder.path)

    info = folder.info
    return Removal(
        f"run folder {folder.path}", (f"{info.spec.run}: {folder.status.words}, {info.done:,} results",), remove
    )


def _remove_ours(path: Path) -> None:
    """A run's own files; what somebody else put beside them stays, and so does the folder then."""
    for name in RUN_ENTRIES:
        entry = path / name
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
    with suppress(OSError):
        path.rmdir()


async def carry_out(removals: list[Removal], say: Callable[[str], None]) -> int:
    """Remove one after the other; what cannot be removed is said and skipped. Returns how many failed."""
    failed = 0
    for removal in removals:
        try:
            await removal.remove()
            say(f"removed {removal.what}")
        except (TTGError, OSError) as error:
            failed += 1
            say(f"kept {removal.what}: {error}")
    return failed
