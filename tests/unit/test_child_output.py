"""What a child prints is told apart by call, however the bytes arrive, and stays bounded."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttg.messages import Failure
from ttg.worker.output import ChildOutput
from ttg.worker.protocol import Report

STREAM = (
    b"\x1er-1\x1fimporting\n"
    b"\x1er-1 0 99\x1ffrom C\n"
    b"\x1er-1 7 7\x1fseven\nno end"
    b"\x1e! 7\x1f\x1er-1 8 8\x1feight\n"
    b"\x1e! 9\x1f"  # it printed nothing
    b"\x1e\x1fa thread\n"
)


def report(*indices: int) -> Report:
    return Report(1, (), tuple(Failure(index, "exception", "E", "") for index in indices), (), 0.0, 0.0)


def printed(output: ChildOutput, *indices: int) -> list[str]:
    return [failure.output for failure in output.completed(report(*indices)).failures]


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_the_bytes_may_come_in_any_pieces(cuts: list[int]) -> None:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("ttg.worker.output")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    output = ChildOutput("slot 0")
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, stop in pairwise(edges):
        output.feed(STREAM[start:stop])
    log.removeHandler(handler)

    expected = ["r-1: importing", "r-1[0-99]: from C", "r-1[7]: seven", "r-1[7]: no end", "r-1[8]: eight"]
    assert lines == [*(f"slot 0 {line}" for line in expected), "slot 0: a thread"]
    assert printed(output, 7, 9) == ["seven\nno end", ""]


def test_output_is_bounded_and_what_is_left_out_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ttg.worker.output")
    output = ChildOutput("slot 0")
    output.feed(b"\x1er 3 3\x1fbegin\n")
    for _ in range(1_000):
        output.feed(b"x" * 999 + b"\n")
    output.feed(b"y" * 5_000 + b"\nend\n\x1e! 3\x1f")

    (text,) = printed(output, 3)
    assert text.startswith("begin\nxxx")
    assert text.endswith("yyy\nend")
    assert len(text) < 2_100
    assert f"… {6 + 1_000_000 + 5_005 - 2_000:,} characters left out …" in text
    assert max(len(record.getMessage()) for record in caplog.records) < 2_050
    assert sum("y …" in record.getMessage() for record in caplog.records) == 2, "a long line is cut into three"


def test_the_output_of_a_slice_says_whose_it_may_be() -> None:
    output = ChildOutput("slot 0")
    output.feed(b"\x1er 3 9\x1ffrom C\n\x1e! 5\x1f")
    assert printed(output, 5) == ["(of the parameters 3 to 5)\nfrom C"]
    assert printed(output, 5) == [""], "it was of the report before"


def test_the_last_words_of_a_crash_are_its_output_and_its_traceback() -> None:
    output = ChildOutput("slot 0")
    output.feed(b"\x1er 3 3\x1fhello\nFatal Python error: Aborted\n")
    output.feed(b"\nStack (most recent call first):\n")
    output.end()
    assert output.last_words == ("hello", "Fatal Python error: Aborted\n\nStack (most recent call first):")


def test_of_a_progress_bar_the_log_has_what_a_terminal_shows(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ttg.worker.output")
    ChildOutput("slot 0").feed(b"\x1er 1 1\x1f\r  0%\r 50%\r100%\nwindows\r\n")
    assert [record.getMessage() for record in caplog.records] == ["slot 0 r[1]: 100%", "slot 0 r[1]: windows"]


def test_the_child_may_be_ahead_of_its_reports() -> None:
    output = ChildOutput("slot 0")
    output.feed(b"\x1er 1 1\x1fone\n\x1e! 1\x1f\x1er 2 2\x1ftwo\n\x1e! 2\x1f")
    assert printed(output, 1) == ["one"]
    assert printed(output, 2) == ["two"]


def test_what_looks_like_a_mark_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ttg.worker.output")
    output = ChildOutput("slot 0")
    output.feed(
        b"\x1e!\x1f\x1e! 3 4\x1f\x1ea 9 2\x1fx\n\x1e\xff 1\x1f\x1e 1 2 3\x1f\x1ea b\x1f\x1e" + b"9" * 400 + b"\x1f\n"
    )
    assert caplog.records[0].getMessage() == "slot 0 a: x"
    assert printed(output, 0, 3) == ["", ""]
