"""The verbs of ``ttg kube``: a broker up, a run from its arguments to the dataset on the local disk, and down again."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ttg.errors import InputError
from ttg.kube import brokers, jobs, problems, render
from ttg.kube.code import code_configs, with_files
from ttg.kube.fetch import fetch
from ttg.kube.kubectl import ClusterError, Kubectl
from ttg.kube.layout import Cluster, Sweep
from ttg.kube.objects import PROJECT
from ttg.options import DEFAULTS

Say = Callable[[str], None]

EVERYTHING = ",".join(f"{key}={value}" for key, value in PROJECT.items())
KINDS = "jobs,deployments,statefulsets,pods,services,configmaps,poddisruptionbudgets,networkpolicies"
OPERATED_KINDS = (
    "scaledobjects.keda.sh",
    "triggerauthentications.keda.sh",
    "servicemonitors.monitoring.coreos.com",
)
DATA_KINDS = "persistentvolumeclaims,secrets"
OPERATED_DATA_KINDS = ("rabbitmqclusters.rabbitmq.com",)
RUN_KINDS = "jobs,poddisruptionbudgets,configmaps"
WORKER_KINDS = "jobs,poddisruptionbudgets"
POLL_SECONDS = 2.0
READY_TRIES, READY_SECONDS = 30, 10
PASSING_LOOKS = 15
"""How many looks a trouble must last that a cluster often mends itself: a claim's disk that is only just made."""


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
    kubectl.apply("starting the broker", render.broker_with_policies(_with_its_disk(kubectl, cluster, say)))
    await_broker(kubectl, cluster, say)
    say(f"{brokers.broker_name(cluster.backend)} is ready")


def _with_its_disk(kubectl: Kubectl, cluster: Cluster, say: Say) -> Cluster:
    """The disk of a broker that is there stays as it is: Kubernetes takes no other."""
    for found in kubectl.find("statefulsets", f"{EVERYTHING},ttg.io/queue-backend={cluster.backend}"):
        (claim,) = (template["spec"] for template in found["spec"]["volumeClaimTemplates"])
        size, kind = claim["resources"]["requests"]["storage"], claim.get("storageClassName")
        if (size, kind) != (cluster.broker_storage, cluster.storage_class):
            say(f"the broker's disk stays as it is: {size}{f' of class {kind}' if kind else ''}")
        return replace(cluster, broker_storage=size, storage_class=kind)
    return cluster


@dataclass
class Troubles:
    """What a person has been told: each kind of trouble once, and passing ones only when they last."""

    say: Say
    looks: Counter[str] = field(default_factory=Counter)

    def tell(self, troubles: Iterable[str]) -> None:
        """Tell what is new among the present ``troubles``."""
        for kind, text in {problems.kind_of(text): text for text in troubles}.items():
            self.looks[kind] += 1
            if self.looks[kind] == (PASSING_LOOKS if problems.may_pass(text) else 1):
                self.say(f"trouble: {text}")


def await_broker(kubectl: Kubectl, cluster: Cluster, say: Say) -> None:
    """Return when the broker takes connections; what is in its way is said at once, and is the error at last."""
    name = f"statefulset/{brokers.broker_name(cluster.backend)}"
    wait = ("rollout", "status", name, f"--timeout={READY_SECONDS}s")
    told, troubles = Troubles(say), list[str]()
    for _ in range(READY_TRIES):
        try:
            kubectl.call("waiting for the broker", *wait, seconds=READY_SECONDS + 20.0)
            return
        except ClusterError as error:
            if "timed out" not in str(error):
                raise
            troubles = _broker_troubles(kubectl, name) or [str(error)]
            told.tell(troubles)
    raise ClusterError(f"the broker is not ready: {'; '.join(troubles)}")


def _broker_troubles(kubectl: Kubectl, name: str) -> list[str]:
    pods = kubectl.find("pods", f"{EVERYTHING},app.kubernetes.io/component=broker")
    troubles = problems.pod_troubles(pods)
    if any("CrashLoopBackOff" in trouble for trouble in troubles):
        troubles += [f"its last words: {words}" for words in [last_line(kubectl, name, "--previous")] if words]
    return troubles


