"""From a run's specification to something the hot loop can call. Runs in the child."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from ttg.errors import FunctionError
from ttg.function import (
    INJECTED,
    SETUP,
    FindInput,
    Program,
    bind,
    initialized,
    is_vectorized,
    load,
    no_input,
    shared_value,
    signature_of,
)
from ttg.function.members import loaded_enum, loaded_member
from ttg.function.spawning import Adopting
from ttg.messages import Ranges, Task
from ttg.messages.parameters import decoded_values, fresh
from ttg.messages.rows import NO_ROWS, unpacked
from ttg.seeds import rngs, seed_array, seeds
from ttg.space import Space, space_from_json
from ttg.space.codec import enums_of, mutable_names
from ttg.space.values import column_array
from ttg.spec import FunctionRef, RunSpec
from ttg.stores import Store
from ttg.worker.calls import CallRunner
from ttg.worker.failures import failure_of
from ttg.worker.surroundings import Surroundings
from ttg.worker.workdirs import Workdirs

WORKDIR = "workdir"

SLICE_SECONDS = 0.02
SLICE_GROWTH = 8
TIMED_CALL_SECONDS = 1e-4

Columns = Sequence[Sequence[Any]]


@dataclass
class Pace:
    """How many parameters fill a slice, learned from the slices before; kept from one task of a run to the next.

    ``detaches``: the function returns lists or arrays, which its next call might change; they are copied."""

    call_seconds: float = 0.0
    row_bytes: float = 8.0
    detaches: bool = False
    _last: int = 0

    def next_size(self, room_bytes: float) -> int:
        """Size of the next slice, whose rows should fit into ``room_bytes``."""
        if not self._last:
            return 1
        by_time = SLICE_SECONDS / max(self.call_seconds, 1e-9)
        return max(1, int(min(by_time, room_bytes / self.row_bytes, self._last * SLICE_GROWTH)))

    def saw(self, count: int, seconds: float, row_bytes: float) -> None:
        """A slice of ``count`` calls took ``seconds``; rows now take ``row_bytes`` each."""
        self._last = max(count, self._last // SLICE_GROWTH)
        self.call_seconds = seconds / count
        self.row_bytes = max(8.0, row_bytes)

    @property
    def slow(self) -> bool:
        """Calls take so long that timing each costs nothing."""
        return self.call_seconds > TIMED_CALL_SECONDS


@dataclass
class Loaded:
    """A run whose function and space are loaded; ``pace`` is what is known of the function's speed. Each call gets its
    own copies of the parameters that are ``mutable``: what it does to them is nothing to the next. What a program
    prints passes through Python, ``prints_by_python``, which marks it by itself."""

    spec: RunSpec
    function: Callable[..., Any]
    order: tuple[str, ...]
    space: Space
    pace: Pace = field(default_factory=Pace)
    surroundings: Surroundings = field(default_factory=Surroundings)
    one_by_one: bool = False
    mutable: frozenset[str] = frozenset()
    _carried: tuple[msgspec.Raw, Mapping[str, list[Any]]] = (NO_ROWS, {})
    store: Store | None = None
    unshared: str = ""
    workdirs: Workdirs | None = None
    prints_by_python: bool = False

    def use(self, store: Store | None, unshared: str) -> None:
        """What does not fit a message goes to ``store``; ``unshared`` says why it is not the run's."""
        self.store, self.unshared = store, unshared
        if self.workdirs is not None:
            self.workdirs.shared, self.workdirs.unshared = store is not None, unshared

    def columns_of(self, task: Task, start: int, stop: int) -> Columns:
        """One column per argument of the function, for the indices from ``start`` up to ``stop``.

        For a vectorised function these are arrays made anew by each call, so that it may change them in place.
        """
        columns = self._arrays(task, start, stop) if self.spec.vectorized else self._columns(task, start, stop)
        return [columns[name] if name in columns else self._injected(name, task, start, stop) for name in self.order]

    def parameters_of(self, task: Task, start: int, stop: int) -> Columns:
        """One column per name of the space."""
        columns = self._columns(task, start, stop)
        return [columns[name] for name in self.spec.names]

    def _columns(self, task: Task, start: int, stop: int) -> dict[str, Sequence[Any]]:
        if not task.rows:
            columns = self.space.columns(start, stop)
            return {**columns, **{name: list(map(fresh, columns[name])) for name in self.mutable}}
        if self._carried[0] is not task.rows:
            self._carried = task.rows, unpacked(task.rows, task.ranges)
        part, carried = positions_of(task.ranges, start, stop), self._carried[1]
        return {name: decoded_values(carried[name][part], loaded_member) for name in self.spec.names}

    def _arrays(self, task: Task, start: int, stop: int) -> dict[str, Any]:
        if task.rows:
            return {name: column_array(column) for name, column in self._columns(task, start, stop).items()}
        import numpy as np

        arrays = self.space.arrays(np.arange(start, stop))
        return {**arrays, **{name: column_array(list(map(fresh, arrays[name]))) for name in self.mutable}}

    def _injected(self, name: str, task: Task, start: int, stop: int) -> Any:
        if name == "seed":
            column = seed_array if self.spec.vectorized else seeds
            return column(self.spec.seed, start, stop, wide=self.spec.wide_seeds)
        if name == "rng":
            return rngs(self.spec.seed, start, stop)
        values = [task.attempt] * (stop - start) if name == "attempt" else range(start, stop)
        return column_array(values) if self.spec.vectorized else values


