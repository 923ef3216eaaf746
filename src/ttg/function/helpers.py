"""The modules of the user's own that a function's module imports, found and fingerprinted without executing them.

Own is what is neither in the standard library, nor installed, nor TTG. What is imported under a name that only running
the code makes up is not seen.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from ttg.errors import FunctionError
from ttg.function.source import Source, find_module, is_installed, read_source, search_path, source_of
from ttg.spec import FunctionRef

MOST_HELPERS = 500
"""Nearest first. Parsing a file of 200 lines takes about 5 ms, and the time to the first result waits for it."""
MOST_OPERATIONS = 200_000
"""Of a pickle that are looked at: one with a long list in it takes seconds."""
DYNAMIC = ("import_module", "__import__")
SUITES = ("body", "orelse", "finalbody", "handlers", "cases")

_LIBRARY = Path(os.__file__).resolve().parent
_TTG = Path(__file__).resolve().parents[1]

Fingerprint = tuple[str, str]
"""SHA-256 of a module's bytes, and of its syntax tree; the second is empty for a compiled one."""


def helpers_of(
    ref: FunctionRef, cwd: Path, path: Sequence[str] = (), stream: bytes | None = None
) -> dict[str, Fingerprint]:
    """Fingerprints by module name, found from where a child would import (:func:`ttg.function.source.search_path`).
    ``stream`` is the pickle of a function without a module, if it was made just now; otherwise its helpers are those
    that it had."""
    found: dict[str, Fingerprint] = {}
    where = search_path(ref.kind, ref.location, cwd, path)
    pending = deque(_first_names(ref, cwd, path, stream))
    seen = {module_name(ref), "__main__"}
    while pending and len(found) < MOST_HELPERS:
        name = pending.popleft()
        if name not in seen and (file := find_own(name, where)):
            found[name], source = _read(file, name)
            pending.extend(_imports(source, name, file) if source else ())
        seen.add(name)
    return dict(sorted(found.items()))


def find_own(name: str, where: Sequence[str]) -> Path | None:
    """The file of a module of the user's own; ``None`` for any other, and for one that is not there."""
    file = _find(name, where)
    return file if file and is_own(file) else None


def find_here(name: str) -> Path | None:
    """The file of a module that this process has loaded, or would load."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    return Path(file) if file else None if module else _find(name, sys.path)


def _find(name: str, where: Sequence[str]) -> Path | None:
    try:
        origin = find_module(name, where).origin
    except FunctionError:
        return None
    return Path(origin) if origin and Path(origin).is_file() else None


def is_own(file: Path) -> bool:
    """Whether it is neither of the standard library, nor of an installed package, nor ours."""
    file = file.resolve()
    return not is_installed(file) and not any(map(file.is_relative_to, (_LIBRARY, _TTG)))


def same(one: Fingerprint | None, other: Fingerprint | None) -> bool:
    """Whether two fingerprints are of the same code."""
    if one is None or other is None:
        return one is other
    return one[0] == other[0] != "" or one[1] == other[1] != ""


def fingerprint_of(file: Path, name: str, expected: Fingerprint) -> Fingerprint:
    """Of a file here; the syntax tree is looked at only if the bytes are not those expected."""
    if _digest(_bytes(file, name)) == expected[0]:
        return expected
    return _read(file, name)[0]


def texts_of(ref: FunctionRef, cwd: Path, path: Sequence[str] = ()) -> dict[str, str]:
    """The source texts of the function's module, if it is the user's own, and of its helpers, by module name."""
    where = search_path(ref.kind, ref.location, cwd, path)
    source = _own_source(ref, cwd, path)
    texts = {module_name(ref): source.text} if source else {}
    for name in ref.helpers:
        if (file := find_own(name, where)) and file.suffix == ".py":
            texts[name] = _bytes(file, name).decode("utf-8", "replace")
    return texts


def module_name(ref: FunctionRef) -> str:
    """What the function's own module is called, as a helper would be."""
    return Path(ref.location).stem if ref.kind == "file" else ref.location


def _first_names(ref: FunctionRef, cwd: Path, path: Sequence[str], stream: bytes | None) -> Iterator[str]:
    if ref.kind == "pickled" and stream is None:
        yield from ref.helpers
    elif ref.kind == "pickled" and stream is not None:
        yield from _names_in_pickle(stream, search_path(ref.kind, ref.location, cwd, path))
    elif source := _own_source(ref, cwd, path):
        package = ref.location if ref.kind == "module" else ""
        yield from _parents(package)
        yield from _imports(source, package, source.path)


def _own_source(ref: FunctionRef, cwd: Path, path: Sequence[str]) -> Source | None:
    source = source_of(ref.kind, ref.location, cwd, path) if ref.kind in ("file", "module") else None
    return source if source and is_own(source.path) else None


def _names_in_pickle(pickled: bytes, where: Sequence[str]) -> Iterator[str]:
    """Every text in a pickle that could name a module: functions carry their modules, and what they import, by name."""
    import pickletools  # takes as long to import as the rest of this

    present = {name for folder in where if is_own(Path(folder)) for name in _modules_in(folder)}
    for _, argument, _ in islice(pickletools.genops(pickled), MOST_OPERATIONS):
        if isinstance(argument, str) and argument.partition(".")[0] in present:
            yield from (*_parents(argument), argument)


def _modules_in(folder: str) -> Iterator[str]:
    with suppress(OSError):
        yield from (name.partition(".")[0] for name in os.listdir(folder or "."))


def _imports(source: Source, module: str, file: Path) -> Iterator[str]:
    """Names that may be modules which ``module``, a dotted name or nothing, imports."""
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in _statements(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _parents(alias.name)
                yield alias.name
        else:
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            if name and (base or not node.level):
                yield from (*_parents(name), name, *(f"{name}.{alias.name}" for alias in node.names))
    if any(word in source.text for word in DYNAMIC):
        yield from _dynamic_imports(source.tree)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def _statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements, also inside functions; expressions, most of a tree, are not walked."""
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        for suite in SUITES:
            stack.extend(getattr(node, suite, ()))


def _dynamic_imports(tree: ast.AST) -> Iterator[str]:
    """``import_module("a.b")``, where the name is written out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).rpartition(".")[2] in DYNAMIC:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield from (*_parents(first.value), first.value)


def _read(file: Path, name: str) -> tuple[Fingerprint, Source | None]:
    data = _digest(_bytes(file, name))
    if file.suffix != ".py":
        return (data, ""), None
    source = read_source(file, name)
    return (data, source.code), source


def _bytes(file: Path, name: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise FunctionError(f"{name}: cannot be read: {error.strerror}: expected a module at {file}") from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
