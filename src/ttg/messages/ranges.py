"""Indices as ranges: ascending, disjoint, half-open ``[start, stop)`` pairs. There is no second notation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

Ranges = tuple[tuple[int, int], ...]


def check_ranges(ranges: Ranges) -> None:
    """Raise ``ValueError`` unless ``ranges`` are non-empty, ascending and disjoint half-open pairs of indices."""
    end = 0
    for start, stop in ranges:
        if not end <= start < stop:
            raise ValueError(f"expected ascending, disjoint [start, stop) pairs, got [{start}, {stop}] after {end}")
        end = stop


def count_indices(ranges: Iterable[tuple[int, int]]) -> int:
    """Number of indices in ``ranges``."""
    count = 0
    for start, stop in ranges:  # not sum(): most ranges are one pair, and several processes count each message
        count += stop - start
    return count


def indices_of(ranges: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Each index of ``ranges``, in order."""
    for start, stop in ranges:
        yield from range(start, stop)


def ranges_of(indices: Iterable[int]) -> Ranges:
    """Ascending indices, compressed to ranges.

    >>> ranges_of([1, 2, 3, 7])
    ((1, 4), (7, 8))
    """
    ranges: list[tuple[int, int]] = []
    start = stop = None
    for index in indices:
        if index == stop:
            stop += 1
            continue
        if start is not None and stop is not None:
            ranges.append((start, stop))
        start, stop = index, index + 1
    if start is not None and stop is not None:
        ranges.append((start, stop))
    return tuple(ranges)


def split_ranges(ranges: Ranges, count: int) -> tuple[Ranges, Ranges]:
    """The first ``count`` indices of ``ranges``, and the rest.

    >>> split_ranges(((0, 4), (8, 10)), 5)
    (((0, 4), (8, 9)), ((9, 10),))
    """
    head: list[tuple[int, int]] = []
    for position, (start, stop) in enumerate(ranges):
        if count >= stop - start:
            head.append((start, stop))
            count -= stop - start
            continue
        if count == 0:
            return tuple(head), ranges[position:]
        head.append((start, start + count))
        return tuple(head), ((start + count, stop), *ranges[position + 1 :])
    return tuple(head), ()


def without(ranges: Ranges, indices: set[int]) -> Ranges:
    """``ranges`` minus ``indices``, which lie inside."""
    return tuple(_gaps(ranges, sorted(indices))) if indices else ranges


def _gaps(ranges: Ranges, holes: Sequence[int]) -> Iterator[tuple[int, int]]:
    position = 0
    for start, stop in ranges:
        while position < len(holes) and holes[position] < stop:
            if start < holes[position]:
                yield start, holes[position]
            start = holes[position] + 1
            position += 1
        if start < stop:
            yield start, stop


def index_at(ranges: Ranges, position: int) -> int:
    """The index at ``position`` of ``ranges``."""
    return split_ranges(ranges, position)[1][0][0]
