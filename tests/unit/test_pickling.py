"""Classes that only the main file of a program has, made again elsewhere and sent back."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

PROGRAM = textwrap.dedent(
    """
    import abc, pickle, subprocess, sys, typing
    from collections import namedtuple
    from dataclasses import dataclass
    from ttg.function.pickling import dumps

    @dataclass(slots=True)
    class Point:
        x: int

    class Child(Point):
        __slots__ = ()

    class Private:
        __slots__ = ("__hidden", "__dict__", "__weakref__")
        def __init__(self, hidden): self.__hidden, self.seen = hidden, hidden

    class Alone(abc.ABC):
        __slots__ = "one"
        def __init__(self, one): self.one = one

    class Typed(typing.NamedTuple):
        a: int

    Named = namedtuple("Named", "a")

    class Enough(typing.Generic[typing.TypeVar("T")]):
        __slots__ = ("one",)
        def __init__(self, one): self.one = one

    KINDS = Point, Child, Private, Alone, Typed, Named, Enough
    EXECUTE = (
        "import pickle, sys; from ttg.function.pickling import dumps; "
        "call = pickle.load(sys.stdin.buffer); sys.stdout.buffer.write(dumps(call()))"
    )
    for kind in KINDS:
        made = subprocess.run(
            [sys.executable, "-c", EXECUTE], input=dumps(lambda: kind(3)), stdout=subprocess.PIPE, check=True
        ).stdout
        again = pickle.loads(made)
        assert type(again) is kind, kind
        assert pickle.dumps(again) == pickle.dumps(kind(3)), kind
    print("all", len(KINDS))
    """
)


def test_instances_of_classes_with_slots_come_back(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run([sys.executable, tmp_path / "program.py"], capture_output=True, text=True)
    assert done.stdout == "all 7\n", done.stderr


def test_large_buffers_are_handed_over() -> None:
    from ttg.function.pickling import dumps

    kept: list[pickle.PickleBuffer] = []
    data = dumps(pickle.PickleBuffer(bytearray(10)), kept.append)
    assert pickle.loads(data, buffers=kept) == bytearray(10)
