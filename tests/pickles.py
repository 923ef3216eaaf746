"""Functions without a module, as a worker gets them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ttg.function import Inputs, function_from_callable, with_pickles
from ttg.spec import FunctionRef, RunSpec


def travelling(function: Callable[..., Any], folder: Path, secret: str = "s") -> FunctionRef:  # noqa: S107 - of tests
    """The reference of a function, with its pickle; its input is in ``folder``."""
    inputs: Inputs = {}
    ref = function_from_callable(function, secret=secret, inputs=inputs)
    for packed in inputs.values():
        packed.write(folder / packed.name)
    return with_pickles(RunSpec("r", ref, {}, 1, ()), folder.joinpath).function
