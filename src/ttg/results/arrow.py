"""pyarrow, without the wait for pandas.

The first conversion to Arrow imports pandas when it is installed, only to recognise pandas objects: 0.5 s and 40 MB for
every child and coordinator that never sees one. Making that first conversion here, with pandas out of sight, avoids it;
``to_pandas`` and pandas objects still work afterwards, because pyarrow then looks again (pyarrow/pandas-shim.pxi).
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from typing import Any

import pyarrow as pa

__all__ = ["pa"]


class _OutOfSight:
    """An import hook that says there is no pandas."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ImportError("pandas is out of sight for a moment")
        return None


def _convert_once() -> None:
    if "pandas" in sys.modules:
        return
    hook = _OutOfSight()
    sys.meta_path.insert(0, hook)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hook)


_convert_once()
