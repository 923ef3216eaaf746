"""In a child: the folders that user code imports from join ``sys.path``, after what TTG itself needs is imported.

A process of TTG's starts with ``-P``. A ``random.py`` beside a function is then the user's own matter: TTG and its
libraries have the standard one by the time that folder comes first.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ttg.function.helpers import is_own
from ttg.function.source import search_path
from ttg.spec import FunctionRef

LIBRARIES = ("numpy", "pyarrow", "random")
"""What a child may import later, when it has results to encode; and the one standard module whose name is commonly
given to files of one's own, and wanted all the same."""

_shadows: list[Path] = []


def join_path(ref: FunctionRef, cwd: Path, path: Sequence[str]) -> None:
    """Import from where whoever started the run would; see :func:`search_path`."""
    wanted = search_path(ref.kind, ref.location, cwd, path)
    if wanted == sys.path:
        return
    found = [file for folder in wanted if folder not in sys.path for file in _shadows_in(folder)]
    for name in LIBRARIES if found else ():
        with suppress(ImportError):
            importlib.import_module(name)
    _shadows.extend(found)
    sys.path[:] = wanted


def shadows() -> Sequence[Path]:
    """Files in folders that joined whose names are those of standard modules."""
    return _shadows


def _shadows_in(folder: str) -> Iterator[Path]:
    if not is_own(Path(folder)):
        return
    with suppress(OSError):
        for name in sorted(os.listdir(folder)):
            if name.endswith(".py") and name[:-3] in sys.stdlib_module_names:
                yield Path(folder, name)
