"""The sandbox of ``k8s/manifests``: a broker and the example sweep on a laptop's cluster, by kubectl alone.

It differs from what ``ttg kube up`` makes where trying things asks for it: a bare pod instead of a StatefulSet, small
requests, and an account that is written down, so that no Secret must be made before.
"""

from __future__ import annotations

from typing import Any

from ttg.kube import brokers
from ttg.kube.layout import Cluster
from ttg.kube.objects import Object, resource, volume_claim

ACCOUNT = "sandbox"
NOTE = """\
# For a sandbox only: the broker's account (`ttg`, password `sandbox`; not guest) is in these files, where everybody can
# read it. For anything else `ttg kube up` makes a broker with random credentials, which are in no file.
"""
STORAGE = "2Gi"
REQUESTS = {"cpu": "50m", "memory": "256Mi"}


def cluster(backend: str) -> Cluster:
    """Where the example sweep finds its broker, and how large its disk is."""
    return Cluster(backend=backend, account=ACCOUNT, broker_storage=STORAGE, data_storage=STORAGE)


def broker_objects(backend: str) -> list[Object]:
    """The broker's account, configuration, service and disk, and its pod."""
    name, marks, here = brokers.broker_name(backend), brokers.broker_labels(backend), cluster(backend)
    spec = brokers.broker_pod(here)
    spec["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": name}})
    return [
        brokers.broker_secret(backend, ACCOUNT, ACCOUNT, ACCOUNT),
        *brokers.broker_service(backend),
        volume_claim(name, marks, here.broker_storage, here.storage_class),
        small(resource("v1", "Pod", name, marks, spec=spec)),
    ]


def small(item: Object) -> Object:
    """The same object, whose containers ask for little of a laptop's node: they share what there is. Limits stay."""
    for container in _containers(item):
        container["resources"]["requests"] = dict(REQUESTS)
    return item


def _containers(item: Object) -> list[Any]:
    spec = item.get("spec", {})
    return list(spec.get("template", {}).get("spec", spec).get("containers", []))