def load_run(
    spec: RunSpec,
    secret: bytes | None,
    python_path: Sequence[str] = (),
    find_input: FindInput = no_input,
    work: Path | None = None,
) -> Loaded:
    """Import the user's module and build the space; ``work`` is where the folders of calls are made. Raises
    ``InputError``, or whatever the user's code raises."""
    initialized.current = {}  # what there is, is another run's
    function = load(spec.function, secret=secret, path=python_path, find_input=find_input)
    if is_program := isinstance(function, Program):
        Adopting.begin()
    if isinstance(function, CallRunner):
        function = function.opened(secret or b"", find_input)
    given = {name: shared_value(name, ref, secret, find_input) for name, ref in spec.shared.items()}
    if spec.setup is not None:
        set_up = _set_up(spec.setup, spec, secret, python_path, find_input)
        signature = signature_of(function)
        given |= {SETUP: set_up} if signature and SETUP in signature.named else {}
    offered = [name for name in _offered(spec) if name not in given]
    binding = bind(partial(function, **given) if given else function, spec.names, str(spec.function), offered)
    if is_vectorized(function):
        spec = msgspec.structs.replace(spec, vectorized=True)
    if spec.vectorized and "rng" in binding.injected:
        raise FunctionError(
            f"{spec.function} is vectorized, so it cannot have one rng for each of its parameters: "
            "ask for seed, an array with one seed each"
        )
    if spec.vectorized and WORKDIR in binding.injected:
        raise FunctionError(f"{spec.function} is vectorized, so it cannot have one workdir for each of its parameters")
    function, workdirs = binding.call, None
    if WORKDIR in binding.injected and work is not None:
        workdirs = Workdirs(work)
        function = workdirs.giving(function, binding.order.index(WORKDIR))
    list(map(loaded_enum, enums_of(spec.space)))
    space = space_from_json(spec.space, member=loaded_member)
    return Loaded(
        spec,
        function,
        binding.order,
        space,
        mutable=frozenset(mutable_names(space.form())),
        workdirs=workdirs,
        prints_by_python=is_program,
    )


def _set_up(
    setup: FunctionRef, spec: RunSpec, secret: bytes | None, python_path: Sequence[str], find_input: FindInput
) -> Any:
    """What the run's setup returns, called here, when the function is loaded. ``FunctionError`` when it fails."""
    if setup.kind == "beside" and spec.function.kind != "pickled":
        raise FunctionError(f"{setup}: expected the setup in the pickle of {spec.function}, which is none")
    function = load(setup, secret=secret, path=python_path, find_input=find_input)
    try:
        return function()
    except BaseException as error:  # also of sys.exit()
        told = failure_of(error, 0, target=setup.name)
        place = f" ({told.place})" if told.place else ""
        text = f"the setup {setup} failed: {told.error}: {told.message}{place}\n{told.traceback}"
        raise FunctionError(text.rstrip()) from error


def _offered(spec: RunSpec) -> Sequence[str]:
    """What its function may ask for besides; a run that was begun before there was more goes on without that."""
    return INJECTED if spec.version > 2 else INJECTED[:2]


def positions_of(ranges: Ranges, start: int, stop: int) -> slice:
    """Where the indices from ``start`` up to ``stop``, all of one range, stand in ``ranges``."""
    before = sum(min(end, start) - begin for begin, end in ranges if begin < start)
    return slice(before, before + stop - start)
