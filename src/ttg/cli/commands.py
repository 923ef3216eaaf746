"""The list of sub-commands, in the order of ``ttg --help``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttg.cli import failures, kube, looking, results, running, showing, tidying, watching, working

if TYPE_CHECKING:
    from ttg.cli.arguments import Subparsers


def add_all(subparsers: Subparsers) -> None:
    """Register every sub-command."""
    for module in (running, working, watching, looking, results, failures, showing, tidying, kube):
        module.add(subparsers)
