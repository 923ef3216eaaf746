"""Everything in ``k8s/`` that is a manifest, as text by path. ``ttg kube render`` writes it; a test holds it equal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ttg.errors import InputError
from ttg.kube import brokers, jobs, network, operators, sandbox
from ttg.kube.layout import BACKENDS, Cluster, Sweep
from ttg.kube.objects import PROJECT, Object

HEADER = "# Written by `ttg kube render` from src/ttg/kube: change it there.\n"
EXAMPLE = "examples/option_pricing.py:price"
EXAMPLE_AXES = ("spot=linspace(80,120,401)", "volatility=linspace(0.1,0.4,31)")
JOB_FILES = {"redis": "parallel-jobs-queue.yaml", "rabbitmq": "parallel-jobs-queue-rabbitmq.yaml"}


def namespace(name: str) -> Object:
    """A namespace that admits only pods of the restricted profile."""
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    marks = {**PROJECT, "app.kubernetes.io/part-of": "ttg", **levels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": marks}}


def broker_with_policies(cluster: Cluster) -> list[Object]:
    """A broker and who may talk to it."""
    return [*brokers.broker_objects(cluster), *network.network_policies(cluster.backend)]


def worker_objects(cluster: Cluster, sweep: Sweep) -> list[Object]:
    """The workers of one run; none if they are left to an autoscaler."""
    return [jobs.worker_job(cluster, sweep), jobs.worker_budget(cluster, sweep)] if sweep.workers else []


def sweep_objects(cluster: Cluster, sweep: Sweep) -> list[Object]:
    """Coordinator and workers of one run."""
    return [*jobs.coordinator_objects(cluster, sweep), *worker_objects(cluster, sweep)]


def example_sweep(backend: str) -> Sweep:
    """The sweep in the plain manifests: 12,431 option prices, with the code that is in the image."""
    return Sweep(f"example-{backend}", EXAMPLE, EXAMPLE_AXES)


def tree() -> dict[str, str]:
    """Every generated file of ``k8s/``, by its path below it."""
    files: dict[str, str] = {}
    for backend in BACKENDS:
        files |= _manifests(Cluster(backend=backend)) | _kustomizations(Cluster(backend=backend))
    return files | _operator_overlays(Cluster(backend="rabbitmq"))


def _manifests(cluster: Cluster) -> dict[str, str]:
    """The sandbox: what works with kubectl alone."""
    backend, header = cluster.backend, HEADER + sandbox.NOTE
    policies = network.network_policies(backend)
    sweep = sweep_objects(sandbox.cluster(backend), example_sweep(backend))
    return {
        f"manifests/{backend}.yaml": to_yaml([*sandbox.broker_objects(backend), *policies], header=header),
        f"manifests/{JOB_FILES[backend]}": to_yaml([sandbox.small(item) for item in sweep], header=header),
    }


def _kustomizations(cluster: Cluster) -> dict[str, str]:
    backend = cluster.backend
    base, kind, keda = f"base/{backend}", f"overlays/kind-{backend}", f"overlays/keda-{backend}"
    sweep = example_sweep(backend)
    scaler = [*operators.scaled_object(cluster, most_workers=50), network.autoscaler_policy(backend)]
    return {
        f"{base}/kustomization.yaml": kustomization(["namespace.yaml", "broker.yaml"], namespace=cluster.namespace),
        f"{base}/namespace.yaml": to_yaml([namespace(cluster.namespace)]),
        f"{base}/broker.yaml": to_yaml(broker_with_policies(cluster)),
        f"{kind}/kustomization.yaml": kustomization(
            [f"../../{base}", "sweep.yaml"], namespace=cluster.namespace, patches=_small_requests(backend)
        ),
        f"{kind}/sweep.yaml": to_yaml(sweep_objects(cluster, sweep)),
        f"{keda}/kustomization.yaml": kustomization(
            [f"../../{base}", "workers.yaml", "autoscaler.yaml"], namespace=cluster.namespace
        ),
        f"{keda}/workers.yaml": to_yaml([jobs.worker_deployment(cluster, sweep)]),
        f"{keda}/autoscaler.yaml": to_yaml(scaler),
    }


def _operator_overlays(cluster: Cluster) -> dict[str, str]:
    monitoring = [*operators.monitoring_objects(), *network.metrics_policies()]
    policies = [*network.network_policies("rabbitmq"), network.operated_policy()]
    operated = [operators.rabbitmq_cluster(cluster), *policies]
    return {
        "overlays/monitoring/kustomization.yaml": kustomization(["monitoring.yaml"], namespace=cluster.namespace),
        "overlays/monitoring/monitoring.yaml": to_yaml(monitoring),
        "overlays/rabbitmq-operator/kustomization.yaml": kustomization(["broker.yaml"], namespace=cluster.namespace),
        "overlays/rabbitmq-operator/broker.yaml": to_yaml(operated),
    }


def _small_requests(backend: str) -> list[Object]:
    """A laptop has few cores: ask for little of them, and share."""
    path = "/spec/template/spec/containers/0/resources/requests/cpu"
    patch = to_yaml([{"op": "replace", "path": path, "value": "50m"}], as_list=True, header="")
    selector = f"ttg.io/queue-backend={backend}"
    return [{"target": {"kind": kind, "labelSelector": selector}, "patch": patch} for kind in ("Job", "StatefulSet")]


def kustomization(resources: Iterable[str], **body: Any) -> str:
    """A ``kustomization.yaml``."""
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return to_yaml([{**head, "resources": list(resources), **{key: value for key, value in body.items() if value}}])


def to_yaml(objects: list[Object], *, as_list: bool = False, header: str = HEADER) -> str:
    """YAML documents (or one list), keys in the order they were written, texts of several lines as blocks."""
    try:
        import yaml
    except ImportError as error:
        raise InputError("writing YAML needs PyYAML: pip install 'ttg-compute[kube]'") from error

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Dumper, data: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)

    Dumper.add_representer(str, text)
    documents = [objects] if as_list else objects
    body = yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, explicit_start=not as_list, width=120)
    return header + str(body)
