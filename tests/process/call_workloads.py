"""What the tests of executors have called."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

started: list[str] = []


def square(x: int) -> int:
    return x * x


def echo(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def slow_square(x: int, seconds: float, folder: str) -> int:
    """Leaves a file with the process that executed it."""
    with open(Path(folder) / f"{x}", "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    return x * x


def fail(text: str) -> None:
    raise KeyError(text)


class Odd(Exception):
    """Cannot be made again from what it says of itself."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{number} {text}")
        self.number = number


class OddExit(SystemExit):
    """Its code is no attribute that Python sees."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(first + second)


def fail_oddly() -> None:
    error = Odd(1, "odd")
    error.add_note("noted")
    raise error


def fail_with_more_than_its_attributes() -> None:
    raise OddExit(1, 2)


def fork_and_return_twice() -> str:
    copy = os.fork()
    if copy:
        os.waitpid(copy, 0)
    return "original" if copy else "copy"


def fail_until(path: str, times: int) -> int:
    """Raises so many times."""
    with open(path, "a") as file:
        file.write("x")
    if os.path.getsize(path) <= times:
        raise OSError("not yet")
    return os.path.getsize(path)


def die(how: str) -> None:
    print("last words", flush=True)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(7)


def hold(folder: str, name: str) -> None:
    """Until somebody kills the process."""
    (Path(folder) / name).write_text(str(os.getpid()))
    signal.pause()


def take_memory(size: int) -> int:
    return len(b"x" * size)


def unpicklable() -> Any:
    return (number for number in range(3))


def set_up(text: str) -> None:
    started.append(f"{text} {os.getpid()}")


def what_was_set_up() -> list[str]:
    return started


def broken_set_up() -> None:
    raise RuntimeError("no licence")


def total(array: Any) -> float:
    return float(array.sum())


def zeros(count: int) -> Any:
    import numpy as np

    return np.zeros(count)


def nested(x: int) -> int:
    import ttg

    with ttg.Executor(1) as inner:
        return inner.submit(square, x).result() + 1


def meet(folder: str, name: str, other: str) -> str:
    """Returns when the other one runs, too."""
    (Path(folder) / name).touch()
    deadline = time.monotonic() + 30
    while not (Path(folder) / other).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return name


def leave_a_daemon(path: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    Path(path).write_text(str(child.pid))
