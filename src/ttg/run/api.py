"""The Python API: ``ttg.run(price, ttg.grid(...))``, ``ttg.resume()``, ``ttg.open_run()``."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ttg.errors import SpaceError, TTGError
from ttg.messages.parameters import decoded
from ttg.options import EntryPoint, choose
from ttg.results.folder import RunFolder, find_run
from ttg.run.reference import show_options
from ttg.run.report import Finished
from ttg.run.reporter import reporter_for
from ttg.run.request import RunRequest, new_request, resume_request
from ttg.run.secret import with_secret
from ttg.run.threaded import run_in_thread
from ttg.settings import Settings, read_settings
from ttg.space import Space, grid, rows, space_to_json
from ttg.space.codec import enums_of
from ttg.spec import FunctionRef

if TYPE_CHECKING:
    import pandas
    import xarray
    from numpy.typing import NDArray

    from ttg.function import Inputs
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
        """What a notebook shows: the report, and the first rows."""
        from ttg.results import reading

        first = reading.table(self.folder, limit=SHOWN_ROWS)
        head = "".join(f"<th>{escape(name)}</th>" for name in first.column_names)
        body = "".join(f"<tr>{_cells(row)}</tr>" for row in first.to_pylist())
        return f"<pre>{escape(self.report.as_text())}</pre><table><tr>{head}</tr>{body}</table>"


def _cells(row: Mapping[str, Any]) -> str:
    texts = (f"{value:.6g}" if isinstance(value, float) else str(value) for value in row.values())
    return "".join(f"<td>{escape(text)}</td>" for text in texts)


def run(
    function: Callable[..., Any] | str,
    space: Space | Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    shared: Mapping[str, Any] | None = None,
    progress: bool = True,
    **options: Any,
) -> Run:
    """Run ``function`` over ``space`` and wait for it. Every parameter ends exactly once.

    ``function`` is a callable (also a lambda or one defined in a notebook) or a text such as ``"sim.py:price"``;
    ``space`` a :class:`~ttg.space.Space`, a dict of axes (their product) or a list of dicts (one each). With
    ``vectorized`` (or :func:`ttg.vectorized` on the function) it takes NumPy arrays of parameters, returns columns.

    ``shared`` are further arguments, the same objects for every call: ``shared={"data": frame}``, or the axis
    ``data=ttg.shared(frame)``. They are sent once to each machine; NumPy and Arrow data are mapped there, not copied,
    anything else is unpickled once per child process. What a function closes over is treated alike. What a call changes
    of them stays changed for later calls of the same child.

    Failed parameters do not raise: see :meth:`Run.failures`. Raises :class:`~ttg.errors.TTGError` subclasses. Ctrl-C
    drains the workers and raises ``KeyboardInterrupt``, a second one leaves at once; :func:`resume` goes on.
    """
    from ttg.function import is_vectorized, shared_reference

    chosen = choose(EntryPoint.API_RUN, options)
    points, given = _without_shared(space, shared or {})
    named = isinstance(function, str) and isinstance(chosen.setup, str | None) and not given
    settings = read_settings() if named else with_secret(read_settings())
    inputs: Inputs = {}
    ref, setup = _references(function, chosen.setup, points, given, settings, inputs)
    refs = {name: shared_reference(name, value, settings.secret, inputs) for name, value in given.items()}
    chosen = chosen.but(vectorized=chosen.vectorized or is_vectorized(function))
    path = python_path()
    return _carry_out(
        new_request(ref, points, settings, chosen, python_path=path, shared=refs, inputs=inputs, setup=setup), progress
    )


def resume(run: str | Path = "last", *, progress: bool = True, **options: Any) -> Run:
    """Go on with an interrupted run: what is settled stays, what is missing is done."""
    chosen = choose(EntryPoint.API_RESUME, options)
    return _carry_out(resume_request(str(run), read_settings(), chosen, python_path=python_path()), progress)


show_options(run, EntryPoint.API_RUN)
show_options(resume, EntryPoint.API_RESUME)


def open_run(run: str | Path = "last") -> Run:
    """A run by id or folder; ``"last"`` is the last one of the current folder."""
    return Run(find_run(run, read_settings().home))


@dataclass(frozen=True)
class Shared:
    """Made by :func:`shared`."""

    value: Any


def shared(value: Any) -> Shared:
    """An argument that is the same object for every call, in place of an axis: ``ttg.run(f, {"x": xs, "data":
    ttg.shared(frame)})``. See :func:`run`."""
    return Shared(value)


def _without_shared(space: Any, given: Mapping[str, Any]) -> tuple[Space, dict[str, Any]]:
    """The space without what is shared, and that."""
    beside = {name: axis for name, axis in space.items() if isinstance(axis, Shared)} if _is_axes(space) else {}
    points = _space({name: axis for name, axis in space.items() if name not in beside} if beside else space)
    both = {*beside, *points.names} & given.keys()
    if both:
        raise SpaceError(f"{min(both)!r} is given twice: as shared, and as an axis or ttg.shared(…) of the space")
    return points, {**{name: axis.value for name, axis in beside.items()}, **given}


def _is_axes(space: Any) -> bool:
    return isinstance(space, Mapping) and not isinstance(space, Space)


def _space(space: Space | Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Space:
    if isinstance(space, Space):
        return space
    return grid(**space) if isinstance(space, Mapping) else rows(space)


def _references(
    function: Callable[..., Any] | str,
    setup: Any,
    space: Space,
    shared: Iterable[str],
    settings: Settings,
    inputs: Inputs,
) -> tuple[FunctionRef, FunctionRef | None]:
    """Of the function and its setup. If both exist in this process only, they travel in one pickle, so that they have
    their globals in common."""
    from ttg.function import INJECTED, SETUP, is_importable, setup_beside
    from ttg.function.members import loaded_enum

    beside: list[Any] = [loaded_enum(name) for name in enums_of(space_to_json(space)) if name.startswith("__main__:")]
    own = [callable(item) and not is_importable(item) for item in (function, setup)]
    together = all(own) and hasattr(setup, "__name__")
    beside += [setup] if together else []
    offered = (*INJECTED, SETUP) if setup else INJECTED
    ref = _reference(function, (*space.names, *shared), offered, settings, inputs, beside)
    if setup is None:
        return ref, None
    return ref, setup_beside(setup) if together else _reference(setup, (), (), settings, inputs)


def _reference(
    function: Callable[..., Any] | str,
    names: Sequence[str],
    offered: Sequence[str],
    settings: Settings,
    inputs: Inputs,
    beside: Sequence[Any] = (),
) -> FunctionRef:
    from ttg.function import function_from_callable, function_from_text

    if isinstance(function, str):
        return function_from_text(function, names, path=python_path(), offered=offered)
    return function_from_callable(
        function, names, secret=settings.secret, beside=beside, inputs=inputs, offered=offered
    )


def python_path() -> tuple[str, ...]:
    """Where this process imports from: scripts and notebooks extend it."""
    entries = [os.path.abspath(entry) for entry in sys.path if isinstance(entry, str)]
    return tuple(entry for entry in entries if entry.encode(errors="ignore").decode() == entry)


def _carry_out(request: RunRequest, progress: bool) -> Run:
    try:
        run_in_thread(request, reporter_for(quiet=not progress))
    except KeyboardInterrupt:
        print(f"interrupted: ttg.resume({_found_by(request)!r}) goes on", file=sys.stderr)
        raise
    except TTGError as error:  # it says everything in its message: a notebook need not show the way it came
        raise error.with_traceback(None) from None
    return Run(RunFolder.open(request.out))


def _found_by(request: RunRequest) -> str:
    """The run's id, once it is registered; before it began, its folder."""
    with suppress(TTGError):
        if find_run(request.spec.run, request.settings.home).path == request.out.absolute():
            return request.spec.run
    return str(request.out)
