"""What of a run's results lies in its store: read when it is due, removed when it is on disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from ttg.brokers.base import ResultMessage
from ttg.errors import StoreError
from ttg.messages import Ranges, StoreRef, indices_of
from ttg.results.folder import FILES, RunFolder
from ttg.run.collected_files import save_files
from ttg.stores import ObjectLost, Store, open_store

log = logging.getLogger("ttg.run")


async def make_store(place: str | None, folder: RunFolder) -> StoreRef:
    """The store at ``place``, or in the run's folder, with the run's inputs. In threads: those may be large, and the
    place far away. What was made for a run that does not begin is removed."""
    ref = await asyncio.to_thread(Store.create, place or str(folder.store), named=place is not None)
    store = open_store(ref)
    adding = asyncio.create_task(asyncio.to_thread(store.add_files, folder.inputs))
    try:
        await asyncio.shield(adding)
    except BaseException:
        store.abandon()
        await asyncio.gather(adding, return_exceptions=True)
        if not folder.info.epoch:
            clear_store(ref)
        raise
    return ref


def clear_store(ref: StoreRef) -> None:
    """What is left there is nobody's: of workers that died between writing and settling, say."""
    try:
        open_store(ref).clear()
    except StoreError as error:
        log.warning("what the run left in its store stays there: %s", error)


class StoredResults:
    """The coordinator's side of the store at ``ref``, if there is one. ``lacking`` gives those of some ranges of which
    there is no row yet; ``inputs`` is the folder of the run's inputs, which are in the store, too. Beside it are the
    files that calls have left."""

    def __init__(self, ref: StoreRef | None, lacking: Callable[[Ranges], Ranges], inputs: Path) -> None:
        self._store = open_store(ref) if ref else None
        self._inputs = inputs
        self._lacking = lacking
        self._collected: list[str] = []

    async def fetch(self, messages: Sequence[ResultMessage]) -> list[ResultMessage]:
        """``messages`` with the payloads that lie in the store, but for those that are not needed or not to be had.
        ``StoreError`` when the store is away: then none of them is lost."""
        needed = {
            message.cursor for message in messages if message.header.stored and self._lacking(message.header.ranges)
        }
        files = self._wanted_files(messages)
        if not files and (not needed or self._store is None):
            return list(messages)
        return await asyncio.to_thread(self._fetched, messages, needed, files)

    def _wanted_files(self, messages: Sequence[ResultMessage]) -> dict[str, set[int]]:
        """The indices whose files are to be had of each message: those that it is the first to settle."""
        wanted: dict[str, set[int]] = {}
        taken: set[int] = set()
        for message in messages:
            new = set(indices_of(self._lacking(message.header.ranges))) - taken if message.header.files else set()
            if new:
                wanted[message.cursor] = new
                taken |= new
        return wanted

    def collected(self, message: ResultMessage) -> None:
        """Its objects are not needed any more, once what was collected so far is committed."""
        header = message.header
        of_files = header.files.stored if header.files else None
        self._collected += [stored.name for stored in (header.stored, of_files) if stored]

    def take(self) -> list[str]:
        """The names of the objects that were :meth:`collected` since the last time."""
        names, self._collected = self._collected, []
        return names

    async def remove(self, names: Sequence[str]) -> None:
        """Remove what is committed; what cannot be removed now goes with the store."""
        if not names or self._store is None:
            return
        try:
            await asyncio.to_thread(self._store.remove, names)
        except StoreError as error:
            log.debug("collected objects stay for now: %s", error)

    def _fetched(
        self, messages: Sequence[ResultMessage], needed: set[str], files: dict[str, set[int]]
    ) -> list[ResultMessage]:
        return [
            self._whole(message, message.cursor in needed, files.get(message.cursor, set())) for message in messages
        ]

    def _whole(self, message: ResultMessage, needed: bool, files: set[int]) -> ResultMessage:
        """The message with its payload, its files saved; as one whose payload is not to be had, if either is not."""
        header, store = message.header, self._store
        try:
            if files and header.files:
                save_files(header.files, files, store, self._inputs.with_name(FILES))
            if needed and header.stored and store:
                return replace(message, payload=store.get(header.stored))
        except ObjectLost as lost:
            if store:
                store.restore(self._inputs)  # or an error: nothing can be told of a store that is away
            log.warning("a result of worker %s cannot be read, and is computed again: %s", header.worker, lost)
            of_files = header.files.stored if header.files else None
            return replace(message, payload=b"", header=structs.replace(header, stored=header.stored or of_files))
        return message
