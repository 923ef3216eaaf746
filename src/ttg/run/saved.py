"""A run on disk: its table, its failures, its report."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ttg.errors import InputError
from ttg.messages.parameters import decoded
from ttg.results.folder import RunFolder
from ttg.run.report import Finished
from ttg.settings import read_settings

if TYPE_CHECKING:
    import pandas
    import xarray
    from numpy.typing import NDArray

    from ttg.results.reading import Dataset, Indices, RecordBatch, Table
    from ttg.results.sql import Answer

SHOWN_ROWS = 5
BATCH_ROWS = 1 << 17


@dataclass(frozen=True)
class Run:
    """A run on disk, finished or not: its table, its failures, its report."""

    folder: RunFolder

    @property
    def id(self) -> str:
        """The run's id."""
        return self.folder.spec.run

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @property
    def report(self) -> Finished:
        """Status, counts, time and column statistics."""
        return Finished.of(self.folder)

    @property
    def status(self) -> str:
        """How it stands: a :class:`~ttg.messages.RunStatus`, which is a text such as ``finished`` or ``abandoned``."""
        return self.folder.status

    def table(self, columns: list[str] | None = None, indices: Indices | None = None) -> Table:
        """The rows as an Arrow table, ordered by index: all, or those of ``indices`` (numbers, ranges) that have one.

        Only what is asked for is read. ``InputError`` when it does not fit into memory: see :meth:`batches`.
        """
        from ttg.results import reading

        return reading.table(self.folder, columns, indices)

    def dataframe(self, columns: list[str] | None = None, indices: Indices | None = None) -> pandas.DataFrame:
        """As :meth:`table`, as a pandas DataFrame (needs ``pip install ttg-compute[pandas]``)."""
        from ttg.results import reading

        return reading.dataframe(self.folder, columns, indices)

    def array(self, column: str = "result", indices: Indices | None = None) -> NDArray[Any]:
        """A column of numbers, or of arrays of one shape, as one NumPy array: (rows, …), ordered by index.

        There is a row for each index that has a result (``run.array("index")`` says which); what is null or masked is
        masked. ``InputError`` for anything but numbers, and for arrays of different shapes.
        """
        from ttg.results import arrays

        return arrays.array(self.folder, column, indices)

    def to_xarray(self, columns: list[str] | None = None) -> xarray.Dataset:
        """The results (or ``columns``) over the axes of the grid, which are the dimensions, by name (needs
        ``pip install ttg-compute[xarray]``). Where there is no result: NaN, or ``None``."""
        from ttg.results import arrays

        return arrays.to_xarray(self.folder, columns)

    def batches(
        self, columns: list[str] | None = None, indices: Indices | None = None, *, rows: int = BATCH_ROWS
    ) -> Iterator[RecordBatch]:
        """As :meth:`table`, in Arrow record batches of at most ``rows`` rows: any run, in bounded memory."""
        from ttg.results import reading

        return reading.batches(self.folder, columns, indices, rows)

    def dataset(self) -> Dataset:
        """The table as a lazy Arrow dataset, in no particular order: ``run.dataset().to_table(filter=…)``. For a
        finished run: parts of another may still disagree about types."""
        from ttg.results import reading

        return reading.dataset(self.folder)

    def sql(self, query: str) -> Answer:
        """DuckDB's answer to a query about the table ``results`` (needs ``pip install duckdb``); it is computed when
        it is asked for: ``run.sql("select avg(result) from results").df()``, ``.fetchall()``, ``.to_arrow_table()``."""
        from ttg.results.sql import sql

        return sql(self.folder, query)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> Table: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | Table:
        """``run[7]``: the row of index 7 as a dict; ``run[:100]``: what rows there are of a slice of the space.

        ``InputError`` for an index outside the run, or one that has no result.
        """
        from ttg.results import reading

        size = self.folder.spec.size
        if isinstance(index, slice):
            return reading.table(self.folder, indices=range(*index.indices(size)))
        return reading.row(self.folder, index + size if index < 0 else index)

    def failures(self) -> list[dict[str, Any]]:
        """Dead letters, one dict each: index, parameters, kind, error, message, place, traceback, output,
        attempts, worker."""
        from ttg.results import reading

        letters = reading.dead_letters(self.folder)
        return [letter | {"parameters": decoded(letter["parameters"])} for letter in letters]

    def files(self, index: int) -> list[Path]:
        """What the call of ``index`` has left in its ``workdir``, sorted; nothing if it has no row in the table yet.
        They lie below ``run.folder.files / str(index)``."""
        if not 0 <= index < self.folder.spec.size:
            raise InputError(f"expected an index from 0 to {self.folder.spec.size - 1}, got {index}")
        found = (self.folder.files / str(index)).rglob("*")
        return sorted(path for path in found if path.is_file())

    def call(self, index: int) -> Any:
        """What the function returns for the parameter at ``index``, called in this process with its seed: to look at
        it, or to debug what it raises. Warns if the function has changed since the run."""
        from ttg.run.one_call import prepare

        prepared = prepare(self.folder, index, read_settings())
        if prepared.warning:
            warnings.warn(prepared.warning, stacklevel=2)
        return prepared.call()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows as dicts, ordered by index, in bounded memory."""
        from ttg.results import reading

        return reading.rows(self.folder)

    def __len__(self) -> int:
        return self.folder.info.done

    def __repr__(self) -> str:
        info = self.folder.info
        return f"<ttg run {self.id}: {self.status}, {info.done} results, {info.dead} dead letters of {info.size}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the report, a picture where there are one or two axes of numbers, the first rows."""
        from ttg.results import reading
        from ttg.results.picture import picture_of

        first = reading.table(self.folder, limit=SHOWN_ROWS)
        head = "".join(f"<th>{escape(name)}</th>" for name in first.column_names)
        body = "".join(f"<tr>{_cells(row)}</tr>" for row in first.to_pylist())
        table = f"<table><tr>{head}</tr>{body}</table>"
        return f"<pre>{escape(self.report.as_text())}</pre>{picture_of(self.folder)}{table}"


def _cells(row: Mapping[str, Any]) -> str:
    texts = (f"{value:.6g}" if isinstance(value, float) else str(value) for value in row.values())
    return "".join(f"<td>{escape(text)}</td>" for text in texts)
