"""The peers' own virtual environment, and a description of the machine."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCK = Path(__file__).with_name("requirements.lock")
FOLDER = ROOT / ".bench-env"
STAMP = FOLDER / "installed-from"


def peer_python() -> Path:
    """Interpreter of the peers' environment."""
    return FOLDER / "bin" / "python"


def is_installed() -> bool:
    return STAMP.exists() and STAMP.read_text() == fingerprint()


def install() -> None:
    """Create ``.bench-env`` and install the pinned peers; does nothing when it already holds this lock file."""
    if is_installed():
        return
    venv.create(FOLDER, with_pip=True)
    pip = [str(peer_python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", str(LOCK)], check=True)
    STAMP.write_text(fingerprint())


def fingerprint() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def describe_machine() -> dict[str, Any]:
    """What a reader needs to judge the figures."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average_at_start": os.getloadavg()[0],
        "ttg_commit": output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
        "redis": output("redis-server", "--version"),
        "rabbitmq": rabbitmq_version(),
        "peers": LOCK.read_text().split() if LOCK.exists() else [],
    }


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def output(*command: str) -> str:
    """What a command prints, or an empty text when it is missing or fails."""
    if not shutil.which(command[0]):
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def rabbitmq_version() -> str:
    """Version from the name of the installation folder; starting a node just to ask would take seconds."""
    from benchmarks.brokers import rabbitmq_sbin

    try:
        return rabbitmq_sbin().parent.name
    except FileNotFoundError:
        return ""
