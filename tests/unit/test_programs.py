"""Programs as functions: command lines, what their output says, and which ones a worker takes."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

import ttg
from ttg.cli import arguments, build_parser
from ttg.cli.run import new_run
from ttg.errors import FunctionError, InputError
from ttg.function.programs import command_of, is_program_allowed, loaded_program, program_reference
from ttg.function.spawning import Tail
from ttg.function.stdout import UnusableOutput, result_of
from ttg.function.templates import filled, pieces_of, shell_line
from ttg.options import EntryPoint
from ttg.worker.failures import failure_of


@pytest.mark.parametrize(
    ("argument", "values", "expected"),
    [
        ("--x={x}", {"x": 0.1}, "--x=0.1"),
        ("{x:.3f}/{y}", {"x": math.pi, "y": "a b; c"}, "3.142/a b; c"),
        ("{{x}} {x}", {"x": True}, "{x} true"),
        ("{x}", {"x": None}, ""),
        ("{x}", {"x": [1, "a"]}, '[1, "a"]'),
        ("{x}", {"x": b"\xff"}, "\udcff"),
    ],
)
def test_placeholders_are_replaced_inside_their_argument(argument: str, values: dict[str, Any], expected: str) -> None:
    assert filled(pieces_of(argument), values) == expected


@pytest.mark.parametrize("argument", ["{", "}", "{}", "{1}", "a{b c}d"])
def test_a_brace_by_itself_is_refused(argument: str) -> None:
    with pytest.raises(FunctionError, match="a brace is written"):
        pieces_of(argument)


@pytest.mark.parametrize(
    "line", ["printf %s {x}", 'printf %s "{x}"', "printf %s '{x}'", "printf %s \"a\"'b'{x} | cut -c3-"]
)
@pytest.mark.parametrize("value", ["$(echo no)", "a b", "'", '"', "; exit 3", "*"])
def test_a_shell_never_reads_a_value(line: str, value: str) -> None:
    text, words = shell_line(line)
    said = subprocess.run(["sh", "-c", text, "sh", *[value] * len(words)], capture_output=True, text=True, check=True)
    assert said.stdout.rstrip("\n") == value


def tail(text: bytes, most: int = 1_000) -> Tail:
    found = Tail(most)
    found.add(text)
    return found


@pytest.mark.parametrize(
    ("output", "text", "expected"),
    [
        ("auto", b"working\n42\n", 42),
        ("auto", b"1.5e3", 1500.0),
        ("auto", b'noise\n{"a": 1, "b": [2]}\n', {"a": 1, "b": [2]}),
        ("auto", b"{not json}\n", "{not json}"),
        ("auto", b"007\n", "007"),
        ("auto", b"", None),
        ("auto", b"\xff\n", "\ufffd"),
        ("text", b"a\nb\n", "a\nb"),
        ("json", b"noise\n[1, 2]\n", [1, 2]),
        ("none", b"whatever", None),
    ],
)
def test_what_a_program_writes_is_its_result(output: str, text: bytes, expected: Any) -> None:
    assert result_of(output, tail(text)) == expected


def test_what_cannot_be_a_result_is_told() -> None:
    with pytest.raises(UnusableOutput, match="expected JSON"):
        result_of("json", tail(b"{"))
    with pytest.raises(UnusableOutput, match="a longer one"):
        result_of("auto", tail(b"x" * (1 << 20)))
    with pytest.raises(UnusableOutput, match="got more"):
        result_of("text", tail(b"x\n" * (1 << 20)))
    assert result_of("auto", tail(b"x\n" * (1 << 20) + b"3\n")) == 3


@pytest.mark.parametrize(
    ("line", "error", "kind", "place", "final"),
    [
        ("echo {x} >&2; exit 3", "ProgramFailed", "exit", "exit code 3", False),
        ("kill -9 $$ {x}", "ProgramFailed", "signal", "SIGKILL", False),
        ("echo no JSON {x}", "UnusableOutput", "exception", "", True),
    ],
)
def test_a_failure_is_grouped_by_how_the_program_ended(
    line: str, error: str, kind: str, place: str, final: bool
) -> None:
    with pytest.raises(Exception, match=r".") as raised:
        ttg.program(line, shell=True, output="json")(1)  # noqa: S604
    failure = failure_of(raised.value.with_traceback(raised.tb.tb_next), 0)
    assert (failure.error, failure.kind, failure.place, failure.final) == (error, kind, place, final)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model"
    model.write_text("#!/bin/sh\necho $1\n")
    model.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "names", "expected"),
    [
        (["./model", "{x}", "{z}"], ("x",), "nothing gives {z}"),
        (["./model", "{alpa}"], ("alpha",), "did you mean {alpha}"),
        (["./model"], ("x",), "no argument has {x}"),
        (["./model", "{x}", "y=1", "{y}"], ("x",), "axes go before it"),
        (["./none", "{x}"], ("x",), "found nothing"),
        (["model", "{x}"], ("x",), r"did you mean \./model"),
        (["no-such-program", "{x}"], ("x",), "no such program in the folders of PATH"),
        (["./data", "{x}"], ("x",), r"chmod \+x"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(
    folder: Path, command: list[str], names: tuple[str, ...], expected: str
) -> None:
    (folder / "data").write_text("1")
    with pytest.raises(FunctionError, match=expected):
        program_reference(ttg.program(command), names, folder)


@pytest.mark.parametrize("command", [[], [" "], ["a\0"], ["{x}"], "ls {x}"])
def test_what_is_no_command_is_refused(command: Any) -> None:
    with pytest.raises(FunctionError):
        ttg.program(command)


def test_a_run_knows_its_program_by_its_bytes_and_its_command_line(folder: Path) -> None:
    def code(*words: str) -> str:
        return program_reference(ttg.program(["./model", *words]), None, folder).code

    before = code("{x}")
    assert code("{x}") == before
    assert code("{x}", "-v") != before
    (folder / "model").write_text("#!/bin/sh\necho 0\n")
    assert code("{x}") != before


def test_a_worker_takes_only_the_programs_that_it_allows(folder: Path) -> None:
    own = program_reference(ttg.program(["./model", "{x}"]), ("x",), folder)
    installed = program_reference(ttg.program(["sh", "-c", "{x}"]), ("x",), folder)
    for pattern, takes in {
        "*": (True, True),
        "./model": (True, False),
        "./m*": (True, False),
        "s?": (False, True),
    }.items():
        found = tuple(is_program_allowed(ref, [pattern], folder) for ref in (own, installed))
        assert found == takes, pattern
    assert not is_program_allowed(own, [], folder)
    assert is_program_allowed(installed, ["sh -c '{x}'"], folder)
    assert not is_program_allowed(installed, ["sh -c '{y}'"], folder)
    assert not is_program_allowed(own, ["model"], folder)


def test_what_is_allowed_is_what_is_executed(folder: Path) -> None:
    line = program_reference(ttg.program("id; {x}", shell=True), ("x",), folder)  # noqa: S604
    forged = msgspec.structs.replace(line, location="./model", name="model")
    assert not is_program_allowed(forged, ["./model"], folder)
    other = program_reference(ttg.program("id", shell=True), (), folder)  # noqa: S604
    assert command_of(line) == ("--allow-program", "id; {x}")
    assert not is_program_allowed(other, [command_of(line)[1]], folder)


def test_a_worker_has_the_script_that_its_interpreter_is_given(folder: Path) -> None:
    script = folder / "m.py"
    script.write_text("print(1)")
    ref = program_reference(ttg.program(["python3", "m.py"]), (), folder)
    assert loaded_program(ref, folder).command == ("python3", "m.py")
    script.write_text("print(2)")
    with pytest.raises(FunctionError, match="it differs here"):
        loaded_program(ref, folder)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--", "./model", "{x}", "x=1,2"], "'x=1,2' stands behind --"),
        (["./model", "x=1,2"], "a program goes after --"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_misplaced_program_or_axis_is_named(words: list[str], expected: str) -> None:
    args = build_parser().parse_args(["run", *words])
    with pytest.raises(InputError, match=expected):
        new_run(args, arguments.chosen(args, EntryPoint.RUN))
