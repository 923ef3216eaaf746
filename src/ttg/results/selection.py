"""Rows and columns of a run, chosen but not yet read: only the parts and row groups that hold them are opened.

Each part knows its indices by its footer, each row group the smallest and the largest by its statistics. A condition
costs reading the columns that it speaks of, an order those that it goes by and, at once, the rows that are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import index as integer
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyroaring import BitMap64

from ttg.errors import InputError
from ttg.results.arrow import pa
from ttg.results.conditions import Condition, no_column, parse_condition, plain
from ttg.results.dataset import Part, read_parts
from ttg.results.folder import RunFolder
from ttg.results.memory import available_bytes
from ttg.results.rewrite import merged_schema
from ttg.results.schema import INDEX, Retype, conform

WINDOW_ROWS = 1 << 18
WINDOW_BYTES = 128 << 20
ORDERED_COPIES = 2  # what is taken in another order is a copy

Indices = Iterable[int | range] | int


@dataclass(frozen=True)
class Selection:
    """The columns of ``schema`` at ``indices``, all of which the ``parts`` have, ordered by index, or in ``order``."""

    schema: pa.Schema
    indices: BitMap64
    parts: Sequence[Part]
    order: np.ndarray[Any, Any] | None = None

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(self.indices)

    def windows(self) -> Iterator[pa.Table]:
        """The rows, in tables of at most ``WINDOW_ROWS`` rows and about ``WINDOW_BYTES``; each is read when it is asked
        for, but for an order."""
        if self.order is not None:
            return self._ordered(self.order)
        rows = _window_rows(self.parts)
        return (_window(self.parts, self.schema, window) for window in _windows(self.indices, rows))

    def gathered(self, copies: int = 1) -> pa.Table:
        """All rows in one table. ``InputError`` when ``copies`` of it need more memory than there is: the first window
        tells how much that is."""
        windows = self.windows()
        first = next(windows, None)
        if first is None:
            return self.schema.empty_table()
        _expect_room(self, copies * first.nbytes / first.num_rows * self.rows)
        return pa.concat_tables([first, *windows], promote_options="none")

    def _ordered(self, order: np.ndarray[Any, Any]) -> Iterator[pa.Table]:
        rows = Selection(self.schema, self.indices, self.parts).gathered(ORDERED_COPIES)
        places = np.searchsorted(self.indices.to_array(), order)
        for start in range(0, len(order), WINDOW_ROWS):
            yield rows.take(places[start : start + WINDOW_ROWS])


def select(
    folder: RunFolder,
    columns: Sequence[str] | None = None,
    indices: Indices | None = None,
    limit: int | None = None,
    tail: int | None = None,
    where: str | None = None,
    sort: str | None = None,
) -> Selection:
    """All rows and columns of a run, or the ``columns`` named, and the rows of ``indices`` (numbers and ranges), of
    these the ones that meet the condition ``where`` (:mod:`ttg.results.conditions`), ordered by the columns ``sort``
    names (``"value,-vol"``: by value, equal ones by falling vol; missing values last), of these the first ``limit``, of
    these the last ``tail``. Indices without a result (yet) have no row.

    ``InputError`` for a column that does not exist and for an index outside the run.
    """
    parts = read_parts(folder.results)
    schema = merged_schema([part.schema for part in parts], folder.spec.names)
    wanted = BitMap64()
    for part in parts:
        wanted |= part.indices
    if indices is not None:
        wanted &= bitmap_of(indices, folder.spec.size)
    shown = _chosen(schema, columns)
    if where is not None:
        condition = parse_condition(where, schema.names)
        wanted = _met(condition, Selection(_chosen(schema, condition.columns), wanted, parts), None if sort else limit)
    if sort is None:
        _shorten(wanted, limit, tail)
        return Selection(shown, wanted, parts)
    order = _shortened(_in_order(Selection(schema, wanted, parts), sort), limit, tail)
    return Selection(shown, BitMap64(order), parts, order)


def bitmap_of(indices: Indices, size: int) -> BitMap64:
    """``indices`` as a set; ``InputError`` unless all are whole numbers of ``[0, size)``."""
    wanted = BitMap64()
    for some in [indices] if isinstance(indices, range | int) else indices:
        if isinstance(some, range):
            for end in (some[0], some[-1]) if some else ():  # before a range of any size is expanded
                _inside(end, size)
            wanted |= BitMap64(some)
        else:
            wanted.add(_inside(some, size))
    return wanted


def _inside(given: int, size: int) -> int:
    try:
        number = integer(given)
    except TypeError:
        number = -1
    if not 0 <= number < size:
        raise InputError(f"expected indices from 0 to {size - 1}, which is what the run has; got {given!r}")
    return number


def _shorten(wanted: BitMap64, limit: int | None, tail: int | None) -> None:
    """Leave the first ``limit``, and of these the last ``tail``."""
    _expect_counts(limit, tail)
    if limit is not None and limit < len(wanted):
        wanted.remove_range(wanted[limit], wanted.max() + 1)
    if tail is not None and tail < len(wanted):
        wanted.remove_range(0, wanted[len(wanted) - tail] if tail else wanted.max() + 1)


def _shortened(order: np.ndarray[Any, Any], limit: int | None, tail: int | None) -> np.ndarray[Any, Any]:
    _expect_counts(limit, tail)
    order = order[:limit]
    return order if tail is None else order[max(0, len(order) - tail) :]


def _expect_counts(limit: int | None, tail: int | None) -> None:
    for option, count in (("limit", limit), ("tail", tail)):
        if count is not None and count < 0:
            raise InputError(f"{option}: expected a number of rows from 0 on, got {count}")


def _met(condition: Condition, among: Selection, limit: int | None) -> BitMap64:
    """The indices of the rows that meet it; not all, once there are ``limit``."""
    met = BitMap64()
    with_index = replace(
        among, schema=pa.schema([INDEX, *(field for field in among.schema if field.name != INDEX.name)])
    )
    for rows in with_index.windows():
        met |= BitMap64(rows[INDEX.name].filter(condition.of(rows)).to_numpy().astype(np.uint64))
        if limit is not None and len(met) >= limit:
            break
    return met


def _in_order(among: Selection, sort: str) -> np.ndarray[Any, Any]:
    """The indices, by rising values of the columns ``sort`` names, falling ones where it has a ``-`` before them."""
    keys = [_sort_key(word.strip(), among.schema) for word in sort.split(",")]
    names = [name for name, _ in keys if name != INDEX.name]
    rows = replace(among, schema=_chosen(among.schema, [INDEX.name, *names])).gathered(ORDERED_COPIES)
    columns = [plain(rows[name]) for name, _ in keys]
    directions = [(str(number), direction) for number, (_, direction) in enumerate(keys)]
    try:
        order = pc.sort_indices(pa.table(columns, [name for name, _ in directions]), sort_keys=directions)
    except (pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InputError(f"sort: {sort!r} has a column that has no order: {error}") from error
    found: np.ndarray[Any, Any] = rows[INDEX.name].take(order).to_numpy().astype(np.uint64)
    return found


def _sort_key(word: str, schema: pa.Schema) -> tuple[str, str]:
    """``value``, ``-value``, or as in SQL ``value desc``."""
    name, _, direction = word.rpartition(" ")
    if word in schema.names or (not word.startswith("-") and direction not in ("asc", "desc")):
        return _chosen(schema, [word]).names[0], "ascending"
    if word.startswith("-"):
        return _chosen(schema, [word[1:]]).names[0], "descending"
    return _chosen(schema, [name.strip()]).names[0], f"{direction}ending"


def _chosen(schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    if columns is None:
        return schema
    names = [columns] if isinstance(columns, str) else list(dict.fromkeys(columns))
    if unknown := [name for name in names if name not in schema.names]:
        raise InputError(no_column(unknown[0], schema.names))
    return pa.schema([schema.field(name) for name in names])


def _expect_room(chosen: Selection, needed: float) -> None:
    available = available_bytes()
    if available is None or needed <= available:
        return
    raise InputError(
        f"{chosen.rows:,} rows of {len(chosen.schema)} columns need about {needed / 1e9:,.1f} GB of memory, and "
        f"{available / 1e9:,.1f} GB are free: choose columns, indices or a limit, go through batches(), or ask in SQL"
    )


# ---------------------------------------------------------------------------------------------- reading


def _window_rows(parts: Sequence[Part]) -> int:
    """How many rows take no more memory than is meant for a window, by what they take on disk."""
    stored = sum(part.path.stat().st_size for part in parts)
    rows = sum(part.rows for part in parts)
    return max(1, min(WINDOW_ROWS, WINDOW_BYTES * rows // max(stored, 1)))


def _windows(wanted: BitMap64, rows: int) -> Iterator[BitMap64]:
    """The wanted rows in stretches of at most ``rows``."""
    count = len(wanted)
    for position in range(0, count, rows):
        last = wanted[min(position + rows, count) - 1]
        yield wanted & BitMap64(range(wanted[position], last + 1))


def _window(parts: Sequence[Part], schema: pa.Schema, window: BitMap64) -> pa.Table:
    """The rows of one stretch, ordered by index, with the columns of ``schema``."""
    full = schema if INDEX.name in schema.names else pa.schema([INDEX, *schema])
    shares = [(part, here) for part in parts if (here := window & part.indices)]
    shares.sort(key=lambda share: share[1].min())  # then there is often nothing left to put in order
    found = [_rows_of(part, full, here) for part, here in shares]
    rows = pa.concat_tables(found).unify_dictionaries()
    indices = rows[INDEX.name].to_numpy()
    if np.any(indices[1:] < indices[:-1]):
        rows = rows.take(np.argsort(indices, kind="stable"))
    return rows.select(schema.names)


def _rows_of(part: Part, schema: pa.Schema, wanted: BitMap64) -> pa.Table:
    """The ``wanted`` rows of a part, with the columns of ``schema``."""
    with pq.ParquetFile(part.path) as file:
        present = [name for name in schema.names if name in part.schema.names]
        rows = file.read_row_groups(_row_groups(file.metadata, wanted), present)
    mask = _members(rows[INDEX.name].to_numpy(), wanted)
    rows = rows if mask.all() else rows.filter(pa.array(mask))
    columns = {name: (part.schema.field(name), rows[name]) for name in present}
    try:
        return pa.table(conform(columns, list(schema), rows.num_rows), schema=schema)
    except Retype as error:
        raise InputError(
            f"column {error.field.name!r} holds values of different types until the run is finished: "
            "finish it with `ttg resume`, or leave the column out"
        ) from error


def _row_groups(footer: Any, wanted: BitMap64) -> list[int]:
    """The row groups that may have wanted rows, by the statistics of their first column."""
    return [
        number
        for number in range(footer.num_row_groups)
        if (found := footer.row_group(number).column(0).statistics) is None
        or not found.has_min_max
        or wanted.range_cardinality(found.min, found.max + 1)
    ]


def _members(indices: np.ndarray[Any, Any], wanted: BitMap64) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of ``indices`` are wanted."""
    first, last = wanted.min(), wanted.max()
    inside: np.ndarray[Any, np.dtype[np.bool_]] = (indices >= first) & (indices <= last)
    if len(wanted) < last - first + 1:
        inside &= np.isin(indices, np.frombuffer(wanted.to_array(), np.uint64).astype(np.int64))
    return inside
