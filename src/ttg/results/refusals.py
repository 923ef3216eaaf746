"""Rows that no part can hold: they are found by halving, so that the others are written."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ttg.clock import unix_time
from ttg.messages import DeadLetter, Failure
from ttg.results.dataset import Unwritable, write_part, write_table
from ttg.results.encode import LARGEST_VALUE_BYTES, PARAMETER_PREFIX, too_large
from ttg.results.pieces import Piece, Source, index_array, write_rows
from ttg.spec import RunSpec

Refused = list[tuple[Piece, str]]


def write_what_can_be(
    path: Path, pieces: Sequence[Piece], names: Sequence[str], source: Source | None
) -> tuple[Sequence[Piece], Refused]:
    """Write ``pieces`` as one part; returns what was written, and the rows that no part can hold, each with a reason.

    Which rows these are depends on nothing but the rows. Raises ``StorageError``.
    """
    pieces = sorted(pieces, key=lambda piece: piece.ranges[0])
    try:
        write_rows(partial(write_part, path), pieces, names, source)
        return pieces, []
    except Unwritable:
        refused: Refused = []
        written = _accepted([], pieces, refused, names, source)
    if written:
        write_rows(partial(write_part, path), written, names, source)
    return written, refused


def _accepted(
    base: list[Piece], some: Sequence[Piece], refused: Refused, names: Sequence[str], source: Source | None
) -> list[Piece]:
    """Those of ``some`` that a part can hold together with ``base``."""
    try:
        write_rows(partial(write_table, io.BytesIO()), [*base, *some], names, source)
        return list(some)
    except Unwritable as error:
        if len(some) == 1 and some[0].rows == 1:
            size = some[0].batch.nbytes
            refused.append((some[0], too_large(size) if size > LARGEST_VALUE_BYTES else str(error)))
            return []
    left, right = _halves(some)
    first = _accepted(base, left, refused, names, source)
    return [*first, *_accepted([*base, *first], right, refused, names, source)]


def _halves(pieces: Sequence[Piece]) -> tuple[Sequence[Piece], Sequence[Piece]]:
    if len(pieces) > 1:
        return pieces[: len(pieces) // 2], pieces[len(pieces) // 2 :]
    left, right = pieces[0].split(pieces[0].rows // 2)
    return [left], [right]


def letters_of(refused: Refused, spec: RunSpec, source: Source | None) -> Iterator[DeadLetter]:
    """The dead letters of refused rows."""
    for piece, reason in refused:
        index = piece.ranges[0][0]
        text = f"the result cannot be stored in the table: {reason}"
        failure = Failure(index, "encoding", "UnencodableResult", text, final=True)
        parameters = _parameters(piece, spec.names, source)
        sent = (piece.attempt, failure, piece.worker, unix_time(), spec.identity)
        yield DeadLetter(spec.run, str(spec.function), index, parameters, *sent)


def _parameters(piece: Piece, names: Sequence[str], source: Source | None) -> dict[str, Any]:
    if source is None:
        return {name: piece.batch.column(PARAMETER_PREFIX + name)[0].as_py() for name in names}
    arrays = source.arrays(index_array(piece.ranges))
    return {name: arrays[name].tolist()[0] for name in names}
