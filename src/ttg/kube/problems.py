"""What is wrong with a run's pods, in one line each: pure functions over what ``kubectl get -o json`` says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ttg.kube.objects import Object
from ttg.options import IMAGE

UNSTARTED = ("StartError", "ContainerCannotRun")
UNSTARTABLE = f"the image is not made `FROM {IMAGE}`, or what it begins with is missing"
WAITING = {
    "ErrImagePull": "push the image to a registry the cluster reaches, or `scripts/build.sh --load-kind` for kind",
    "ImagePullBackOff": "push the image to a registry the cluster reaches, or `scripts/build.sh --load-kind` for kind",
    "ErrImageNeverPull": "load the image onto the nodes: `scripts/build.sh --load-kind` for kind",
    "InvalidImageName": "check --image",
    "CreateContainerConfigError": "a Secret or ConfigMap is missing: `ttg kube up` creates the broker's",
    "CreateContainerError": UNSTARTABLE,
    "RunContainerError": UNSTARTABLE,
    "CrashLoopBackOff": "it starts and dies: `ttg kube logs` shows why",
}
UNBOUND = "unbound immediate PersistentVolumeClaims"
EVENTS = {
    "exceeded quota": "ask for fewer workers or less memory, or raise the namespace's quota",
    "violates PodSecurity": "the namespace's Pod Security level forbids it",
    "is forbidden": "the namespace's rules do not admit it: `kubectl describe limitranges` shows some of them",
    "Multi-Attach error": "the claim's disk is still with another node: it follows when that lets go of it",
    "MountVolume.SetUp failed": "a Secret or ConfigMap is missing: `ttg kube up` makes the broker's",
    UNBOUND: "the cluster has no storage for the claim: name a --storage-class",
    "Insufficient": "the nodes are full: fewer --workers, less --pod-memory, or more nodes",
}


def pod_troubles(pods: Iterable[Any]) -> list[str]:
    """One line for each kind of trouble, with the number of pods that have it."""
    found = Counter(trouble for pod in pods for trouble in _troubles(pod))
    return [f"{count} pod{'s' * (count > 1)}: {trouble}" for trouble, count in found.most_common()]


def _troubles(pod: Object) -> Iterable[str]:
    status = pod.get("status", {})
    for state in status.get("containerStatuses", []):
        waiting = state.get("state", {}).get("waiting", {})
        if waiting.get("reason") in WAITING:
            yield f"{waiting['reason']} ({state['image']}): {WAITING[waiting['reason']]}"
        ended = state.get("state", {}).get("terminated", {})
        if ended.get("reason") in UNSTARTED:
            yield f"{ended['reason']} ({state['image']}): {ended.get('message', '')}: {UNSTARTABLE}"
        if ended.get("reason") == "OOMKilled":
            yield "OOMKilled: the worker as a whole outgrew its memory; raise --pod-memory (replaced, nothing is lost)"
    for condition in status.get("conditions", []):
        if condition.get("reason") == "Unschedulable":
            yield f"not scheduled: {_advise(condition.get('message', ''))}"


def event_troubles(events: Iterable[Any], objects: Iterable[Any]) -> list[str]:
    """Warnings about ``objects``, or pods of theirs, that a person must act upon; not those about earlier ones that had
    the same names."""
    owners = list(objects)
    messages = dict.fromkeys(
        event.get("message", "") for event in events if any(_is_about(event, owner) for owner in owners)
    )
    acute = [sign for sign in EVENTS if sign != UNBOUND]  # a claim that is bound by now keeps its old warnings
    return [_advise(text) for text in messages if any(sign in text for sign in acute)]


def _is_about(event: Object, owner: Object) -> bool:
    name, created = owner["metadata"]["name"], owner["metadata"].get("creationTimestamp", "")
    at = event.get("lastTimestamp") or event.get("eventTime") or created
    involved = event.get("involvedObject", {}).get("name", "")
    return bool(at >= created and re.fullmatch(rf"{re.escape(name)}(-(\d+-)?[a-z0-9]{{5}})?", involved))


def kind_of(trouble: str) -> str:
    """What two troubles have in common that differ in a pod's name or in a number: every attempt makes a new one.

    >>> kind_of('pods "a-x1" is forbidden: exceeded quota: team, used: pods=10') == kind_of(
    ...     'pods "a-y2" is forbidden: exceeded quota: team, used: pods=9')
    True
    """
    return re.sub(r'"[^"]*"|\d[\w.]*|\bpods?\b', "", trouble)


def may_pass(trouble: str) -> bool:
    """Whether a cluster mends it itself, within seconds: on every first run the claim's disk is only just made."""
    return UNBOUND in trouble


def _advise(text: str) -> str:
    advice = next((advice for sign, advice in EVENTS.items() if sign in text), None)
    return f"{text.rstrip('.')}: {advice}" if advice else text


def job_state(job: Object) -> str:
    """``complete``, ``failed``, ``suspended`` or ``active``."""
    conditions = {
        condition["type"] for condition in job.get("status", {}).get("conditions", []) if condition["status"] == "True"
    }
    if "Complete" in conditions:
        return "complete"
    if "Failed" in conditions:
        return "failed"
    return "suspended" if "Suspended" in conditions else "active"


def exit_code(pods: Iterable[Any]) -> int | None:
    """Exit code of the newest pod that ended; ``None`` if none has."""
    ended = [
        (state["terminated"].get("finishedAt", ""), int(state["terminated"]["exitCode"]))
        for pod in pods
        for state in (container.get("state", {}) for container in pod.get("status", {}).get("containerStatuses", []))
        if "terminated" in state
    ]
    return max(ended)[1] if ended else None


def status_lines(jobs: Iterable[Any], pods: Iterable[Any]) -> list[str]:
    """Jobs with their pods by phase, then other pods: what ``ttg kube status`` prints."""
    pods = list(pods)
    lines = [_job_line(job, [pod for pod in pods if _owner(pod) == job["metadata"]["name"]]) for job in jobs]
    standing = [pod for pod in pods if _owner_kind(pod) != "Job"]
    return [*lines, *map(_pod_line, standing)]


def _job_line(job: Object, pods: list[Any]) -> str:
    phases = Counter(pod.get("status", {}).get("phase", "Unknown").lower() for pod in pods)
    told = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items())) or "no pods"
    return f"{job['metadata']['name']:<44} {job_state(job):<10} {told}"


def _pod_line(pod: Object) -> str:
    ready = all(state.get("ready") for state in pod.get("status", {}).get("containerStatuses", []) or [{}])
    phase = pod.get("status", {}).get("phase", "Unknown").lower()
    return f"{pod['metadata']['name']:<44} {'ready' if ready else 'not ready':<10} {phase}"


def _owner(pod: Object) -> str:
    return next((owner["name"] for owner in pod["metadata"].get("ownerReferences", [])), "")


def _owner_kind(pod: Object) -> str:
    return next((owner["kind"] for owner in pod["metadata"].get("ownerReferences", [])), "")
