"""Workers and their slots, from heartbeats and farewells. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from ttg.messages import SlotState, WorkerHeartbeat, WorkerLost, WorkerStopped
from ttg.monitor.view import SlotView, WorkerView

WORKERS_KEPT = 4096
GONE_KEPT = 256
MISSED_HEARTBEATS = 2.5
RATE_HEARTBEATS = 4

ORDER = {"lost": 0, "silent": 1, "alive": 2, "stopped": 3}


@dataclass(slots=True)
class WorkerState:
    """What is known of one worker. ``gone`` is how it left (lost, stopped), empty while it is thought to live."""

    heartbeat: WorkerHeartbeat
    heard: float
    gone: str = ""
    counted: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RATE_HEARTBEATS))

    def state(self, now: float) -> str:
        """``alive``, ``silent``, ``lost`` or ``stopped``."""
        if self.gone:
            return self.gone
        return "silent" if now - self.heard > MISSED_HEARTBEATS * self.heartbeat.interval else "alive"

    def rate(self) -> float:
        """Parameters per second over the last few heartbeats."""
        (began, before), (ended, after) = self.counted[0], self.counted[-1]
        return max(0, after - before) / (ended - began) if ended > began else 0.0

    def at(self, now: float) -> WorkerView:
        """This worker as seen at ``now``."""
        beat, state = self.heartbeat, self.state(now)
        lives = state == "alive"
        return WorkerView(
            worker=beat.worker,
            host=beat.host,
            pid=beat.pid,
            state=state,
            heard_seconds=max(0.0, now - self.heard),
            rate=self.rate() if lives else 0.0,
            done=beat.done,
            failed=beat.failed,
            tasks=beat.tasks,
            memory_bytes=beat.memory_bytes + sum(slot.memory_bytes for slot in beat.slots) if not self.gone else 0,
            slots=tuple(_slot_at(slot, beat.at + now - self.heard) for slot in beat.slots) if not self.gone else (),
        )


def _slot_at(slot: SlotState, now: float) -> SlotView:
    """``now`` is on the worker's own clock, as ``since`` is."""
    return SlotView(
        slot=slot.slot,
        state=slot.state,
        seconds=max(0.0, now - slot.since),
        run=slot.run,
        task=slot.task,
        done=slot.done,
        total=slot.total,
        memory_bytes=slot.memory_bytes,
    )


@dataclass(slots=True)
class Workers:
    """All workers heard of; the gone ones are forgotten first, oldest first."""

    states: dict[str, WorkerState] = field(default_factory=dict)

    def on_heartbeat(self, event: WorkerHeartbeat, heard: float) -> None:
        """The worker lives, whatever was said of it before."""
        state = self.states.get(event.worker)
        if state is None:
            self._make_room()
            state = self.states[event.worker] = WorkerState(event, heard)
            state.counted.append((min(event.started or event.at, event.at), 0))
        state.heartbeat, state.heard, state.gone = event, heard, ""
        state.counted.append((event.at, event.done))

    def on_stopped(self, event: WorkerStopped, heard: float) -> None:
        """The worker said goodbye."""
        self._leave(event.worker, "stopped", heard)

    def on_lost(self, event: WorkerLost, heard: float) -> None:
        """Others took its tasks over. It may come back with a heartbeat."""
        self._leave(event.worker, "lost", heard - event.after_seconds)

    def at(self, now: float) -> list[WorkerView]:
        """Workers as seen at ``now``: those that need a look first, then by name."""
        views = (state.at(now) for state in self.states.values())
        return sorted(views, key=lambda view: (ORDER[view.state], natural(view.worker)))

    def _leave(self, worker: str, how: str, heard: float) -> None:
        state = self.states.pop(worker, None)
        if state is not None:
            state.gone, state.heard = how, max(state.heard, heard)
            self.states[worker] = state  # at the end: the longest gone come first
        self._forget_gone()

    def _forget_gone(self) -> None:
        gone = [name for name, state in self.states.items() if state.gone]
        for name in gone[: max(0, len(gone) - GONE_KEPT)]:
            del self.states[name]

    def _make_room(self) -> None:
        if len(self.states) >= WORKERS_KEPT:
            gone = (name for name, state in self.states.items() if state.gone)
            del self.states[next(gone, next(iter(self.states)))]


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key in which ``w2`` comes before ``w10``."""
    parts: list[str] = []
    for letter in name:
        if parts and parts[-1][-1].isdecimal() == letter.isdecimal():
            parts[-1] += letter
        else:
            parts.append(letter)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def by_state(states: Iterable[str]) -> dict[str, int]:
    """How many of each state."""
    return dict(sorted(Counter(states).items()))
