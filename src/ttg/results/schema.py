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
from ttg.results.encode import DECIMAL_DIGITS, PARAMETER_PREFIX, RESULT, SECONDS, is_json, json_field, json_text

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


Shape = tuple[tuple[str, pa.DataType, bool], ...]
NamedFields = tuple[tuple[str, pa.Field], ...]


def shape_of(fields: Iterable[pa.Field]) -> Shape:
    """What tells fields apart, hashable: name, type, and whether it is JSON text."""
    return tuple((field.name, field.type, is_json(field)) for field in fields)


@lru_cache(maxsize=1024)
def result_fields(payload: Shape, parameters: tuple[str, ...]) -> NamedFields:
    """What a payload brings as results: (name in the payload, field of the table). One object per shape."""
    return tuple(
        (name, json_field(column) if is_text else pa.field(column, kind))
        for name, kind, is_text in payload
        if name != SECONDS and not name.startswith(PARAMETER_PREFIX)
        for column in [result_column(name, parameters)]
    )


# ---------------------------------------------------------------------------------------------- one schema for many


def merge_fields(groups: Iterable[Sequence[pa.Field]]) -> list[pa.Field]:
    """One list of fields for all ``groups``: in their order if all have the same names, else sorted by name.

    A column of which only nulls are known is dropped when there are others: a row of ``None`` has no shape of its own.
    """
    groups = list(groups)
    groups = [group for group in groups if not _shapeless(group)] or groups[:1]
    orders = {tuple(field.name for field in group) for group in groups}
    merged: dict[str, pa.Field] = {}
    for field in (field for group in groups for field in group):
        merged[field.name] = join(merged[field.name], field) if field.name in merged else field
    names = orders.pop() if len(orders) == 1 else tuple(sorted(merged))
    return [merged[name] for name in names]


def distinct(groups: Iterable[Sequence[pa.Field]]) -> list[Sequence[pa.Field]]:
    """Each different group once, in order of appearance."""
    return list({shape_of(group): group for group in groups}.values())


def _shapeless(group: Sequence[pa.Field]) -> bool:
    return len(group) == 1 and types.is_null(group[0].type) and group[0].name.endswith(RESULT)


def join(a: pa.Field, b: pa.Field) -> pa.Field:
    """``a``, widened so that it also holds what ``b`` does."""
    if types.is_null(b.type) or same_type(a, b):
        return a
    if types.is_null(a.type):
        return b
    kind = None if is_json(a) or is_json(b) else join_types(a.type, b.type)
    return json_field(a.name) if kind is None else pa.field(a.name, kind)


def join_types(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """The smallest type that holds both; ``None`` when there is none but JSON text."""
    if a == b or types.is_null(b):
        return a
    if types.is_null(a):
        return b
    if _is_number(a) and _is_number(b):
        return _join_numbers(a, b)
    if types.is_decimal(a) and types.is_decimal(b):
        return pa.decimal128(DECIMAL_DIGITS, max(a.scale, b.scale))
    if types.is_list(a) and types.is_list(b):
        inner = join_types(a.value_type, b.value_type)
        return None if inner is None else pa.list_(inner)
    if types.is_struct(a) and types.is_struct(b):
        return _join_structs(a, b)
    return None


def _is_number(kind: pa.DataType) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind))


def _join_numbers(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    if types.is_floating(a) or types.is_floating(b):
        return pa.float64()
    if types.is_signed_integer(a) == types.is_signed_integer(b):
        return max(a, b, key=lambda kind: kind.bit_width)
    return None if pa.uint64() in (a, b) else pa.int64()


def _join_structs(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    kinds: dict[str, pa.DataType] = {field.name: field.type for field in a}
    for field in b:
        joined = join_types(kinds[field.name], field.type) if field.name in kinds else field.type
        if joined is None:
            return None
        kinds[field.name] = joined
    return pa.struct(list(kinds.items()))


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
    if same_type(field, target):
        return values
    joined = join(target, field)
    if not same_type(joined, target):
        raise Retype(joined)
    if is_json(target) and not types.is_null(field.type):
        return pa.array(map(json_text, values.to_pylist()), pa.string())
    return _cast(values, target)


def same_type(a: pa.Field, b: pa.Field) -> bool:
    """Whether both hold the same kind of values (other than Arrow's comparison, this sees the mark of JSON text)."""
    return bool(a.type == b.type) and is_json(a) == is_json(b)


def _cast(values: Any, target: pa.Field) -> Any:
    try:
        return values.cast(target.type)
    except pa.ArrowInvalid as error:
        raise Retype(json_field(target.name)) from error
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return pa.array(values.to_pylist(), target.type)
