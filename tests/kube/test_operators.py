"""Resources for KEDA and the Prometheus operator, against schemas of the fields we use.

The schemas follow the projects' references (KEDA: ScaledObject and the scalers `redis-streams`, `redis`,
`rabbitmq`; Prometheus operator: ServiceMonitor) and are closed: a field they do not name is an error.
"""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
import yaml

from ttg.kube.render import tree

FILES = (
    "overlays/keda-redis/autoscaler.yaml",
    "overlays/keda-rabbitmq/autoscaler.yaml",
    "overlays/monitoring/monitoring.yaml",
)


def closed(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """Schema of an object with these fields and no others."""
    return {
        "type": "object",
        "properties": required | optional,
        "required": list(required),
        "additionalProperties": False,
    }


def every(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


def scaler(kind: str, optional: dict[str, Any] | None = None, /, **metadata: Any) -> dict[str, Any]:
    """A trigger; KEDA takes only texts in its metadata, numbers too."""
    fields = closed(metadata, **optional or {})
    return closed({"type": {"const": kind}, "metadata": fields, "authenticationRef": closed({"name": TEXT})})


TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}
NUMERAL = {"type": "string", "pattern": "^[0-9]+$"}
DURATION = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}
ADDRESS = {"type": "string", "pattern": r"^[a-z0-9.-]+:\d+$"}

TRIGGER = {
    "oneOf": [
        scaler("redis-streams", address=ADDRESS, stream=TEXT, streamLength=NUMERAL),
        scaler("redis", address=ADDRESS, listName=TEXT, listLength=NUMERAL),
        scaler(
            "rabbitmq",
            {"useRegex": {"enum": ["true", "false"]}, "pageSize": NUMERAL},
            host={"type": "string", "pattern": r"^http://[a-z0-9.-]+:\d+/$"},
            vhostName=TEXT,
            protocol={"const": "http"},
            mode={"const": "QueueLength"},
            value=NUMERAL,
            queueName=TEXT,
        ),
    ]
}
SPECS = {
    ("keda.sh/v1alpha1", "ScaledObject"): closed(
        {"scaleTargetRef": closed({"name": TEXT}), "triggers": every(TRIGGER)},
        minReplicaCount=COUNT,
        maxReplicaCount=COUNT,
        pollingInterval=COUNT,
        cooldownPeriod=COUNT,
    ),
    ("keda.sh/v1alpha1", "TriggerAuthentication"): closed(
        {"secretTargetRef": every(closed({"parameter": TEXT, "name": TEXT, "key": TEXT}))}
    ),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): closed(
        {
            "selector": closed({"matchLabels": {"type": "object", "additionalProperties": TEXT}}),
            "endpoints": every(closed({"port": TEXT}, path=TEXT, interval=DURATION)),
        }
    ),
}


def resources(kind: str) -> list[Any]:
    found = (item for name in FILES for item in yaml.safe_load_all(tree()[name]))
    return [item for item in found if item["kind"] == kind]


@pytest.mark.parametrize(("api", "kind"), SPECS)
def test_operators_know_every_field(api: str, kind: str) -> None:
    assert len(resources(kind)) == (3 if kind == "ServiceMonitor" else 2)
    for item in resources(kind):
        assert item["apiVersion"] == api
        jsonschema.validate(item["spec"], SPECS[api, kind])


def test_a_misspelt_field_is_found() -> None:
    item = resources("ScaledObject")[0]
    item["spec"]["minReplicas"] = 0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(item["spec"], SPECS[item["apiVersion"], item["kind"]])


def test_workers_scale_by_all_that_is_unfinished() -> None:
    """Tasks in work and waiting retries count too, or KEDA would scale to zero in the midst of them."""
    redis, rabbitmq = (item["spec"]["triggers"] for item in resources("ScaledObject"))
    assert redis[0]["metadata"]["stream"] == "ttg.tasks", "its whole length: with a consumerGroup, only what is in work"
    assert redis[1]["metadata"]["listName"] == "ttg.tasks.retry"
    (tasks,) = (trigger["metadata"] for trigger in rabbitmq)
    assert tasks["useRegex"] == "true"
    unfinished = ["ttg.tasks", "ttg.tasks.held.w1.0a1b", "ttg.tasks.retry", "ttg.tasks.retry.7000"]
    others = ["ttg.tasks.dlq", "my.ttg.tasks", "ttg.results"]
    assert [name for name in unfinished + others if re.search(tasks["queueName"], name)] == unfinished


def test_autoscalers_start_from_none_and_find_their_deployment() -> None:
    for item, backend in zip(resources("ScaledObject"), ("redis", "rabbitmq"), strict=True):
        assert item["spec"]["minReplicaCount"] == 0
        deployment = yaml.safe_load(tree()[f"overlays/keda-{backend}/workers.yaml"])
        assert deployment["metadata"]["name"] == item["spec"]["scaleTargetRef"]["name"]
        assert "replicas" not in deployment["spec"], "the autoscaler decides"


@pytest.mark.parametrize("who", ["worker", "coordinator"])
def test_the_monitors_find_workers_and_coordinators(who: str) -> None:
    documents = {
        (item["kind"], item["metadata"]["name"]): item
        for item in yaml.safe_load_all(tree()["overlays/monitoring/monitoring.yaml"])
    }
    monitor = documents["ServiceMonitor", f"ttg-{who}s"]["spec"]
    wanted = monitor["selector"]["matchLabels"].items()
    (service,) = (
        item
        for (kind, _), item in documents.items()
        if kind == "Service" and wanted <= item["metadata"]["labels"].items()
    )
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    pods = service["spec"]["selector"].items()
    assert pods == documents["NetworkPolicy", f"ttg-{who}s-metrics"]["spec"]["podSelector"]["matchLabels"].items()
    jobs = list(yaml.safe_load_all(tree()["manifests/parallel-jobs-queue.yaml"]))
    (template,) = (
        item["spec"]["template"]
        for item in jobs
        if item["kind"] == "Job" and pods <= item["spec"]["template"]["metadata"]["labels"].items()
    )
    (port,) = template["spec"]["containers"][0]["ports"]
    assert port == {"name": "metrics", "containerPort": service["spec"]["ports"][0]["port"]}
