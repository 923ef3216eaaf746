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

    def __len__(self) -> int:
        return len(self.beats)

    def saw(self, event: AnyEvent, now: float) -> bool:
        """One event; whether it told of a worker that was not known."""
        if isinstance(event, WorkerStopped):
            self.beats.pop(event.worker, None)
        if not isinstance(event, WorkerHeartbeat):
            return False
        is_new = event.worker not in self.beats
        self.beats[event.worker] = (now, event)
        return is_new

    def forget_silent(self, now: float) -> None:
        """Those that missed several heartbeats are gone."""
        for worker, (at, beat) in list(self.beats.items()):
            if now - at > SILENT_HEARTBEATS * beat.interval + 1.0:
                del self.beats[worker]

    @property
    def in_trouble(self) -> bool:
        """Whether some worker waits for the broker to be well."""
        return any(beat.state == "waiting" for _, beat in self.beats.values())

    @property
    def slots(self) -> int:
        """Slots of all workers."""
        return sum(len(beat.slots) for _, beat in self.beats.values()) or self.expected_slots

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
        return any(identity_of_key(key) == identity for _, beat in self.beats.values() for key in beat.holding)
