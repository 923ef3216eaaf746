"""In the worker: which targets may run, and how a child gets hold of the function."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

from ttg.errors import FunctionError
from ttg.function.helpers import Fingerprint, find_here, fingerprint_of, is_own, same
from ttg.function.joining import join_path, shadows
from ttg.function.packing import FindInput, no_input
from ttg.function.programs import is_program_allowed, loaded_program
from ttg.function.signature import check_returns
from ttg.function.signing import Secret, carried, unpickled
from ttg.function.source import Source, file_of, is_installed, source_of
from ttg.spec import FunctionRef

_CODE = "__ttg_code__"
OWN = "."


def allowed(ref: FunctionRef, patterns: Sequence[str], cwd: Path, programs: Sequence[str] = ()) -> bool:
    """Whether a worker started in ``cwd`` may execute ``ref``, which somebody put on the broker.

    ``patterns`` are ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION`` with ``*``, ``*`` for all, or ``.`` for what is allowed
    without patterns: functions defined (not merely imported) in files below ``cwd``, and signed pickles. :func:`load`
    still checks every signature. ``programs`` are patterns for programs, of which none is allowed without.
    """
    here = cwd.resolve()
    if ref.kind == "program":
        return is_program_allowed(ref, programs, here)
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
    if location == "*" or not location.endswith((".py", "*")):
        return location == "*"
    # A file that is named may be a link; a pattern is not led elsewhere by one, nor by "..".
    path, named = file_of(ref.location, cwd), (cwd / location).as_posix()
    return path.as_posix() == named or fnmatchcase(path.resolve().as_posix(), named)


def _is_own(source: Source, cwd: Path) -> bool:
    path = source.path.resolve()
    return path.is_relative_to(cwd) and not is_installed(path.relative_to(cwd))


def _is_defined_in(source: Source, function: str) -> bool:
    import ast

    node = source.definitions().get(function.partition(".")[0])
    return node is not None and not isinstance(node, ast.alias)


def load(
    ref: FunctionRef,
    *,
    secret: Secret = None,
    cwd: Path | None = None,
    path: Sequence[str] = (),
    find_input: FindInput = no_input,
) -> Callable[..., Any]:
    """The function itself; this executes the user's module. Call it in a child only.

    The source, and what it imports of the user's own, must have the fingerprints the run was started with; a pickle
    must be signed with ``secret``. ``path`` is the ``sys.path`` of whoever started the run; ``find_input``
    gives the file of a large pickle. Every failure, also one of
    the user's own code on import, is a :class:`FunctionError`.
    """
    if ref.kind == "beside":
        return _checked(carried.get(ref.name), ref)
    if ref.kind not in ("file", "module", "pickled", "program"):
        raise FunctionError(f"{ref}: unknown kind of reference {ref.kind!r}: expected file, module, pickled or program")
    folder = (cwd or Path.cwd()).resolve()
    if ref.kind == "program":
        return loaded_program(ref, folder)
    source = None if ref.kind == "pickled" else source_of(ref.kind, ref.location, folder, path)
    if ref.code and ref.kind != "pickled" and (source is None or source.code != ref.code):
        raise _differs(ref, "its source")
    join_path(ref, folder, path)
    modules = _modules_of(ref, source)
    _drop_stale(modules)
    try:
        function = _found(ref, source, secret, find_input)
        _check_helpers(ref)
    except FunctionError:
        _forget(modules)  # whatever was loaded is not what was meant
        raise
    return _checked(function, ref)


def _found(ref: FunctionRef, source: Source | None, secret: Secret, find_input: FindInput) -> Any:
    if ref.kind == "pickled":
        return unpickled(ref, secret, find_input)
    return _attribute(_run_file(source, ref) if ref.kind == "file" and source else _import(ref), ref)


_loaded: dict[str, Fingerprint] = {}
"""What the user's modules in this process were when they were loaded: a file may change later."""


def _modules_of(ref: FunctionRef, source: Source | None) -> dict[str, Fingerprint]:
    """Those of the user's own, by the names that they have once they are loaded."""
    if source is None or not is_own(source.path):
        return ref.helpers
    name = _module_name(source.path) if ref.kind == "file" else ref.location
    return {**ref.helpers, name: ("", source.code)}


def _drop_stale(wanted: Mapping[str, Fingerprint]) -> None:
    """What another run of this process has loaded is not what this run means, if it was changed since, or is another
    of that name. All of this run's modules are then loaded afresh, since they refer to each other."""
    if any(name in _loaded and not same(_loaded[name], wanted[name]) for name in wanted):
        _forget(wanted)
    _loaded.update(wanted)


def _forget(names: Iterable[str]) -> None:
    for name in names:
        sys.modules.pop(name, None)
        _loaded.pop(name, None)


def _check_helpers(ref: FunctionRef) -> None:
    """What was loaded, or will be, against the record; a compiled module differs from machine to machine."""
    for name, recorded in ref.helpers.items():
        file = find_here(name)
        if not recorded[1] or (file and not is_own(file) and name.partition(".")[0] in sys.stdlib_module_names):
            continue
        if file is None:
            raise _differs(ref, f"{name}, which it imports,", "is missing here")
        if not same(recorded, fingerprint_of(file, name, recorded)):
            raise _differs(ref, f"{file}, which it imports,")


def _differs(
    ref: FunctionRef, what: str, how: str = "here differs from the one the run was started with"
) -> FunctionError:
    return FunctionError(f"{ref}: {what} {how}: bring this worker's copy up to date, or resume the run with --force")


def _run_file(source: Source, ref: FunctionRef) -> ModuleType:
    name = _module_name(source.path)
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, _CODE, None) == source.code:
        return loaded
    spec = importlib.util.spec_from_file_location(name, source.path)
    if spec is None:
        raise FunctionError(f"{ref}: cannot be loaded: expected a Python file, got {source.path}")
    module = importlib.util.module_from_spec(spec)
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


def _import(ref: FunctionRef) -> ModuleType:
    try:
        return importlib.import_module(ref.location)
    except (Exception, SystemExit) as error:
        raise _import_failed(ref, error) from error


def _import_failed(ref: FunctionRef, error: BaseException) -> FunctionError:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    culprits = [file for file in shadows() if file.stem in str(error)]
    hint = "".join(f": {file} has the name of a standard module: rename it" for file in culprits[:1])
    return FunctionError(f"{ref}: importing it failed: {type(error).__name__}: {error}{place}{hint}")


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
