"""What every object shares: metadata, labels, and the restricted security profile."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

PROJECT = {"ttg.io/project": "distributed-compute"}
NON_ROOT_ID = 10001


def labels(name: str, component: str, **own: str) -> dict[str, str]:
    """Labels of an object; ``own`` ones get our prefix: ``queue_backend`` becomes ``ttg.io/queue-backend``."""
    return {
        **PROJECT,
        **{f"ttg.io/{key.replace('_', '-')}": value for key, value in own.items()},
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "ttg",
    }


def resource(api: str, kind: str, name: str, marks: dict[str, str], **body: Any) -> Object:
    """A Kubernetes object; without a namespace, so that it goes where ``kubectl`` is pointed."""
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "labels": marks}, **body}


def config_map(name: str, marks: dict[str, str], files: dict[str, str]) -> Object:
    """Files by name."""
    return resource("v1", "ConfigMap", name, marks, data=files)


def service(name: str, marks: dict[str, str], selector: dict[str, str], ports: dict[str, int]) -> Object:
    """A service inside the cluster."""
    listed = [{"name": key, "port": port, "targetPort": key} for key, port in ports.items()]
    return resource("v1", "Service", name, marks, spec={"selector": selector, "ports": listed})


def volume_claim(name: str, marks: dict[str, str], size: str, storage_class: str | None) -> Object:
    """A claim for a disk that one node mounts at a time."""
    spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return resource("v1", "PersistentVolumeClaim", name, marks, spec=spec)


def disruption_budget(name: str, marks: dict[str, str], selector: dict[str, str], **bound: int | str) -> Object:
    """How much of ``selector`` a voluntary disruption may take; a pod that is not healthy never stands in its way."""
    spec = {**bound, "selector": {"matchLabels": selector}, "unhealthyPodEvictionPolicy": "AlwaysAllow"}
    return resource("policy/v1", "PodDisruptionBudget", name, marks, spec=spec)


def pod_security(user: int, group: int) -> Object:
    """The pod's half of the 'restricted' profile. Volumes belong to ``group``."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": group,
        "fsGroup": group,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container(name: str, image: str, **body: Any) -> Object:
    """A container with its half of the 'restricted' profile and a read-only root file system."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        **body,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }


def pod_spec(security: Object, containers: list[Object], **body: Any) -> Object:
    """A pod that holds no credentials for the Kubernetes API and gets no variables from other services."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": security,
        **body,
        "containers": containers,
    }


def resources(cpu: str, memory: str, **also: str) -> Object:
    """Requests, and a limit on memory only: a limit on CPU would throttle a worker beside idle cores."""
    extra = {key.replace("_", "-"): value for key, value in also.items()}
    return {"requests": {"cpu": cpu, "memory": memory, **extra}, "limits": {"memory": memory, **extra}}


def env(values: dict[str, str]) -> list[Object]:
    """Plain variables."""
    return [{"name": name, "value": value} for name, value in values.items()]


def env_from_secret(secret: str, **keys: str) -> list[Object]:
    """Variables, each with the key of the secret that it takes."""
    return [{"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}} for name, key in keys.items()]


def scratch(name: str, size: str) -> Object:
    """A folder that lives and dies with the pod."""
    return {"name": name, "emptyDir": {"sizeLimit": size}}


def mount(name: str, path: str, **body: Any) -> Object:
    """Where a container sees a volume."""
    return {"name": name, "mountPath": path, **body}
