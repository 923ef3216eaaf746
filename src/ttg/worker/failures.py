"""From an exception that user code raised to the :class:`~ttg.messages.Failure` that people read."""

from __future__ import annotations

import os
import sysconfig
import traceback
from types import TracebackType

from ttg.descendants import ending_of
from ttg.errors import ProcessDied
from ttg.messages import Failure

MESSAGE_CHARACTERS = 1_000
NO_TERMINAL = "breakpoint() has no terminal on a worker: `ttg call RUN INDEX` stops there"
TRACEBACK_HEAD_CHARACTERS = 500
TRACEBACK_TAIL_CHARACTERS = 2_500

OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LIBRARIES = tuple({path + os.sep for path in map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))})


def failure_of(error: BaseException, index: int, seconds: float = 0.0, target: str = "") -> Failure:
    """What to tell about ``error``, raised for the parameter at ``index`` by the function called ``target``."""
    trace, code = outside_of_ttg(error.__traceback__), _exit_code_of(error)
    return Failure(
        index=index,
        kind=_kind_of(error),
        error=type(error).__name__,
        message=NO_TERMINAL if _is_breakpoint(error) else _message_of(error),
        place=_place_of(trace) or ("" if code is None else ending_of(code)),
        traceback=_traceback_of(error, trace),
        seconds=seconds,
        exit_code=code,
        final=_is_breakpoint(error) or (isinstance(error, TypeError | ValueError) and _misfits(error, trace, target)),
    )


def _is_breakpoint(error: BaseException) -> bool:
    """Whether a debugger ended, since there was nobody to ask. By name: few calls need its module."""
    return (type(error).__module__, type(error).__name__) == ("bdb", "BdbQuit")


def _misfits(error: TypeError | ValueError, trace: TracebackType | None, target: str) -> bool:
    """Whether the function does not take what it was given, be it through a decorator that hid what it takes, or has
    returned what are no columns.

    Without a frame of the user's code, nothing of it runs now: also where a program has written what cannot be its
    result. Other errors may be the worker's own.
    """
    if trace is None:
        return True
    name = target.rpartition(".")[2]
    called, brackets, _ = _message_of(error).partition("() ")
    by_decorator = trace.tb_next is None and trace.tb_frame.f_code.co_name != name
    return by_decorator and bool(brackets) and called.rpartition(".")[2] == name


def readable(text: str) -> str:
    """``text`` without lone surrogates, which no message can carry."""
    return text.encode("utf-8", "replace").decode()


def _kind_of(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "exit"
    if isinstance(error, ProcessDied):
        return error.kind or "exception"
    return "memory" if isinstance(error, MemoryError) else "exception"


def _exit_code_of(error: BaseException) -> int | None:
    """What ``sys.exit`` would have ended the process with: nothing is 0, a text is 1."""
    if isinstance(error, ProcessDied):
        return error.exit_code
    if not isinstance(error, SystemExit):
        return None
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1


def _message_of(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException as worse:
        text = f"<its text cannot be shown: {type(worse).__name__}>"
    return readable(text[:MESSAGE_CHARACTERS])


def outside_of_ttg(trace: TracebackType | None) -> TracebackType | None:
    """Skip our own frames, which are the outermost."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(OURS):
        trace = trace.tb_next
    return trace


def is_library(file: str) -> bool:
    """Whether the code of ``file`` is of Python itself or installed, and not the user's own."""
    return file.startswith((*_LIBRARIES, "<frozen"))


def _place_of(trace: TracebackType | None) -> str:
    """``file:line (function)`` of the innermost frame that is in no library, or else of the innermost frame."""
    place, in_a_library = "", True
    while trace is not None:
        code = trace.tb_frame.f_code
        library = is_library(code.co_filename)
        if in_a_library or not library:
            place, in_a_library = f"{code.co_filename}:{trace.tb_lineno} ({code.co_name})", library
        trace = trace.tb_next
    return readable(place)


def _traceback_of(error: BaseException, trace: TracebackType | None) -> str:
    try:
        text = "".join(traceback.format_exception(type(error), error, trace))
    except Exception as worse:
        text = f"{type(error).__name__} (its traceback cannot be shown: {type(worse).__name__})"
    return readable(shorten(text))


def shorten(text: str) -> str:
    """Beginning and end of a long text: who called, and what went wrong."""
    if len(text) <= TRACEBACK_HEAD_CHARACTERS + TRACEBACK_TAIL_CHARACTERS:
        return text
    return f"{text[:TRACEBACK_HEAD_CHARACTERS]}\n  …\n{text[-TRACEBACK_TAIL_CHARACTERS:]}"
