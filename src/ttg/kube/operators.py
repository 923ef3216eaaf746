"""Resources for operators that a cluster may have: KEDA, the Prometheus operator, the RabbitMQ cluster operator."""

from __future__ import annotations

from ttg.kube.brokers import PORTS, RABBITMQ_CONFIGURATION, broker_labels, broker_name, secret_name
from ttg.kube.jobs import METRICS_PORT
from ttg.kube.layout import Cluster
from ttg.kube.objects import Object, labels, resource, service

TASKS_PER_WORKER = 2  # one in work, one waiting: fewer would leave workers idle, more would start too few


def scaled_object(cluster: Cluster, most_workers: int) -> list[Object]:
    """Workers from none to ``most_workers``, by the tasks that wait, are in work, or wait for their retry."""
    backend, marks = cluster.backend, labels("ttg-worker", "autoscaler", queue_backend=cluster.backend)
    name = f"ttg-worker-{backend}"
    triggers = redis_triggers(cluster) if backend == "redis" else rabbitmq_triggers(cluster)
    spec = {
        "scaleTargetRef": {"name": name},
        "minReplicaCount": 0,
        "maxReplicaCount": most_workers,
        "pollingInterval": 5,
        "cooldownPeriod": 60,
        "triggers": [{**trigger, "authenticationRef": {"name": name}} for trigger in triggers],
    }
    return [
        _trigger_authentication(name, backend, marks),
        resource("keda.sh/v1alpha1", "ScaledObject", name, marks, spec=spec),
    ]


def _trigger_authentication(name: str, backend: str, marks: dict[str, str]) -> Object:
    parameters = ["password"] if backend == "redis" else ["username", "password"]
    references = [{"parameter": key, "name": secret_name(backend), "key": key} for key in parameters]
    return resource("keda.sh/v1alpha1", "TriggerAuthentication", name, marks, spec={"secretTargetRef": references})


def redis_triggers(cluster: Cluster) -> list[Object]:
    """The task stream's length (queued and in work: without ``consumerGroup`` KEDA asks XLEN), and the retry set's."""
    address = {"address": f"{_host(cluster)}:{PORTS['redis']['redis']}"}
    tasks = {**address, "stream": "ttg.tasks", "streamLength": str(TASKS_PER_WORKER)}
    retries = {**address, "listName": "ttg.tasks.retry", "listLength": str(TASKS_PER_WORKER)}
    return [{"type": "redis-streams", "metadata": tasks}, {"type": "redis", "metadata": retries}]


def rabbitmq_triggers(cluster: Cluster) -> list[Object]:
    """Queue lengths over HTTP: over AMQP, KEDA would not see tasks in work and scale to zero in the midst of them.
    One trigger for all queues with unfinished tasks: those that are held for long are in queues of their holders, and a
    delay of its own has a retry queue of its own. Of a queue by name that is not declared yet KEDA gets an error."""
    metadata = {
        "host": f"http://{_host(cluster)}:{PORTS['rabbitmq']['management']}/",
        "vhostName": "/",
        "protocol": "http",
        "mode": "QueueLength",
        "value": str(TASKS_PER_WORKER),
        "queueName": r"^ttg\.tasks(\.held\..*|\.retry(\.\d+)?)?$",
        "useRegex": "true",
        "pageSize": "500",
    }
    return [{"type": "rabbitmq", "metadata": metadata}]


def _host(cluster: Cluster) -> str:
    """The broker's name as seen from the autoscaler's own namespace."""
    return f"{broker_name(cluster.backend)}.{cluster.namespace}.svc"


def monitoring_objects() -> list[Object]:
    """A headless service over all workers, one over all coordinators (who tell of runs and queues), and monitors for
    them and for RabbitMQ."""
    services, monitors = [], []
    for name in ("worker", "coordinator"):
        marks = labels("ttg-metrics" if name == "worker" else f"ttg-{name}-metrics", "metrics")
        own = service(
            marks["app.kubernetes.io/name"], marks, {"app.kubernetes.io/name": f"ttg-{name}"}, {"metrics": METRICS_PORT}
        )
        own["spec"]["clusterIP"] = "None"
        services.append(own)
        monitors.append(_service_monitor(f"ttg-{name}s", marks))
    return [*services, *monitors, _service_monitor("ttg-rabbitmq", broker_labels("rabbitmq"))]


def _service_monitor(name: str, selected: dict[str, str]) -> Object:
    selector = {"matchLabels": {"app.kubernetes.io/name": selected["app.kubernetes.io/name"]}}
    spec = {"selector": selector, "endpoints": [{"port": "metrics", "path": "/metrics", "interval": "5s"}]}
    return resource("monitoring.coreos.com/v1", "ServiceMonitor", name, labels("ttg-metrics", "metrics"), spec=spec)


def rabbitmq_cluster(cluster: Cluster, replicas: int = 3) -> Object:
    """RabbitMQ by its own operator: three nodes, so that quorum queues outlive one of them."""
    marks = broker_labels("rabbitmq")
    persistence: Object = {"storage": cluster.broker_storage}
    if cluster.storage_class is not None:
        persistence["storageClassName"] = cluster.storage_class
    settings = [line for line in RABBITMQ_CONFIGURATION.splitlines() if line.startswith(("vm_memory", "disk_free"))]
    spec = {
        "replicas": replicas,
        "persistence": persistence,
        "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}},
        "rabbitmq": {"additionalConfig": "\n".join(settings) + "\n"},
        "secretBackend": {"externalSecret": {"name": secret_name("rabbitmq")}},
    }
    return resource("rabbitmq.com/v1beta1", "RabbitmqCluster", broker_name("rabbitmq"), marks, spec=spec)
