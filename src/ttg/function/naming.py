"""From what a user names, ``sim.py:price``, ``pkg.mod:func`` or a function, to a :class:`~ttg.spec.FunctionRef`."""

from __future__ import annotations

import ast
import difflib
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

import msgspec

from ttg.errors import FunctionError
from ttg.function.helpers import helpers_of
from ttg.function.marks import marks
from ttg.function.members import loaded_enum
from ttg.function.packing import Inputs
from ttg.function.programs import Program, program_of, program_reference
from ttg.function.signature import (
    INJECTED,
    Signature,
    check_fit,
    check_returns,
    check_tree_returns,
    signature_of,
    signature_of_tree,
)
from ttg.function.signing import Secret, code_of, pickled_reference
from ttg.function.source import Source, file_of, is_installed, source_of
from ttg.spec import FunctionRef


def function_from_text(
    text: str,
    names: Sequence[str] | None = None,
    *,
    cwd: Path | None = None,
    path: Sequence[str] = (),
    offered: Sequence[str] = INJECTED,
) -> FunctionRef:
    """``FILE.py:FUNCTION`` or ``PACKAGE.MODULE:FUNCTION``, checked by reading the source; nothing of it is executed.

    A plain ``def`` is checked against the space's ``names`` (``None``: not yet known) and what is
    ``offered`` besides. What only running the module can tell (decorated, imported, assigned) is left to the child.
    Files below the current folder get a relative location, so that a worker finds them below its own. ``path``: a
    script's ``sys.path``, for what the module imports.
    """
    folder = (cwd or Path.cwd()).resolve()
    location, colon, function = text.rpartition(":")
    if not colon or not location or not function:
        raise FunctionError(f"expected FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION, got {text!r}{_offer(text, folder)}")
    is_file = location.endswith(".py") or "/" in location
    if is_file:
        location = relative_location(file_of(location, folder), folder)
    source = source_of("file" if is_file else "module", location, folder, path)
    if source is not None:
        _check_definition(source, function, f"{location}:{function}", names, offered)
    return _reference("file" if is_file else "module", location, function, source, folder, path)


def _reference(
    kind: str, location: str, name: str, source: Source | None, folder: Path, path: Sequence[str] = ()
) -> FunctionRef:
    ref = FunctionRef(kind, location, name, source.code if source else "")
    return with_helpers(ref, folder, path)


def with_helpers(ref: FunctionRef, folder: Path, path: Sequence[str] = (), inputs: Inputs | None = None) -> FunctionRef:
    """The same reference, with the present fingerprints of what it imports of the user's own."""
    packed = (inputs or {}).get(ref.packed)
    return msgspec.structs.replace(ref, helpers=helpers_of(ref, folder, path, packed.stream if packed else None))


def signature_from_text(text: str, *, cwd: Path | None = None) -> Signature | None:
    """What a plain ``def`` takes; ``None`` where only running its module can tell."""
    folder = (cwd or Path.cwd()).resolve()
    location, _, function = text.rpartition(":")
    source = source_of("file" if location.endswith(".py") or "/" in location else "module", location, folder)
    node = source.definitions().get(function) if source else None
    if source is None or not isinstance(node, ast.FunctionDef) or node.decorator_list != marks(source, node):
        return None
    return signature_of_tree(node)


def relative_location(path: Path, folder: Path) -> str:
    """``path`` as seen from ``folder`` if it lies below it, else absolute. It keeps its own name, whatever it links
    to."""
    if not path.is_relative_to(folder):
        path = path.parent.resolve() / path.name
    location = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
    try:
        location.encode()
    except UnicodeEncodeError:
        raise FunctionError(f"expected a file with a name in UTF-8, got {location!r}: rename it") from None
    return location


def _offer(text: str, folder: Path) -> str:
    if not text.endswith(".py") or not (folder / text).is_file():
        return ""
    functions = _functions(source_of("file", text, folder))
    return f": {text} has {', '.join(functions)}" if functions else ""


def _functions(source: Source | None) -> list[str]:
    definitions = source.definitions() if source else {}
    return [name for name, node in definitions.items() if isinstance(node, ast.FunctionDef) and name[0] != "_"]


