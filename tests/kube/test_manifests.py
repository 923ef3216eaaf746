"""Every manifest in ``k8s/``: written from the code, valid for each supported Kubernetes, labelled, and restricted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from ttg.kube import render
from ttg.kube.code import code_configs, with_files
from ttg.kube.jobs import READER, reader_pod
from ttg.kube.layout import Cluster, Sweep
from ttg.kube.render import tree
from ttg.options import Options

K8S = Path(__file__).parents[2] / "k8s"
KUBECTL = Path(sys.executable).with_name("kubectl")
VERSIONS = ("1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
OPERATORS = ("keda.sh/", "monitoring.coreos.com/", "rabbitmq.com/", "kustomize.config.k8s.io/")
OVERLAYS = sorted(path.parent.relative_to(K8S).as_posix() for path in K8S.rglob("kustomization.yaml"))
FILES = sorted(name for name in tree() if not name.endswith("kustomization.yaml"))


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all(tree()[name]))


@cache
def built(overlay: str) -> tuple[Any, ...]:
    """What ``kubectl kustomize`` makes of an overlay."""
    done = subprocess.run([KUBECTL, "kustomize", K8S / overlay], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def everything() -> Iterator[Any]:
    for name in FILES:
        yield from documents(name)
    for overlay in OVERLAYS:
        yield from built(overlay)
    yield from driven()


def driven() -> Iterator[Any]:
    """What `ttg kube run` applies that is in no file: a sweep with files of its own, and the pod that reads it."""
    cluster, name = Cluster(backend="rabbitmq", storage_class="fast"), "r" * 40
    sweep = with_files(Sweep(name, f"{__file__}:f", ("x='ä b',$HOME",), Options(slots=2, cpu="250m", seed=7)))
    yield from code_configs(sweep, b"of-a-test")
    yield from render.sweep_objects(cluster, sweep)
    yield reader_pod(cluster, f"{READER}-c0ffee")


def pod_specs(objects: Iterator[Any]) -> Iterator[tuple[str, Any]]:
    for item in objects:
        if item["kind"] == "Pod":
            yield f"Pod {item['metadata']['name']}", item["spec"]
        elif "template" in item.get("spec", {}):
            yield f"{item['kind']} {item['metadata']['name']}", item["spec"]["template"]["spec"]


def worker_job(name: str) -> Any:
    """The workers of the example sweep in ``k8s/manifests``."""
    jobs = [item for item in documents(f"manifests/{name}.yaml") if item["kind"] == "Job"]
    return next(item for item in jobs if item["metadata"]["labels"]["app.kubernetes.io/name"] == "ttg-worker")


def test_the_files_are_what_the_code_renders() -> None:
    on_disk = {path.relative_to(K8S).as_posix() for path in K8S.rglob("*.yaml") if "local" not in path.parts}
    assert on_disk == set(tree()), "run `ttg kube render`, and remove what it does not write"
    stale = [name for name, text in tree().items() if (K8S / name).read_text(encoding="utf-8") != text]
    assert not stale, "run `ttg kube render`"


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_every_object(version: str) -> None:
    distinct = {json.dumps(item, sort_keys=True): item for item in everything()}
    own = [item for item in distinct.values() if not item["apiVersion"].startswith(OPERATORS)]
    assert len(own) > 30
    for item in own:
        kubernetes_validate.validate(item, version, strict=True)


def test_validation_is_strict() -> None:
    job = worker_job("parallel-jobs-queue")
    job["spec"]["paralelism"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.33", strict=True)


def test_documented_names() -> None:
    """Names that scripts, dashboards and people rely on."""
    for backend, port in (("redis", 6379), ("rabbitmq", 5672)):
        found = {(item["kind"], item["metadata"]["name"]): item for item in documents(f"manifests/{backend}.yaml")}
        ports = [entry["port"] for entry in found["Service", f"ttg-{backend}"]["spec"]["ports"]]
        assert ports[0] == port
        assert ("Pod", f"ttg-{backend}") in found
        kept = {(item["kind"], item["metadata"]["name"]) for item in documents(f"base/{backend}/broker.yaml")}
        assert ("StatefulSet", f"ttg-{backend}") in kept, "what is meant to stay comes back after its node is lost"
    assert 15672 in ports, "the management UI"


@pytest.mark.parametrize(
    ("name", "backend"), [("parallel-jobs-queue", "redis"), ("parallel-jobs-queue-rabbitmq", "rabbitmq")]
)
def test_worker_labels(name: str, backend: str) -> None:
    job = worker_job(name)
    for marks in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
        assert marks["ttg.io/project"] == "distributed-compute"
        assert marks["ttg.io/queue-backend"] == backend
        assert marks["app.kubernetes.io/name"] == "ttg-worker"
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "ttg-worker:v1.3.0"
    assert {"name": "QUEUE_BACKEND", "value": backend} in container["env"]


def test_everything_carries_the_project_label() -> None:
    for item in everything():
        if item["kind"] == "Kustomization":
            continue
        assert item["metadata"]["labels"]["ttg.io/project"] == "distributed-compute", item["metadata"]["name"]
        template = item.get("spec", {}).get("template")
        if template:
            assert template["metadata"]["labels"]["ttg.io/project"] == "distributed-compute"


def test_restricted_profile() -> None:
    """Kubernetes' Pod Security Standard 'restricted', and a read-only root file system besides."""
    checked = list(pod_specs(everything()))
    assert len(checked) > 15
    for name, spec in checked:
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        kinds = {kind for volume in spec["volumes"] for kind in set(volume) - {"name"}}
        assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}, name
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert security["readOnlyRootFilesystem"] is True, name
            assert container["resources"]["limits"]["memory"], name


