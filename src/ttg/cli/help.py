"""``ttg help`` and ``ttg version``."""

from __future__ import annotations

import argparse

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers


def add(subparsers: Subparsers) -> None:
    """Register the sub-commands."""
    parser = arguments.add_command(subparsers, "help", show_help, "explain a command")
    parser.add_argument("words", nargs="*", metavar="COMMAND", help="for example: run, or kube up (default: all)")
    arguments.add_command(subparsers, "version", show_version, "print the version")


def show_help(args: argparse.Namespace) -> int:
    """``ttg help``"""
    from ttg.cli import build_parser

    build_parser().parse_args([*args.words, "--help"])  # which ends there
    return 0


def show_version(args: argparse.Namespace) -> int:
    """``ttg version``"""
    from ttg import __version__

    print(f"ttg {__version__}")
    return 0
