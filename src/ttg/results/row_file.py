"""Rows as an Arrow file that is mapped into memory: any slice of it costs what it holds, whatever the file holds.

A column whose values are all integers, floats, booleans or text (or ``None``) has Arrow's type for them; any other is
text, each value as JSON as :mod:`ttg.messages.parameters` writes it. Every value comes back as it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ttg.errors import StorageError
from ttg.messages.parameters import EnumMember, MemberOf, decoded_values, encoded_values, is_unicode
from ttg.results.arrow import pa
from ttg.results.folder import publish_file
from ttg.space import Space
from ttg.space.base import gathered
from ttg.space.forms import RowsForm
from ttg.space.readers import list_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_ROWS = 1 << 14
NULL, JSON = "null", "ttg.json"
KINDS = {int: "int64", float: "float64", bool: "bool", str: "large_string"}
"""Of these, Arrow has every value."""

_FORM = b"ttg.form"


# ---------------------------------------------------------------------------------------------- writing


class _Wider(Exception):
    """A block does not fit its columns, which are to be wider from the first one on."""


def write_rows(path: Path, source: Space) -> None:
    """Write all rows of ``source``, block by block; durable and complete when ``path`` exists."""
    kinds = dict.fromkeys(source.names, NULL)
    temporary = path.with_name(f"{path.name}.tmp")
    while True:
        try:
            _write(temporary, source, kinds)
            return publish_file(temporary, path)
        except _Wider:
            continue


def _write(path: Path, source: Space, kinds: dict[str, str]) -> None:
    blocks = _blocks(source, kinds)
    first = next(blocks)
    fields = [_field(name, kind) for name, kind in kinds.items()]
    schema = pa.schema(fields, {_FORM: msgspec.json.encode(source.form())})
    with path.open("wb") as file:
        with pa.ipc.new_file(file, schema) as writer:
            for block in chain([first], blocks):
                arrays = [_array(block[field.name], field) for field in fields]
                writer.write_batch(pa.record_batch(arrays, schema=schema))
        file.flush()
        os.fsync(file.fileno())


def _blocks(source: Space, kinds: dict[str, str]) -> Iterator[Mapping[str, Sequence[Any]]]:
    """The rows, as long as they are of ``kinds``, which the first block may still widen."""
    for start in range(0, len(source), BLOCK_ROWS):
        block = source.columns(start, min(start + BLOCK_ROWS, len(source)))
        seen = {name: _join(kind, _kind_of(block[name])) for name, kind in kinds.items()}
        is_wider = seen != kinds
        kinds.update(seen)
        if start and is_wider:
            raise _Wider
        yield block


def _kind_of(column: Sequence[Any]) -> str:
    types = set(map(type, column)) - {type(None)}
    if not types:
        return NULL
    kind = KINDS.get(types.pop(), JSON) if len(types) == 1 else JSON
    is_other_text = kind == KINDS[str] and not is_unicode("".join(filter(None, column)))
    return JSON if is_other_text else kind


def _join(a: str, b: str) -> str:
    return b if a == NULL else a if b in (NULL, a) else JSON


def _field(name: str, kind: str) -> pa.Field:
    return pa.field(name, KINDS[str], metadata={JSON: "1"}) if kind == JSON else pa.field(name, kind)


def _array(values: Sequence[Any], field: pa.Field) -> pa.Array:
    if not _is_json(field):
        return pa.array(values, field.type)
    encode = msgspec.json.encode
    texts = [None if data is None else encode(data) for data in encoded_values(values)]
    return pa.array(texts, pa.large_binary()).cast(field.type)


# ---------------------------------------------------------------------------------------------- reading


class SavedRows(Space):
    """The rows of such a file; members of enumerations are found by ``member``. ``StorageError`` if it is none."""

    computable = False

    def __init__(self, path: Path, member: MemberOf = EnumMember.itself) -> None:
        try:
            self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            self._form = msgspec.json.decode(self._table.schema.metadata[_FORM], type=RowsForm)
        except (pa.ArrowException, OSError, KeyError, TypeError, msgspec.MsgspecError) as error:
            raise StorageError(f"{path} is damaged, or of another TTG version: {error}") from error
        self.names = tuple(self._table.schema.names)
        self._member = member

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def columns(self, start: int, stop: int) -> dict[str, Sequence[Any]]:
        return {
            name: decoded_values(_data(column), self._member) if is_json else list_of(column)
            for name, column, is_json in self._slice(start, stop)
        }

    def encoded_columns(self, start: int, stop: int) -> dict[str, list[Any]]:
        """JSON stays the text that it is."""
        return {
            name: _raw(column) if is_json else encoded_values(list_of(column))
            for name, column, is_json in self._slice(start, stop)
        }

    def _slice(self, start: int, stop: int) -> Iterator[tuple[str, pa.ChunkedArray, bool]]:
        part = self._table.slice(start, stop - start)
        for field, column in zip(part.schema, part.columns, strict=True):
            yield field.name, column, _is_json(field)

    def arrays(self, indices: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return gathered(self, indices)

    def form(self) -> RowsForm:
        return self._form

    def sources(self) -> tuple[Space, ...]:
        return (self,)


def _is_json(field: pa.Field) -> bool:
    return JSON.encode() in (field.metadata or {})


def _data(column: pa.ChunkedArray) -> list[Any]:
    decode = msgspec.json.decode
    return [None if text is None else decode(text) for text in column.to_pylist()]


def _raw(column: pa.ChunkedArray) -> list[Any]:
    return [None if text is None else msgspec.Raw(text) for text in column.to_pylist()]
