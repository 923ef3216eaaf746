"""The demonstration's report: the same tables as Markdown, as JSON and as a page."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

from ttg.demo.page import page
from ttg.demo.tables import COMPARISON_HEADER, METRIC_HEADER, DemoResult, as_markdown, comparison_rows, metric_rows


def write_report(results: list[DemoResult], folder: Path) -> list[Path]:
    """``report.md``, ``report.json`` and ``report.html`` in ``folder``; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"report.md": markdown(results), "report.json": as_json(results), "report.html": page(results, machine())}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def machine() -> str:
    """What the figures were measured on, in a line."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}{load}"


def markdown(results: list[DemoResult]) -> str:
    """Tables and queues of every run."""
    parts = ["# TTG demonstration\n", machine() + "\n"]
    if len(results) > 1:
        parts += ["## Comparison\n", as_markdown(COMPARISON_HEADER, comparison_rows(results)), ""]
    for result in results:
        parts += [
            f"## {result.backend}{f', fault: {result.fault}' if result.fault else ''}\n",
            as_markdown(METRIC_HEADER, metric_rows(result)),
            f"\nQueues after completion:\n\n```\n{result.queues}\n```\n",
        ]
    return "\n".join(parts)


def as_json(results: list[DemoResult]) -> str:
    """Everything measured, and the tables as people see them."""
    runs = [{**asdict(result), "passed": result.check.passed, "table": metric_rows(result)} for result in results]
    return json.dumps({"machine": machine(), "runs": runs}, indent=1)
