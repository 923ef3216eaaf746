"""Executables as functions: a command line whose placeholders are the parameters, and what it writes is the result."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from ttg.descendants import ending_of
from ttg.errors import FunctionError, ProcessDied
from ttg.function.spawning import Ended, run_program
from ttg.function.stdout import KEPT_BYTES, OUTPUTS, result_of
from ttg.function.templates import Placeholder, filled, pieces_of, shell_line
from ttg.spec import FunctionRef

VARIABLES = {"index": "TTG_INDEX", "attempt": "TTG_ATTEMPT", "seed": "TTG_SEED"}
"""What each call finds in its environment, and as a placeholder."""
WORKDIR = "workdir"
SHELL = "/bin/sh"
SCRIPTS = (".py", ".sh", ".bash", ".R", ".r", ".jl", ".pl", ".rb", ".lua", ".m", ".awk", ".js")
_SHOWN = 300


class ProgramFailed(ProcessDied):
    """A program ended with an exit code other than 0, or by a signal; ``output`` are the last lines that it wrote to
    standard error, or else to standard output."""


@dataclass(frozen=True)
class Program:
    """Made by :func:`program`. Called with its placeholders as arguments, it executes the program once, here."""

    command: tuple[str, ...]
    shell: bool = False
    output: str = "auto"
    cwd: str = ""

    def __post_init__(self) -> None:
        if self.output not in OUTPUTS:
            raise FunctionError(f"output: expected one of {', '.join(OUTPUTS)}, got {self.output!r}")
        if not self.command or not self.command[0].strip():
            raise FunctionError("expected a program and its arguments, got none: ttg run x=1,2 -- ./model --x {x}")
        if any("\0" in word for word in self.command):
            raise FunctionError("a command line cannot have a NUL character in it")
        if not self.shell and any(isinstance(piece, Placeholder) for piece in pieces_of(self.command[0])):
            raise FunctionError(f"{self.command[0]}: which program it is cannot depend on a parameter: use --shell")
        _ = self.placeholders

    @property
    def name(self) -> str:
        """The program, as it was typed; of a line of shell, the shell."""
        return SHELL if self.shell else filled(pieces_of(self.command[0]), {})

    def __str__(self) -> str:
        return self.command[0] if self.shell else shlex.join(self.command)

    @cached_property
    def _pieces(self) -> list[list[Any]]:
        if not self.shell:
            return [pieces_of(word) for word in self.command]
        line, words = shell_line(self.command[0])
        return [["sh"], ["-c"], [line], ["sh"], *([word] for word in words)]

    @cached_property
    def placeholders(self) -> tuple[str, ...]:
        """Their names, each once, in order."""
        found = [piece.name for pieces in self._pieces for piece in pieces if isinstance(piece, Placeholder)]
        return tuple(dict.fromkeys(found))

    @cached_property
    def __signature__(self) -> inspect.Signature:
        usual = inspect.Parameter.POSITIONAL_OR_KEYWORD
        needed = [name for name in self.placeholders if name not in VARIABLES]
        return inspect.Signature(
            [inspect.Parameter(name, usual) for name in needed]
            + [inspect.Parameter(name, usual, default=None) for name in VARIABLES]
        )

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.__signature__.parameters)

    @cached_property
    def _file(self) -> str:
        return str(found_program(self.name, Path(self.cwd or ".").resolve()))

    @cached_property
    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        values = dict(zip(self._names, arguments, strict=False)) | named
        if len(values) < len(self._names):
            bound = self.__signature__.bind(*arguments, **named)
            bound.apply_defaults()
            values = bound.arguments
        said = {variable: str(values[name]) for name, variable in VARIABLES.items() if values[name] is not None}
        if WORKDIR in values:
            said["TTG_WORKDIR"] = str(values[WORKDIR])
        words = [filled(pieces, values) for pieces in self._pieces]
        ended = run_program(self._file, words, {**self._environment, **said}, KEPT_BYTES[self.output])
        if ended.code:
            raise _failed(self.name, ended)
        return result_of(self.output, ended.output)

    def __getstate__(self) -> dict[str, Any]:
        """Without what was found on this machine."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def program(command: Sequence[str] | str, *, shell: bool = False, output: str = "auto") -> Program:
    """An executable, as a function: ``ttg.run(ttg.program(["./model", "--alpha", "{alpha}"]), {"alpha": alphas})``.

    ``{name}`` in an argument stands for a parameter (``{name:.3f}`` with a format; braces are ``{{`` and ``}}``),
    besides for ``index``, ``attempt`` and ``seed``, which it also finds in its environment as ``TTG_INDEX``,
    ``TTG_ATTEMPT`` and ``TTG_SEED``. ``{workdir}``, and then ``TTG_WORKDIR``, is a folder of its own for each call; the
    files that it leaves there come beside the table. No shell is involved, unless ``shell``: then ``command`` is one
    line for ``/bin/sh``, in which each value is one word whatever stands in it.

    ``output`` says what its standard output is: ``auto``, its last line is the result: a JSON object gives columns, a
    number or text is ``result``; ``text``, all of it; ``json``, all of it or its last line; ``none``, nothing. Another
    exit code than 0, or a signal, is an exception, :class:`ProgramFailed`, and what it wrote to standard error is its
    last words. Raises ``FunctionError`` for a command that cannot work.
    """
    if isinstance(command, str):
        if not shell:
            words = shlex.split(command)
            raise FunctionError(
                f"expected a list of arguments, {words!r}, or a line of shell and shell=True, got a text"
            )
        return Program((command,), True, output)
    if not all(isinstance(word, str | os.PathLike) for word in command):
        raise FunctionError(f"expected arguments that are texts, got {list(command)!r}")
    words = [os.fspath(word) for word in command]
    return Program((" ".join(words),) if shell else tuple(words), shell, output)


