"""The first children of a local worker are copies of it, later ones new interpreters; user code sees no difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.runs import TtgRun, settled_on_disk

FACTS = '''
import gc, logging, os, random, signal, subprocess, sys, threading
from pathlib import Path

HERE = Path(__file__).parent
MODULES = sorted(name for name in sys.modules if name[0] != "_" and not name.startswith("encodings"))
STREAMS = sys.stdin, sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__


def secret_variables():
    """Where code of users, or a program that it starts, looks."""
    shown = Path("/proc/self/environ").read_text().replace("\\0", "\\n")
    started = subprocess.run(["env"], capture_output=True, text=True).stdout
    lines = [*shown.splitlines(), *started.splitlines(), *os.environ]
    return [line for line in lines if line.startswith(("TTG_BROKER", "TTG_SECRET", "TTG_CRED")) or "s3cret" in line]


def facts(i):
    """What a child finds; the first one ends itself over 1."""
    died = HERE / "died"
    if i == 1 and not died.exists():
        died.touch()
        os._exit(3)
    main = sys.modules["__main__"]
    numbers = list(map(int, os.listdir("/proc/self/fd")))
    shown = Path("/proc/self/environ").read_bytes().decode().split("\\0")
    command = Path("/proc/self/cmdline").read_text().rstrip("\\0").split("\\0")
    open_files = [os.readlink(f"/proc/self/fd/{n}") for n in numbers if os.path.exists(f"/proc/self/fd/{n}")]
    return [{
        "pid": os.getpid(),
        "descriptors": str(sorted(name.partition(":")[0] for name in open_files)),
        "leads": os.getsid(0) == os.getpgid(0) == os.getpid(),
        "stdin": sys.stdin.read(),
        "streams": str([(type(s).__name__, s.name, s.encoding, s.errors, s.fileno()) for s in STREAMS]),
        "main": str((getattr(main, "__file__", None), main.__spec__)),
        "argv": str(sys.argv),
        "command": str([word for word in sys.orig_argv if not word.isdecimal()]),
        "shown": str([word for word in command if not word.isdecimal()]),
        "environment": str(sorted(os.environ)),
        "environment shown": str(sorted(text.partition("=")[0] for text in shown if text)),
        "secrets": str(secret_variables()),
        "marked": f"TTG_CHILD={os.environ['TTG_CHILD']}" in shown,
        "modules": str(MODULES),
        "random": random.random(),
        "is copy": gc.get_freeze_count() > 0,
        "collected": str([gc.isenabled(), gc.get_threshold()]),
        "path": str(sys.path),
        "flags": str(sys.flags),
        "handlers": str(logging.getLogger().handlers),
        "signals": str([(n, signal.getsignal(n)) for n in sorted(signal.valid_signals())]),
        "threads": threading.active_count(),
    }]
'''


def test_user_code_sees_no_difference(ttg: TtgRun, tmp_path: Path) -> None:
    (tmp_path / "facts.py").write_text(FACTS)
    ttg.environment = {"TTG_SECRET": "s3cret", "TTG_CREDENTIALS_COMMAND": "echo s3cret"}
    options = ("--workers", "1", "--slots", "2", "--chunk-size", "1", "--out", str(ttg.folder))
    target = f"{tmp_path / 'facts.py'}:facts"
    assert ttg.start("run", target, "i=range(100)", *options).wait() == 0, ttg.said()
    found: dict[int, dict[str, Any]] = {}
    for _, (result,) in settled_on_disk(ttg.folder):
        found.setdefault(result.pop("pid"), result)
    assert {facts.pop("is copy") for facts in found.values()} == {True, False}
    assert len({facts.pop("random") for facts in found.values()}) == len(found) > 1
    copy, *others = found.values()
    for other in others:
        assert other == copy
    assert "anon_inode" not in copy["descriptors"]
    assert copy["secrets"] == "[]"
    assert copy["marked"]
