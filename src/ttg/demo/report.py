"""The demonstration's report: the same tables as Markdown, as JSON and as a page."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from ttg import __version__
from ttg.demo.page import page
from ttg.demo.tables import (
    COMPARISON_HEADER,
    METRIC_HEADER,
    PROTOTYPE_EXPLAINED,
    DemoResult,
    as_markdown,
    comparison_rows,
    metric_rows,
    needs_explanation,
)


def write_report(results: list[DemoResult], folder: Path, command: str) -> list[Path]:
    """``report.md``, ``report.json`` and ``report.html`` in ``folder``, made by ``command``; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    made = f"ttg {__version__}, {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}: {command}"
    texts = {
        "report.md": markdown(results, made),
        "report.json": as_json(results, made),
        "report.html": page(results, machine(), made),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def machine() -> str:
    """What the figures were measured on, in a line."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}{load}"


def markdown(results: list[DemoResult], made: str) -> str:
    """Tables and queues of every run."""
    parts = ["# TTG demonstration\n", f"{machine()}\n", f"{made}\n"]
    if len(results) > 1:
        parts += ["## Comparison\n", as_markdown(COMPARISON_HEADER, comparison_rows(results)), ""]
    for result in results:
        parts += [
            f"## {result.backend}{f', fault: {result.fault}' if result.fault else ''}\n",
            as_markdown(METRIC_HEADER, metric_rows(result)),
            f"\nQueues after completion:\n\n```\n{result.queues}\n```\n",
        ]
    if any(map(needs_explanation, results)):
        parts.append(PROTOTYPE_EXPLAINED + "\n")
    return "\n".join(parts)


def as_json(results: list[DemoResult], made: str) -> str:
    """Everything measured, and the tables as people see them."""
    runs = [{**asdict(result), "passed": result.check.passed, "table": metric_rows(result)} for result in results]
    return json.dumps({"machine": machine(), "made": made, "runs": runs}, indent=1)
