"""Logging of all commands: text for people, JSON for machines (``LOG_FORMAT=json``), one line per state change."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from ttg.errors import SettingsError
from ttg.streams import CLEAR_LINE, show

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
LOG_BYTES = 16 << 20

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object per record: ``at``, ``level``, ``logger``, ``text``, the fields of ``extra``, ``traceback``."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        entry.update((name, value) for name, value in vars(record).items() if name not in _STANDARD_FIELDS)
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


class _Handler(logging.StreamHandler[TextIO]):
    """A log that nobody can read is no reason to stop, or to wait."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            show(self.stream, self.format(record) + "\n")
        except Exception:
            self.handleError(record)


class _BoundedHandler(_Handler):
    """For a process whose standard output and error are the file ``path``: when that is large it becomes ``PATH.1``,
    in place of the one before, and another takes its place."""

    def __init__(self, path: Path) -> None:
        super().__init__(sys.stderr)
        self._path = path
        self._bytes = os.fstat(2).st_size

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # Nobody has to be waited for; and a function may print a line per call, so that each microsecond counts.
            self._bytes += os.write(2, f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))
            if self._bytes >= LOG_BYTES:
                self._turn()
        except OSError:  # a full disk
            pass
        except Exception:
            self.handleError(record)

    def _turn(self) -> None:
        before = self._path.with_name(f"{self._path.name}.1")
        self._path.replace(before)
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for descriptor in (1, 2):
            os.dup2(file, descriptor)
        os.close(file)
        self._bytes = 0
        show(self.stream, f"(what was logged before is in {before.name}; what was logged before that is gone)\n")


def bound_log(path: Path) -> None:
    """Keep the log of this process, once it is configured, to two files of :data:`LOG_BYTES`."""
    handler = _BoundedHandler(path)
    handler.setFormatter(logging.getLogger().handlers[0].formatter)
    logging.getLogger().handlers[:] = [handler]


def configure_logging(level: str = "info", log_format: str = "text", stream: TextIO | None = None) -> None:
    """Send TTG's log to ``stream`` (standard error), replacing an earlier call's choice.

    Raises ``SettingsError`` for an unknown level or format. Libraries are heard from ``warning`` on.
    """
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_formatter(_one_of(log_format, FORMATS, "LOG_FORMAT"), handler.stream))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("ttg").setLevel(_one_of(level, LEVELS, "LOG_LEVEL").upper())


def _formatter(log_format: str, stream: TextIO) -> logging.Formatter:
    if log_format == "json":
        return JsonFormatter()
    start = CLEAR_LINE if stream.isatty() else ""  # a progress bar may stand there
    return logging.Formatter(f"{start}%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")


def _one_of(value: str, allowed: tuple[str, ...], name: str) -> str:
    if value.lower() not in allowed:
        raise SettingsError(f"expected {name} to be one of {', '.join(allowed)}, got {value!r}")
    return value.lower()
