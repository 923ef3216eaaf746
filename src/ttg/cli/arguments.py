"""What several sub-commands share: arguments made from the declared options, and what was given of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from ttg.errors import InputError
from ttg.options import EntryPoint, Kind, Option, Options, choose, count, options_at, unknown

if TYPE_CHECKING:
    from ttg.brokers.base import BrokerConfig
    from ttg.monitor.snapshot import Snapshot
    from ttg.results.folder import RunFolder
    from ttg.settings import Settings

Subparsers: TypeAlias = "argparse._SubParsersAction[Any]"
Call: TypeAlias = Callable[[argparse.Namespace], int]

RUN_HELP = "id, beginning of an id, folder, or 'last' of this folder"
OTHER_NAMES = {
    **dict.fromkeys(("list", "ls", "ps", "history"), "runs"),
    **dict.fromkeys(("show", "table", "export", "get", "query", "head"), "results"),
    **dict.fromkeys(("stop", "kill", "abort", "end"), "cancel"),
    **dict.fromkeys(("rm", "remove", "delete", "purge", "prune"), "cleanup"),
    **dict.fromkeys(("watch", "top", "queues"), "monitor"),
    **dict.fromkeys(("errors", "failures", "dead", "dlq"), "failed"),
    **dict.fromkeys(("debug", "pdb"), "call"),
    **dict.fromkeys(("log", "tail", "output"), "logs"),
    **dict.fromkeys(("start", "exec", "submit", "sweep"), "run"),
    **dict.fromkeys(("continue", "restart"), "resume"),
    **dict.fromkeys(("suspend", "hold", "freeze"), "pause"),
    "estimate": "plan",
    "check": "doctor",
    "web": "dashboard",
    "join": "worker",
    "k8s": "kube",
}
"""What people type who know other programs."""
PROGRAM = "\0"
"""In place of a function, which nobody can type: what is executed is the program behind ``--``."""
_GIVEN = "option:"  # an option and a positional argument may have one name


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command, like every other error of ours. Options are written out: what is
    short for one of them today is another one tomorrow."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ").replace("invalid float value: ", "expected a number, got ")
        self.exit(2, f"{self.prog}: {message} (`{self.prog} --help` shows what there is)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        names = [str(choice) for choice in action.choices or ()]
        if not names or value in names:
            return
        if isinstance(action, argparse._SubParsersAction):
            self.exit(2, f"ttg: {no_command(self.prog, value, names)}\n")
        raise argparse.ArgumentError(action, f"expected one of {', '.join(names)}, got {value!r}")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """argparse takes a list of positionals only in one piece; axes may also stand between and after options."""
        words = list(sys.argv[1:] if args is None else args)
        takes_axes = any(action.dest == "axes" for action in self._actions)
        program: list[str] = []
        if takes_axes and "--" in words:
            end = words.index("--")
            words, program = [PROGRAM, *words[:end]], words[end + 1 :]
        found, rest = super().parse_known_args(self._joined(words), namespace)
        strange = [word for word in rest if word.startswith("-")]
        if strange:
            names = [name for name in self._option_string_actions if name.startswith("--")]
            said = unknown(self.prog, strange[0].partition("=")[0], names)
            axis = " (an axis is written NAME=VALUES)" if takes_axes and "; it has" in said else ""
            self.exit(2, f"ttg: {said}{axis}\n")
        if takes_axes:
            found.axes += rest
            found.program = program
        elif rest:
            meant = f": did you mean --run {rest[0]}?" if "--run" in self._option_string_actions else ""
            self.error(f"unexpected argument {rest[0]!r}{meant}")
        return found, []

    def _joined(self, words: Iterable[str]) -> list[str]:
        """``--sort -value`` as ``--sort=-value``: what follows an option that takes a value is none itself, unless it
        is one of ours or begins like one."""
        joined: list[str] = []
        for word in words:
            before = self._option_string_actions.get(joined[-1]) if joined else None
            short = word[:1] == "-" and word[1:2] not in ("", "-") and word not in self._option_string_actions
            if short and before is not None and before.nargs is None and joined[-1].startswith("--"):
                joined[-1] += f"={word}"
            else:
                joined.append(word)
        return joined


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps indented lines as they are, and fits paragraphs into the terminal."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        import textwrap

        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            paragraph if "\n  " in f"\n{paragraph}" else textwrap.fill(paragraph, width, break_on_hyphens=False)
            for paragraph in paragraphs
        )


def no_command(prog: str, word: str, names: list[str]) -> str:
    """What to say of a word that is none of the commands ``names``."""
    if ".py" in word or ":" in word:
        return f"no command {word!r}: did you mean `{prog} run {word}`?"
    close = [OTHER_NAMES[word]] if OTHER_NAMES.get(word) in names else get_close_matches(word, names, 2)
    close = close or [name for name in names if name.startswith(word)]
    if close:
        return f"no command {word!r}: did you mean {' or '.join(close)}? (`{prog} --help` lists them)"
    return f"no command {word!r}: {prog} has {', '.join(names)}"


def add_command(
    subparsers: Subparsers, name: str, call: Call | None, text: str, description: str = "", epilog: str = ""
) -> Parser:
    """A sub-command; ``description`` and ``epilog`` keep their lines."""
    parser: Parser = subparsers.add_parser(
        name,
        help=text,
        description=description or f"{text[0].upper()}{text[1:]}.",
        epilog=epilog,
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(call=call)
    return parser


def add_options(parser: Parser, *entries: EntryPoint) -> None:
    """The options that apply at one of ``entries``, under their headings."""
    groups: dict[str, Any] = {}
    for option in options_at(*entries):
        group = groups.get(option.group) or parser.add_argument_group(option.group)
        groups[option.group] = group
        _add(group, option, entries[0])


def _add(group: Any, option: Option, entry: EntryPoint) -> None:
    flags = [option.flag(entry), *([option.short] if option.short else [])]
    text = option.explained(entry).replace("%", "%%") or argparse.SUPPRESS
    about: dict[str, Any] = {"dest": f"{_GIVEN}{option.name}", "help": text}
    if option.kind.metavar:
        several = "append" if isinstance(option.default, tuple) else "store"
        group.add_argument(*flags, action=several, metavar=option.kind.metavar, **about)
    else:
        group.add_argument(*flags, action="store_const", const=not option.default, **about)


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, as they were typed."""
    return {
        name.removeprefix(_GIVEN): value
        for name, value in vars(args).items()
        if name.startswith(_GIVEN) and value is not None
    }