def start(kubectl: Kubectl, cluster: Cluster, sweep: Sweep) -> None:
    """Send the user's files and start coordinator and workers. A run that is under way is left to go on; one of that id
    that was begun and stopped is resumed by its new coordinator. ``InputError`` when another run has the id."""
    sweep = with_files(sweep)
    if is_under_way(kubectl, sweep):
        return
    secret = secret_of(kubectl, cluster, "signing-secret") if sweep.archive else b""
    kubectl.delete("removing what an earlier start left", "jobs,configmaps", run_selector(sweep.run))
    for part in code_configs(sweep, secret) if sweep.archive else ():
        # Client-side, kubectl would write all of it into an annotation as well, which holds 256 KiB.
        kubectl.apply(f"sending the files of run {sweep.run}", [part], "--server-side", "--force-conflicts")
    claim, *others = render.sweep_objects(cluster, sweep)
    if cluster.data_storage == DEFAULTS.data_storage:  # nobody asked for another size than the claim may have
        kubectl.create_once("making the claim for datasets", claim)
        kubectl.apply(f"starting run {sweep.run}", others)
    else:
        kubectl.apply(f"starting run {sweep.run}", [claim, *others])


def secret_of(kubectl: Kubectl, cluster: Cluster, key: str) -> bytes:
    """What the broker's Secret has as ``key``: ``password``, or ``signing-secret``, the pods' ``TTG_SECRET``."""
    name = brokers.secret_name(cluster.backend, cluster.account)
    wanted = ("--ignore-not-found", "--output", f"jsonpath={{.data.{key}}}")
    text = kubectl.call(f"asking for the {key} of the broker", "get", f"secret/{name}", *wanted)
    if not text.strip():
        raise ClusterError(
            f"expected a secret {name} with a {key} in namespace {kubectl.namespace}, found none: "
            f"`ttg kube up --backend {cluster.backend}` makes it"
        )
    return base64.b64decode(text)


def is_under_way(kubectl: Kubectl, sweep: Sweep) -> bool:
    """Whether the run's coordinator is in the cluster and not done. ``InputError`` when it is another run's."""
    found = kubectl.find("jobs", f"{run_selector(sweep.run)},app.kubernetes.io/component=coordinator")
    active = [job for job in found if problems.job_state(job) == "active"]
    if any(jobs.identity_of(job) != sweep.identity for job in active):
        raise InputError(
            f"--run-id: a run {sweep.run} is under way in the cluster with another function, other arguments or other "
            f"files: choose another id, or give the very same command to follow that one"
        )
    return bool(active)


