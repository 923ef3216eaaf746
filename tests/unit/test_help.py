"""The help texts: they fit a terminal of 80 columns."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from ttg.cli import build_parser


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Of the command, its sub-commands, and theirs."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


def test_every_help_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    helps = {parser.prog: parser.format_help() for parser in parsers(build_parser())}
    assert {"ttg", "ttg run", "ttg kube up"} <= helps.keys()
    wide = [f"{prog}: {line}" for prog, text in helps.items() for line in text.splitlines() if len(line) > 80]
    assert not wide
