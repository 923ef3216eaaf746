"""What is measured: every workload as a list of jobs, and the targets that TTG's figures are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from benchmarks.job import Job
from benchmarks.peers import LIMIT, OURS, PEERS

BROKERED = tuple(name for name, facts in PEERS.items() if facts.broker and name not in OURS)
CLUSTERS = ("dask", "ray")
POOLS = ("mp-pool", "futures", "joblib")
ALL_PEERS = (*POOLS, *CLUSTERS, *BROKERED)
WITH_CRASH_SETTINGS = (*BROKERED, "ray")
"""Contenders with something to set for the case that a worker dies."""

RANGE = 125_000
"""Indices per hand-written range in P1: one megabyte of results, the size at which every peer was near its best."""


@dataclass(frozen=True)
class Workload:
    """``metric`` is ``rate`` (parameters/s), ``seconds``, ``efficiency`` (of two plain processes) or ``mib``."""

    name: str
    title: str
    metric: str
    jobs: Callable[[bool], Iterable[Job]]
    typical_seconds: float
    """How long one job takes here, roughly: the first guess of the scheduler."""


def job(name: str, peer: str, function: str, count: int, workers: int, **more: object) -> Job:
    settings: dict[str, object] = {"style": "ranges", "block": 1, "timing": "steady", "timeout_seconds": 120.0}
    return Job(peer, name, function, count, workers, **(settings | more))  # type: ignore[arg-type]


def p1(quick: bool) -> Iterator[Job]:
    one, ten = (20_000, 40_000) if quick else (1_000_000, 10_000_000)
    size = one // 8 if quick else RANGE
    for count in (one, ten):
        base = job("P1", LIMIT, "f", count, 2, block=size, timeout_seconds=180.0)
        yield replace(base, style="plain")
        yield from (replace(base, peer=peer, style="auto") for peer in OURS)
        yield from (replace(base, peer=peer, style="plain") for peer in ("mp-pool", "futures"))
        yield from (replace(base, peer=peer) for peer in ALL_PEERS)
    base = job("P1", LIMIT, "f", one, 2, block=size, timeout_seconds=180.0)
    yield from (replace(base, peer=peer, style="plain") for peer in ("joblib", "dask"))
    yield from (replace(base, peer=peer, style="auto", timing="cold") for peer in OURS)
    yield from (replace(base, peer=peer, timing="cold") for peer in ALL_PEERS)


def p1s(quick: bool) -> Iterator[Job]:
    for peer in (*OURS, *CLUSTERS, *BROKERED):
        yield job("P1s", peer, "f", 200 if quick else 20_000, 2, style="single")


def p2(quick: bool) -> Iterator[Job]:
    base = job("P2", LIMIT, "burn", 200 if quick else 10_000, 2, style="plain")
    yield base
    yield from (replace(base, peer=peer, style="auto") for peer in OURS)
    yield replace(base, peer="mp-pool")
    yield from (replace(base, peer=peer, style="ranges", block=size) for peer, size in product(ALL_PEERS, (20, 100)))


def p3(quick: bool) -> Iterator[Job]:
    base = job("P3", LIMIT, "small", 30 if quick else 1_000, 3, style="plain")
    yield base
    yield from (replace(base, peer=peer, style="auto") for peer in OURS)
    yield from (replace(base, peer=peer, style="chunks", block=10) for peer in OURS)
    yield from (replace(base, peer=peer, style="ranges") for peer in ALL_PEERS)


def p4(quick: bool) -> Iterator[Job]:
    base = job("P4", LIMIT, "medium", 300 if quick else 10_000, 3, style="plain")
    yield base
    yield from (replace(base, peer=peer, style="auto") for peer in OURS)
    yield from (replace(base, peer=peer, style="ranges", block=20) for peer in ALL_PEERS)


def p5(quick: bool) -> Iterator[Job]:
    """Whoever has not recovered within the time limit is taken to never recover."""
    limit = 25.0 if quick else 100.0
    base = job("P5", LIMIT, "counted", 60 if quick else 1_000, 3, kill_at=0.36, timeout_seconds=limit)
    yield from (replace(base, peer=peer, style="auto", settings="default") for peer in OURS)
    yield from (replace(base, peer=peer, settings="default") for peer in ALL_PEERS)
    yield from (replace(base, peer=peer) for peer in WITH_CRASH_SETTINGS)


def start(quick: bool) -> Iterator[Job]:
    for peer in (LIMIT, *OURS, *ALL_PEERS):
        style = "auto" if peer in OURS else "ranges"
        yield job("start", peer, "f", 1, 1, style=style, timing="cold", timeout_seconds=60.0)
        if PEERS[peer].broker:
            yield job("start", peer, "f", 1, 1, style=style, timing="client", timeout_seconds=60.0)
    yield job("start", "ttg", "f", 1, 1, style="auto", timing="steady", timeout_seconds=60.0)


def memory(quick: bool) -> Iterator[Job]:
    base = job("memory", LIMIT, "f", 20_000 if quick else 1_000_000, 2, block=RANGE, timing="cold")
    yield replace(base, style="plain")
    yield from (replace(base, peer=peer, style="auto") for peer in OURS)
    yield from (replace(base, peer=peer) for peer in ALL_PEERS)
    large = replace(base, style="auto", count=100_000 if quick else 100_000_000, timeout_seconds=900.0)
    yield from (replace(large, peer=peer) for peer in OURS)


def scale(quick: bool) -> Iterator[Job]:
    counts = (1_000, 10_000, 100_000) if quick else (10_000, 1_000_000, 100_000_000)
    for peer, count in product(OURS, counts):
        yield job("scale", peer, "f", count, 2, style="auto", timeout_seconds=900.0)


_ALL = [
    Workload("P1", "a function of 0.1 µs, every result collected, 2 workers", "rate", p1, 4),
    Workload("P1s", "the same, one message per parameter, 2 workers", "rate", p1s, 25),
    Workload("P2", "1 ms of computing per parameter, 10 k parameters, 2 workers", "efficiency", p2, 9),
    Workload("P3", "100 ms of sleep, 1,000 parameters, 3 workers", "seconds", p3, 37),
    Workload("P4", "10 ms of sleep, 10,000 parameters, 3 workers", "seconds", p4, 38),
    Workload("P5", "P3 with one worker of three killed at 36 %, no replacement", "seconds", p5, 55),
    Workload("start", "first result after the start of the command", "seconds", start, 3),
    Workload("memory", "peak proportional memory of all processes, broker included, P1", "mib", memory, 8),
    Workload("scale", "P1 at growing N: cost per parameter", "rate", scale, 25),
]
WORKLOADS = {workload.name: workload for workload in _ALL}


@dataclass(frozen=True)
class FunctionRef:
    """A figure TTG must reach. ``kind``: ``ratio`` (how many times as good as the best peer), ``limit`` (the same,
    against the limit), ``value`` (in the workload's metric), ``flat`` (figure at ``count`` over the one at
    ``base_count``). Sizes are part of a target: the tiny ones of ``--quick`` meet and miss nothing.
    """

    workload: str
    peers: tuple[str, ...]
    bound: float
    kind: str = "value"
    style: str | None = None
    timing: str = "steady"
    count: int | None = None
    base_count: int | None = None


WITH_BROKER = ("ttg-redis", "ttg-rabbitmq")

TARGETS = [
    FunctionRef("P1", WITH_BROKER, 1.0, "ratio", count=1_000_000),
    FunctionRef("P1", WITH_BROKER, 1.0, "ratio", count=10_000_000),
    FunctionRef("P1s", ("ttg-redis",), 3.0, "ratio", count=20_000),
    FunctionRef("P1s", ("ttg-rabbitmq",), 2.0, "ratio", count=20_000),
    FunctionRef("P2", OURS, 0.995, count=10_000),
    FunctionRef("P3", WITH_BROKER, 33.6, style="auto", count=1_000),
    FunctionRef("P3", WITH_BROKER, 34.2, style="chunks", count=1_000),
    FunctionRef("P4", WITH_BROKER, 1 / 1.01, "limit", count=10_000),
    FunctionRef("P5", WITH_BROKER, 44.4, count=1_000),
    FunctionRef("start", ("ttg",), 0.4, timing="cold"),
    FunctionRef("start", ("ttg",), 0.25),
    FunctionRef("memory", OURS, 200, timing="cold", count=1_000_000),
    FunctionRef("memory", OURS, 1.2, "flat", timing="cold", count=100_000_000, base_count=1_000_000),
    FunctionRef("scale", OURS, 1 / 1.1, "flat", count=100_000_000, base_count=1_000_000),
]
