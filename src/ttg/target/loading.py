"""In the worker: which targets may run, and how a child gets hold of the function."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

from ttg.errors import TargetError
from ttg.spec import Target
from ttg.target.naming import is_installed
from ttg.target.signing import Secret, unpickled
from ttg.target.source import Source, file_of, source_of

_CODE = "__ttg_code__"
OWN = "."


def allowed(target: Target, patterns: Sequence[str], cwd: Path) -> bool:
    """Whether a worker started in ``cwd`` may execute ``target``, which somebody put on the broker.

    ``patterns`` are ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION`` with ``*``, ``*`` for all, or ``.`` for what is allowed
    without patterns: functions defined (not merely imported) in files below ``cwd``, and signed pickles. :func:`load`
    still checks every signature.
    """
    here = cwd.resolve()
    if any(_matches(target, pattern, here) for pattern in patterns):
        return True
    return (not patterns or OWN in patterns) and _is_of_this_place(target, here)


def _is_of_this_place(target: Target, here: Path) -> bool:
    if target.kind == "pickled":
        return bool(target.signature)
    try:
        source = source_of(target.kind, target.location, here)
    except TargetError:
        return False
    return source is not None and _is_own(source, here) and _is_defined_in(source, target.function)


def _matches(target: Target, pattern: str, cwd: Path) -> bool:
    if pattern == "*":
        return True
    location, _, function = pattern.rpartition(":")
    if not fnmatchcase(target.function, function):
        return False
    if target.kind != "file":
        return fnmatchcase(target.location, location)
    # Both resolved, so that neither ".." nor a symbolic link leads out of what the pattern names.
    path = file_of(target.location, cwd).as_posix()
    return location == "*" or (location.endswith((".py", "*")) and fnmatchcase(path, (cwd / location).as_posix()))


def _is_own(source: Source, cwd: Path) -> bool:
    path = source.path.resolve()
    return path.is_relative_to(cwd) and not is_installed(path.relative_to(cwd))


def _is_defined_in(source: Source, function: str) -> bool:
    import ast

    node = source.definitions().get(function.partition(".")[0])
    return node is not None and not isinstance(node, ast.alias)


def load(target: Target, *, secret: Secret = None, cwd: Path | None = None) -> Callable[..., Any]:
    """The function itself; this executes the user's module. Call it in a child only.

    The source must have the fingerprint the run was started with; a pickle must be signed with ``secret``. Every
    failure, also one of the user's own code on import, is a :class:`TargetError`.
    """
    if target.kind == "pickled":
        return _checked(unpickled(target, secret), target)
    if target.kind not in ("file", "module"):
        raise TargetError(f"{target}: unknown kind of target {target.kind!r}: expected file, module or pickled")
    folder = (cwd or Path.cwd()).resolve()
    source = source_of(target.kind, target.location, folder)
    if target.code and (source is None or source.code != target.code):
        raise TargetError(
            f"{target}: its source here differs from the one the run was started with: bring this worker's copy up to "
            "date, or resume the run with --force"
        )
    module = _run_file(source, target) if target.kind == "file" and source else _import(target, folder)
    return _checked(_attribute(module, target), target)


def _run_file(source: Source, target: Target) -> ModuleType:
    name = _module_name(source.path)
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, _CODE, None) == source.code:
        return loaded
    spec = importlib.util.spec_from_file_location(name, source.path)
    if spec is None:
        raise TargetError(f"{target}: cannot be loaded: expected a Python file, got {source.path}")
    module = importlib.util.module_from_spec(spec)
    _put_first(str(source.path.parent))
    sys.modules[name] = module
    try:
        # The text that was fingerprinted is what runs: no stale byte code, no race with an editor.
        exec(compile(source.text, str(source.path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _import_failed(target, error) from error
    setattr(module, _CODE, source.code)
    return module


def _module_name(path: Path) -> str:
    """The file's own name, so that ``import sim`` finds the same module (as pickle does), unless it is taken."""
    taken = sys.modules.get(path.stem)
    if path.stem.isidentifier() and (taken is None or getattr(taken, "__file__", None) == str(path)):
        return path.stem
    return f"ttg_target_{path.stem}"


def _import(target: Target, folder: Path) -> ModuleType:
    _put_first(str(folder))
    try:
        return importlib.import_module(target.location)
    except (Exception, SystemExit) as error:
        raise _import_failed(target, error) from error


def _put_first(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _import_failed(target: Target, error: BaseException) -> TargetError:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    return TargetError(f"{target}: importing it failed: {type(error).__name__}: {error}{place}")


def _attribute(module: ModuleType, target: Target) -> Any:
    found: Any = module
    for part in target.function.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise TargetError(f"{target}: there is no {part!r} in {found!r}") from error
        if isinstance(found, ModuleType):
            # Otherwise "sim.py:os.system" would reach everything that sim.py imports.
            raise TargetError(f"{target}: {part!r} is a module: name the function's own module instead")
    return found


def _checked(function: Any, target: Target) -> Callable[..., Any]:
    if not callable(function):
        raise TargetError(f"{target}: expected a function, found {function!r} ({type(function).__name__})")
    if inspect.iscoroutinefunction(function):
        raise TargetError(f"{target} is async: wrap it in a plain function that calls asyncio.run(…)")
    return function  # type: ignore[no-any-return]
