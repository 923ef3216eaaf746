"""The workers that a coordinator has heard of lately. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from ttg.messages import AnyEvent, WorkerHeartbeat, WorkerStopped, identity_of_key

SILENT_HEARTBEATS = 3.0


@dataclass
class Fleet:
    """From heartbeats and farewells. ``expected_slots`` counts until the first heartbeat."""

    expected_slots: int = 1
    beats: dict[str, tuple[float, WorkerHeartbeat]] = field(default_factory=dict)
    settled_at: dict[str, dict[int, float]] = field(default_factory=dict)
    """When each slot of a worker settled something last."""

    def __len__(self) -> int:
        return len(self.beats)

    def saw(self, event: AnyEvent, now: float) -> bool:
        """One event; whether it told of a worker that was not known."""
        if isinstance(event, WorkerStopped):
            self._forget(event.worker)
        if not isinstance(event, WorkerHeartbeat):
            return False
        is_new = event.worker not in self.beats
        self.beats[event.worker] = (now, event)
        return is_new

    def forget_silent(self, now: float) -> None:
        """Those that missed several heartbeats are gone."""
        for worker, (at, beat) in list(self.beats.items()):
            if now - at > SILENT_HEARTBEATS * beat.interval + 1.0:
                self._forget(worker)

    def _forget(self, worker: str) -> None:
        self.beats.pop(worker, None)
        self.settled_at.pop(worker, None)

    def settled(self, worker: str, slot: int, now: float) -> None:
        """A slot is free for something new."""
        self.settled_at.setdefault(worker, {})[slot] = now

    @property
    def in_trouble(self) -> bool:
        """Whether some worker waits for the broker to be well."""
        return any(beat.state == "waiting" for _, beat in self.beats.values())

    @property
    def slots(self) -> int:
        """Slots of all workers."""
        return sum(len(beat.slots) for _, beat in self.beats.values()) or self.expected_slots

    @property
    def slots_up(self) -> int:
        """Slots that have a child to work with."""
        return sum(slot.state in ("busy", "idle") for _, beat in self.beats.values() for slot in beat.slots)

    def held(self, run: str, now: float) -> list[float]:
        """For how long each slot that works for ``run`` has been at what is not settled yet."""
        return [
            now - max(heard - (beat.at - slot.since), self.settled_at.get(worker, {}).get(slot.slot, 0.0))
            for worker, (heard, beat) in self.beats.items()
            for slot in beat.slots
            if slot.state == "busy" and slot.run == run
        ]

    def note(self, run: str) -> str:
        """What somebody waits for with a task of this run."""
        notes = (
            f"worker {worker} is {slot.note}"
            for worker, (_, beat) in self.beats.items()
            for slot in beat.slots
            if slot.note and slot.run == run
        )
        return next(notes, "")

    def holds(self, identity: str) -> bool:
        """Whether somebody holds a task of this run."""
        return self.tasks_held(identity) > 0

    def tasks_held(self, identity: str) -> int:
        """How many tasks of this run somebody holds."""
        return sum(identity_of_key(key) == identity for _, beat in self.beats.values() for key in beat.holding)