def chosen(args: argparse.Namespace, entry: EntryPoint) -> Options:
    """The options that were given, checked."""
    return choose(entry, given(args))


def add_sweep(parser: Parser) -> None:
    """The function and the axes of its space."""
    text = "file.py:function or package.module:function; or, last of all, -- PROGRAM ARGUMENTS with {name} in them"
    parser.add_argument("function", metavar="FUNCTION", help=text)
    parser.add_argument("axes", nargs="*", metavar="NAME=EXPRESSION", help="axes of the space; see `ttg run --help`")


def add_run(parser: Parser, *, required: bool = False) -> None:
    """Which run is meant."""
    if required:
        parser.add_argument("run", metavar="RUN", help=RUN_HELP)
    else:
        parser.add_argument("run", nargs="?", default="last", metavar="RUN", help=f"{RUN_HELP} (default: last)")


def run_and_index(words: Sequence[str]) -> tuple[str, str]:
    """RUN and INDEX, in this order or, where only the first is a number, the other way round; INDEX alone is one of the
    last run."""
    run, index = words if len(words) > 1 else ("last", words[0])
    return (index, run) if run.isdecimal() and not index.isdecimal() else (run, index)


def add_watched(parser: Parser) -> None:
    """Which run or broker is looked at."""
    text = "a run with an embedded broker: id, folder, or 'last' of this folder (default: the broker, else 'last')"
    parser.add_argument("run", nargs="?", metavar="RUN", help=text)
    add_options(parser, EntryPoint.LOOK)


def whole(least: int) -> Callable[[str], Any]:
    """How argparse reads a whole number from ``least`` on."""
    return typed(count(least))


