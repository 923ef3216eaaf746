"""The Python API: ``ttg.run(price, ttg.grid(...))``, ``ttg.resume()``, ``ttg.open_run()``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttg.errors import SettingsError, SpaceError
from ttg.options import EntryPoint, choose
from ttg.results.folder import find_run
from ttg.run.live import LiveRun
from ttg.run.reference import show_options
from ttg.run.request import RunRequest, new_request, resume_request, usable_cores
from ttg.run.saved import Run
from ttg.run.secret import with_secret
from ttg.run.showing import Shown, reporter_of
from ttg.run.warm import WarmWorkers
from ttg.settings import Settings, read_settings
from ttg.space import Space, grid, rows, space_to_json
from ttg.space.codec import enums_of
from ttg.spec import FunctionRef

if TYPE_CHECKING:
    from ttg.function import Inputs


def run(
    function: Callable[..., Any] | str,
    space: Space | Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    shared: Mapping[str, Any] | None = None,
    progress: Shown = True,
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

    ``progress``: a bar in a terminal, an output that is updated in a notebook, lines elsewhere; ``False``: nothing;
    ``"tqdm"``: one of tqdm's; or a function that is called with a :class:`~ttg.run.progress.Progress` twice a second,
    in another thread.

    Failed parameters do not raise: see :meth:`Run.failures`. Raises :class:`~ttg.errors.TTGError` subclasses. Ctrl-C
    drains the workers and raises ``KeyboardInterrupt``, a second one leaves at once; :func:`resume` goes on.
    """
    return LiveRun.to_its_end(_request(function, space, shared, options), reporter_of(progress))


def start(
    function: Callable[..., Any] | str,
    space: Space | Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    shared: Mapping[str, Any] | None = None,
    progress: Shown = False,
    **options: Any,
) -> LiveRun:
    """As :func:`run`, but returns at once, with a run that goes on meanwhile.

    ``run.progress``, ``run.cancel()``, ``run.wait()``; ``for row in run.as_completed()`` has each row as soon as it is
    known. In asyncio ``await run`` and ``async for row in run``. What cannot be started is raised here. Keep the
    object: a run that nothing refers to is drained.
    """
    return LiveRun.alone(_request(function, space, shared, options), reporter_of(progress))


def _request(
    function: Callable[..., Any] | str, space: Any, shared: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> RunRequest:
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
    return new_request(ref, points, settings, chosen, python_path=path, shared=refs, inputs=inputs, setup=setup)


def workers(count: int | None = None, *, slots: int = 1) -> WarmWorkers:
    """A private broker and ``count`` workers of this machine (default: one per core) with ``slots`` each, which all
    runs of this process use until :meth:`~ttg.run.warm.WarmWorkers.close`, or the end of the block: ``with
    ttg.workers(4):``. They keep what they have imported, so a run begins in milliseconds.

    Runs that are given ``broker``, ``workers``, ``slots``, ``threads``, ``gpus`` or ``needs`` do not use them. The
    workers have folder, environment and ``sys.path`` of this moment, execute any function that this program hands over,
    and are started again when they die.
    """
    chosen = choose(EntryPoint.API_RUN, {"workers": usable_cores() if count is None else count, "slots": slots})
    if not chosen.workers:
        raise SettingsError(f"ttg.workers: expected at least one worker, got {count}")
    return WarmWorkers(with_secret(read_settings()), chosen.workers, chosen.slots, python_path())


def resume(run: str | Path = "last", *, progress: Shown = True, **options: Any) -> Run:
    """Go on with an interrupted run: what is settled stays, what is missing is done."""
    chosen = choose(EntryPoint.API_RESUME, options)
    request = resume_request(str(run), read_settings(), chosen, python_path=python_path())
    return LiveRun.to_its_end(request, reporter_of(progress))


show_options(run, EntryPoint.API_RUN)
show_options(start, EntryPoint.API_RUN)
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
