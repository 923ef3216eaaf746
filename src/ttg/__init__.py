"""TTG runs one Python function over a very large set of parameters, each exactly once.

>>> import ttg
>>> space = ttg.grid(spot=ttg.linspace(80, 120, 1000), vol=[0.1, 0.2])
>>> len(space)
2000

``ttg.run(price, space, workers=4).dataframe()`` runs it. Names are imported when they are first used, so that
``import ttg`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttg.calls.executor import Executor as Executor
    from ttg.calls.mapping import map as map
    from ttg.function import program as program
    from ttg.function import vectorized as vectorized
    from ttg.run.api import open_run as open_run
    from ttg.run.api import resume as resume
    from ttg.run.api import run as run
    from ttg.run.api import shared as shared
    from ttg.run.api import start as start
    from ttg.run.api import workers as workers
    from ttg.run.live import LiveRun as LiveRun
    from ttg.run.saved import Run as Run

__version__ = "1.3.0"

_HOMES = {
    "ttg.run.api": ("open_run", "resume", "run", "shared", "start", "workers"),
    "ttg.run.live": ("LiveRun",),
    "ttg.run.saved": ("Run",),
    "ttg.space": (
        "Space",
        "choice",
        "from_file",
        "glob",
        "grid",
        "linspace",
        "loguniform",
        "logspace",
        "normal",
        "range",
        "rows",
        "sample",
        "uniform",
        "zip",
    ),
    "ttg.calls.executor": ("Executor",),
    "ttg.calls.mapping": ("map",),
    "ttg.function": ("program", "vectorized"),
    "ttg.errors": ("TTGError",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [*_HOME_OF]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'ttg' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
