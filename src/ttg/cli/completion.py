"""``ttg completion``: completion for bash, zsh and fish.

The scripts only hand the line to ``ttg completion SHELL --line …``; what fits is told by the parser itself, so nothing
has to be installed again when options change. A library was not needed for that: shtab makes static scripts (no ids of
runs), argcomplete has scripts of its own for bash and zsh only.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers

if TYPE_CHECKING:
    import ast

SHELLS = {
    "bash": """\
_ttg() {
    local IFS=$'\\n'
    COMPREPLY=($(ttg completion bash --line "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
    if [[ ${COMPREPLY-} == *= ]]; then compopt -o nospace; fi
}
complete -o default -F _ttg ttg
""",
    "zsh": """\
#compdef ttg
_ttg() {
    local -a found
    found=(${(f)"$(ttg completion zsh --line "${(j: :)words[1,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then _describe -V ttg found; else _files; fi
}
compdef _ttg ttg
""",
    "fish": """\
function __ttg_complete
    set -l found (ttg completion fish --line (commandline -cp | string collect) 2>/dev/null)
    if set -q found[1]
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c ttg -f -k -a '(__ttg_complete)'
""",
}
EPILOG = """\
to have it in every new shell:
  bash  echo 'eval "$(ttg completion bash)"' >> ~/.bashrc
  zsh   echo 'eval "$(ttg completion zsh)"' >> ~/.zshrc       (after compinit)
  fish  echo 'ttg completion fish | source' >> ~/.config/fish/config.fish

Completed are commands, options, their values, the runs of this folder, functions in files here and their parameters.
"""

Candidate = tuple[str, str]


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(
        subparsers, "completion", completion, "print the completion script of a shell", epilog=EPILOG
    )
    parser.add_argument("shell", choices=tuple(SHELLS), metavar="{bash,zsh,fish}", help="which shell it is for")
    parser.add_argument("--line", help=argparse.SUPPRESS)


def completion(args: argparse.Namespace) -> int:
    """``ttg completion``"""
    from ttg.cli import build_parser

    if args.line is None:
        print(SHELLS[args.shell], end="")
        return 0
    words = words_of(args.line)
    for candidate in candidates(build_parser(), words):
        print(_told(args.shell, words[-1], *candidate))
    return 0


def _told(shell: str, typed: str, word: str, text: str) -> str:
    """A candidate as the script of a shell wants it."""
    if shell == "bash":  # which begins a word after = and :
        return word[max(typed.rfind("="), typed.rfind(":")) + 1 :]
    separator, word = (":", word.replace(":", "\\:")) if shell == "zsh" else ("\t", word)
    return f"{word}{separator}{text}" if text else word


def words_of(line: str) -> list[str]:
    """The words after ``ttg`` of a line that is being typed; the last one is what stands before the cursor."""
    import shlex

    for close in ("", "'", '"'):
        try:
            words = shlex.split(f"{line}\0{close}")
        except ValueError:  # a quote is still open
            continue
        start = next((number for number, word in enumerate(words) if Path(word).name == "ttg"), 0)
        return [*words[start + 1 : -1], words[-1].rstrip("\0")]
    return [""]


def candidates(parser: argparse.ArgumentParser, words: list[str]) -> list[Candidate]:
    """What the last of ``words`` may become, each with a few words of help; none where file names fit."""
    *before, word = words[1:] if words[:1] == ["help"] and len(words) > 1 else words
    parser, before = _parser_for(parser, before)
    option, equals, _ = word.partition("=")
    if equals and option.startswith("-"):
        found = [(f"{option}={value}", text) for value, text in _values(parser._option_string_actions.get(option), [])]
    elif before and (action := _awaiting(parser, before[-1])):
        found = _values(action, [])
    elif word.startswith("-"):
        found = [(flag, _first_words(text)) for flag, text in _flags(parser)]
    else:
        plain = list(_plain(parser, before))
        found = _values(_positional(parser, len(plain)), plain)
    return [candidate for candidate in found if candidate[0].startswith(word)]


def _parser_for(parser: argparse.ArgumentParser, words: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser of the command that was typed, and the words after its name."""
    for number, word in enumerate(words):
        if (commands := _commands(parser)) and word in commands.choices:
            return _parser_for(commands.choices[word], words[number + 1 :])
    return parser, words


def _commands(parser: argparse.ArgumentParser) -> argparse._SubParsersAction[argparse.ArgumentParser] | None:
    return next((action for action in parser._actions if isinstance(action, argparse._SubParsersAction)), None)


def _awaiting(parser: argparse.ArgumentParser, word: str) -> argparse.Action | None:
    """The option whose value comes next."""
    action = parser._option_string_actions.get(word)
    return action if action and action.nargs != 0 else None


def _plain(parser: argparse.ArgumentParser, words: list[str]) -> Iterator[str]:
    """Those of ``words`` that are neither options nor their values."""
    for before, word in zip(["", *words], words, strict=False):
        if not word.startswith("-") and not _awaiting(parser, before):
            yield word


def _flags(parser: argparse.ArgumentParser) -> Iterator[Candidate]:
    for action in parser._actions:
        if action.help != argparse.SUPPRESS:
            yield from ((flag, action.help or "") for flag in action.option_strings if flag.startswith("--"))


def _positional(parser: argparse.ArgumentParser, number: int) -> argparse.Action | None:
    """What the argument of that number is; the last may be a list."""
    positionals = [action for action in parser._actions if not action.option_strings]
    if number < len(positionals):
        return positionals[number]
    return positionals[-1] if positionals and positionals[-1].nargs in ("*", "+") else None


def _values(action: argparse.Action | None, plain: list[str]) -> list[Candidate]:
    """What an argument may be, after the ``plain`` words."""
    if action is None:
        return []
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    if isinstance(action, argparse._SubParsersAction):
        return [(choice.dest, _first_words(choice.help or "")) for choice in action._choices_actions]
    if action.choices:
        return [(str(choice), "") for choice in action.choices]
    if metavar.startswith("{"):
        return [(choice, "") for choice in metavar.strip("{}").split(",")]
    if "RUN" in metavar:
        return _runs()
    if metavar == "FUNCTION":
        return list(_functions(Path.cwd()))
    return _axes(plain[0]) if metavar == "NAME=EXPRESSION" and plain else []


def _first_words(text: str) -> str:
    return text.partition(";")[0].partition(" (")[0].replace("%%", "%")


def _runs() -> list[Candidate]:
    from ttg.results.folder import list_runs_of
    from ttg.settings import read_settings

    runs = list_runs_of(Path.cwd(), read_settings().home)
    return [("last", "the last run of this folder")] * bool(runs) + [
        (run.spec.run, f"{run.status.words}, {run.info.size:,} parameters") for run in reversed(runs)
    ]


def _functions(folder: Path) -> Iterator[Candidate]:
    import ast

    for path in sorted(folder.glob("*.py")):
        for node in _definitions(path):
            if not node.name.startswith("_"):
                yield f"{path.name}:{node.name}", _first_words((ast.get_docstring(node) or "").partition("\n")[0])


def _axes(function: str) -> list[Candidate]:
    """``name=`` for each parameter of a function in a file."""
    location, _, name = function.rpartition(":")
    for node in _definitions(Path(location)):
        if node.name == name:
            return [(f"{parameter.arg}=", "") for parameter in (*node.args.args, *node.args.kwonlyargs)]
    return []


def _definitions(path: Path) -> Iterable[ast.FunctionDef]:
    """The functions of a file, if it can be read; nothing of it is executed."""
    import ast

    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    return [node for node in tree.body if isinstance(node, ast.FunctionDef)]
