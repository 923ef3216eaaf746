"""The demonstration on a Kubernetes cluster: the same workload; a pod is deleted instead of a process killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ttg.demo.measure import DataCheck, check_folder
from ttg.demo.workload import Scale, value_of
from ttg.errors import RunStopped, SettingsError
from ttg.kube import cluster
from ttg.kube.kubectl import Kubectl
from ttg.kube.layout import Cluster, Sweep
from ttg.options import Options

Say = Callable[[str], None]


@dataclass
class PodKiller:
    """Deletes one worker pod of a run, once, when the coordinator's own progress says that it is time."""

    kubectl: Kubectl
    run: str
    share: float
    say: Say
    killed: str = ""
    said: list[str] = field(default_factory=list)

    def hear(self, line: str) -> None:
        """A line of progress: pass it on, and act on it."""
        self.say(line)
        percent = line.strip().partition("%")[0].strip()
        if not self.killed and percent.isdigit() and int(percent) >= 100 * self.share:
            self._kill()

    def _kill(self) -> None:
        selector = f"{cluster.run_selector(self.run)},app.kubernetes.io/name=ttg-worker"
        pods = [pod for pod in self.kubectl.find("pods", selector) if pod["status"].get("phase") == "Running"]
        if pods:
            self.killed = pods[0]["metadata"]["name"]
            self.kubectl.call(
                "deleting a pod", "delete", "pod", self.killed, "--grace-period=0", "--force", "--wait=false"
            )
            self.say(f"⚡ pod {self.killed} deleted without grace; its Job starts another one, its siblings go on")


def show(kubectl: Kubectl, where: Cluster, scale: Scale, workers: int, fault: bool, out: Path, say: Say) -> DataCheck:
    """One run on the cluster, checked parameter by parameter. Raises ``ClusterError``, ``RunStopped``."""
    if out.exists():
        raise SettingsError(f"--report: {out} exists: name a folder that does not")
    say(f"Preparing namespace {where.namespace} with {where.backend} …")
    cluster.up(kubectl, where, say)
    name = f"demo-{scale.name}-{time.strftime('%H%M%S')}"
    chosen = Options(workers=workers, chunk_size=scale.chunk_size)
    sweep = Sweep(name, _function(scale), (f"i=range(0,{scale.size})",), chosen)
    started = time.monotonic()
    killer = PodKiller(kubectl, name, 0.3 if fault else 2.0, say)
    code = cluster.run(kubectl, where, sweep, out, killer.hear)
    if code != 0:
        raise RunStopped(f"the run on the cluster ended with exit code {code}: `ttg kube logs {name}` says why")
    say(f"finished after {time.monotonic() - started:.1f} s, pods started and dataset fetched")
    return check_folder(out, scale.size, value_of)


def _function(scale: Scale) -> str:
    function = {100.0: "simulate_100ms", 10.0: "simulate_10ms"}.get(scale.work_ms, "simulate")
    return f"ttg.demo.workload:{function}"