def test_no_credential_is_written_down_but_the_sandboxs() -> None:
    """Passwords come from a Secret by reference, and the only ones in the repository are of the sandbox."""
    for name in FILES:
        for item in documents(name):
            if item["kind"] == "Secret":
                assert (name.split("/")[0], item["stringData"]["username"]) == ("manifests", "ttg"), "not guest"
                assert "not guest" in tree()[name].partition("---")[0], "the file says what it is for"
        assert name.startswith("manifests/") or "-sandbox" not in tree()[name], "nothing else refers to it"
    for _, spec in pod_specs(everything()):
        for variable in (entry for container in spec["containers"] for entry in container.get("env", [])):
            if "PASS" in variable["name"] or "SECRET" in variable["name"]:
                assert "value" not in variable, variable


@pytest.mark.parametrize("name", ["parallel-jobs-queue", "parallel-jobs-queue-rabbitmq"])
def test_a_worker_is_replaced_without_ending_its_siblings(name: str) -> None:
    job = worker_job(name)["spec"]
    assert job["completionMode"] == "Indexed"
    assert job["backoffLimitPerIndex"] >= 100
    assert job["completions"] == job["parallelism"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    first, *others = job["podFailurePolicy"]["rules"]
    assert first["action"] == "Ignore"
    assert first["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    codes = {rule["action"]: rule["onExitCodes"]["values"] for rule in others}
    assert codes == {"Ignore": [75], "FailJob": [2]}, "drained: replaced and not counted; bad input: hopeless"


def test_children_stay_below_the_containers_limit() -> None:
    worker = worker_job("parallel-jobs-queue")["spec"]["template"]["spec"]["containers"][0]
    sweep = {item["metadata"]["name"]: item for item in documents("manifests/parallel-jobs-queue.yaml")}
    coordinator = sweep["ttg-coordinator-example-redis"]["spec"]["template"]["spec"]
    command = coordinator["containers"][0]["command"]
    (memory,) = [word for word in command if word.startswith("--memory=")]
    child_mib = int(memory.removeprefix("--memory=").removesuffix("M"))
    assert child_mib + 128 <= int(worker["resources"]["limits"]["memory"].removesuffix("Mi"))


def test_everything_is_denied_but_what_is_named() -> None:
    for backend in ("redis", "rabbitmq"):
        rules = {
            i["metadata"]["name"]: i["spec"]
            for i in documents(f"manifests/{backend}.yaml")
            if i["kind"] == "NetworkPolicy"
        }
        deny = rules["ttg-default-deny"]
        assert deny["policyTypes"] == ["Ingress", "Egress"]
        assert not {"ingress", "egress"} & set(deny)
        assert deny["podSelector"]["matchLabels"] == {"ttg.io/project": "distributed-compute"}, "foreign pods stay free"
        assert f"ttg-{backend}-from-clients" in rules


def test_the_namespace_admits_only_restricted_pods() -> None:
    namespace = next(item for item in built("base/redis") if item["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("overlay", [name for name in OVERLAYS if name != "overlays/monitoring"])
def test_overlays_land_in_one_namespace(overlay: str) -> None:
    places = {item["metadata"].get("namespace") for item in built(overlay) if item["kind"] != "Namespace"}
    assert places == {"ttg"}