def _check_definition(
    source: Source, function: str, label: str, names: Sequence[str] | None, offered: Sequence[str]
) -> None:
    definitions = source.definitions()
    first, dot, _ = function.partition(".")
    node = definitions.get(first)
    if node is None and "*" not in definitions:
        close = difflib.get_close_matches(first, definitions, 1)
        known = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(_functions(source)) or 'no function'}"
        raise FunctionError(f"{label}: there is no {first!r} in {source.path.name}; {known}")
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or dot:
        return
    if node.decorator_list == marks(source, node):  # another decorator may change what the function takes and returns
        check_tree_returns(node, label)
        if names is not None and isinstance(node, ast.FunctionDef):
            check_fit(signature_of_tree(node), names, label, offered)


def function_from_callable(
    function: Callable[..., Any],
    names: Sequence[str] | None = None,
    *,
    secret: Secret = None,
    cwd: Path | None = None,
    beside: Sequence[Any] = (),
    inputs: Inputs | None = None,
    offered: Sequence[str] = INJECTED,
) -> FunctionRef:
    """The reference of a function object: its module or file if a worker can import it from there, otherwise
    (``__main__``, a notebook, a lambda, nested, partial) the function itself, pickled and signed with ``secret``,
    together with what it needs ``beside`` from there: classes of its parameters, its setup. The pickle is put into
    ``inputs``.
    """
    if not callable(function):
        raise FunctionError(f"expected a function, got {function!r} ({type(function).__name__})")
    folder = (cwd or Path.cwd()).resolve()
    if isinstance(function, Program):
        return program_reference(function, names, folder)
    module, name = _place(function)
    _check(function, names, f"{module}:{name}", offered)
    if not is_importable(function):
        inputs = {} if inputs is None else inputs
        ref = pickled_reference(function, module, name, secret, inputs, beside)
        return with_helpers(ref, folder, sys.path, inputs)
    file = _script(module)
    kind, location = ("file", relative_location(file, folder)) if file else ("module", module)
    return _reference(kind, location, name, source_of(kind, location, folder, sys.path), folder, sys.path)


def is_importable(function: Callable[..., Any]) -> bool:
    """Whether a worker can import the very same; what lives elsewhere travels as a pickle."""
    module, name = _place(function)
    return module != "__main__" and _imported(module, name) is function


def _place(function: Callable[..., Any]) -> tuple[str, str]:
    module = getattr(function, "__module__", None) or "__main__"
    return module, getattr(function, "__qualname__", None) or type(function).__qualname__


def setup_beside(setup: Any) -> FunctionRef:
    """The reference of a setup that travels in the pickle of a function, whose globals it then shares."""
    module, label = _place(setup)[0], setup.__name__
    _check(setup, (), f"{module}:{label}", ())
    return FunctionRef("beside", module, label, code_of(setup))


def _check(function: Callable[..., Any], names: Sequence[str] | None, label: str, offered: Sequence[str]) -> None:
    check_returns(function, label)
    signature = signature_of(function)
    if signature is not None and names is not None:
        check_fit(signature, names, label, offered)


def _imported(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _script(module: str) -> Path | None:
    """The file of a module that belongs to no package and is not installed: it is named by its path, because a worker
    need not have its folder on ``sys.path``."""
    origin = getattr(sys.modules[module], "__file__", None)
    if "." in module or not origin or not origin.endswith(".py") or Path(origin).name == "__init__.py":
        return None
    path = Path(origin).absolute()
    library = Path(inspect.__file__).resolve().parent
    return None if is_installed(path) or path.resolve().is_relative_to(library) else path


def refreshed(
    ref: FunctionRef,
    *,
    cwd: Path | None = None,
    path: Sequence[str] = (),
    secret: Secret = None,
    enums: Sequence[str] = (),
    setup: FunctionRef | None = None,
    inputs: Inputs | None = None,
) -> FunctionRef:
    """The same reference with the fingerprints that its source and what it imports have now.

    A pickled function travels as it was; only if this process has another one of that name now, it is that one,
    with the enumerations ``enums`` of its module, and the run's ``setup`` if that travels beside it.
    """
    folder = (cwd or Path.cwd()).resolve()
    if ref.kind == "program":
        return program_reference(program_of(ref), None, folder)
    if ref.kind == "pickled":
        present = _imported(ref.location, ref.name)
        if isinstance(present, FunctionType) and code_of(present) != ref.code:
            beside = [*map(loaded_enum, enums), *([_imported(setup.location, setup.name)] if setup else [])]
            inputs = {} if inputs is None else inputs
            ref = pickled_reference(present, ref.location, ref.name, secret, inputs, beside)
    elif ref.kind != "beside":
        source = source_of(ref.kind, ref.location, folder, path)
        ref = msgspec.structs.replace(ref, code=source.code if source else "")
    return with_helpers(ref, folder, path, inputs)
