"""A large run in groups: DuckDB reads the Parquet parts itself, so memory does not grow with the number of rows.

    python examples/ask_duckdb.py RUN COLUMN VALUE

prints how many rows there are for each value of COLUMN, with mean and extremes of VALUE: at most 20 groups, the largest
mean first. Needs ``pip install duckdb``.
"""

from __future__ import annotations

import sys

import ttg

GROUPS = 20


def groups(run: ttg.Run, column: str, value: str) -> list[tuple[object, ...]]:
    """``(group, rows, mean, smallest, largest)`` by falling mean."""
    by, of = (f'"{name}"' for name in (column, value))
    answer = run.sql(
        f"select {by}, count(*), avg({of}), min({of}), max({of}) from results group by 1 order by 3 desc limit {GROUPS}"
    )
    return list(answer.fetchall())


def main(run: str, column: str, value: str) -> None:
    """Print the groups."""
    print(f"{column:>16} {'rows':>12} {'mean':>12} {'smallest':>12} {'largest':>12}")
    for group, rows, mean, smallest, largest in groups(ttg.open_run(run), column, value):
        print(f"{group!s:>16} {rows:>12,} {mean:>12.6g} {smallest:>12.6g} {largest:>12.6g}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("expected three arguments: a run, a column to group by, and a column of numbers")
    try:
        main(*sys.argv[1:])
    except ttg.TTGError as error:
        sys.exit(str(error))