def files_of_program(program: Program, cwd: Path) -> dict[str, Path]:
    """What of the command line is a file below ``cwd``, by its place there: the program itself, unless it is installed,
    and scripts that an interpreter is given. A line of shell names none. Raises ``FunctionError`` for one that is not
    there, or that another machine would look for at its place on this one."""
    if program.shell:
        return {}
    words = [word for word in program.command[1:] if _is_script(word, cwd)]
    if "/" in program.name and (not os.path.isabs(program.name) or (cwd / program.name).is_relative_to(cwd)):
        found_program(program.name, cwd)
        words.append(program.name)
    found = {}
    for word in words:
        place = Path(os.path.normpath(cwd / word)).relative_to(cwd).as_posix()
        if os.path.isabs(word):
            raise FunctionError(f"{word}: expected a path from here, ./{place}: elsewhere it lies in another folder")
        found[place] = cwd / word
    return found


def _failed(name: str, ended: Ended) -> ProgramFailed:
    words = ended.errors.text().strip() or ended.output.text().strip()[-_SHOWN:]
    last = words.splitlines()[-1].strip()[:_SHOWN] if words else ""
    kind, how = ("signal", "was ended by") if ended.code < 0 else ("exit", "ended with")
    text = f"{name} {how} {ending_of(ended.code)}{': ' if last else ''}{last}"
    return ProgramFailed(text, kind, ended.code, words)


# ------------------------------------------------------------------------------------------------- as a reference


def program_reference(program: Program, names: Sequence[str] | None, cwd: Path) -> FunctionRef:
    """What a run has of it, checked against the ``names`` of the space, and whether it is there. Raises
    ``FunctionError``."""
    if names is not None:
        check_placeholders(program, names)
    file = found_program(program.name, cwd)
    location = _location(program.name, file, cwd)
    told = {"command": program.command, "shell": program.shell, "output": program.output}
    own = _is_below(file, cwd)
    code = hashlib.sha256(json.dumps(told).encode() + (_checksum(file).encode() if own else b"")).hexdigest()
    helpers = {} if own else {program.name: (_checksum(file), "")}
    helpers |= {word: (_checksum(cwd / word), "") for word in program.command[1:] if _is_script(word, cwd)}
    return FunctionRef("program", location, Path(location).name, code, json.dumps(told), helpers=helpers)


def program_of(ref: FunctionRef) -> Program:
    """The program of a reference."""
    told = json.loads(ref.blob)
    return Program(tuple(told["command"]), told["shell"], told["output"])


def loaded_program(ref: FunctionRef, cwd: Path) -> Program:
    """The same for a child that executes it in ``cwd``, where it has to be what it was: a program of the user's own,
    below the current folder, and the scripts there that an interpreter is given. Others are what is installed here."""
    found = program_of(ref)
    here = program_reference(found, None, cwd)
    scripts = ref.helpers.keys() - {found.name}
    if here.code != ref.code or any(here.helpers.get(word) != ref.helpers[word] for word in scripts):
        raise FunctionError(
            f"{ref}: it differs here from the program that the run was started with: bring this worker's copy up to "
            "date, or resume the run with --force"
        )
    return Program(found.command, found.shell, found.output, str(cwd))


