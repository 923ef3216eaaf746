"""In the worker: which targets may run, and how a child gets hold of the function."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

from ttg.errors import FunctionError
from ttg.function.naming import is_installed
from ttg.function.signature import check_returns
from ttg.function.signing import Secret, unpickled
from ttg.function.source import Source, file_of, source_of
from ttg.spec import FunctionRef

_CODE = "__ttg_code__"
OWN = "."


def allowed(ref: FunctionRef, patterns: Sequence[str], cwd: Path) -> bool:
    """Whether a worker started in ``cwd`` may execute ``ref``, which somebody put on the broker.

    ``patterns`` are ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION`` with ``*``, ``*`` for all, or ``.`` for what is allowed
    without patterns: functions defined (not merely imported) in files below ``cwd``, and signed pickles. :func:`load`
    still checks every signature.
    """
    here = cwd.resolve()
    if any(_matches(ref, pattern, here) for pattern in patterns):
        return True
    return (not patterns or OWN in patterns) and _is_of_this_place(ref, here)


def _is_of_this_place(ref: FunctionRef, here: Path) -> bool:
    if ref.kind == "pickled":
        return bool(ref.signature)
    try:
        source = source_of(ref.kind, ref.location, here)
    except FunctionError:
        return False
    return source is not None and _is_own(source, here) and _is_defined_in(source, ref.name)


def _matches(ref: FunctionRef, pattern: str, cwd: Path) -> bool:
    if pattern == "*":
        return True
    location, _, function = pattern.rpartition(":")
    if not fnmatchcase(ref.name, function):
        return False
    if ref.kind != "file":
        return fnmatchcase(ref.location, location)
    # Both resolved, so that neither ".." nor a symbolic link leads out of what the pattern names.
    path = file_of(ref.location, cwd).as_posix()
    return location == "*" or (location.endswith((".py", "*")) and fnmatchcase(path, (cwd / location).as_posix()))


def _is_own(source: Source, cwd: Path) -> bool:
    path = source.path.resolve()
    return path.is_relative_to(cwd) and not is_installed(path.relative_to(cwd))


def _is_defined_in(source: Source, function: str) -> bool:
    import ast

    node = source.definitions().get(function.partition(".")[0])
    return node is not None and not isinstance(node, ast.alias)


def load(ref: FunctionRef, *, secret: Secret = None, cwd: Path | None = None) -> Callable[..., Any]:
    """The function itself; this executes the user's module. Call it in a child only.

    The source must have the fingerprint the run was started with; a pickle must be signed with ``secret``. Every
    failure, also one of the user's own code on import, is a :class:`FunctionError`.
    """
    if ref.kind == "pickled":
        return _checked(unpickled(ref, secret), ref)
    if ref.kind not in ("file", "module"):
        raise FunctionError(f"{ref}: unknown kind of reference {ref.kind!r}: expected file, module or pickled")
    folder = (cwd or Path.cwd()).resolve()
    source = source_of(ref.kind, ref.location, folder)
    if ref.code and (source is None or source.code != ref.code):
        raise FunctionError(
            f"{ref}: its source here differs from the one the run was started with: bring this worker's copy up to "
            "date, or resume the run with --force"
        )
    module = _run_file(source, ref) if ref.kind == "file" and source else _import(ref, folder)
    return _checked(_attribute(module, ref), ref)


def _run_file(source: Source, ref: FunctionRef) -> ModuleType:
    name = _module_name(source.path)
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, _CODE, None) == source.code:
        return loaded
    spec = importlib.util.spec_from_file_location(name, source.path)
    if spec is None:
        raise FunctionError(f"{ref}: cannot be loaded: expected a Python file, got {source.path}")
    module = importlib.util.module_from_spec(spec)
    _put_first(str(source.path.parent))
    sys.modules[name] = module
    try:
        # The text that was fingerprinted is what runs: no stale byte code, no race with an editor.
        exec(compile(source.text, str(source.path), "exec"), module.__dict__)  # noqa: S102 - that is loading a function
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _import_failed(ref, error) from error
    setattr(module, _CODE, source.code)
    return module


def _module_name(path: Path) -> str:
    """The file's own name, so that ``import sim`` finds the same module (as pickle does), unless it is taken."""
    taken = sys.modules.get(path.stem)
    if path.stem.isidentifier() and (taken is None or getattr(taken, "__file__", None) == str(path)):
        return path.stem
    return f"ttg_target_{path.stem}"


def _import(ref: FunctionRef, folder: Path) -> ModuleType:
    _put_first(str(folder))
    try:
        return importlib.import_module(ref.location)
    except (Exception, SystemExit) as error:
        raise _import_failed(ref, error) from error


def _put_first(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _import_failed(ref: FunctionRef, error: BaseException) -> FunctionError:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    return FunctionError(f"{ref}: importing it failed: {type(error).__name__}: {error}{place}")


def _attribute(module: ModuleType, ref: FunctionRef) -> Any:
    found: Any = module
    for part in ref.name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise FunctionError(f"{ref}: there is no {part!r} in {found!r}") from error
        if isinstance(found, ModuleType):
            # Otherwise "sim.py:os.system" would reach everything that sim.py imports.
            raise FunctionError(f"{ref}: {part!r} is a module: name the function's own module instead")
    return found


def _checked(function: Any, ref: FunctionRef) -> Callable[..., Any]:
    if not callable(function):
        raise FunctionError(f"{ref}: expected a function, found {function!r} ({type(function).__name__})")
    check_returns(function, str(ref))
    return function  # type: ignore[no-any-return]
