"""Values as people write them and as programs give them: numbers, times, sizes, shares, names. Pure.

Each function takes text or a value (its own results too) and gives the value; its ``ValueError`` says what it expected
and what came.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

SIZES = {
    f"{unit}{end}": 1 << 10 * power for power, unit in enumerate(("", "k", "m", "g", "t")) for end in ("", "b", "ib")
}
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".pq", ".arrow", ".feather", ".xlsx", ".txt")
"""Endings of files with tables, of which a folder is none."""
TIMES = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds(value: Any) -> float:
    """``500ms``, ``2.5s``, ``3min``, ``1h``, a number of seconds or a ``timedelta``.

    >>> seconds("500ms"), seconds("2min"), seconds(30)
    (0.5, 120.0, 30.0)
    """
    whole = value.total_seconds() if hasattr(value, "total_seconds") else value
    return _measure(whole, TIMES, "a time such as 500ms, 30s or 2min")


def size_bytes(value: Any) -> int:
    """``512M``, ``2G``, ``2GiB`` or a number of bytes.

    >>> size_bytes("2k"), size_bytes(100)
    (2048, 100)
    """
    return int(_measure(value.lower() if isinstance(value, str) else value, SIZES, "a size such as 512M or 2G"))


def size_text(size: int) -> str:
    """The shortest text that :func:`size_bytes` reads as ``size``.

    >>> size_text(2 << 30), size_text(832 << 20), size_text(1000)
    ('2G', '832M', '1000')
    """
    units = [unit for unit in ("T", "G", "M", "K") if size and size % SIZES[unit.lower()] == 0]
    return f"{size // SIZES[units[0].lower()]}{units[0]}" if units else str(size)


def time_text(duration: float) -> str:
    """The text that :func:`seconds` reads as ``duration``, to the nanosecond.

    >>> time_text(30.0), time_text(0.0005)
    ('30s', '0.0005s')
    """
    return f"{duration:.9f}".rstrip("0").rstrip(".") + "s"


class Share(NamedTuple):
    """A part of all parameters."""

    percent: float

    def of(self, size: int) -> int:
        """So many of ``size``."""
        return int(self.percent * size / 100)

    def __str__(self) -> str:
        return f"{self.percent!r}%"


def bound(value: Any) -> int | Share:
    """A number, or a share of 0 % to 100 %.

    >>> bound("100"), bound("5%").of(1000)
    (100, 50)
    """
    if isinstance(value, Share):
        return value
    percent = _number(value[:-1]) if isinstance(value, str) and value.endswith("%") else None
    if percent is not None and percent <= 100:
        return Share(percent)
    try:
        return whole_number(value, least=0)
    except ValueError:
        raise ValueError(
            f"expected a number such as 100, or a share such as 5% (at most 100%), got {value!r}"
        ) from None


def whole_number(value: Any, least: int | None = None, most: int | None = None) -> int:
    """An integer from ``least`` to ``most``.

    >>> whole_number("12")
    12
    """
    try:
        number = int(value) if isinstance(value, str) else operator.index(value)
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, bool):
        raise ValueError(f"expected a whole number, got {value!r}")
    if least is not None and number < least:
        raise ValueError(f"expected at least {least}, got {number}")
    if most is not None and number > most:
        raise ValueError(f"expected at most {most:,}, got {number}")
    return number


def limited(read: Callable[[Any], Any], least: str, most: str, value: Any) -> Any:
    """What ``read`` makes of ``value``, if that is from ``least`` to ``most``; an empty text is no limit.

    >>> limited(seconds, "1ms", "", "2s")
    2.0
    """
    number = read(value)
    if least and number < read(least):
        raise ValueError(f"expected at least {least}, got {value!r}")
    if most and number > read(most):
        raise ValueError(f"expected at most {most}, got {value!r}")
    return number


def truth(value: Any) -> bool:
    """``True`` or ``False``."""
    if not isinstance(value, bool):
        raise ValueError(f"expected True or False, got {value!r}")
    return value


def text(value: Any) -> str:
    """Any text but the empty one."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected text, got {value!r}")
    return value


def function(value: Any) -> Any:
    """A function, or the text that names one."""
    return value if callable(value) else text(value)


