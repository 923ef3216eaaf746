"""A space's JSON form in the words in which people write it: ``spot`` is ``linspace(80, 120, 41)``. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

LISTED = 6
LONGEST = 60


def described(form: Mapping[str, Any]) -> dict[str, str]:
    """What is said of each parameter, by name, in the order of the space."""
    told: dict[str, list[str]] = {}
    for name, text in _parameters(form):
        told.setdefault(name, []).append(text)
    return {name: ", then ".join(dict.fromkeys(texts)) for name, texts in told.items()}


def _parameters(form: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    match form["space"]:
        case "product" | "concat" as kind:
            for part in form["factors" if kind == "product" else "parts"]:
                yield from _parameters(part)
        case "zip":
            in_step = " in step" if len(form["axes"]) > 1 else ""
            for name, axis in form["axes"].items():
                yield name, _axis(axis) + in_step
        case "sample":
            for name, distribution in form["distributions"].items():
                yield name, f"{_distribution(distribution)}, {form['count']:,} points {form['method']}"
        case _:
            for name in form["names"]:
                yield name, f"of {form['count']:,} rows"


def _axis(axis: Mapping[str, Any]) -> str:
    match axis["axis"]:
        case "range":
            step = f", {axis['step']}" if axis.get("step", 1) != 1 else ""
            return f"range({axis['start']}, {axis['stop']}{step})"
        case "linspace" | "logspace" as kind:
            return f"{kind}({axis['start']:g}, {axis['stop']:g}, {axis['count']})"
        case _:
            return _values(axis["values"])


def _values(values: Any) -> str:
    if len(values) <= LISTED:
        return ", ".join(map(_value, values))
    return f"{_value(values[0])} … {_value(values[-1])}, {len(values):,} values"


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _distribution(distribution: Mapping[str, Any]) -> str:
    if distribution["distribution"] == "choice":
        return f"choice({_axis(distribution['axis'])})"
    numbers = [f"{value:g}" for name, value in distribution.items() if name != "distribution"]
    return f"{distribution['distribution']}({', '.join(numbers)})"
