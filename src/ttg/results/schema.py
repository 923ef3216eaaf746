"""Which columns a table has: their names, their order, and one type for what different batches brought.

The rules are those of :mod:`ttg.results.encode`, applied across batches, so that a table does not depend on how its
rows were cut into chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pyarrow import types

from ttg.results.arrow import pa
from ttg.results.encode import PARAMETER_PREFIX, RESULT, SECONDS, in_order
from ttg.results.kinds import Type, field_of, type_of_field
from ttg.results.kinds import join as join_kinds

INDEX = pa.field("index", pa.int64(), nullable=False)
TRAILING = (
    pa.field("seconds", pa.float32(), nullable=False),
    pa.field("attempt", pa.int32(), nullable=False),
    pa.field("worker", pa.dictionary(pa.int32(), pa.string()), nullable=False),
)
OWN_NAMES = frozenset((INDEX.name, *(field.name for field in TRAILING)))


class Retype(Exception):
    """Values met while writing do not fit their column's type; start again with ``field``, which is wider."""

    def __init__(self, field: pa.Field) -> None:
        super().__init__(field.name)
        self.field = field


# ---------------------------------------------------------------------------------------------- names


def parameter_column(name: str) -> str:
    """The column of a parameter; one that would collide with our own columns is prefixed with ``param_``."""
    return _prefixed(name, "param_", OWN_NAMES)


def result_column(name: str, parameters: Collection[str]) -> str:
    """The column of a result's field; one that would collide with another column is prefixed with ``result_``."""
    return _prefixed(name, RESULT + "_", OWN_NAMES | set(map(parameter_column, parameters)))


def _prefixed(name: str, prefix: str, taken: Collection[str]) -> str:
    """Prefix ``name`` if it, or what is left of it without such prefixes, is taken: so two names never become one."""
    bare = name
    while bare.startswith(prefix) and bare not in taken:
        bare = bare.removeprefix(prefix)
    return prefix + name if bare in taken else name


Shape = tuple[tuple[str, Type], ...]
NamedFields = tuple[tuple[str, pa.Field], ...]


def shape_of(fields: Iterable[pa.Field]) -> Shape:
    """What tells fields apart, hashable. ``MessageError`` for a field that no column of a table has."""
    return tuple((field.name, type_of_field(field)) for field in fields)


@lru_cache(maxsize=1024)
def result_fields(payload: Shape, parameters: tuple[str, ...]) -> NamedFields:
    """What a payload brings as results: (name in the payload, field of the table). One object per shape."""
    return tuple(
        (name, field_of(column, kind))
        for name, kind in payload
        if name != SECONDS and not name.startswith(PARAMETER_PREFIX)
        for column in [result_column(name, parameters)]
    )


# ---------------------------------------------------------------------------------------------- one schema for many


def merge_fields(groups: Iterable[Sequence[pa.Field]]) -> list[pa.Field]:
    """One list of fields for all ``groups``: in their order if all have the same names, else :func:`in_order`.

    A column of which only nulls are known is dropped when there are others: a row of ``None`` has no shape of its own.
    """
    groups = list(groups)
    groups = [group for group in groups if not _shapeless(group)] or groups[:1]
    orders = {tuple(field.name for field in group) for group in groups}
    merged: dict[str, pa.Field] = {}
    for field in (field for group in groups for field in group):
        merged[field.name] = join(merged[field.name], field) if field.name in merged else field
    names = orders.pop() if len(orders) == 1 else in_order(merged)
    return [merged[name] for name in names]


def distinct(groups: Iterable[Sequence[pa.Field]]) -> list[Sequence[pa.Field]]:
    """Each different group once, in order of appearance."""
    return list({shape_of(group): group for group in groups}.values())


def _shapeless(group: Sequence[pa.Field]) -> bool:
    return len(group) == 1 and types.is_null(group[0].type) and group[0].name.endswith(RESULT)


def join(a: pa.Field, b: pa.Field) -> pa.Field:
    """``a``, widened so that it also holds what ``b`` does."""
    return field_of(a.name, join_kinds(type_of_field(a), type_of_field(b)))


# ---------------------------------------------------------------------------------------------- values to the schema


def retyping(write: Callable[[Mapping[str, pa.Field]], None]) -> None:
    """Call ``write`` with the wider fields that it asked for by :class:`Retype`, until it asks no more."""
    wider: dict[str, pa.Field] = {}
    while True:
        try:
            return write(wider)
        except Retype as request:
            wider[request.field.name] = request.field


def conform(columns: Mapping[str, tuple[pa.Field, Any]], fields: Iterable[pa.Field], rows: int) -> list[Any]:
    """Arrays for ``fields`` from ``columns`` (name: field, values); missing ones are null. May raise ``Retype``."""
    return [_conformed(columns.get(field.name), field, rows) for field in fields]


def _conformed(column: tuple[pa.Field, Any] | None, target: pa.Field, rows: int) -> Any:
    if column is None:
        return pa.nulls(rows, target.type)
    field, values = column
    kind, wanted = type_of_field(field), type_of_field(target)
    if kind == wanted:
        return values
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    from ttg.results.convert import unified  # a table whose parts agree needs none of it

    found, arrays = unified([(wanted, pa.nulls(0, target.type)), *((kind, chunk) for chunk in chunks)])
    if found != wanted:
        raise Retype(field_of(target.name, found))
    return pa.chunked_array(arrays, target.type) if isinstance(values, pa.ChunkedArray) else arrays[1]


def same_type(a: pa.Field, b: pa.Field) -> bool:
    """Whether both hold the same kind of values; other than Arrow's comparison, this sees the marks."""
    return type_of_field(a) == type_of_field(b)
