"""`ttg results --where`: which rows meet a condition, and that nothing of it is executed."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest

from ttg.errors import InputError
from ttg.results.conditions import parse_condition

TABLE = pa.table(
    {
        "x": [0, 1, 2, None, -4],
        "y": [0.5, float("nan"), None, float("inf"), 2.0],
        "name": pa.array(["a", "b", "ab", None, "c"]).dictionary_encode(),
        "ok": [True, False, True, None, True],
        "big": pa.array([1, 2**63 + 1, 2**64 - 1, None, 2**53 + 1], pa.uint64()),
        "day": pa.array([dt.date(2026, 1, day) for day in range(1, 6)]),
        "at": pa.array([dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in range(1, 6)], pa.timestamp("us", "UTC")),
        "d": pa.array([Decimal("1.10"), Decimal("2.20"), None, Decimal("3.30"), Decimal("0")]),
        "s": [{"k": 1}, {"k": 2}, {"k": None}, None, {"k": 5}],
        "a b": [1, 2, 3, 4, 5],
    }
)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("x > 0", [1, 2]),
        ("x >= 1.0 and x < 2.5", [1, 2]),
        ("0 <= x < 2", [0, 1]),
        ("not x > 0", [0, 4]),
        ("x is none", [3]), ("x == none", [3]), ("x is not none", [0, 1, 2, 4]), ("None != x", [0, 1, 2, 4]),
        ("x > 0 or y > 100", [1, 2, 3]),
        ("x in [0, 2, 7]", [0, 2]), ("x not in (0, 2)", [1, 4]), ("x in [1, none]", [1, 3]), ("x in []", []),
        ("(x == 1) | ~(ok & ok)", [1]),
        ("x % 3 == 2", [2, 4]), ("y % 1 == 0.5", [0]), ("x / 2 == 0.5", [1]), ("-x * 2 - 1 > 0", [4]),
        ("abs(x) == 4", [4]), ("x + y == -2", [4]),
        ("isnan(y)", [1]), ("y != y", [1]), ("y == inf", [3]), ("isinf(y)", [3]), ("y < 1", [0]),
        ('name == "a"', [0]), ("name in ['a', 'c']", [0, 4]), ("'b' in name", [1, 2]), ("'b' not in name", [0, 4]),
        ("startswith(name, 'a')", [0, 2]), ("endswith(name, 'b')", [1, 2]), ("name < 'b'", [0, 2]),
        ("ok", [0, 2, 4]), ("not ok", [1]), ("ok == true", [0, 2, 4]), ("x > 0 and not ok", [1]),
        ("big > 9223372036854775807", [1, 2]), ("big == 18446744073709551615", [2]), ("big > -1", [0, 1, 2, 4]),
        ("big == 9007199254740993", [4]), ("big < 1.5", [0]), ("big > x", [0, 1, 2, 4]),
        ("day >= '2026-01-04'", [3, 4]), ("day == at", [0, 1, 2, 3, 4]),
        ("at < '2026-01-02'", [0]), ("at < '2026-01-02T01:00:00+02:00'", [0]), ("at == '2026-01-02'", [1]),
        ("d > 2", [1, 3]), ("d == 1.1", [0]),
        ("s.k >= 2", [1, 4]), ("s is none", [3]), ('column("a b") == 2', [1]), ("`", None),
    ],
)  # fmt: skip
def test_rows_that_meet_a_condition(text: str, rows: list[int] | None) -> None:
    if rows is None:
        with pytest.raises(InputError, match="cannot read"):
            parse_condition(text, TABLE.column_names)
        return
    met = parse_condition(text, TABLE.column_names).of(TABLE)
    assert [row for row, is_met in enumerate(met.to_pylist()) if is_met] == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 3", "at character 3: expected a condition, such as .*equal is =="),
        ("lambda > 3", 'a column of any name is column'),
        ("x >", "cannot read"), ("", "cannot read"), ("x\0", "cannot read"), ("(" * 5000, "cannot read"),
        ("nmae == 'a'", "no column 'nmae': did you mean name"),
        ("name == a", "no column 'a': did you mean at.*in quotes"),
        ("1 == 1", "names no column"),
        ("x", "expected a condition, .*; x is a int64"),
        ("name > 3", r"name > 3 cannot be computed: not with types \(string, int64\)"),
        ("x % 0 == 1", "divide by zero"),
        ("x * 9223372036854775807 > 0", "overflow"),
        ("big == 18446744073709551616", "cannot be computed"),
        ("s.nope == 1", "s.nope cannot be computed"),
        ("day > 'monday'", "cannot be computed"), ("at > 'monday'", "cannot be computed"),
        ("x is 3", "is not possible"), ("x ** 9 > 1", "is not possible"), ("x if ok else y", "is not possible"),
        ("x.__class__", "cannot be computed"), ("f'{x}' == ''", "is not possible"), ("x[0]", "is not possible"),
        ("abs(x, 1) > 1", "possible are abs"), ("abs == 1", "names no column"),
        ("open('/tmp/x') == x", "no column 'open'"), ("x.upper()", "possible are abs"),
        ("(x := 3) > 2", "is not possible"), ("startswith(name, name)", "cannot be computed"),
    ],
)  # fmt: skip
def test_what_is_no_condition_is_refused_with_what_was_expected(text: str, words: str) -> None:
    with pytest.raises(InputError, match=f"where: .*{words}"):
        parse_condition(text, TABLE.column_names).of(TABLE)
