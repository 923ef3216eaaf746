"""What a broker knows of a run, and who leads it: one record per run id, changed by compare-and-set only.

::

                 claim                    end
    (nothing) ────────▶ ACTIVE ─────────────────────▶ FINISHED, FINISHED_WITH_DEAD_LETTERS, FAILED, INTERRUPTED
                        │ ▲ │                              │
             renew, pause │ │ cancel                       │ claim (the same run: resume; another: the id is free)
             drain, claim └─┘ ▼                            ▼
          (a newer epoch)   CANCELLED ──────────────────▶ ACTIVE

A run is who its ``identity`` says (a nonce made with the run; the id is what people choose), and each coordinator of it
has an ``epoch``, counted. The functions of this module are the transitions: from the record as it is to the record as
it should be. They are pure; :meth:`ttg.brokers.base.Broker.change_run` makes them true, on every broker alike.
"""

from __future__ import annotations

import enum

import msgspec

from ttg.errors import RunConflictError
from ttg.messages.codec import Message

DRAINED_KEPT = 1_000


class RunStatus(enum.StrEnum):
    """The one vocabulary for how a run stands, on disk, in the broker, in events and in every view."""

    ACTIVE = "active"
    FINISHED = "finished"
    FINISHED_WITH_DEAD_LETTERS = "finished_with_dead_letters"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    FAILED = "failed"
    ABANDONED = "abandoned"
    """Never stored: what an active run is called whose coordinator is gone."""

    @property
    def is_finished(self) -> bool:
        """Every parameter is settled."""
        return self in (RunStatus.FINISHED, RunStatus.FINISHED_WITH_DEAD_LETTERS)

    @property
    def is_resumable(self) -> bool:
        """There may be something left to do, and nobody is at it."""
        return self is not RunStatus.ACTIVE and not self.is_finished

    @property
    def words(self) -> str:
        """As people read it: ``finished with dead letters``."""
        return self.replace("_", " ")


class RunRecord(Message, frozen=True, kw_only=True):
    """One run as the broker knows it; the specification is kept apart (:meth:`~ttg.brokers.base.Broker.find_spec`).

    ``coordinator``, ``host`` and ``pid`` say who leads it, ``renewed`` (Unix seconds) when that was last confirmed, and
    ``lease_seconds`` for how long that holds. ``results_from`` is the cursor behind which the run's results begin.
    ``kept_bytes`` is what of its results is still in the broker at its end. ``paused``: nothing of it is begun for
    now; ``pauses`` counts how often that was so. ``drained`` are workers that are to leave. ``revision`` rises with
    every change.
    """

    run: str
    identity: str = ""
    epoch: int = 1
    status: RunStatus = RunStatus.ACTIVE
    function: str = ""
    fingerprint: str = ""
    size: int = 0
    priority: int = 0
    retry_delay_ms: int = 0
    coordinator: str = ""
    host: str = ""
    pid: int = 0
    started: float = 0.0
    renewed: float = 0.0
    ended: float = 0.0
    lease_seconds: float = 15.0
    results_from: str = ""
    kept_bytes: int = 0
    paused: bool = False
    pauses: int = 0
    drained: tuple[str, ...] = ()
    revision: int = 0

    @property
    def life(self) -> str:
        """``run/identity/epoch``, as :attr:`ttg.messages.Task.life`."""
        return f"{self.run}/{self.identity}/{self.epoch}"

    @property
    def is_active(self) -> bool:
        """Whether its tasks are to be executed."""
        return self.status is RunStatus.ACTIVE

    def silent_seconds(self, now: float) -> float:
        """How long its coordinator has not been heard of, by the wall clock."""
        return max(0.0, now - self.renewed)

    def status_at(self, now: float) -> RunStatus:
        """The status, with an active run whose coordinator let its lease run out shown as abandoned."""
        gone = self.is_active and self.silent_seconds(now) > self.lease_seconds
        return RunStatus.ABANDONED if gone else self.status

    def is_led_by(self, other: RunRecord) -> bool:
        """Whether ``other`` is this very run under the same coordinator."""
        mine = (self.identity, self.epoch, self.coordinator)
        return mine == (other.identity, other.epoch, other.coordinator)

    @property
    def leader(self) -> str:
        """Who leads it, for people."""
        return f"process {self.pid} on {self.host}" if self.host else self.coordinator or "an unknown coordinator"


def claimed(current: RunRecord | None, wanted: RunRecord, *, force: bool = False) -> RunRecord:
    """``wanted`` as the run's new record, at the epoch after every earlier one of the same run.

    ``RunConflictError`` when the id is in use: another run of that name is active, or (unless ``force``) this run was
    started with another function or space. The caller has made sure that the leader of an abandoned one is gone.
    """
    if current is None:
        return wanted
    if current.identity != wanted.identity:
        if current.status_at(wanted.renewed) is RunStatus.ACTIVE:
            raise RunConflictError(
                f"run id {current.run!r} is in use: {current.function}, {current.size:,} parameters, led by "
                f"{current.leader} since {_clock(current.started)}: choose another --run-id, or wait for it to end"
            )
        return wanted
    if current.fingerprint != wanted.fingerprint and not force:
        raise RunConflictError(
            f"run {current.run} was started with another function, space or seed than this one: old and new rows would "
            "not belong together"
        )
    epoch = max(current.epoch + 1, wanted.epoch)
    return msgspec.structs.replace(
        wanted, epoch=epoch, started=current.started, results_from=current.results_from or wanted.results_from
    )


def renewed(current: RunRecord | None, mine: RunRecord, now: float) -> RunRecord | None:
    """``mine`` for another lease; whoever else's record it has become, unchanged."""
    if current is None or not current.is_active or not current.is_led_by(mine):
        return current
    return msgspec.structs.replace(current, renewed=now)


def ended(current: RunRecord | None, mine: RunRecord, status: RunStatus, now: float, kept_bytes: int) -> RunRecord:
    """``mine`` with its last ``status``; a record that is not its own any more stays as it is."""
    if current is not None and not current.is_led_by(mine):
        return current
    was = current or mine
    return msgspec.structs.replace(
        was, status=status, renewed=now, ended=now, kept_bytes=kept_bytes, paused=False, drained=()
    )


def cancelled(current: RunRecord | None, now: float) -> RunRecord | None:
    """The run, to be worked on no longer; one that is finished stays so."""
    if current is None or current.status.is_finished:
        return current
    return msgspec.structs.replace(current, status=RunStatus.CANCELLED, ended=now, paused=False)


def paused(current: RunRecord | None, wanted: bool) -> RunRecord | None:
    """The run, of which nothing is to be begun for now, or again; one that is over stays as it is."""
    if current is None or not current.is_active or current.paused is wanted:
        return current
    return msgspec.structs.replace(current, paused=wanted, pauses=current.pauses + wanted)


def drained(current: RunRecord | None, worker: str) -> RunRecord | None:
    """The run, which ``worker`` is to leave; of very many that were, the first are forgotten."""
    if current is None or not current.is_active or worker in current.drained:
        return current
    return msgspec.structs.replace(current, drained=(*current.drained, worker)[-DRAINED_KEPT:])


def _clock(at: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
