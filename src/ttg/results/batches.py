"""Whole columns, batch after batch, and the payload of them all. The child imports this, when it needs Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ttg.results.arrow import pa
from ttg.results.encode import Column, columns_of, stream
from ttg.results.schema import conform, distinct, merge_fields, retyping


def batch_of(columns: Mapping[str, Any]) -> pa.RecordBatch:
    """Result columns (lists or arrays) as a record batch, which may share their memory. Raises ``Unencodable``."""
    found = columns_of(columns)
    return pa.record_batch([array for _, array in found], schema=pa.schema([field for field, _ in found]))


def encode_batches(
    batches: Sequence[pa.RecordBatch],
    call_seconds: Sequence[float] | None = None,
    parameters: Mapping[str, Sequence[Any]] | None = None,
) -> bytes:
    """The payload of the rows of all ``batches``; columns that disagree are widened as they are across payloads."""
    return stream(_joined(batches), call_seconds, parameters)


def _joined(batches: Sequence[pa.RecordBatch]) -> list[Column]:
    groups = distinct([list(batch.schema) for batch in batches])
    if len(groups) == 1:
        return [(field, _concatenated(batches, place)) for place, field in enumerate(groups[0])]
    joined: list[Column] = []

    def join(wider: Mapping[str, pa.Field]) -> None:
        fields = [wider.get(field.name, field) for field in merge_fields(groups)]
        parts = [conform(_named(batch), fields, batch.num_rows) for batch in batches]
        joined[:] = zip(fields, map(pa.concat_arrays, zip(*parts, strict=True)), strict=True)

    retyping(join)
    return joined


def _concatenated(batches: Sequence[pa.RecordBatch], place: int) -> pa.Array:
    return pa.concat_arrays([batch.column(place) for batch in batches])


def _named(batch: pa.RecordBatch) -> dict[str, tuple[pa.Field, Any]]:
    return {field.name: (field, array) for field, array in zip(batch.schema, batch.columns, strict=True)}
