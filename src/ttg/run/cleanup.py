"""Safe clean-up: list exactly what will go, ask, remove that and nothing else.

What counts as ours: the broker's queues and keys of our namespace (the broker's own ``purge`` knows their exact names
and deletes by name, never by pattern, never by flushing), Kubernetes resources that carry our label, and run folders
that were registered when they were created. When it cannot be told whether something is ours, it stays.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ttg.brokers import connect
from ttg.brokers.base import Broker, BrokerConfig
from ttg.clock import unix_time
from ttg.errors import RunConflictError, StoreError, TTGError
from ttg.messages import RunRecord, RunStatus
from ttg.monitor.words import as_bytes, plural
from ttg.results.folder import RunFolder, forget_run, list_runs
from ttg.run.report import counts
from ttg.settings import Settings
from ttg.stores import open_store

RUN_ENTRIES = (
    *("results", "dead", "logs", "code", "broker", "rows", "inputs", "store", "files"),
    *("history.json.gz", "lock", "run.json"),
)
"""Everything a run writes into its folder; ``run.json`` last, since it makes it one."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Something of ours that can be removed: how it is called, what is in it, and how it goes; ``remove`` may tell what
    of it stays all the same."""

    what: str
    details: tuple[str, ...]
    remove: Callable[[], Awaitable[str | None]]


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


async def find_run_in_broker(settings: Settings, url: str, run: str, identity: str | None) -> Removal | None:
    """Messages and record of one run in the broker at ``url``; ``None`` when it has none. Changes nothing. Raises
    ``BrokerError``, and ``RunConflictError`` for one that goes on. ``identity`` is that of a run whose folder is here,
    and nobody's at the moment: then a leader of this machine whose process is gone is dead, whatever its lease says."""
    config = settings.broker_config(url)
    broker = connect(config, "cleanup")
    try:
        record = await broker.find_run(run, fresh=True)
        if record is None or identity not in (None, record.identity):
            return None
        if record.status_at(unix_time()) is RunStatus.ACTIVE and not (identity and _is_dead(record)):
            raise RunConflictError(f"run {run} goes on, led by {record.leader}: `ttg cancel {run}` ends it")
        counts = await broker.purge(record, dry_run=True)
    finally:
        await broker.close()

    async def remove() -> None:
        broker = connect(config, "cleanup")
        try:
            await broker.forget_run(record)  # with its messages; nothing at all if somebody took it up meanwhile
        finally:
            await broker.close()

    details = tuple(f"{name}: {count:,}" for name, count in counts.items() if count)
    return Removal(f"run {run} in {broker.backend} at {config.masked_url}", details, remove)


def _is_dead(leader: RunRecord) -> bool:
    if leader.host != socket.gethostname():
        return False
    try:
        os.kill(leader.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is somebody else's
        pass
    return False


def find_runs(home: Path, *, force: bool = False) -> tuple[list[Removal], list[TTGError]]:
    """Registered run folders, and why some are left alone: a coordinator holds them."""
    removals: list[Removal] = []
    refusals: list[TTGError] = []
    for folder in list_runs(home):
        try:
            removals.append(run_removal(folder, home, force=force))
        except TTGError as error:
            refusals.append(error)
    return removals, refusals


def run_removal(folder: RunFolder, home: Path, *, force: bool = False) -> Removal:
    """One run folder; ``RunConflictError`` when a coordinator holds it. With ``force`` it goes also while the run's
    store is out of reach."""
    folder.lock().close()

    async def remove() -> str | None:
        with folder.lock():
            stays = _clear_store(folder, force=force)
            forget_run(folder, home)
            _remove_ours(folder.path)
            return stays

    done, dead = counts(folder)
    size = sum(file.lstat().st_size for name in RUN_ENTRIES for file in _files(folder.path / name))
    held = plural(done, "result") + (f", {plural(dead, 'dead letter')}" if dead else "")
    details = f"{folder.spec.run}: {folder.status.words}, {held}, {as_bytes(size)}"
    foreign = sorted({path.name for path in folder.path.iterdir()}.difference(RUN_ENTRIES))
    stays = (f"the folder stays, for it holds {', '.join(foreign[:5])}",) if foreign else ()
    named = folder.spec.store if folder.spec.store and folder.spec.store.named else None
    stored = (f"and what is left of it in the store {named.place}",) if named else ()
    return Removal(f"run folder {folder.path}", (details, *stored, *stays), remove)


def _clear_store(folder: RunFolder, *, force: bool) -> str | None:
    """A store that was named is elsewhere; it is the run's if its proof is. What may stay there, and why."""
    ref = folder.spec.store
    if ref is None or not ref.named:
        return None
    try:
        if (store := open_store(ref)).is_shared():
            store.clear()
    except StoreError as error:
        if not force:
            raise StoreError(f"{error}; --force removes the folder all the same") from error
        return f"what the run left in its store stays there, remove it yourself: {error}"
    return None


def _files(path: Path) -> list[Path]:
    """What is to be counted of an entry that may be a file, a folder, or missing."""
    found = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    return [file for file in found if file.is_symlink() or file.is_file()]


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
            stays = await removal.remove()
            say(f"removed {removal.what}" + (f"; {stays}" if stays else ""))
        except (TTGError, OSError) as error:
            failed += 1
            say(f"kept {removal.what}: {error}")
    return failed
