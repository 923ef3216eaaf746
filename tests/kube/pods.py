"""Containers of rendered manifests as processes of this machine: their commands and mounts, without a cluster."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttg.kube.jobs import METRICS

PROGRAMS = {
    "ttg": f'#!/bin/sh\nexec {sys.executable} -m ttg "$@"\n',
    "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
}


def mount_config_map(files: dict[str, bytes], folder: Path) -> None:
    """As a kubelet mounts it: each name is a link into ``..data``, a link to a folder whose name changes with every
    update."""
    update = folder / "..2026_11_27_16_40_00.1234"
    for name, content in files.items():
        (update / name).parent.mkdir(parents=True, exist_ok=True)
        (update / name).write_bytes(content)
    (folder / "..data").symlink_to(update.name)
    for top in {Path(name).parts[0] for name in files}:
        (folder / top).symlink_to(f"..data/{top}")


def mount_sub_paths(files: dict[str, bytes], folder: Path) -> None:
    """As a kubelet mounts single files of it: no links."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def expanded(word: str, values: dict[str, str]) -> str:
    """As a kubelet reads a word of a command: ``$$`` is ``$``, and ``$(NAME)`` a variable if there is one."""

    def meant(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else values.get(found[0][2:-1], found[0])

    return re.sub(r"\$\$|\$\([^)]*\)", meant, word)


@dataclass
class Pod:
    """A container's process, its folder, and what it said."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def is_running(self) -> bool:
        return self.process.poll() is None

    def delete(self) -> int:
        """As ``kubectl delete pod`` or a drained node does; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running:\n{self.said()}") from None


class Node:
    """Where pods run: the image's working folder (``/work``), their claim (``/data``), what is mounted with a run's own
    files (``/code``), and a broker. They share a folder of temporary files."""

    def __init__(self, folder: Path, broker: str, **environment: str) -> None:
        self.folder, self.work, self.data, self.code = folder, folder / "work", folder / "data", folder / "code"
        self.environment = {"TTG_BROKER": broker, "TTG_SECRET": "", "TMPDIR": str(folder / "tmp"), **environment}
        self.pods: list[Pod] = []
        for place in (self.work, self.data, self.code, folder / "bin", folder / "tmp"):
            place.mkdir(parents=True)
        for name, text in PROGRAMS.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)

    def start(self, job: Any) -> Pod:
        """A pod of ``job``. Ports are not served: they are one machine's here."""
        (container,) = job["spec"]["template"]["spec"]["containers"]
        words = [*container.get("command", ["ttg"]), *container.get("args", [])]
        values = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
        told = {"TTG_RUN_IDENTITY": values["TTG_RUN_IDENTITY"]} if "TTG_RUN_IDENTITY" in values else {}
        return self.execute(_without_port([expanded(word, values) for word in words]), **told)

    def execute(self, words: list[str], **told: str) -> Pod:
        """A container with this command."""
        home = self.folder / f"pod-{len(self.pods)}"
        home.mkdir()
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(self.code) if word == "/code" else word.replace("/data/", f"{self.data}/") for word in words],
                cwd=self.work,
                env={**os.environ, **told, **self.environment, "PATH": path, "TTG_HOME": str(home)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pods.append(Pod(process, home / "log"))
        return self.pods[-1]

    def story(self) -> str:
        """What everybody said."""
        return "\n".join(f"--- {pod.log.parent.name}\n{pod.said()}" for pod in self.pods)

    def close(self) -> None:
        """Every pod ends, with all that it started."""
        for pod in self.pods:
            if pod.is_running():
                os.killpg(pod.process.pid, signal.SIGKILL)
                pod.process.wait()


def _without_port(words: list[str]) -> list[str]:
    words = [word.replace(shlex.join(METRICS), "") for word in words]  # in the script of a coordinator
    if "--metrics-port" not in words:
        return words
    place = words.index("--metrics-host")
    return [*words[:place], *words[place + 4 :]]
