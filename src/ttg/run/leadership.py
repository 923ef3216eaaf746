"""The right to coordinate one run: claimed at the beginning, renewed while we live, given up at the end.

Of two coordinators of one run the newer epoch leads; the older one sees that and stops. An id that another run uses is
refused. Safety does not hang on the lease: what travels carries the run's identity, so nobody takes another's for its
own. The lease only says who is gone.
"""

from __future__ import annotations

import asyncio
import enum
import os
import secrets
import socket
from functools import partial

import msgspec

from ttg.brokers.base import Broker
from ttg.clock import unix_time
from ttg.errors import RunConflictError
from ttg.messages import RunRecord, RunStatus
from ttg.messages.records import claimed, ended, renewed
from ttg.spec import RunSpec, encode_spec, fingerprint

RENEWALS_PER_LEASE = 3
WATCH_SECONDS = 0.2


class Standing(enum.Enum):
    """How a coordinator stands with its run."""

    LEADS = "leads"
    FORGOTTEN = "the broker has lost the record, or has an earlier one again"
    CANCELLED = "somebody cancelled the run"
    SUPERSEDED = "another coordinator has taken the run over"


class Leadership:
    """Of ``spec``'s run, for this process. ``epoch`` is the lowest it may get; ``force`` claims a run whose function
    has changed."""

    def __init__(self, broker: Broker, spec: RunSpec, *, epoch: int = 1, force: bool = False) -> None:
        self._broker = broker
        self._spec = encode_spec(spec)
        self._force = force
        now = unix_time()
        self.leads = False
        self.record = RunRecord(
            run=spec.run,
            identity=spec.identity,
            epoch=epoch,
            function=str(spec.function),
            fingerprint=fingerprint(spec),
            size=spec.size,
            priority=spec.priority,
            retry_delay_ms=spec.retry.delay_ms,
            coordinator=f"{broker.consumer}-{secrets.token_hex(4)}",
            host=socket.gethostname(),
            pid=os.getpid(),
            started=now,
            renewed=now,
            lease_seconds=broker.config.lease_seconds,
        )

    @property
    def renewal_seconds(self) -> float:
        """How often to renew."""
        return self.record.lease_seconds / RENEWALS_PER_LEASE

    async def claim(self) -> RunRecord:
        """Publish the run, as its newest coordinator. ``RunConflictError`` when its id is in use."""
        current = await self._broker.find_run(self.record.run, fresh=True)
        if current is not None and current.identity != self.record.identity:
            await self._take_id(current)
        results_from = await self._broker.results_end()
        wanted = msgspec.structs.replace(self.record, renewed=unix_time(), results_from=results_from)
        change = partial(claimed, wanted=wanted, force=self._force)
        record = await self._broker.change_run(self.record.run, change, self._spec)
        assert record is not None
        self.record, self.leads = record, True
        return record

    async def look(self) -> tuple[Standing, RunRecord | None]:
        """How we stand, and with whom. Cheap, unless the record is missing or older than ours."""
        current = await self._broker.find_run(self.record.run)
        if self._is_forgotten(current):
            current = await self._broker.find_run(self.record.run, fresh=True)
        standing, record = self._standing(current)
        if standing is Standing.LEADS and record is not None:  # what others ask for outlives a broker that forgets it
            asked = {"paused": record.paused, "pauses": record.pauses, "drained": record.drained}
            self.record = msgspec.structs.replace(self.record, **asked)
        return standing, record

    async def renew(self) -> Standing:
        """Confirm that we live."""
        change = partial(renewed, mine=self.record, now=unix_time())
        return self._standing(await self._broker.change_run(self.record.run, change))[0]

    async def end(self, status: RunStatus, kept_bytes: int) -> None:
        """Say how it ended, if the run is still ours."""
        change = partial(ended, mine=self.record, status=status, now=unix_time(), kept_bytes=kept_bytes)
        await self._broker.change_run(self.record.run, change)

    def _standing(self, current: RunRecord | None) -> tuple[Standing, RunRecord | None]:
        if self._is_forgotten(current):
            return Standing.FORGOTTEN, None
        assert current is not None
        if not current.is_led_by(self.record):
            return Standing.SUPERSEDED, current
        if current.status is RunStatus.CANCELLED:
            return Standing.CANCELLED, current
        return Standing.LEADS, current

    def _is_forgotten(self, current: RunRecord | None) -> bool:
        """A failover that loses the last seconds brings an earlier record back, of whoever led then."""
        return current is None or current.revision < self.record.revision

    async def _take_id(self, current: RunRecord) -> None:
        """Another run has the id. If nobody leads it, it leaves first: nobody could name afterwards what it left.

        Clocks may differ: of one that is active and looks abandoned, or renewed in the future, we see for ourselves."""
        if current.is_active:
            if 0.0 <= unix_time() - current.renewed <= current.lease_seconds:
                return
            await self._watch(current)
        await self._broker.forget_run(current)

    async def _watch(self, current: RunRecord) -> None:
        """Whether its leader shows up: ``RunConflictError`` if so."""
        left = current.lease_seconds / RENEWALS_PER_LEASE + 1.0
        while left > 0:
            await asyncio.sleep(WATCH_SECONDS)
            left -= WATCH_SECONDS
            now = await self._broker.find_run(current.run)
            if now is not None and now.is_active and now.revision != current.revision:
                raise RunConflictError(f"run id {now.run!r} is in use, led by {now.leader}: choose another --run-id")
