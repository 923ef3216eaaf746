"""The table of docs/architecture.md, enforced: which module may import which, and where each library may appear."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "ttg"

BASE = {"errors", "clock", "allocation", "descendants"}
CORE = BASE | {"messages", "space", "seeds", "spec"}
STORES = {"stores"}
FUNCTION = CORE | {"function"}
BROKERS = FUNCTION | {"settings", "brokers", "backoff", "logs", "metrics", "streams"}
BESIDE_BROKERS = BROKERS | STORES | {"results.encode", "results.batches", "results.plain", "planner"}
COORDINATOR = BROKERS | STORES | {"worker", "results", "monitor", "planner", "units", "options"}

# Longest prefix wins. What a module may import of ours, itself and its own subpackage apart; None: everything.
ALLOWED: dict[str, set[str] | None] = {
    "errors": set(),
    "descendants": set(),
    "clock": set(),
    "allocation": set(),
    "units": set(),
    "options": {"errors", "units", "settings", "__init__"},
    "logs": {"errors", "streams"},
    "streams": {"errors"},
    "metrics": BASE | {"messages"},
    "messages": BASE,
    "space": BASE | {"messages", "seeds"},
    "seeds": BASE | {"messages"},
    "spec": BASE | {"messages"},
    "backoff": BASE,
    "planner": BASE | {"messages"},
    "stores": BASE | {"messages"},
    "function": CORE,
    "settings": CORE | {"brokers.base", "units"},
    "brokers": BROKERS,
    "worker": BESIDE_BROKERS,
    "results": FUNCTION | {"settings", "brokers.base"},
    "results.encode": CORE | {"results.arrow"},
    "monitor": FUNCTION | {"settings", "brokers.base", "logs", "metrics", "streams"},
    "run": COORDINATOR,
    "calls": COORDINATOR | {"run"},
    "joblib": COORDINATOR | {"run", "calls"},
    "kube": {"spec", "errors", "options"},
    "demo": None,
    "cli": None,
    "__init__": None,
    "__main__": None,
}

# Libraries that have one home each.
HOMES = {
    "hiredis": ("brokers.redis",),
    "redis": (),  # a tool of the tests: see brokers/redis/connection.py
    "pika": ("brokers.rabbitmq",),
    "duckdb": ("results.sql",),
    "prometheus_client": ("metrics",),
    "pyarrow": ("results", "space.readers", "stores.objects"),
    "starlette": ("monitor",),
    "uvicorn": ("monitor",),
    "yaml": ("kube",),
    "opentelemetry": ("monitor",),
}

CHILD = "worker.child"
NOT_IN_THE_CHILD = {"asyncio", "hiredis", "pika", "rich", "starlette", "uvicorn"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if len(parts) > 1 and parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def is_within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def absolute(node: ast.ImportFrom, module: str, path: Path) -> str:
    """The dotted name that a ``from … import`` names, relative ones resolved against ``module``."""
    if node.level == 0:
        return node.module or ""
    package = ["ttg", *module.split(".")]
    climb = node.level - (path.name == "__init__.py")
    return ".".join([*package[: len(package) - climb], *(node.module or "").split(".")]).rstrip(".")


@cache
def imported_names(module: str) -> tuple[str, ...]:
    """Every dotted name that a module imports, anywhere in it, types and lazy imports included."""
    return tuple(_imported_names(module))


def _imported_names(module: str) -> Iterator[str]:
    path = MODULES[module]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = absolute(node, module, path)
            yield from (f"{source}.{alias.name}" for alias in node.names)


def our_module(name: str) -> str | None:
    """The module of ours that an imported name belongs to: ``ttg.spec.RunSpec`` is in ``spec``."""
    if not is_within(name, "ttg"):
        return None
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts) or "__init__"


def our_imports(module: str) -> set[str]:
    return {found for name in imported_names(module) if (found := our_module(name)) and found != module}


def libraries(module: str) -> set[str]:
    return {name.split(".")[0] for name in imported_names(module)} - {"ttg"}


def rule_for(module: str) -> set[str] | None:
    prefix = max((key for key in ALLOWED if is_within(module, key)), key=len, default=None)
    assert prefix is not None, f"src/ttg/{module} has no row in docs/architecture.md and here: add one to both"
    return ALLOWED[prefix]


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    allowed = rule_for(module)
    if allowed is None:
        return
    own = {module.split(".")[0]} if "." in module or MODULES[module].name == "__init__.py" else set()
    strays = {name for name in our_imports(module) if not any(is_within(name, prefix) for prefix in allowed | own)}
    assert not strays, f"{module} must not import {sorted(strays)}; it may import {sorted(allowed)}"


@pytest.mark.parametrize("library", HOMES)
def test_libraries_stay_at_home(library: str) -> None:
    strangers = [
        module
        for module in MODULES
        if library in libraries(module) and not any(module.startswith(home) for home in HOMES[library])
    ]
    assert not strangers, f"{library} belongs to {HOMES[library]}, but is imported by {strangers}"


def reachable(start: str) -> set[str]:
    """Modules of ours that importing ``start`` may bring in, ``start`` included."""
    seen, waiting = set[str](), {start}
    while waiting:
        module = waiting.pop()
        seen.add(module)
        waiting |= our_imports(module) - seen
    return seen


def test_the_child_process_knows_no_broker() -> None:
    assert CHILD in MODULES
    found = reachable(CHILD)
    assert not any(is_within(module, "brokers") or is_within(module, "monitor") for module in found), sorted(found)
    strays = {module: libraries(module) & NOT_IN_THE_CHILD for module in found}
    assert not any(strays.values()), {module: names for module, names in strays.items() if names}


def test_the_rules_see_a_violation() -> None:
    assert our_module("ttg.spec.RunSpec") == "spec"
    assert our_module("numpy.random") is None
    assert "errors" in our_imports("messages.codec")
    assert "msgspec" in libraries("messages.codec")


HEAVY = {"numpy", "pyarrow", "pandas", "pyroaring", "cloudpickle", "pika", "rich", "starlette", "uvicorn", "yaml"}
HEAVY |= {"prometheus_client"}
HEAVY |= {"http.client", "email", "importlib.metadata", "multiprocessing", "unittest"}
NOT_AT_START = {  # what a process must not have imported before it knows that it needs it
    "import ttg": HEAVY | {"msgspec", "asyncio", "dataclasses", "argparse"},
    "from ttg.cli import build_parser; build_parser('worker')": HEAVY | {"msgspec", "asyncio", "ttg.cli.run", "json"},
    "from ttg.cli import build_parser; build_parser('run')": HEAVY | {"msgspec", "asyncio", "ttg.cli.worker", "json"},
    "import asyncio, ttg.brokers.redis, ttg.worker.supervisor": HEAVY | {"ttg.space", "ttg.results"},
    "import ttg.worker.child": HEAVY | {"asyncio", "ssl", "argparse", "logging", "random", "secrets", "hiredis"},
    "import ttg.run.launch": HEAVY | {"ttg.results.collector", "ttg.run.coordinator"},
}


@pytest.mark.parametrize("code", NOT_AT_START)
def test_a_process_starts_without_what_it_may_never_need(code: str) -> None:
    said = subprocess.check_output([sys.executable, "-P", "-c", f"{code}\nimport sys\nprint(*sys.modules)"], text=True)
    early = NOT_AT_START[code] & set(said.split())
    assert not early, f"{sorted(early)}: import them where they are used (python -X importtime shows who did)"
