"""What ``docs/kubernetes.md`` says to type, held against the manifests: files, names, labels, image tags, ports."""

from __future__ import annotations

import shlex
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from ttg.kube.render import tree

ROOT = Path(__file__).parents[2]
IN_THIS_ORDER = """\
kubectl apply -f k8s/manifests/rabbitmq.yaml
kubectl get pod ttg-rabbitmq
kubectl exec ttg-rabbitmq -- rabbitmq-diagnostics -q ping
docker build -t ttg-worker:v1.3.0 -f docker/Dockerfile .
kind load docker-image ttg-worker:v1.3.0 --name ttg-sandbox
kubectl apply -f k8s/manifests/parallel-jobs-queue-rabbitmq.yaml
kubectl get pods -l ttg.io/queue-backend=rabbitmq -w
kubectl port-forward pod/ttg-rabbitmq 15672:15672
"""
LAPTOP_CPU, LAPTOP_MIB = 2000, 4096
SWEEPS = {"redis": "parallel-jobs-queue", "rabbitmq": "parallel-jobs-queue-rabbitmq"}


def sandbox_commands() -> list[list[str]]:
    """The commands of the sandbox's chapter, as a shell would split them."""
    text = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    chapter = text.partition("### The sandbox")[2].partition("\n## ")[0]
    lines = [line for block in chapter.split("```")[1::2] for line in block.splitlines()[1:]]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all(tree()[name]))


def sandbox(backend: str) -> list[Any]:
    return [*documents(f"manifests/{backend}.yaml"), *documents(f"manifests/{SWEEPS[backend]}.yaml")]


def pods(backend: str) -> list[tuple[dict[str, str], Any, int]]:
    """Labels, specification and number of every pod of the sandbox."""
    found = []
    for item in sandbox(backend):
        if item["kind"] == "Pod":
            found.append((item["metadata"]["labels"], item["spec"], 1))
        elif item["kind"] == "Job":
            template = item["spec"]["template"]
            found.append((template["metadata"]["labels"], template["spec"], item["spec"].get("parallelism", 1)))
    return found


def bare_pod(name: str) -> Any:
    (pod,) = [item for item in sandbox(name.removeprefix("ttg-")) if item["kind"] == "Pod"]
    assert pod["metadata"]["name"] == name
    return pod


def test_the_commands_are_these_in_this_order() -> None:
    text = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    assert IN_THIS_ORDER in text


@pytest.mark.parametrize("words", sandbox_commands(), ids=" ".join)
def test_every_command_names_what_there_is(words: list[str]) -> None:
    match words:
        case ["kubectl", "apply" | "delete", *files]:
            assert all((ROOT / name).is_file() for name in files if name != "-f")
        case ["kubectl", "get", "pod", name]:
            bare_pod(name)
        case ["kubectl", "exec", name, "--", program, *_]:
            assert program in ("rabbitmq-diagnostics", "rabbitmqctl", "valkey-cli")
            bare_pod(name)
        case ["kubectl", "port-forward", target, ports]:
            (container,) = bare_pod(target.removeprefix("pod/"))["spec"]["containers"]
            assert ports in {f"{port['containerPort']}:{port['containerPort']}" for port in container["ports"]}
        case ["kubectl", "get", "pods", "-l", label, "-w"]:
            key, _, value = label.partition("=")
            assert all(marks[key] == value for marks, _, _ in pods(value))
        case ["kubectl", "logs", "-f", target]:
            named = [item for backend in SWEEPS for item in sandbox(backend)]
            assert target in {f"{item['kind'].lower()}/{item['metadata']['name']}" for item in named}
        case ["docker", "build", "-t", image, "-f", "docker/Dockerfile", "."]:
            assert image in images()
        case ["kind", "load", "docker-image", image, "--name", name]:
            assert image in images()
            assert name == yaml.safe_load((ROOT / "k8s/local/kind-config.yaml").read_text())["name"]
        case _:
            assert words == ["kind", "create", "cluster", "--config", "k8s/local/kind-config.yaml"]


def images() -> set[str]:
    """The images of ours that any manifest names."""
    return {
        container["image"]
        for name in tree()
        for item in yaml.safe_load_all(tree()[name])
        for container in item.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
        if container["image"].startswith("ttg-")
    }


def test_there_is_one_tag() -> None:
    (image,) = images()
    for name in ("compose.yaml", "docker/smoke-test.sh"):
        assert image in (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("backend", SWEEPS)
def test_nothing_must_be_made_before(backend: str) -> None:
    """What the pods refer to (Secrets, ConfigMaps, claims) is in the files."""
    there = {(item["kind"], item["metadata"]["name"]) for item in sandbox(backend)}
    for _, spec, _ in pods(backend):
        for volume in spec["volumes"]:
            wanted = {
                ("Secret", volume.get("secret", {}).get("secretName")),
                ("ConfigMap", volume.get("configMap", {}).get("name")),
                ("PersistentVolumeClaim", volume.get("persistentVolumeClaim", {}).get("claimName")),
            }
            assert {need for need in wanted if need[1]} <= there
        for variable in (entry for container in spec["containers"] for entry in container.get("env", [])):
            if "valueFrom" in variable:
                assert ("Secret", variable["valueFrom"]["secretKeyRef"]["name"]) in there


@pytest.mark.parametrize("backend", SWEEPS)
def test_it_fits_a_laptops_node(backend: str) -> None:
    requests = [(spec["containers"][0]["resources"]["requests"], count) for _, spec, count in pods(backend)]
    assert sum(int(asked["cpu"].removesuffix("m")) * count for asked, count in requests) <= LAPTOP_CPU / 4
    assert sum(int(asked["memory"].removesuffix("Mi")) * count for asked, count in requests) <= LAPTOP_MIB / 2


@pytest.mark.parametrize("backend", SWEEPS)
def test_the_sweep_is_whole(backend: str) -> None:
    """A coordinator and workers for the same run, of one broker, allowed the same function."""
    specs = {marks["app.kubernetes.io/name"]: spec["containers"][0] for marks, spec, _ in pods(backend)}
    coordinator, worker = specs["ttg-coordinator"], specs["ttg-worker"]
    identity = {entry["name"]: entry.get("value") for entry in coordinator["env"]}["TTG_RUN_IDENTITY"]
    assert f"example-{backend}@{identity}" in worker["args"]
    function = worker["args"][worker["args"].index("--allow") + 1]
    assert function in coordinator["command"]
    assert fnmatch(function, "examples/*:*"), "which the image has"
    assert (ROOT / function.partition(":")[0]).is_file()
