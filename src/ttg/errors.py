"""Every error TTG raises on purpose, in one tree.

::

    TTGError                     exit code  meaning
    ├── InputError               2          something the user wrote cannot work; nothing was started
    │   ├── SpaceError           2          the parameter space
    │   ├── FunctionError          2          the function: unknown, wrong signature, not allowed
    │   └── SettingsError        2          an option, a variable, a file of settings
    ├── RunConflictError         2          resume refused: other function, other space, other coordinator
    ├── BrokerError              3          the broker, as seen from here
    │   ├── BrokerUnavailable    3          not reachable (now); waiting and retrying may help
    │   ├── BrokerRefused        3          reachable, but says no: permission, other arguments
    │   │   └── AccessRefused    3          … to this user: login or permissions; final, at any time
    │   └── BrokerFull           3          out of memory or disk (now); waiting and retrying may help
    ├── StorageError             3          the local disk: not writable, full
    │   └── StoreError           3          the run's store: away, full, not the one that was meant; waiting may help
    ├── MessageError             3          a message that cannot be decoded
    ├── RunStopped               4          the run ended before every parameter was settled
    └── ProcessDied              1          the process that executed a call of an executor ended with it
        ├── CallTimeout          1          … because it took too long
        └── CallOutOfMemory      1          … because it took too much memory

A message says what was expected, what came, and what to do. Driver exceptions (redis, pika, pyarrow) are translated
where they appear, with ``raise … from error``.
"""

from __future__ import annotations


class TTGError(Exception):
    """Base of all errors that TTG raises on purpose; ``exit_code`` is what the command line ends with."""

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the caller's own lines. How TTG found out says nothing to them."""
        import traceback
        from pathlib import Path

        ours = str(Path(__file__).parent)
        frames = [frame for frame in traceback.extract_tb(self.__traceback__) if not frame.filename.startswith(ours)]
        lines = traceback.format_list(frames[-1:]) + traceback.format_exception_only(self)
        return "".join(lines).rstrip().split("\n")


class InputError(TTGError):
    """Something the user wrote cannot work; nothing was started and nothing is lost."""

    exit_code = 2


class SpaceError(InputError):
    """The parameter space cannot be built: bad range, unequal lengths, empty, unreadable file."""


class FunctionError(InputError):
    """The function cannot be used: not found, takes other parameters, not allowed on this worker."""


class SettingsError(InputError):
    """An option, an environment variable or a settings file has a value that cannot be used."""


class RunConflictError(TTGError):
    """The run on disk does not fit what was asked: other function, other space, or another coordinator holds it."""

    exit_code = 2


class BrokerError(TTGError):
    """The broker failed or refused; subclasses say whether waiting helps."""

    exit_code = 3


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached at the moment. Callers retry with backoff."""


class BrokerRefused(BrokerError):
    """The broker answered and refused: permissions, or queues with other arguments. Final for whoever was never let in;
    who was waits, because brokers in trouble refuse what they took a moment ago."""


class AccessRefused(BrokerRefused):
    """The broker refused the user: name, password or permissions. Waiting is no use."""


class BrokerFull(BrokerError):
    """The broker takes no more data (maxmemory, memory or disk alarm). Keep the outcome, pause, and retry."""


class StorageError(TTGError):
    """The local disk: a folder is not writable, or the disk is full."""

    exit_code = 3


class StoreError(StorageError):
    """The store of a run cannot be used at the moment, or from here."""


class MessageError(TTGError):
    """A message on a queue or a log cannot be decoded; it is quarantined and work goes on."""

    exit_code = 3


class RunStopped(TTGError):
    """The run ended before every parameter was settled (interrupted, cancelled, too many failures). It is resumable."""

    exit_code = 4


class ProcessDied(TTGError):
    """The process that executed a call ended, or was ended, before the call returned.

    ``kind`` is ``exit``, ``signal``, ``memory``, ``timeout`` or ``worker_lost``; ``exit_code`` is negative for a
    signal; ``output`` are the last words of the call. Its neighbours are not affected, and the executor goes on.
    """

    kind: str
    exit_code: int | None  # type: ignore[assignment]
    output: str

    def __init__(self, message: str, kind: str = "", exit_code: int | None = None, output: str = "") -> None:
        super().__init__(message)
        self.kind, self.exit_code, self.output = kind, exit_code, output

    def __reduce__(self) -> tuple[type[ProcessDied], tuple[str, str, int | None, str]]:
        return type(self), (str(self), self.kind, self.exit_code, self.output)


class CallTimeout(ProcessDied, TimeoutError):
    """A call took longer than the executor's ``timeout``, and was ended."""


class CallOutOfMemory(ProcessDied, MemoryError):
    """A call took more than the executor's ``memory``, and was ended."""
