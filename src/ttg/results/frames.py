"""A table as a pandas DataFrame with the values that the function returned, as far as pandas can have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttg.errors import MessageError
from ttg.results.arrow import pa
from ttg.results.kinds import Scalar, is_text, type_of_field
from ttg.results.values import column_values, complex_numbers

if TYPE_CHECKING:
    import pandas


def frame_of(table: pa.Table) -> pandas.DataFrame:
    """Plain columns as pandas makes them of Arrow (with NaN for null among floats), integers with nulls as pandas'
    nullable ones, complex numbers as such, anything else as objects."""
    own = {name: _own_column(table[name], table.field(name)) for name in table.column_names}
    own = {name: column for name, column in own.items() if column is not None}
    places = [(table.column_names.index(name), name) for name in own]
    rest = table.drop_columns(list(own))
    del table
    frame = rest.to_pandas(split_blocks=True, self_destruct=True)  # column by column, giving back Arrow's copy
    for place, name in places:
        frame.insert(place, name, _as_it_is(own[name]))
    return frame


def _own_column(column: pa.ChunkedArray, field: pa.Field) -> Any:
    """What pandas would change: ``None`` for a column that it can have as it is."""
    if pa.types.is_integer(field.type) and column.null_count:
        return column.to_pandas(types_mapper=_nullable)
    try:
        kind = type_of_field(field)
    except MessageError:
        return None
    if isinstance(kind, Scalar) and kind.name.startswith("complex") and not column.null_count:
        return np.concatenate([complex_numbers(chunk) for chunk in column.chunks] or [np.empty(0, complex)])
    if isinstance(kind, Scalar) and not is_text(kind) and not kind.name.startswith("complex"):
        return None
    return _objects(column, field)


def _as_it_is(column: Any) -> Any:
    """Otherwise pandas would look for a type among objects, and find one that cannot hold every text."""
    import pandas

    objects = isinstance(column, np.ndarray) and column.dtype.kind == "O"
    return pandas.Series(column, dtype=object) if objects else column


def _nullable(kind: pa.DataType) -> Any:
    import pandas

    return pandas.array([], dtype=str(kind).capitalize().replace("Uint", "UInt")).dtype


def _objects(column: pa.ChunkedArray, field: pa.Field) -> Any:
    values = [value for chunk in column.chunks for value in column_values(chunk, field)]
    objects = np.empty(len(values), object)
    for place, value in enumerate(values):
        objects[place] = value
    return objects