def scale(kubectl: Kubectl, run: str | None, workers: int) -> str:
    """Give a run another number of workers; the run. Without a name it is the only one that has workers of its own.
    ``InputError`` when it has none."""
    run = _run_to_scale(kubectl, run)
    name, purpose = jobs.worker_name(run), f"scaling run {run}"
    # Elastic Indexed Jobs: both numbers change together. What the highest indices had in work goes back to the broker.
    changes = {"job": {"parallelism": workers, "completions": workers}, "pdb": {"minAvailable": workers // 2}}
    for kind, spec in changes.items():
        kubectl.call(purpose, "patch", f"{kind}/{name}", "--type=merge", f"--patch={json.dumps({'spec': spec})}")
    return run


def _run_to_scale(kubectl: Kubectl, run: str | None) -> str:
    found = kubectl.find("jobs", f"{EVERYTHING},app.kubernetes.io/component=worker")
    runs = [job["metadata"]["labels"]["ttg.io/run"] for job in found if problems.job_state(job) == "active"]
    named = ", ".join(runs) or "none"
    if run is not None and run not in runs:
        raise InputError(f"expected a run that has workers in namespace {kubectl.namespace}, got {run}: has {named}")
    if run is None and len(runs) != 1:
        raise InputError(f"expected RUN after the number, since not just one run has workers: {named}")
    return run or str(runs[0])


class WorkersGaveUp(ClusterError):
    """No worker can compute the run."""


@dataclass
class Watch:
    """What a person has been told of a run: progress when it changes, a trouble once."""

    kubectl: Kubectl
    run: str
    say: Say
    progress: str = ""

    def __post_init__(self) -> None:
        self.troubles = Troubles(self.say)

    def look(self) -> int | None:
        """Tell what is new; the coordinator's exit code when its Job is over."""
        listed = self.kubectl.find("jobs,pods", run_selector(self.run))
        states = {item["metadata"]["name"]: problems.job_state(item) for item in listed if item["kind"] == "Job"}
        pods = [item for item in listed if item["kind"] == "Pod"]
        self._tell(listed, pods)
        coordinator = jobs.coordinator_name(self.run)
        if coordinator not in states:
            raise ClusterError(
                f"run {self.run} is gone from the cluster: somebody removed its coordinator; "
                f"`ttg kube fetch {self.run}` brings what is on the claim"
            )
        if states[coordinator] in ("complete", "failed"):
            return self._end(pods, states[coordinator])
        if states.get(jobs.worker_name(self.run)) == "failed":
            words = last_line(self.kubectl, f"job/{jobs.worker_name(self.run)}")
            raise WorkersGaveUp(f"the workers gave up: {words}")
        return None

    def _tell(self, listed: list[Any], pods: list[Any]) -> None:
        self.troubles.tell([*problems.pod_troubles(pods), *problems.event_troubles(self.kubectl.events(), listed)])
        line = last_line(self.kubectl, f"job/{jobs.coordinator_name(self.run)}")
        if line and line != self.progress:
            self.progress = line
            self.say(line)

    def _end(self, pods: list[Any], state: str) -> int:
        if state == "complete":
            return 0
        coordinator = jobs.coordinator_name(self.run)
        code = problems.exit_code(pod for pod in pods if pod["metadata"]["name"].startswith(coordinator)) or 3
        return jobs.INCOMPLETE if code == jobs.STOPPED else code


def last_line(kubectl: Kubectl, owner: str, *options: str) -> str:
    """The last line that a pod of ``owner`` (``job/…``) wrote; empty while there is none to ask."""
    try:
        text = kubectl.call("reading the log", "logs", owner, "--tail=1", *options)
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
    """A whole run: start, follow, fetch the dataset to ``out``, and remove the run's objects unless ``keep``. Of a run
    that failed nothing goes on."""
    _expect_free(out)
    start(kubectl, cluster, sweep)
    say(f"run {sweep.run} started with {sweep.workers} workers; Ctrl-C leaves it going")
    if not sweep.workers:
        say("workers that an autoscaler starts execute what their image has: what is sent reaches the coordinator only")
    code = _end_of(kubectl, sweep.run, say)
    if code == jobs.INCOMPLETE:
        say(f"it has stopped; `ttg kube fetch {sweep.run}` brings what there is, the same command goes on with it")
    if code in (0, jobs.FINISHED_WITH_DEAD_LETTERS):
        _bring(kubectl, cluster, sweep.run, out, say, keep=keep)
    return code


def finish(kubectl: Kubectl, cluster: Cluster, run: str, out: Path, say: Say, *, keep: bool = False) -> int | None:
    """What is left of :func:`run` once it was started, however it stands; ``None`` if the cluster knows no more of the
    run than its dataset."""
    _expect_free(out)
    known = kubectl.find("jobs", f"{run_selector(run)},app.kubernetes.io/component=coordinator")
    code = _end_of(kubectl, run, say) if known else None
    _bring(kubectl, cluster, run, out, say, keep=keep)
    return code


def _expect_free(out: Path) -> None:
    if out.exists():
        raise InputError(f"--out: {out} exists: name a folder that does not, or remove it")


def _end_of(kubectl: Kubectl, run: str, say: Say) -> int:
    """Follow a run; its exit code. Nobody waits for what failed."""
    try:
        code = follow(kubectl, run, say)
    except WorkersGaveUp:
        _end_part(kubectl, run, "coordinator")
        raise
    if code not in (0, jobs.FINISHED_WITH_DEAD_LETTERS):
        _end_part(kubectl, run, "worker")
    return code


def _bring(kubectl: Kubectl, cluster: Cluster, run: str, out: Path, say: Say, *, keep: bool) -> None:
    if not keep:
        _end_part(kubectl, run, "worker")  # what they took of a quota is the reader's now
    fetch(kubectl, cluster, run, out, say)
    say(f"dataset in {out}; it also stays on the claim {jobs.DATA_CLAIM}")
    if not keep:
        kubectl.delete("removing the run's objects", RUN_KINDS, run_selector(run))


def _end_part(kubectl: Kubectl, run: str, component: str) -> None:
    selector = f"{run_selector(run)},app.kubernetes.io/component={component}"
    kubectl.delete(f"ending the {component}s of run {run}", WORKER_KINDS, selector)


def status(kubectl: Kubectl) -> list[str]:
    """Jobs, pods and troubles of everything TTG has in the namespace."""
    listed = kubectl.find("jobs,statefulsets,pods", EVERYTHING)
    found = {kind: [item for item in listed if item["kind"] == kind] for kind in ("Job", "Pod")}
    lines = problems.status_lines(found["Job"], found["Pod"]) or [f"nothing of TTG in namespace {kubectl.namespace}"]
    return [*lines, *(f"trouble: {text}" for text in _troubles(kubectl, listed))]


def troubles(kubectl: Kubectl) -> list[str]:
    """What is wrong with what TTG has in the namespace, a line each: pods as they are, and the cluster's warnings."""
    return _troubles(kubectl, kubectl.find("jobs,statefulsets,pods", EVERYTHING))


def _troubles(kubectl: Kubectl, listed: list[Any]) -> list[str]:
    warnings = problems.event_troubles(kubectl.events(), listed) if listed else []
    return [*problems.pod_troubles(item for item in listed if item["kind"] == "Pod"), *warnings]


def logs(kubectl: Kubectl, selector: str, options: Sequence[str]) -> int:
    """Hand the terminal over to ``kubectl logs``, which follows five pods at once unless it is told."""
    given = ("--selector", selector, "--prefix", "--tail=200", "--max-log-requests=1000")
    return subprocess.call(kubectl.command("logs", *given, *options))


def removable(kubectl: Kubectl, *, data: bool) -> list[str]:
    """What ``down`` would remove, as ``kind/name``: only what carries TTG's label."""
    look = ("--selector", EVERYTHING, "--output", "name", "--ignore-not-found")
    return [name for kinds in _kinds(kubectl, data) for name in kubectl.call("listing", "get", kinds, *look).split()]


def _kinds(kubectl: Kubectl, data: bool) -> list[str]:
    """Kinds to look through, autoscalers first: they would start workers again. Operators' only where there are any."""
    operated = [*OPERATED_KINDS, *(OPERATED_DATA_KINDS if data else ())]
    return [*(kind for kind in operated if _knows(kubectl, kind)), f"{KINDS},{DATA_KINDS}" if data else KINDS]


def _knows(kubectl: Kubectl, kind: str) -> bool:
    try:
        kubectl.call("asking for operators", "get", kind, "--selector", EVERYTHING, "--output", "name")
    except ClusterError:
        return False
    return True


def down(kubectl: Kubectl, say: Say, *, data: bool = False) -> None:
    """Remove what carries TTG's label in the namespace; datasets, the broker's disk and what logs in to it (the disk
    knows the password) only with ``data``."""
    for kinds in _kinds(kubectl, data):
        for line in kubectl.delete("removing", kinds, EVERYTHING).splitlines():
            say(line)
    if not data:
        say("the claims with datasets and the broker's data stay, and its credentials; --data removes them too")
