"""``ttg run``, and what it shares with ``ttg plan``, ``ttg resume`` and ``ttg retry``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.errors import FunctionError, SettingsError
from ttg.options import EntryPoint, Options, choose
from ttg.units import TABLES

if TYPE_CHECKING:
    from ttg.function import Program
    from ttg.function.signature import Signature
    from ttg.run.report import Finished
    from ttg.run.request import RunRequest
    from ttg.space import Space
    from ttg.spec import FunctionRef

DESCRIPTION = """\
Run FUNCTION over every combination of the given axes. An axis is NAME=EXPRESSION:

  spot='linspace(80,120,1000)'   n='range(0,50)'   tol='logspace(-6,-2,5)'
  model=heston,sabr              fast=true,false   vol=0.1,0.2,0.3   rate=0.01
  path='glob(data/*.csv)'        shape='(2,3),(4,5)'

With --sample, axes may be distributions: uniform(a,b), normal(m,s), loguniform(a,b), choice(x,y,…).
Instead of FUNCTION, a program may follow after --, with the parameters as {NAME} in its arguments:

  ttg run alpha='linspace(0,1,100)' -- ./model --alpha {alpha} --fast
  ttg run x='range(9)' --shell -- 'grep -c {x} data.txt | sort'

The last line that it writes is the result: a JSON object gives columns (--output says otherwise).

A function that has a parameter named seed or rng gets the one derived from --seed and the parameter's index; a seed is
below 2**31, and `ttg call RUN INDEX` shows it. In the same way it gets its index, which attempt this is,
and workdir, a folder whose files are kept.

--params takes a file of parameters, one per row, or standard input: `ls *.csv | ttg run f.py:load --params -`.
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(subparsers, "run", run, "run a function over a parameter space", DESCRIPTION)
    arguments.add_sweep(parser)
    arguments.add_options(parser, EntryPoint.RUN, EntryPoint.ON_CLUSTER)


def run(args: argparse.Namespace) -> int:
    """``ttg run``"""
    given = arguments.given(args)
    if given.get("on") in (None, "here"):
        chosen = choose(EntryPoint.RUN, {name: value for name, value in given.items() if name != "on"})
        return carry_out(new_run(args, chosen), chosen)
    from ttg.cli.kube import run_on_cluster

    return run_on_cluster(args, choose(EntryPoint.ON_CLUSTER, given))


def new_run(args: argparse.Namespace, chosen: Options) -> RunRequest:
    """The function, its space and the options of a command line, checked."""
    from ttg.function import function_from_text
    from ttg.run.request import new_request

    program = program_of(args, chosen)
    settings = arguments.read_settings()
    space = space_of(args, chosen)
    function = function_of(args, chosen, space.names, program)
    setup = function_from_text(chosen.setup, (), offered=()) if chosen.setup else None
    return new_request(function, space, settings, chosen, setup=setup)


def space_of(args: argparse.Namespace, chosen: Options) -> Space:
    """The space of a command line."""
    from ttg.space.expressions import parse_space

    _expect_axes(args.axes)
    return parse_space(
        args.axes,
        zip=chosen.zip,
        params_file=chosen.params,
        columns=chosen.columns or _name_of_lines(args, chosen),
        sample=chosen.sample,
        method=chosen.method,
        seed=chosen.seed,
    )


def function_of(
    args: argparse.Namespace, chosen: Options, names: Sequence[str], program: Program | None = None
) -> FunctionRef:
    """The function of a command line, or the ``program``, checked against the ``names`` of its space."""
    from ttg.function import SETUP, function_from_callable, function_from_text
    from ttg.function.signature import INJECTED

    offered = (*INJECTED, SETUP) if chosen.setup else INJECTED
    try:
        if program is not None:
            return function_from_callable(program, names)
        return function_from_text(args.function, names, offered=offered)
    except FunctionError as error:
        raise FunctionError(f"{error}{_advice_on_columns(args, chosen, names)}") from error


