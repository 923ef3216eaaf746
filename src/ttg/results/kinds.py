"""Types of values: a lattice, from which a column's type follows whatever order its values came in, and at any depth.

``join`` gives the smallest type that holds the values of both; it is associative, commutative and idempotent. Families
that disagree are :class:`Mixed` at the position where they do, and nowhere else. Where it takes a look at the values
to know whether a type holds them (ints beside floats, nanoseconds of the year 1600), ``join`` is hopeful, and
:func:`ttg.results.convert.widen` answers with a wider type, up to the one of the family that is stored as text.

A type that Arrow's own type does not tell is written into the metadata of the column's field.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Union

import msgspec

from ttg.errors import MessageError
from ttg.results.arrow import pa

MARK = b"ttg"
OLD_MARK = b"json"  # of columns of nothing but JSON text, which earlier versions wrote
DECIMAL_DIGITS = 38
COMPLEX_PARTS = ("real", "imag")


class Scalar(msgspec.Struct, frozen=True, tag="scalar"):
    """``name``: its family, and where there are several, which one: ``int64``, ``decimal:2``, ``datetime:ns``."""

    name: str


class List(msgspec.Struct, frozen=True, tag="list", omit_defaults=True):
    """``array``: all of them came as NumPy arrays (of n dimensions: n lists in each other)."""

    item: Type
    array: bool = False


class Record(msgspec.Struct, frozen=True, tag="record"):
    """Fields that all have in the same order, or else in alphabetical order."""

    fields: tuple[tuple[str, Type], ...]


class Mixed(msgspec.Struct, frozen=True, tag="mixed"):
    """Values of several families, stored as text; ``branches`` are the joined types of each."""

    branches: tuple[Type, ...]


Type = Union[Scalar, List, Record, Mixed]  # noqa: UP007 - the classes above refer to it before it is there

NULL = Scalar("null")

# The types of a family from narrow to wide. What ends in ":wide", bigint and number are stored as text.
_CHAINS = {
    "bool": ("bool",),
    "complex": ("complex64", "complex128"),
    "text": ("text", "text:wide"),
    "bytes": ("bytes",),
    "date": ("date",),
    "datetime": ("datetime:us", "datetime:ns", "datetime:wide"),
    "utc": ("utc:us", "utc:ns", "utc:wide"),
    "time": ("time", "time:wide"),
    "timedelta": ("timedelta:us", "timedelta:ns", "timedelta:wide"),
}
_RANKS = {name: (family, rank) for family, chain in _CHAINS.items() for rank, name in enumerate(chain)}
_SIGNED = ("int8", "int16", "int32", "int64")
_UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
_INTEGERS = (*_SIGNED, *_UNSIGNED, "bigint")
_NUMBERS = (*_INTEGERS, "float32", "float64", "number")
_AS_TEXT = {"bigint", "number"}

_ARROW: dict[str, Any] = {
    "null": pa.null(),
    "bool": pa.bool_(),
    **{name: getattr(pa, name)() for name in (*_SIGNED, *_UNSIGNED, "float32", "float64")},
    "complex64": pa.struct([(part, pa.float32()) for part in COMPLEX_PARTS]),
    "complex128": pa.struct([(part, pa.float64()) for part in COMPLEX_PARTS]),
    "text": pa.string(),
    "bytes": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    **{f"datetime:{unit}": pa.timestamp(unit) for unit in ("us", "ns")},
    **{f"utc:{unit}": pa.timestamp(unit, "UTC") for unit in ("us", "ns")},
    **{f"timedelta:{unit}": pa.duration(unit) for unit in ("us", "ns")},
}
PACKED = pa.struct([("shape", pa.list_(pa.int32())), ("data", pa.binary()), ("mask", pa.binary())])
_NUMPY = {
    "bool": "?",
    **{name: f"<{name[0]}{int(name.lstrip('uintfloa')) // 8}" for name in (*_SIGNED, *_UNSIGNED, "float32", "float64")},
    "complex64": "<c8",
    "complex128": "<c16",
    **{f"datetime:{unit}": f"<M8[{unit}]" for unit in ("us", "ns")},
    **{f"timedelta:{unit}": f"<m8[{unit}]" for unit in ("us", "ns")},
}
_OF_ARROW = {kind: Scalar(name) for name, kind in _ARROW.items() if not name.startswith("complex")}


@lru_cache(maxsize=4096)
def family(kind: Type) -> str:
    """What two types must share to be joined without becoming mixed."""
    if isinstance(kind, Scalar):
        if kind.name in _NUMBERS:
            return "number"
        return _RANKS[kind.name][0] if kind.name in _RANKS else kind.name.partition(":")[0]
    return {List: "list", Record: "record", Mixed: "mixed"}[type(kind)]


@lru_cache(maxsize=4096)
def join(a: Type, b: Type) -> Type:
    """The smallest type that holds the values of both, as far as can be said without looking at them."""
    if a == b or b == NULL:
        return a
    if a == NULL:
        return b
    if isinstance(a, List) and isinstance(b, List):
        return List(join(a.item, b.item), a.array and b.array)
    if isinstance(a, Record) and isinstance(b, Record):
        return _join_records(a, b)
    if isinstance(a, Scalar) and isinstance(b, Scalar) and family(a) == family(b):
        return _join_scalars(a, b)
    return mixed((*_branches(a), *_branches(b)))


def joined(kinds: Iterable[Type]) -> Type:
    """The join of them all."""
    found: Type = NULL
    for kind in kinds:
        found = join(found, kind)
    return found


def mixed(kinds: Iterable[Type]) -> Mixed:
    """Values of any of these types."""
    branches: dict[str, Type] = {}
    for kind in kinds:
        branches[family(kind)] = join(branches.get(family(kind), NULL), kind)
    return Mixed(tuple(branches[name] for name in sorted(branches)))


def _branches(kind: Type) -> tuple[Type, ...]:
    return kind.branches if isinstance(kind, Mixed) else (kind,)


def _join_records(a: Record, b: Record) -> Record:
    kinds = dict(a.fields)
    for name, kind in b.fields:
        kinds[name] = join(kinds.get(name, NULL), kind)
    same = [name for name, _ in a.fields] == [name for name, _ in b.fields]
    return Record(tuple((name, kinds[name]) for name in (kinds if same else sorted(kinds))))


def _join_scalars(a: Scalar, b: Scalar) -> Scalar:
    if family(a) == "number":
        return Scalar(_join_numbers(a.name, b.name))
    if family(a) == "decimal":
        scales = {a.name.partition(":")[2], b.name.partition(":")[2]}
        return Scalar("decimal:wide" if "wide" in scales else f"decimal:{max(map(int, scales))}")
    return max(a, b, key=lambda kind: _RANKS[kind.name][1])


def _join_numbers(a: str, b: str) -> str:
    names = {a, b}
    if "number" in names:
        return "number"
    if names & {"float32", "float64"}:
        return "float64"
    for wide in ("bigint", "uint64"):
        if wide in names:
            return wide
    for row in (_SIGNED, _UNSIGNED):
        if names <= set(row):
            return max(names, key=row.index)
    return "int64"


# ---------------------------------------------------------------------------------------------- to Arrow and back


def is_text(kind: Type) -> bool:
    """Whether its values are stored as text, each of which says what it is (:mod:`ttg.results.cells`)."""
    if isinstance(kind, Scalar):
        return kind.name in _AS_TEXT or kind.name.endswith(":wide")
    return isinstance(kind, Mixed) or (isinstance(kind, Record) and not kind.fields)  # Parquet has no empty struct


def numpy_dtype(kind: Scalar) -> str:
    """The dtype of arrays of these items."""
    return _NUMPY[kind.name]


def array_leaf(kind: Type) -> Scalar | None:
    """The type of the items, if these lists are NumPy arrays."""
    while isinstance(kind, List):
        if not kind.array:
            return None
        kind = kind.item
    return kind if isinstance(kind, Scalar) and not is_text(kind) else None


def packed_leaf(kind: Type) -> Scalar | None:
    """The type of the items, if these are arrays of several dimensions, stored by :mod:`ttg.results.packed`."""
    leaf = array_leaf(kind) if isinstance(kind, List) and isinstance(kind.item, List) else None
    return leaf if leaf and leaf.name in _NUMPY else None


def without_arrays(kind: Type) -> Type:
    """The same as nothing but lists."""
    return List(without_arrays(kind.item)) if isinstance(kind, List) else kind


def with_arrays(kind: Type, like: Type) -> Type:
    """The lists that are arrays in ``like`` as arrays again."""
    if isinstance(kind, List) and isinstance(like, List):
        return List(with_arrays(kind.item, like.item), like.array)
    return kind


@lru_cache(maxsize=4096)
def arrow_type(kind: Type) -> Any:
    """The Arrow type of its columns."""
    if is_text(kind):
        return pa.string()
    if packed_leaf(kind):
        return PACKED
    if isinstance(kind, List):
        return pa.list_(arrow_type(kind.item))
    if isinstance(kind, Record):
        return pa.struct([(name, arrow_type(inner)) for name, inner in kind.fields])
    assert isinstance(kind, Scalar)
    if kind.name.startswith("decimal:"):
        return pa.decimal128(DECIMAL_DIGITS, int(kind.name.partition(":")[2]))
    return _ARROW[kind.name]


@lru_cache(maxsize=4096)
def type_of_arrow(kind: Any) -> Type:
    """The type of an Arrow column that bears no mark; ``MessageError`` for one that no column of a table has."""
    if kind in _OF_ARROW:
        return _OF_ARROW[kind]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return List(type_of_arrow(kind.value_type))
    if pa.types.is_dictionary(kind):
        return type_of_arrow(kind.value_type)
    if pa.types.is_struct(kind):
        return Record(tuple((field.name, type_of_arrow(field.type)) for field in kind))
    if pa.types.is_decimal128(kind) and kind.precision == DECIMAL_DIGITS and kind.scale >= 0:
        return Scalar(f"decimal:{kind.scale}")
    raise MessageError(f"expected a type that results can have, got a column of {kind}")


@lru_cache(maxsize=4096)
def field_of(name: str, kind: Type) -> pa.Field:
    """The field of a column."""
    arrow = arrow_type(kind)
    told = not is_text(kind) and type_of_arrow(arrow) == kind
    return pa.field(name, arrow, metadata=None if told else {MARK: msgspec.json.encode(kind)})


def type_of_field(field: pa.Field) -> Type:
    """The type of a field that :func:`field_of` made; ``MessageError`` if its mark says something else."""
    mark = (field.metadata or {}).get(MARK)
    return type_of_arrow(field.type) if mark is None else _marked(mark, field.type)


@lru_cache(maxsize=4096)
def _marked(mark: bytes, arrow: Any) -> Type:
    if mark == OLD_MARK:
        return Mixed(())
    try:
        kind = _decoder.decode(mark)
        agrees = arrow_type(kind) == arrow
    except (msgspec.MsgspecError, KeyError, ValueError, RecursionError) as error:
        raise MessageError(f"expected the type of a column, got {mark[:100]!r}: {error}") from error
    if not agrees:
        raise MessageError(f"expected a column of {arrow_type(kind)}, as it is marked, got {arrow}")
    found: Type = kind
    return found


_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Type)


def words(kind: Type) -> str:
    """What people call the values of a mixed type."""
    return " and ".join(_WORDS.get(family(branch), family(branch)) for branch in _branches(kind)) or "anything"


def mixed_part(kind: Type) -> Mixed | None:
    """The first mixed type in it, at whatever depth."""
    if isinstance(kind, Mixed):
        return kind
    inner = [kind.item] if isinstance(kind, List) else [k for _, k in kind.fields] if isinstance(kind, Record) else []
    return next((found for found in map(mixed_part, inner) if found), None)


_WORDS = {
    "bool": "booleans",
    "number": "numbers",
    "complex": "complex numbers",
    "decimal": "decimals",
    "date": "dates",
    "datetime": "datetimes without a time zone",
    "utc": "datetimes with a time zone",
    "time": "times",
    "timedelta": "durations",
    "list": "lists",
    "record": "dicts",
}
