"""The verbs of ``ttg kube``: a broker up, a run from its arguments to the dataset on the local disk, and down again."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ttg.errors import InputError
from ttg.kube import brokers, jobs, problems, render
from ttg.kube.code import code_config, with_files
from ttg.kube.fetch import fetch
from ttg.kube.kubectl import ClusterError, Kubectl
from ttg.kube.layout import Cluster, Sweep
from ttg.kube.objects import PROJECT

Say = Callable[[str], None]

EVERYTHING = ",".join(f"{key}={value}" for key, value in PROJECT.items())
KINDS = "jobs,deployments,statefulsets,pods,services,configmaps,secrets,poddisruptionbudgets,networkpolicies"
DATA_KINDS = "persistentvolumeclaims"
RUN_KINDS = "jobs,poddisruptionbudgets,configmaps"
POLL_SECONDS = 2.0


def run_selector(run: str) -> str:
    """Labels of everything that belongs to one run."""
    return f"{EVERYTHING},ttg.io/run={run}"


def up(kubectl: Kubectl, cluster: Cluster, say: Say) -> None:
    """Namespace, credentials and broker, ready for work. What is there stays; a Secret is never replaced."""
    if kubectl.create_once("creating the namespace", render.namespace(cluster.namespace)):
        say(f"namespace {cluster.namespace} created, for pods of the restricted profile")
    password, signing = secrets.token_urlsafe(24), secrets.token_urlsafe(32)
    if kubectl.create_once("creating the credentials", brokers.broker_secret(cluster.backend, password, signing)):
        say(f"secret {brokers.secret_name(cluster.backend)} created with a random password")
    kubectl.apply("starting the broker", render.broker_with_policies(cluster))
    await_broker(kubectl, cluster)
    say(f"{brokers.broker_name(cluster.backend)} is ready")


def await_broker(kubectl: Kubectl, cluster: Cluster) -> None:
    """Return when the broker takes connections; otherwise an error that says what is in its way."""
    name = f"statefulset/{brokers.broker_name(cluster.backend)}"
    try:
        kubectl.call("waiting for the broker", "rollout", "status", name, "--timeout=300s", seconds=320.0)
    except ClusterError as error:
        pods = kubectl.find("pods", f"{EVERYTHING},app.kubernetes.io/component=broker")
        troubles = problems.pod_troubles(pods) or [str(error)]
        raise ClusterError(f"the broker is not ready: {'; '.join(troubles)}") from error


def start(kubectl: Kubectl, cluster: Cluster, sweep: Sweep) -> None:
    """Send the user's files and start coordinator and workers. A run that is under way is left to go on; one of that id
    that was begun and stopped is resumed by its new coordinator."""
    sweep = with_files(sweep)
    if is_under_way(kubectl, sweep.run):
        return
    kubectl.delete("removing what an earlier start left", "jobs", run_selector(sweep.run))
    code = [code_config(sweep.run, sweep.files)] if sweep.files else []
    kubectl.apply(f"starting run {sweep.run}", [*code, *render.sweep_objects(cluster, sweep)])


def is_under_way(kubectl: Kubectl, run: str) -> bool:
    """Whether the run's coordinator is in the cluster and not done."""
    found = kubectl.find("jobs", f"{run_selector(run)},app.kubernetes.io/component=coordinator")
    return any(problems.job_state(job) == "active" for job in found)