def program_of(args: argparse.Namespace, chosen: Options) -> Program | None:
    """What follows ``--``, if anything does."""
    from ttg.function import program

    if args.function == arguments.PROGRAM:
        if word := next((word for word in args.axes if "=" not in word), ""):
            raise SettingsError(f"expected NAME=EXPRESSION before --, got {word!r}: a function, or a program after --")
        for option, given in (("--vectorized", chosen.vectorized), ("--setup", chosen.setup)):
            if given:
                raise SettingsError(f"{option} is for functions: a program has none of it")
        if not args.axes and chosen.params is None and (word := next(filter(_is_axis, args.program), "")):
            raise SettingsError(f"no parameters given: {word!r} stands behind --: axes go before it")
        return program(args.program, shell=chosen.shell, output=chosen.output)
    if chosen.shell or chosen.output != "auto":
        raise SettingsError("--shell and --output are for a program: ttg run x=1,2 -- ./model --x {x}")
    if "=" in args.function:
        raise SettingsError(f"expected a function, or -- and a program, got the axis {args.function!r} alone")
    return None


def _signature_of(args: argparse.Namespace, chosen: Options) -> Signature | None:
    from ttg.function import signature_of
    from ttg.function.naming import signature_from_text

    program = program_of(args, chosen)
    return signature_from_text(args.function) if program is None else signature_of(program)


def _is_axis(word: str) -> bool:
    name, equals, _ = word.partition("=")
    return bool(equals) and name.isidentifier()


def _typed_names(args: argparse.Namespace) -> list[str]:
    return [axis.partition("=")[0].strip() for axis in args.axes]


def _name_of_lines(args: argparse.Namespace, chosen: Options) -> list[str] | None:
    """Lines without a name are values of the one parameter that the function needs and nothing else gives."""
    from ttg.function.signature import INJECTED
    from ttg.space.files import has_lines

    if chosen.params is None or not has_lines(chosen.params):
        return None
    signature = _signature_of(args, chosen)
    given = {*_typed_names(args), *INJECTED}
    needed = [name for name in signature.named if name in signature.required - given] if signature else []
    return needed if len(needed) == 1 else None


def _advice_on_columns(args: argparse.Namespace, chosen: Options, names: Sequence[str]) -> str:
    """When a file has more columns than the function takes, or a program stands where a function does."""
    import shutil

    if args.function != arguments.PROGRAM and shutil.which(args.function):
        return f": a program goes after --: ttg run x=1,2 -- {args.function} {{x}}"
    signature = _signature_of(args, chosen) if chosen.params is not None and not chosen.columns else None
    if signature is None or set(names) <= set(signature.named):
        return ""
    of_file = [name for name in names if name in signature.named and name not in _typed_names(args)]
    return f": --columns {','.join(of_file)} takes only those of {chosen.params}" if of_file else ""


def _expect_axes(words: Sequence[str]) -> None:
    """People who know other programs write a file's name, or ``x 1``."""
    for word, following in pairwise([*words, ""]):
        if "=" in word:
            continue
        if Path(word).suffix.lower() in TABLES:
            raise SettingsError(f"expected NAME=EXPRESSION, got {word!r}: did you mean --params {word}?")
        value = following if following and "=" not in following else "1,2,3"
        raise SettingsError(f"expected NAME=EXPRESSION, got {word!r}: did you mean {word}={value}?")


def carry_out(request: RunRequest, chosen: Options) -> int:
    """Run to the end and say how it ended; the exit code."""
    from ttg.run.launch import start
    from ttg.run.reporter import reporter_for

    reporter = reporter_for(sys.stderr, quiet=chosen.quiet or chosen.json)
    finished = start(
        request,
        reporter,
        dashboard=chosen.dashboard,
        metrics_port=chosen.metrics_port,
        metrics_host=chosen.metrics_host,
        on_finished=lambda finished: conclude(finished, chosen),
    )
    return finished.exit_code


def conclude(finished: Finished, chosen: Options) -> None:
    """Say how a run ended."""
    if chosen.json:
        arguments.put(finished.as_json())
    elif not chosen.quiet:
        arguments.say(finished.as_text())
    elif warning := finished.as_warning():
        arguments.say(f"ttg: {warning}")
