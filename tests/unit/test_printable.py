"""What a terminal is given of texts that others wrote."""

from __future__ import annotations

import io

import pytest

from ttg.streams import CLEAR_LINE, printable, show


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 漢 \t end\n", "plain ü 漢 \t end\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "alink"),
        ("over\rwrite \x08\x7f\x9b2J\x00", "overwrite 2J"),
        ("abc\u202edef\u2066g\u200f", "abcdefg"),
        ("\x1b\x1b[2J", ""),
    ],
    ids=["plain", "colours", "titles and links", "control characters", "directions", "nested"],
)
def test_what_a_terminal_would_obey_is_left_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_progress_may_clear_its_line_and_nothing_else() -> None:
    stream = io.StringIO()
    show(stream, f"{CLEAR_LINE}42 % \x1b[2J{CLEAR_LINE}done")
    assert stream.getvalue() == f"{CLEAR_LINE}42 % done"
