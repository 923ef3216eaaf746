"""A call that leaves processes behind, in sessions of their own, and dies; its neighbour looks what becomes of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

SLEEP = [sys.executable, "-c", "import time; time.sleep(3600)"]
DAEMON = "import subprocess as s, sys; print(s.Popen(sys.argv[1:], stdout=s.DEVNULL, start_new_session=True).pid)"


def daemon() -> int:
    """The pid of a process whose parent is gone."""
    command = [sys.executable, "-c", DAEMON, *SLEEP]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def forked() -> int:
    """The pid of a copy of this process."""
    pid = os.fork()
    if not pid:
        os.setsid()
        time.sleep(3600)
        os._exit(0)
    return pid


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def leave(i: int) -> bool:
    """0: leave three processes and die. 1: whether those are gone, and our own is not."""
    pids = Path(os.environ["PIDS_FILE"])
    if i == 0:
        left = (daemon(), subprocess.Popen(SLEEP, start_new_session=True).pid, forked())
        pids.with_suffix(".new").write_text(" ".join(map(str, left)))
        pids.with_suffix(".new").rename(pids)
        os._exit(3)
    ours = daemon()
    while not pids.exists() or any(map(is_running, map(int, pids.read_text().split()))):
        time.sleep(0.01)
    return is_running(ours)
