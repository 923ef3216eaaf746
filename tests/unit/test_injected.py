"""What a function may ask for by name, and how a child gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ttg.errors import FunctionError
from ttg.function import function_from_callable, function_from_text, shared_reference
from ttg.function.packing import Inputs
from ttg.messages import Task
from ttg.space import grid, space_to_json
from ttg.spec import SPEC_VERSION, FunctionRef, RunSpec, fingerprint, lacking
from ttg.worker.loading import Loaded, load_run

SECRET = b"secret"


def loaded(folder: Path, source: str | Path, **changes: Any) -> Loaded:
    """A run of the function ``f`` over x = 10, 11, 12."""
    file = source if isinstance(source, Path) else folder / f"injected_{abs(hash(source))}.py"
    if isinstance(source, str):
        file.write_text(source)
    space = grid(x=[10, 11, 12])
    spec = RunSpec("r", function_from_text(f"{file}:f"), space_to_json(space), 3, ("x",), version=SPEC_VERSION)
    inputs: Inputs = {}
    shared = {name: shared_reference(name, value, SECRET, inputs) for name, value in changes.pop("shared", {}).items()}
    for packed in inputs.values():
        packed.write(folder / packed.name)
    spec = msgspec.structs.replace(spec, shared=shared, **changes)
    return load_run(spec, SECRET, find_input=lambda name: folder / name)


def returned(run: Loaded, attempt: int = 1) -> Any:
    columns = run.columns_of(Task("r", "t", ((1, 3),), attempt=attempt), 1, 3)
    return run.function(*columns) if run.spec.vectorized else list(map(run.function, *columns))


def test_index_and_attempt(tmp_path: Path) -> None:
    assert returned(loaded(tmp_path, "def f(x, *, index, attempt): return x, index, attempt"), attempt=2) == [
        (11, 1, 2),
        (12, 2, 2),
    ]


def test_a_vectorized_function_gets_columns_of_them(tmp_path: Path) -> None:
    run = loaded(tmp_path, "import ttg\n@ttg.vectorized\ndef f(x, index, attempt): return x, index, attempt")
    np.testing.assert_array_equal(returned(run, attempt=3), [[11, 12], [1, 2], [3, 3]])


def test_what_is_shared_under_such_a_name_is_what_it_gets(tmp_path: Path) -> None:
    run = loaded(tmp_path, "def f(x, seed, index=0): return x, seed, index", shared={"seed": 7})
    assert returned(run) == [(11, 7, 1), (12, 7, 2)]


def test_a_run_that_was_begun_before_goes_on_as_it_was(tmp_path: Path) -> None:
    assert returned(loaded(tmp_path, "def f(x, index=0): return index", version=2)) == [0, 0]


@pytest.mark.parametrize(
    ("needs", "labels", "words"),
    [
        ((), (), ""),
        (("gpu",), ("gpu",), ""),
        (("mem",), ("mem=large",), ""),
        (("mem=large", "gpu"), ("mem=small", "gpu"), "the label mem=large"),
        (("a", "b"), (), "the labels a, b"),
    ],
)
def test_what_a_worker_lacks(needs: tuple[str, ...], labels: tuple[str, ...], words: str) -> None:
    assert lacking(needs, labels) == words


SET_UP = """
MODEL = None
def load():
    global MODEL
    MODEL = 100
    return 7
def f(x, setup): return x + MODEL + setup
def broken(): raise ValueError("no model file")
"""


def with_setup(folder: Path, name: str) -> Loaded:
    file = folder / f"set_up_{name}.py"
    file.write_text(SET_UP)
    return loaded(folder, file, setup=function_from_text(f"{file}:{name}", (), offered=()))


def test_a_setup_gives_the_function_its_result_and_sets_globals(tmp_path: Path) -> None:
    assert returned(with_setup(tmp_path, "load")) == [118, 119]


def test_a_setup_that_fails_says_where_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(FunctionError, match=r"broken failed: ValueError: no model file \(.*:8 \(broken\)\)") as caught:
        with_setup(tmp_path, "broken")
    assert "\nTraceback (most recent call last)" in str(caught.value)


def test_a_setup_takes_nothing() -> None:
    with pytest.raises(FunctionError, match="it is called without arguments, but it needs 'folder', 'source'"):
        function_from_callable(loaded, (), offered=())


def test_a_setup_decides_about_the_table(tmp_path: Path) -> None:
    spec = with_setup(tmp_path, "load").spec
    assert fingerprint(spec) != fingerprint(msgspec.structs.replace(spec, setup=None))


def test_a_setup_in_no_signed_pickle_is_not_called(tmp_path: Path) -> None:
    with pytest.raises(FunctionError, match="expected the setup in the pickle"):
        loaded(tmp_path, "def f(x): return x", setup=FunctionRef("beside", "__main__", "main"))