def path(value: Any) -> Path:
    """Where a file or folder is."""
    return Path(value)


def paths(value: Any) -> tuple[Path, ...]:
    """Where several files or folders are."""
    return tuple(path(text(item)) for item in value)


def kubernetes_size(value: Any) -> str:
    """A size as Kubernetes writes it: ``20Gi``."""
    if not re.fullmatch(r"\d+(\.\d+)?([KMGTPE]i|[kMGTPE])?", text(value)):
        raise ValueError(f"expected a size as Kubernetes writes it, such as 20Gi, got {value!r}")
    return str(value)


def kubernetes_cpus(value: Any) -> str:
    """CPUs, or thousandths of one: ``2``, ``0.5``, ``250m``."""
    if not re.fullmatch(r"\d+(\.\d{1,3})?|\d+m", text(value)):
        raise ValueError(f"expected CPUs or thousandths of one, such as 2 or 250m, got {value!r}")
    return str(value)


def folder(value: Any) -> Path:
    """Where a folder is, or will be."""
    place = Path(value)
    if place.suffix.lower() in TABLES and not place.is_dir():
        raise ValueError(f"expected a folder, got {str(value)!r}: `ttg results --out {value}` writes a file")
    return place


def run_id(value: Any) -> str:
    """A name that can be part of file names, message ids and commands."""
    if not isinstance(value, str) or not re.fullmatch(r"\w[\w.-]{0,99}", value):
        raise ValueError(f"expected up to 100 letters, digits, '-', '_' and '.', got {value!r}")
    if value == "last":
        raise ValueError("expected a name of its own, got 'last', which means the run before")
    return value


def one_of(choices: tuple[str, ...], value: Any) -> str:
    """One of some words."""
    if value not in choices:
        raise ValueError(f"expected one of {', '.join(choices)}, got {value!r}")
    return str(value)


def indices(value: Any) -> tuple[int, ...]:
    """Numbers of parameters."""
    return tuple(whole_number(index, least=0) for index in value)


def texts(value: Any) -> tuple[str, ...]:
    """Several texts."""
    return tuple(map(text, value))


def names(value: Any) -> tuple[str, ...]:
    """Names with commas between them, or several of them."""
    found = tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else texts(value)
    if not all(found):
        raise ValueError(f"expected names with commas between them, such as a,b, got {value!r}")
    return found


def labels(value: Any) -> tuple[str, ...]:
    """What a worker has, such as ``gpu`` or ``mem=large``: with commas between them, or several.

    >>> labels("gpu,mem=large"), labels(["gpu", "a,b"])
    (('gpu', 'mem=large'), ('gpu', 'a', 'b'))
    """
    given = [value] if isinstance(value, str) else value
    found = tuple(dict.fromkeys(label for part in given for label in names(part)))
    for label in found:
        if not re.fullmatch(r"[\w./-]+(=[\w./-]+)?", label):
            raise ValueError(f"expected labels such as gpu or mem=large, got {label!r}")
    return found


def _measure(value: Any, units: dict[str, Any], expected: str) -> float:
    match = re.fullmatch(r"\s*([0-9.]+)\s*([a-z]*)\s*", value) if isinstance(value, str) else None
    number = _number(match[1] if match else value)
    unit = match[2] if match else ""
    if number is None or unit not in units:
        raise ValueError(f"expected {expected}, got {value!r}")
    return float(number * units[unit])


def _number(value: Any) -> float | None:
    """A finite number from 0 on, else nothing."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if not isinstance(value, bool) and 0 <= number < float("inf") else None


STORES = ("s3", "gs", "abfs", "abfss")


def place(value: Any) -> str:
    """A folder, as an absolute path, or the URL of an object store, without credentials."""
    from urllib.parse import urlsplit

    given = str(value) if isinstance(value, Path) else text(value)
    if "://" not in given:
        return str(Path(given).expanduser().absolute())
    parts = urlsplit(given)
    if parts.scheme not in STORES or not parts.netloc:
        raise ValueError(f"expected a folder, or {'://, '.join(STORES)}:// with a bucket, got {given!r}")
    if "@" in parts.netloc and parts.scheme in ("s3", "gs"):
        raise ValueError("expected a URL without credentials: those belong into the environment of each machine")
    return given
