"""What people read about options: signature and docstring of the Python functions, and ``docs/options.md``.

``python -m ttg.run.reference > docs/options.md`` writes the page; a test compares it with the declaration.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from ttg.options import Door, Option, every_option, options_at

COLUMNS = {
    "run": {Door.RUN},
    "plan": {Door.PLAN},
    "resume": {Door.RESUME},
    "retry": {Door.RETRY},
    "kubernetes": {Door.ON_CLUSTER, Door.KUBE_RUN},
    "kube up": {Door.KUBE_UP},
    "worker": {Door.WORKER},
    "others": {Door.LOOK, Door.CLEANUP, Door.KUBE},
    "ttg.run": {Door.API_RUN},
    "ttg.resume": {Door.API_RESUME},
}
PAGE = """\
# Options

Written by `python -m ttg.run.reference` from `src/ttg/options.py`, where each option is declared once; a test holds
them equal. An option that is given where it does not apply is refused with exit code 2.

- *kubernetes*: `ttg run --on kubernetes` and `ttg kube run`; ✓ is used on this machine, → goes to the coordinator in
  the cluster. `ttg kube` says `--namespace` and `--context` for `--kube-namespace` and `--kube-context`.
- *others*: `ttg monitor`, `dashboard`, `cancel`, `doctor` and `cleanup`; of the options for a cluster, `ttg kube
  status`, `logs`, `down` and `ttg cleanup`.
- `ttg plan` takes what `ttg run` takes, and says what has no influence on a forecast.
- In Python an option is a keyword with `_` for `-`: `ttg.run(price, space, chunk_size=100, timeout="30s")`. A time may
  be text or a number of seconds, a size text or a number of bytes.
- Times: `500ms`, `30s`, `2min`, `1h`. Sizes: `512M`, `2G`. `--option=value` and `--option value` are the same.
"""


def show_options(function: Callable[..., Any], door: Door) -> None:
    """Let ``help(function)`` show its options, as declared."""
    signature = inspect.signature(function)
    taken = [option for option in options_at(door) if option.help]
    keywords = [inspect.Parameter(o.name, inspect.Parameter.KEYWORD_ONLY, default=o.default) for o in taken]
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    function.__signature__ = signature.replace(parameters=[*own, *keywords])  # type: ignore[attr-defined]
    lines = "\n".join(textwrap.fill(_line(option), 100, subsequent_indent="    ") for option in taken)
    function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\nOptions:\n\n{lines}\n"


def _line(option: Option) -> str:
    also = f", also ``{option.old}``" if option.old else ""
    return f"``{option.name}`` ({option.kind.metavar or 'bool'}{also}): {option.explained(Door.API_RUN)}"


def page() -> str:
    """The text of ``docs/options.md``."""
    return "\n".join([PAGE, *_tables()])


def _tables() -> list[str]:
    groups = dict.fromkeys(option.group for option in every_option())
    return [line for group in groups for line in [f"## {group.capitalize()}", "", *_table(group), ""]]


def _table(group: str) -> list[str]:
    shown = [option for option in every_option() if option.group == group and option.help]
    columns = {name: doors for name, doors in COLUMNS.items() if any(option.at & doors for option in shown)}
    head = ["option", "what it is", *columns]
    rows = [[*_named(option), *(_mark(option, doors) for doors in columns.values())] for option in shown]
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows)]


def _named(option: Option) -> tuple[str, str]:
    door = Door.RUN if any(not door.is_python for door in option.at) else Door.API_RUN
    value = f" {option.kind.metavar}" if option.kind.metavar else ""
    return f"`{option.called(door)}{value}`", option.explained(door)


def _mark(option: Option, doors: set[Door]) -> str:
    if not option.at & doors:
        return ""
    return "→" if option.sent and Door.KUBE_RUN in doors else "✓"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    print(page(), end="")