def check_placeholders(program: Program, names: Sequence[str]) -> None:
    """Raise ``FunctionError`` unless the program and the space name the same."""
    known = (*names, *VARIABLES, WORKDIR)
    strange = [name for name in program.placeholders if name not in known]
    if strange:
        close = difflib.get_close_matches(strange[0], known, 1)
        meant = f": did you mean {{{close[0]}}}?" if close else ""
        misplaced = [word for word in program.command[1:] if word.startswith(f"{strange[0]}=")]
        if misplaced and not meant:
            meant = f": {misplaced[0]!r} stands behind --, where the program begins: axes go before it"
        raise FunctionError(
            f"{program.name}: nothing gives {{{strange[0]}}}: the space gives {', '.join(names) or 'nothing'}; besides "
            f"there are {', '.join(f'{{{name}}}' for name in (*VARIABLES, WORKDIR))}; "
            f"a brace is written {{{{ or }}}}{meant}"
        )
    unused = [name for name in names if name not in program.placeholders]
    if unused:
        raise FunctionError(
            f"{program.name}: no argument has {{{unused[0]}}}, which the space gives: add it, or hand it over as a "
            f"variable: env {unused[0].upper()}={{{unused[0]}}} {program.name} …"
        )


def is_program_allowed(ref: FunctionRef, patterns: Sequence[str], cwd: Path) -> bool:
    """Whether a worker started in ``cwd`` may execute it: only what one of ``patterns`` names, with ``*``; one with a
    slash is a path, one without is looked up by PATH, and a whole command line is that command alone.

    What is executed is compared; what else the reference says of itself is the word of whoever made it."""
    program = program_of(ref)
    place = _location(program.name, Path(os.path.normpath(cwd / program.name)), cwd)
    return any(pattern == str(program) or _matches(place, pattern, cwd) for pattern in patterns)


def command_of(ref: FunctionRef) -> tuple[str, str]:
    """What a worker is told that may execute this very command, and no other of the same program."""
    return ("--allow-program", str(program_of(ref))) if ref.kind == "program" else ref.allowing


def _matches(location: str, pattern: str, cwd: Path) -> bool:
    if pattern == "*" or location == pattern:
        return True
    if ("/" in pattern) != ("/" in location):
        return False
    if "/" not in pattern:
        return fnmatchcase(location, pattern)
    path, named = Path(os.path.normpath(cwd / location)), os.path.normpath(cwd / pattern)
    # A program that is named may be a link; a pattern is not led elsewhere by one, nor by "..".
    return path.as_posix() == named or fnmatchcase(path.resolve().as_posix(), named)


def found_program(name: str, cwd: Path) -> Path:
    """The file of a program: named by a path from ``cwd``, or found by PATH. Raises ``FunctionError``."""
    if "/" not in name:
        import shutil

        if found := shutil.which(name):
            return Path(found)
        here = f": did you mean ./{name}?" if (cwd / name).is_file() else _advice_on_axis(name)
        raise FunctionError(f"{name}: there is no such program in the folders of PATH{here}")
    path = Path(os.path.normpath(cwd / name))
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing"
        raise FunctionError(f"{name}: expected a program at {path}, found {what}{_advice_on_axis(name)}")
    if not os.access(path, os.X_OK):
        raise FunctionError(f"{name}: {path} may not be executed: chmod +x it, or name its interpreter before it")
    return path


def _advice_on_axis(name: str) -> str:
    before, equals, _ = name.partition("=")
    return ": an axis goes before --, the program comes after it" if equals and before.isidentifier() else ""


def _location(name: str, file: Path, cwd: Path) -> str:
    """What workers look for: from their own folder for what lies below this one, with a slash all the same."""
    if "/" not in name:
        return name
    return f"./{file.relative_to(cwd).as_posix()}" if file.is_relative_to(cwd) else file.as_posix()


def _is_below(file: Path, cwd: Path) -> bool:
    return file.is_relative_to(cwd)


def _is_script(word: str, cwd: Path) -> bool:
    """Whether an argument is a file with code of the user's own, which an interpreter is given: it decides the results
    as well."""
    try:
        path = cwd / word
        if not _is_below(Path(os.path.normpath(path)), cwd):
            return False
        return path.is_file() and (word.endswith(SCRIPTS) or os.access(path, os.X_OK))
    except (OSError, ValueError):
        return False


def _checksum(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:  # one may be allowed to execute what one may not read
        return ""
