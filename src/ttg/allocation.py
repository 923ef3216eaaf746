"""How a process of ours holds on to memory: results are large, short-lived and alike.

By default glibc returns each block of more than 128 KiB to the kernel, which clears it anew for the next one; a payload
on its way pays for that several times. Only for processes that are ours alone: it is a setting of the whole process.
"""

from __future__ import annotations

import sys

KEPT_BYTES = 16 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_freed_memory(*, shared: bool = False) -> None:
    """Let up to :data:`KEPT_BYTES` of freed memory serve what is allocated next. Does nothing without glibc.

    ``shared``: by whatever thread. Otherwise each has a heap of its own, for which it never waits, and keeps as much.
    """
    if sys.platform != "linux":
        return
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        if shared:
            mallopt(_M_ARENA_MAX, 1)
