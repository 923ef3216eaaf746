"""The coordinator: it plans, submits, collects and reports one run.

``ttg.run`` is this package and, for users, the function :func:`ttg.run.api.run`. Importing a package makes it an
attribute of its parent, whatever was there before; so the package itself can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Run a function over a space: see :func:`ttg.run.api.run`."""
        return _function()(*arguments, **options)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        said, _, rest = str(_function().__doc__).partition("\n")
        return f"{said}\n\n{_as_called(_function().__signature__)}\n{rest}"

    @property
    def __signature__(self) -> Any:
        return _function().__signature__


def _as_called(signature: Any) -> str:
    """``ttg.run(function, space, *, shared=None, …)``, as somebody types it."""
    from inspect import Parameter

    bare = [parameter.replace(annotation=Parameter.empty) for parameter in signature.parameters.values()]
    return f"ttg.run{signature.replace(parameters=bare, return_annotation=Parameter.empty)}"


def _function() -> Any:
    from ttg.run.api import run

    return run


sys.modules[__name__].__class__ = _CallablePackage