@dataclass
class Watch:
    """What a person has been told of a run: progress when it changes, a trouble once."""

    kubectl: Kubectl
    run: str
    say: Say
    told: set[str] = field(default_factory=set)
    progress: str = ""

    def look(self) -> int | None:
        """Tell what is new; the coordinator's exit code when its Job is over."""
        listed = self.kubectl.find("jobs,pods", run_selector(self.run))
        states = {item["metadata"]["name"]: problems.job_state(item) for item in listed if item["kind"] == "Job"}
        pods = [item for item in listed if item["kind"] == "Pod"]
        self._tell(pods)
        coordinator = jobs.coordinator_name(self.run)
        if coordinator not in states:
            raise ClusterError(f"run {self.run} is gone from the cluster: somebody removed its coordinator")
        if states[coordinator] in ("complete", "failed"):
            return self._end(pods, states[coordinator])
        if states.get(jobs.worker_name(self.run)) == "failed":
            raise ClusterError(f"the workers gave up: {last_line(self.kubectl, jobs.worker_name(self.run))}")
        return None

    def _tell(self, pods: list[Any]) -> None:
        names = [jobs.coordinator_name(self.run), jobs.worker_name(self.run)]
        troubles = [*problems.pod_troubles(pods), *problems.event_troubles(self.kubectl.events(), names)]
        for trouble in troubles:
            if trouble not in self.told:
                self.told.add(trouble)
                self.say(f"trouble: {trouble}")
        line = last_line(self.kubectl, jobs.coordinator_name(self.run))
        if line and line != self.progress:
            self.progress = line
            self.say(line)

    def _end(self, pods: list[Any], state: str) -> int:
        if state == "complete":
            return 0
        coordinator = jobs.coordinator_name(self.run)
        return problems.exit_code(pod for pod in pods if pod["metadata"]["name"].startswith(coordinator)) or 3


def last_line(kubectl: Kubectl, job: str) -> str:
    """The last line that a pod of ``job`` wrote; empty while there is none to ask."""
    try:
        text = kubectl.call("reading the log", "logs", f"job/{job}", "--tail=1")
    except ClusterError:
        return ""
    return text.strip()


def follow(kubectl: Kubectl, run: str, say: Say, pause: Callable[[float], None] = time.sleep) -> int:
    """Watch a run until its coordinator is done; its exit code. Ctrl-C leaves the run going."""
    watch = Watch(kubectl, run, say)
    while (code := watch.look()) is None:
        pause(POLL_SECONDS)
    return code


def run(kubectl: Kubectl, cluster: Cluster, sweep: Sweep, out: Path, say: Say, *, keep: bool = False) -> int:
    """A whole run: start, follow, fetch the dataset to ``out``, and remove the run's objects unless ``keep``."""
    if out.exists():
        raise InputError(f"--out: {out} exists: name a folder that does not, or remove it")
    start(kubectl, cluster, sweep)
    say(f"run {sweep.run} started with {sweep.workers} workers; Ctrl-C leaves it going")
    code = follow(kubectl, sweep.run, say)
    if code in (0, jobs.FINISHED_WITH_DEAD_LETTERS):
        fetch(kubectl, cluster, sweep.run, out)
        say(f"dataset in {out}; it also stays on the claim {jobs.DATA_CLAIM}")
        if not keep:
            kubectl.delete("removing the run's objects", RUN_KINDS, run_selector(sweep.run))
    return code


def status(kubectl: Kubectl) -> list[str]:
    """Jobs, pods and troubles of everything TTG has in the namespace."""
    listed = kubectl.find("jobs,pods", EVERYTHING)
    found = {kind: [item for item in listed if item["kind"] == kind] for kind in ("Job", "Pod")}
    return problems.status_lines(found["Job"], found["Pod"]) or [f"nothing of TTG in namespace {kubectl.namespace}"]


def logs(kubectl: Kubectl, selector: str, options: Sequence[str]) -> int:
    """Hand the terminal over to ``kubectl logs``."""
    return subprocess.call(kubectl.command("logs", "--selector", selector, "--prefix", "--tail=200", *options))


def removable(kubectl: Kubectl, *, data: bool) -> list[str]:
    """What ``down`` would remove, as ``kind/name``: only what carries TTG's label."""
    kinds = f"{KINDS},{DATA_KINDS}" if data else KINDS
    answer = kubectl.call("listing", "get", kinds, "--selector", EVERYTHING, "--output", "name", "--ignore-not-found")
    return answer.split()


def down(kubectl: Kubectl, say: Say, *, data: bool = False) -> None:
    """Remove what carries TTG's label in the namespace; datasets and the broker's disk only with ``data``."""
    for line in kubectl.delete("removing", f"{KINDS},{DATA_KINDS}" if data else KINDS, EVERYTHING).splitlines():
        say(line)
    if not data:
        say("the claims with datasets and the broker's data stay; --data removes them too")
