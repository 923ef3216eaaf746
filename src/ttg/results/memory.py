"""How much memory is left for a table: a careless line shall get an answer, not the kernel's out-of-memory killer."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def available_bytes() -> int | None:
    """What this process can still take, by the machine and by its container's limit; ``None`` where nobody says."""
    known = [found for found in (_of_machine(), _of_container()) if found is not None]
    return min(known, default=None)


def _of_machine() -> int | None:
    for line in _text(MEMINFO).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return None


def _of_container() -> int | None:
    limit = _text(CGROUP_LIMIT).strip()
    return int(limit) if limit.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
