"""Targets: named by reading, loaded by fingerprint, bound by name, and only if allowed."""

from __future__ import annotations

import base64
import functools
import math
import operator
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from pickles import travelling
from ttg.errors import FunctionError
from ttg.function import Packed, allowed, bind, function_from_callable, function_from_text, load, refreshed
from ttg.spec import FunctionRef

SIM = '''
"""A module."""
from os import system
import asyncio
from functools import cache

raise_on_import = False

def price(spot, vol, n=10, *, kind="call"):
    """Docstring."""
    return spot * vol + n  # comment

def noisy(x, seed, rng=None): return x + seed
def anything(x, **others): return x, others
@cache
def decorated(x): return x
async def waits(x): return x
def yields(x):
    def inner(): yield x
    yield from inner()
def has_inner(x):
    def inner(): yield x
    return list(inner())
@cache
def drained(x): yield x
assigned = lambda x: x
class Model:
    @staticmethod
    def run(x): return x
if True:
    def conditional(x): return x
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "sim.py").write_text(SIM)
    package = tmp_path / "ttg_test_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('importing the parent executes user code')\n")
    (package / "inner.py").write_text("def f(x): return x\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


# ---------------------------------------------------------------------------------------------- naming


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("sim.py:price", ["spot", "vol"]),
        ("sim.py:price", ["spot", "vol", "kind"]),
        ("sim.py:price", None),
        ("sim.py:noisy", ["x"]),
        ("sim.py:anything", ["x", "y", "z"]),
        ("sim.py:decorated", ["whatever"]),
        ("sim.py:system", ["command"]),
        ("sim.py:assigned", ["x"]),
        ("sim.py:Model.run", ["x"]),
        ("sim.py:conditional", ["x"]),
    ],
)
def test_file_targets(folder: Path, text: str, names: list[str] | None) -> None:
    target = function_from_text(text, names, cwd=folder)
    assert (target.kind, str(target), len(target.code)) == ("file", text, 64)
    assert "sim" not in sys.modules


def test_module_targets_are_found_without_executing_their_parents(folder: Path) -> None:
    target = function_from_text("ttg_test_package.inner:f", ["x"], cwd=folder)
    assert (target.kind, target.location, target.name) == ("module", "ttg_test_package.inner", "f")
    assert function_from_text("math:sqrt", ["x"], cwd=folder).code == ""
    assert function_from_text("json:dumps", ["obj"], cwd=folder).code


def test_locations_are_relative_below_the_folder_and_absolute_elsewhere(folder: Path) -> None:
    assert function_from_text(f"{folder}/sim.py:price", cwd=folder).location == "sim.py"
    inside = folder / "ttg_test_package"
    assert function_from_text("../sim.py:price", cwd=inside).location == (folder / "sim.py").resolve().as_posix()


@pytest.mark.parametrize(
    ("text", "names", "words"),
    [
        ("sim.py", [], "expected FILE.py:FUNCTION.*sim.py has price, noisy"),
        ("price", [], "expected FILE.py:FUNCTION"),
        ("absent.py:f", [], "cannot be read: No such file"),
        ("sim.py:prize", [], "there is no 'prize' in sim.py; did you mean 'price'?"),
        ("sim.py:zzz", [], "it has price, noisy, anything"),
        ("sim.py:waits", ["x"], "is async"),
        ("sim.py:yields", ["x"], "is a generator function.*return a list"),
        (
            "sim.py:price",
            ["spot", "vol", "strike"],
            "price\\(spot, vol, n=10, .*does not take 'strike'",
        ),
        ("sim.py:price", ["spott", "vol"], "did you mean 'spot'\\?\\); it needs 'spot'"),
        ("sim.py:price", ["spot"], "it needs 'vol'"),
        ("broken.py:f", [], "broken.py, line 1: is not valid Python"),
        ("nowhere.at.all:f", [], "module 'nowhere.at.all' was not found"),
        ("ttg_test_package.absent:f", [], "was not found"),
        ("a-b:f", [], "not a module name"),
    ],
)
def test_bad_targets_are_explained_in_one_line(folder: Path, text: str, names: list[str], words: str) -> None:
    (folder / "broken.py").write_text("def f(:\n")
    with pytest.raises(FunctionError, match=words) as caught:
        function_from_text(text, names, cwd=folder)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_is_of_the_code_not_of_its_looks(folder: Path) -> None:
    target = function_from_text("sim.py:price", cwd=folder)
    looks = SIM.replace("# comment", "").replace("Docstring.", "Other.").replace("spot * vol + n", "(spot*vol) + n")
    (folder / "sim.py").write_text("# new\n\n" + looks)
    assert refreshed(target, cwd=folder) == target
    (folder / "sim.py").write_text(SIM.replace("spot * vol + n", "spot * vol - n"))
    assert refreshed(target, cwd=folder).code != target.code


@pytest.mark.parametrize(
    ("one", "other"), [("f('a')", "f(a)"), ("f(1)", "f(True)"), ("f([a], b)", "f([a, b])"), ("x = 1.0", "x = 1")]
)
def test_different_code_has_different_fingerprints(tmp_path: Path, one: str, other: str) -> None:
    codes = set()
    for text in (one, other):
        (tmp_path / "m.py").write_text(f"def g(): pass\n{text}\n")
        codes.add(function_from_text("m.py:g", cwd=tmp_path).code)
    assert len(codes) == 2


# ---------------------------------------------------------------------------------------------- loading


def test_a_loaded_file_target_is_importable_by_its_own_name(folder: Path) -> None:
    function = load(function_from_text("sim.py:price", cwd=folder), cwd=folder)
    assert function(2, 3) == 16
    assert pickle.loads(pickle.dumps(function)) is function
    assert load(function_from_text("sim.py:price", cwd=folder), cwd=folder) is function


def test_a_file_named_like_a_loaded_module_does_not_replace_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "json.py").write_text("def f(x): return x\n")
    before = sys.modules["json"]
    assert load(function_from_text("json.py:f", cwd=tmp_path), cwd=tmp_path)(1) == 1
    assert sys.modules["json"] is before
    del sys.modules["ttg_target_json"]


def test_changed_source_is_refused(folder: Path) -> None:
    target = function_from_text("sim.py:price", cwd=folder)
    (folder / "sim.py").write_text(SIM + "\nx = 1\n")
    with pytest.raises(FunctionError, match="differs from the one the run was started with"):
        load(target, cwd=folder)


@pytest.mark.parametrize("line", ["import absent_module", "1 / 0", "raise SystemExit(3)"])
def test_a_module_that_fails_on_import(folder: Path, line: str) -> None:
    (folder / "sim.py").write_text("def f(x): return x\n" + line)
    with pytest.raises(FunctionError, match=r"importing it failed: \w+: .*sim.py:2"):
        load(function_from_text("sim.py:f", cwd=folder), cwd=folder)
    assert "sim" not in sys.modules


@pytest.mark.parametrize(
    ("function", "words"),
    [("asyncio.run", "is a module"), ("raise_on_import", "expected a function"), ("Model.walk", "no 'walk'")],
)
def test_what_is_no_function_of_the_module(folder: Path, function: str, words: str) -> None:
    with pytest.raises(FunctionError, match=words):
        load(FunctionRef("file", "sim.py", function), cwd=folder)


def test_what_only_running_the_module_tells_is_refused_then(folder: Path) -> None:
    text = "import functools\nclass Waits:\n    async def __call__(self, x): return x\nwaits = Waits()\n"
    text += "def inner(x, y): yield x\nyields = functools.partial(inner, y=1)\n"
    (folder / "sim.py").write_text(text)
    for name, words in (("waits", "is async"), ("yields", "is a generator function")):
        with pytest.raises(FunctionError, match=words):
            load(function_from_text(f"sim.py:{name}", cwd=folder), cwd=folder)


def test_modules_load(folder: Path) -> None:
    assert load(function_from_text("math:sqrt", cwd=folder)) is math.sqrt
    (folder / "ttg_test_package" / "__init__.py").write_text("")
    assert load(function_from_text("ttg_test_package.inner:f", cwd=folder), cwd=folder)(5) == 5


# ---------------------------------------------------------------------------------------------- functions


def test_functions_that_can_be_imported_travel_by_name() -> None:
    assert function_from_callable(math.sqrt, ["x"]) == FunctionRef("module", "math", "sqrt")
    target = function_from_callable(function_from_text, ["text"])
    assert (target.kind, str(target)) == ("module", "ttg.function.naming:function_from_text")
    assert load(target) is function_from_text


def test_functions_of_a_script_folder_travel_by_file(folder: Path) -> None:
    price = load(function_from_text("sim.py:price", cwd=folder), cwd=folder)
    assert function_from_callable(price, ["spot", "vol"], cwd=folder) == function_from_text("sim.py:price", cwd=folder)


@pytest.mark.parametrize("make", [lambda: lambda x: x + 1, lambda: functools.partial(operator.add, 1)])
def test_functions_without_a_module_travel_signed(make: Callable[[], Any], tmp_path: Path) -> None:
    target = travelling(make(), tmp_path, "s3cret")
    assert target.kind == "pickled"
    assert load(target, secret=b"s3cret")(1) == 2
    kept = msgspec.structs.replace(target, blob="")
    assert load(kept, secret=b"s3cret", find_input=tmp_path.joinpath)(1) == 2
    assert refreshed(kept) == kept


def test_a_pickle_is_unpacked_only_with_the_right_signature(tmp_path: Path) -> None:
    target = travelling(lambda x: x, tmp_path, "right")
    bomb = Packed(Bomb())
    bomb.write(tmp_path / bomb.name)
    blob = base64.b64encode((tmp_path / bomb.name).read_bytes()).decode()
    with pytest.raises(FunctionError, match="it is damaged"):
        load(msgspec.structs.replace(target, blob=blob), secret="right")
    forged = [
        msgspec.structs.replace(target, blob=blob, packed=bomb.name),
        msgspec.structs.replace(target, name="other"),
        msgspec.structs.replace(target, signature=""),
        msgspec.structs.replace(target, signature="é"),
        travelling(lambda x: x, tmp_path, "wrong"),
    ]
    for one in forged:
        with pytest.raises(FunctionError, match="its signature is not by this worker's TTG_SECRET"):
            load(one, secret="right")
    for secret in (None, ""):
        with pytest.raises(FunctionError, match="set TTG_SECRET"):
            load(target, secret=secret)


class Bomb:
    def __reduce__(self) -> Any:
        return pytest.fail, ("a forged pickle was unpickled",)


def test_the_fingerprint_of_a_function_without_a_module() -> None:
    def make(offset: int) -> Callable[[int], int]:
        return lambda x: x + offset

    def code(function: Callable[..., Any]) -> str:
        return function_from_callable(function, secret="s").code

    assert code(make(1)) == code(make(1)) != code(make(2))
    assert code(lambda x: x + 1) != code(lambda x: x + 2)


def test_a_script_s_own_functions_are_pickled(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pickles import travelling\nimport msgspec, pathlib, sys\n"
        "def f(x): return x * 3\nprint(msgspec.json.encode(travelling(f, pathlib.Path(sys.argv[1]))).decode())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    output = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, check=True, env=environment
    ).stdout
    target = msgspec.json.decode(output, type=FunctionRef)
    assert (target.kind, str(target)) == ("pickled", "__main__:f")
    assert load(target, secret="s")(2) == 6


async def _waits(x: int) -> int:
    return x


def _yields(x: int) -> Iterator[int]:
    yield x


@pytest.mark.parametrize(
    ("function", "names", "words"),
    [
        (3, ["x"], "expected a function, got 3"),
        (_waits, ["x"], "is async"),
        (_yields, ["x"], "is a generator function"),
        (function_from_text, ["txt"], "did you mean 'text'"),
        (lambda x: x, ["x"], "set TTG_SECRET"),
        ((lambda stream: lambda x: stream)(sys.stdout), None, "cannot be sent to a worker"),
    ],
)
def test_bad_functions(function: Any, names: list[str] | None, words: str) -> None:
    secret = "s" if names is None else None
    with pytest.raises(FunctionError, match=words):
        function_from_callable(function, names, secret=secret)


# ---------------------------------------------------------------------------------------------- binding


def plain(a: int, b: int, c: int = 3) -> Any:
    return a, b, c


def keyword_only(a: int, *, b: int) -> Any:
    return a, b


def only_any(**values: int) -> Any:
    return values


def positional_only(a: int, b: int = 2, /, c: int = 3) -> Any:
    return a, b, c


def seeded(seed: int, a: int, rng: Any = None) -> Any:
    return seed, a, rng


@pytest.mark.parametrize(
    ("function", "names", "order", "injected", "positional", "result"),
    [
        (plain, ("b", "a"), ("a", "b"), (), True, ("A", "B", 3)),
        (plain, ("c", "b", "a"), ("a", "b", "c"), (), True, ("A", "B", "C")),
        (keyword_only, ("b", "a"), ("b", "a"), (), False, ("A", "B")),
        (only_any, ("z", "y"), ("z", "y"), (), False, {"z": "Z", "y": "Y"}),
        (positional_only, ("c", "a"), ("a", "c"), (), False, ("A", 2, "C")),
        (positional_only, ("a",), ("a",), (), True, ("A", 2, 3)),
        (seeded, ("a",), ("seed", "a", "rng"), ("seed", "rng"), True, ("SEED", "A", "RNG")),
        (seeded, ("rng", "seed", "a"), ("seed", "a", "rng"), (), True, ("SEED", "A", "RNG")),
        (only_any, ("seed",), ("seed",), (), False, {"seed": "SEED"}),
        (max, ("p", "q"), ("p", "q"), (), True, "Q"),
    ],
)
def test_bindings_call_with_columns(
    function: Any, names: Any, order: Any, injected: Any, positional: bool, result: Any
) -> None:
    binding = bind(function, names)
    assert (binding.order, binding.injected, binding.positional) == (order, injected, positional)
    assert (binding.call is function) == positional
    columns = [[name.upper()] * 2 for name in binding.order]
    assert list(map(binding.call, *columns)) == [result] * 2


def test_builtins_and_ufuncs_bind() -> None:
    assert list(map(bind(math.sqrt, ["x"]).call, [4.0])) == [2.0]
    assert list(map(bind(np.sqrt, ["x"]).call, [4.0])) == [2.0]


@pytest.mark.parametrize(
    ("function", "names", "words"),
    [
        (plain, ["a"], "plain\\(.*the space gives \\(a\\), but it needs 'b'"),
        (plain, ["a", "b", "d"], "does not take 'd'"),
        (positional_only, ["b"], "it needs 'a'"),
        (lambda *values: values, ["a"], "does not take 'a'"),
    ],
)
def test_names_that_do_not_fit(function: Any, names: list[str], words: str) -> None:
    with pytest.raises(FunctionError, match=words):
        bind(function, names)


def test_a_gap_before_a_positional_only_parameter_is_explained() -> None:
    with pytest.raises(FunctionError, match="'b' can only be given together with those before it"):
        bind(eval("lambda a=1, b=2, /: (a, b)"), ["b"])


# ---------------------------------------------------------------------------------------------- permission


def file_target(location: str, function: str = "price") -> FunctionRef:
    return FunctionRef("file", location, function)


@pytest.mark.parametrize(
    ("target", "patterns", "expected"),
    [
        (file_target("sim.py"), [], True),
        (file_target("sim.py", "Model.run"), [], True),
        (file_target("sim.py", "system"), [], False),
        (file_target("sim.py", "asyncio.run"), [], False),
        (file_target("absent.py"), [], False),
        (file_target("/etc/passwd"), [], False),
        (file_target("inside/../../outside.py"), [], False),
        (file_target("link.py"), [], False),
        (file_target("lib/site-packages/pip.py"), [], False),
        (FunctionRef("module", "os", "system"), [], False),
        (FunctionRef("module", "math", "sqrt"), [], False),
        (FunctionRef("module", "ttg_test_package.inner", "f"), [], True),
        (FunctionRef("pickled", "__main__", "f", signature="x"), [], True),
        (FunctionRef("pickled", "__main__", "f"), [], False),
        (FunctionRef("strange", "sim.py", "price"), [], False),
        (file_target("sim.py"), ["sim.py:price"], True),
        (file_target("sim.py", "noisy"), ["sim.py:price"], False),
        (file_target("../elsewhere/sim.py"), ["sim.py:price"], False),
        (file_target("a/sim.py"), ["a/*.py:*", "x:y"], True),
        (file_target("a/../b.py"), ["a/*:*"], False),
        (file_target("pkg/mod.py", "f"), ["pkg.*:*"], False),
        (FunctionRef("module", "pkg.mod", "f"), ["pkg.*:*"], True),
        (FunctionRef("module", "pkgs", "f"), ["pkg.*:*"], False),
        (FunctionRef("module", "os", "system"), ["*"], True),
        (FunctionRef("pickled", "__main__", "f", signature="x"), ["sim.py:*"], False),
        (FunctionRef("pickled", "__main__", "f", signature="x"), ["__main__:*"], True),
    ],
)
def test_allowed(folder: Path, target: FunctionRef, patterns: list[str], expected: bool) -> None:
    here = folder / "here"
    (here / "lib" / "site-packages").mkdir(parents=True)
    for name in ("sim.py", "lib/site-packages/pip.py", "../outside.py"):
        (here / name).write_text(SIM)
    (here / "link.py").symlink_to(folder / "outside.py")
    (folder / "ttg_test_package").rename(here / "ttg_test_package")
    assert allowed(target, patterns, here) is expected
