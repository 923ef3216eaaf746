"""What people read about options: signature and docstring of the Python functions, and ``docs/options.md``.

``python -m ttg.run.reference > docs/options.md`` writes the page; a test compares it with the declaration.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from ttg.options import EntryPoint, Option, every_option, options_at

COLUMNS = {
    "run": {EntryPoint.RUN},
    "plan": {EntryPoint.PLAN},
    "resume": {EntryPoint.RESUME},
    "retry": {EntryPoint.RETRY},
    "kubernetes": {EntryPoint.ON_CLUSTER, EntryPoint.KUBE_RUN},
    "kube up": {EntryPoint.KUBE_UP},
    "worker": {EntryPoint.WORKER},
    "others": {
        EntryPoint.LOOK,
        EntryPoint.DOCTOR,
        EntryPoint.CLEANUP,
        EntryPoint.KUBE,
        EntryPoint.KUBE_FETCH,
        EntryPoint.KUBE_DASHBOARD,
    },
    "ttg.run": {EntryPoint.API_RUN},
    "ttg.resume": {EntryPoint.API_RESUME},
}
PAGE = """\
# Options

Written by `python -m ttg.run.reference` from `src/ttg/options.py`, where each option is declared once; a test holds
them equal. An option that is given where it does not apply is refused with exit code 2.

- *kubernetes*: `ttg run --on kubernetes` and `ttg kube run`; ✓ is used on this machine, → goes to the coordinator in
  the cluster. `ttg kube` says `--namespace` and `--context` for `--kube-namespace` and `--kube-context`.
- *others*: `ttg monitor`, `dashboard`, `cancel`, `doctor` and `cleanup`; of the options for a cluster, `ttg kube
  fetch`, `dashboard`, `status`, `logs`, `scale`, `down` and `ttg cleanup`.
- `ttg plan` takes what `ttg run` takes, and says what has no influence on a forecast.
- In Python an option is a keyword with `_` for `-`: `ttg.run(price, space, chunk_size=100, timeout="30s")`. A time may
  be text or a number of seconds, a size text or a number of bytes.
- Times: `500ms`, `30s`, `2min`, `1h`. Sizes: `512M`, `2G`. `--option=value` and `--option value` are the same.
"""


def show_options(function: Callable[..., Any], entry: EntryPoint) -> None:
    """Let ``help(function)`` show its options, as declared."""
    signature = inspect.signature(function)
    taken = [option for option in options_at(entry) if option.help]
    keywords = [inspect.Parameter(o.name, inspect.Parameter.KEYWORD_ONLY, default=o.default) for o in taken]
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    function.__signature__ = signature.replace(parameters=[*own, *keywords])  # type: ignore[attr-defined]
    lines = "\n".join(textwrap.fill(_line(option), 100, subsequent_indent="    ") for option in taken)
    function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\nOptions:\n\n{lines}\n"


def _line(option: Option) -> str:
    also = f", also ``{option.old}``" if option.old else ""
    return f"``{option.name}`` ({option.kind.metavar or 'bool'}{also}): {option.explained(EntryPoint.API_RUN)}"


def page() -> str:
    """The text of ``docs/options.md``."""
    return "\n".join([PAGE, *_tables()])


def _tables() -> list[str]:
    groups = dict.fromkeys(option.group for option in every_option())
    return [line for group in groups for line in [f"## {group.capitalize()}", "", *_table(group), ""]]


def _table(group: str) -> list[str]:
    shown = [option for option in every_option() if option.group == group and option.help]
    columns = {name: entries for name, entries in COLUMNS.items() if any(option.at & entries for option in shown)}
    head = ["option", "what it is", *columns]
    rows = [[*_named(option), *(_mark(option, entries) for entries in columns.values())] for option in shown]
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows)]


def _named(option: Option) -> tuple[str, str]:
    entry = EntryPoint.RUN if any(not entry.is_python for entry in option.at) else EntryPoint.API_RUN
    value = f" {option.kind.metavar}" if option.kind.metavar else ""
    return f"`{option.called(entry)}{value}`", option.explained(entry)


def _mark(option: Option, entries: set[EntryPoint]) -> str:
    if not option.at & entries:
        return ""
    return "→" if option.sent and EntryPoint.KUBE_RUN in entries else "✓"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    print(page(), end="")
