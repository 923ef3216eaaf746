"""Figures over time in bounded memory: when time outgrows the room, the resolution halves. Pure."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Key = TypeVar("Key", bound=Hashable)
Row = NDArray[np.float32]


class History:
    """A gauge over time: the newest value is always kept, older ones are thinned to at most ``capacity`` points."""

    def __init__(self, capacity: int = 240, spacing_seconds: float = 1.0) -> None:
        self._capacity = capacity
        self._spacing = spacing_seconds
        self._points: list[tuple[float, int]] = []

    def add(self, at: float, value: int) -> None:
        """Record ``value`` at Unix time ``at``; within one spacing the newer value replaces the older."""
        points = self._points
        if len(points) > 1 and at - points[-2][0] < self._spacing:
            points[-1] = (at, value)
            return
        points.append((at, value))
        if len(points) > self._capacity:
            self._points = points[::2]
            self._spacing *= 2

    def points(self) -> list[tuple[float, int]]:
        """``(at, value)``, oldest first."""
        return list(self._points)


class Strips(Generic[Key]):
    """Rows of sums over one time axis, shared: ``columns`` (even) buckets, ``layers`` figures per bucket.

    What happened during an interval is spread evenly over the buckets it covers. When time passes the last bucket,
    neighbours are merged and buckets become twice as wide. At most ``rows_kept`` rows; the one longest without news
    makes room.
    """

    def __init__(self, layers: int, columns: int, bucket_seconds: float, rows_kept: int = 4096) -> None:
        self._layers = layers
        self._columns = columns
        self._finest = bucket_seconds
        self._rows_kept = rows_kept
        self.rows: dict[Key, Row] = {}
        self.restart(None)

    def restart(self, began: float | None) -> None:
        """Forget everything; the axis begins at ``began`` (``None``: with the first interval)."""
        self.rows.clear()
        self.began = began
        self.ended = began or 0.0
        self.bucket_seconds = self._finest

    def add(self, key: Key, began: float, ended: float, amounts: tuple[float, ...]) -> None:
        """Spread ``amounts`` (one per layer) evenly over ``[began, ended]``."""
        if self.began is None:
            self.began = began
        began = max(began, self.began)
        self.ended = max(self.ended, ended)
        self._make_room_until(ended)
        row = self._row(key)
        last = max(0, math.ceil((ended - self.began) / self.bucket_seconds) - 1)
        first = min(last, int((began - self.began) / self.bucket_seconds))
        if first == last:
            row[:, first] += amounts
        else:
            row[:, first : last + 1] += np.outer(amounts, self._shares(first, last, began, ended))

    def restore(self, ended: float, bucket_seconds: float, rows: Mapping[Key, Sequence[Sequence[float]]]) -> None:
        """Rows that were kept, with as many layers, replace those that are here; the axis begins where it began."""
        self.ended, self.bucket_seconds = ended, bucket_seconds
        self.rows.clear()
        for key, layers in rows.items():
            row = self._row(key)
            for number, amounts in enumerate(layers):
                row[number, : len(amounts)] = amounts

    def _shares(self, first: int, last: int, began: float, ended: float) -> Row:
        """How much of ``[began, ended]`` falls into each bucket from ``first`` to ``last``; sums to 1."""
        assert self.began is not None
        edges = self.began + np.arange(first, last + 2) * self.bucket_seconds
        edges[0], edges[-1] = began, ended
        shares: Row = (np.diff(edges) / (ended - began)).astype(np.float32)
        return shares

    def _row(self, key: Key) -> Row:
        row = self.rows.pop(key, None)
        if row is None:
            if len(self.rows) >= self._rows_kept:
                del self.rows[next(iter(self.rows))]
            row = np.zeros((self._layers, self._columns), dtype=np.float32)
        self.rows[key] = row  # last in the dict: the one with the newest news
        return row

    def _make_room_until(self, ended: float) -> None:
        assert self.began is not None
        while ended - self.began > self.bucket_seconds * self._columns:
            self.bucket_seconds *= 2
            for row in self.rows.values():
                merged = row[:, 0::2] + row[:, 1::2]
                row[:, : merged.shape[1]] = merged
                row[:, merged.shape[1] :] = 0

    def rates(self, amounts: Row) -> list[float]:
        """``amounts`` of the used buckets, per second. A last bucket that has only begun tells nothing by itself: it
        gets the rate of the last two."""
        if self.began is None or not self.used:
            return []
        edges = np.minimum(self.began + np.arange(self.used + 1) * self.bucket_seconds, self.ended)
        widths, used = np.diff(edges), amounts[: self.used]
        rates = [round(float(rate), 3) for rate in used / widths]
        if len(rates) > 1 and widths[-1] < widths[-2]:
            rates[-1] = round(float(used[-2:].sum() / widths[-2:].sum()), 3)
        return rates

    @property
    def used(self) -> int:
        """Number of buckets from the beginning to the latest news."""
        if self.began is None:
            return 0
        return min(self._columns, math.ceil((self.ended - self.began) / self.bucket_seconds))