def typed(kind: Kind) -> Callable[[str], Any]:
    """How argparse reads a value of that kind."""

    def read(text: str) -> Any:
        try:
            return kind.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def add_flag(parser: Any, name: str, text: str) -> None:
    """A switch of one command alone."""
    parser.add_argument(name, action="store_true", help=text)


def find(text: str) -> RunFolder:
    """The run that a person means."""
    from ttg.results.folder import find_run
    from ttg.settings import read_settings

    return find_run(text, read_settings().home)


def index_of(text: str, folder: RunFolder) -> int:
    """The parameter of a run that a person means by its index."""
    if not text.isdecimal() or int(text) >= folder.spec.size:
        run, last = folder.spec.run, folder.spec.size - 1
        raise InputError(f"expected the index of a parameter of run {run}, 0 to {last:,}, got {text!r}")
    return int(text)


def read_settings(options: Options | None = None) -> Settings:
    """The environment's settings, with what the command line overrides; from now on they are logged with."""
    from dataclasses import replace

    from ttg.logs import configure_logging
    from ttg.settings import read_settings as from_environment

    settings = from_environment()
    configure_logging(settings.log_level, settings.log_format)
    names = ("namespace", "credentials_command")
    return replace(settings, **{name: value for name in names if (value := getattr(options, name, None))})


def broker_of_run(run: str, settings: Settings) -> tuple[RunFolder, str]:
    """A run of this machine and the embedded broker that serves it now; ``SettingsError`` when none does."""
    from ttg.brokers.embedded import url_of
    from ttg.errors import SettingsError
    from ttg.messages import RunStatus
    from ttg.results.folder import find_run

    folder = find_run(run, settings.home)
    if url := url_of(folder.path):
        return folder, url
    run, words = folder.spec.run, folder.status.words
    known = f"`ttg status {run}` tells about it" if folder.status is not RunStatus.ACTIVE else "it uses another one"
    raise SettingsError(f"run {run} has no embedded broker now: it is {words}, {known}; or give --broker URL")


@dataclass(frozen=True)
class Watched:
    """What is to be looked at: a broker, a run (by its id, and where its folder is), or both."""

    broker: BrokerConfig | None
    run: str = ""
    folder: RunFolder | None = None

    @property
    def is_private(self) -> bool:
        """Whether the broker is the run's own."""
        return self.folder is not None and self.broker is not None and self.broker.url.startswith("unix://")

    def is_over(self, seen: Snapshot) -> bool:
        """Whether the run that is watched has ended, as is heard or its folder says."""
        from ttg.messages import RunStatus

        if not self.run:
            return False
        known = self.folder is not None and self.folder.read_again().status is not RunStatus.ACTIVE
        return known or seen.has_ended(self.run)


def watched(run: str | None, options: Options, settings: Settings) -> Watched:
    """``--broker``, the run that is named, the environment's broker, or the last run of this folder. A run that is
    over, or whose broker nobody names, has no broker: its folder tells. ``InputError`` when there is none of all."""
    from ttg.brokers.embedded import url_of
    from ttg.errors import InputError
    from ttg.messages import RunStatus
    from ttg.results.folder import find_run

    named = options.broker or (None if run else settings.broker_url)
    try:
        folder = None if named and not run else find_run(run or "last", settings.home)
    except InputError:
        if named is None:
            raise
        return Watched(settings.broker_config(named), run or "")  # a run of another machine
    if folder is None:
        return Watched(settings.broker_config(named or ""))
    going_on = folder.status is RunStatus.ACTIVE
    url = named or url_of(folder.path) or (settings.broker_url if going_on else None)
    return Watched(settings.broker_config(url) if url else None, folder.spec.run, folder)


def confirmed(question: str, instead: str) -> bool:
    """Whether somebody says yes. ``SettingsError`` where nobody can: ``instead`` says what to use then."""
    if not sys.stdin.isatty():
        from ttg.errors import SettingsError

        raise SettingsError(f"cannot ask without a terminal: use {instead}")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def put(text: str) -> None:
    """To programs. That nobody reads it does not change how a command ended."""
    with suppress(BrokenPipeError):
        print(text, flush=True)


def say(line: str) -> None:
    """To people: standard output is for results."""
    print(line, file=sys.stderr, flush=True)
