"""The first children of a local worker are copies of it, later ones new interpreters; user code sees no difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.runs import TtgRun, settled_on_disk

FACTS = '''
import logging, os, signal, sys, threading
from pathlib import Path

HERE = Path(__file__).parent


def facts(i):
    """What a child finds; the first one ends itself over 1."""
    died = HERE / "died"
    if i == 1 and not died.exists():
        died.touch()
        os._exit(3)
    main = sys.modules["__main__"]
    numbers = list(map(int, os.listdir("/proc/self/fd")))
    open_files = [os.readlink(f"/proc/self/fd/{n}") for n in numbers if os.path.exists(f"/proc/self/fd/{n}")]
    return [{
        "pid": os.getpid(),
        "descriptors": str(sorted(name.partition(":")[0] for name in open_files)),
        "leads": os.getsid(0) == os.getpgid(0) == os.getpid(),
        "stdin": sys.stdin.read(),
        "streams": str([(type(s).__name__, s.encoding, s.fileno()) for s in (sys.stdin, sys.stdout, sys.stderr)]),
        "main": str((getattr(main, "__file__", None), main.__spec__)),
        "argv": str(sys.argv),
        "environment": str(sorted(os.environ)),
        "path": str(sys.path),
        "flags": str(sys.flags),
        "handlers": str(logging.getLogger().handlers),
        "signals": str([(n, signal.getsignal(n)) for n in sorted(signal.valid_signals())]),
        "threads": threading.active_count(),
    }]
'''


def test_user_code_sees_no_difference(ttg: TtgRun, tmp_path: Path) -> None:
    (tmp_path / "facts.py").write_text(FACTS)
    options = ("--workers", "1", "--chunk-size", "1", "--out", str(ttg.folder))
    assert ttg.start("run", f"{tmp_path / 'facts.py'}:facts", "i=0,1,2,3", *options).wait() == 0, ttg.said()
    found: dict[int, dict[str, Any]] = {}
    for _, (result,) in settled_on_disk(ttg.folder):
        found.setdefault(result.pop("pid"), result)
    copy, new = found.values()
    assert copy == new
    assert "anon_inode" not in new["descriptors"]
