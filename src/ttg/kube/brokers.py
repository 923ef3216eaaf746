"""The two brokers: one StatefulSet each, with durable storage, credentials from a Secret, and its configuration."""

from __future__ import annotations

import json

from ttg.kube.layout import Cluster
from ttg.kube.objects import (
    Object,
    config_map,
    container,
    disruption_budget,
    env_from_secret,
    labels,
    mount,
    pod_security,
    pod_spec,
    resource,
    resources,
    scratch,
    service,
    volume_claim,
)

REDIS_IMAGE = "valkey/valkey:8.1"
RABBITMQ_IMAGE = "rabbitmq:4.1-management"
USER = "ttg"
PORTS = {
    "redis": {"redis": 6379},
    "rabbitmq": {"amqp": 5672, "management": 15672, "metrics": 15692},
}

# noeviction: a broker that forgets tasks silently is worse than one that says it is full.
REDIS_CONFIGURATION = """\
dir /data
appendonly yes
appendfsync everysec
maxmemory 768mb
maxmemory-policy noeviction
include /etc/ttg/auth/auth.conf
"""

RABBITMQ_CONFIGURATION = """\
listeners.tcp.default = 5672
management.tcp.port = 15672
prometheus.tcp.port = 15692
vm_memory_high_watermark.relative = 0.6
disk_free_limit.absolute = 1GB
log.console = true
log.console.level = info
load_definitions = /etc/rabbitmq/definitions.json
"""

CONFIGURATION = {
    "redis": {"valkey.conf": REDIS_CONFIGURATION},
    "rabbitmq": {
        "20-ttg.conf": RABBITMQ_CONFIGURATION,
        "enabled_plugins": "[rabbitmq_management,rabbitmq_prometheus].\n",
    },
}


def broker_name(backend: str) -> str:
    """Name of the broker's service, StatefulSet and configuration: ``ttg-redis`` or ``ttg-rabbitmq``."""
    return f"ttg-{backend}"


def secret_name(backend: str, account: str = "auth") -> str:
    """Name of the Secret with the broker's credentials and the secret that signs functions."""
    return f"ttg-{backend}-{account}"


def broker_labels(backend: str) -> dict[str, str]:
    """Labels of a broker's objects."""
    return labels(broker_name(backend), "broker", queue_backend=backend)


def broker_selector(backend: str) -> dict[str, str]:
    """Labels that pick the broker's pods and nothing else."""
    return {"app.kubernetes.io/name": broker_name(backend), "app.kubernetes.io/component": "broker"}


def broker_secret(backend: str, password: str, signing_secret: str, account: str = "auth") -> Object:
    """The credentials. ``password`` and ``signing_secret`` are random texts that need no quoting anywhere."""
    configuration = {
        "redis": {"auth.conf": f"requirepass {password}\n"},
        "rabbitmq": {
            "default_user.conf": f"default_user = {USER}\ndefault_pass = {password}\n",  # RabbitMQ's operator reads it
            "definitions.json": rabbitmq_account(password),
        },
    }[backend]
    keys = {"username": USER, "password": password, **configuration, "signing-secret": signing_secret}
    body = {"type": "Opaque", "stringData": keys}
    return resource("v1", "Secret", secret_name(backend, account), broker_labels(backend), **body)


def rabbitmq_account(password: str) -> str:
    """The account as definitions, which RabbitMQ reads at every start. A default user is made on an empty disk only: a
    disk that knows an older password would refuse everybody."""
    every = dict.fromkeys(("configure", "write", "read"), ".*")
    definitions = {
        "vhosts": [{"name": "/"}],
        "users": [{"name": USER, "password": password, "tags": ["administrator"]}],
        "permissions": [{"user": USER, "vhost": "/", **every}],
    }
    return json.dumps(definitions)


def broker_objects(cluster: Cluster) -> list[Object]:
    """Everything of the cluster's broker except its Secret."""
    backend, marks = cluster.backend, broker_labels(cluster.backend)
    name, selector = broker_name(backend), broker_selector(backend)
    return [
        *broker_service(backend),
        _stateful_set(cluster, broker_pod(cluster)),
        disruption_budget(name, marks, selector, maxUnavailable=1),
    ]


def broker_service(backend: str) -> list[Object]:
    """Its configuration, and the name under which clients find it."""
    name, marks = broker_name(backend), broker_labels(backend)
    return [
        config_map(name, marks, CONFIGURATION[backend]),
        service(name, marks, broker_selector(backend), PORTS[backend]),
    ]


def broker_pod(cluster: Cluster) -> Object:
    """What a pod of the cluster's broker is; its disk is a volume ``data``, which it does not name itself."""
    secret = secret_name(cluster.backend, cluster.account)
    return redis_pod(secret) if cluster.backend == "redis" else rabbitmq_pod(secret)


def _stateful_set(cluster: Cluster, pod: Object) -> Object:
    marks, selector = broker_labels(cluster.backend), broker_selector(cluster.backend)
    name = broker_name(cluster.backend)
    # Moving the only broker costs every worker a pause: the autoscaler should empty some other node.
    annotations = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    spec = {
        "serviceName": name,
        "replicas": 1,
        "selector": {"matchLabels": selector},
        "template": {"metadata": {"labels": marks, "annotations": annotations}, "spec": pod},
        "volumeClaimTemplates": [_claim_template(cluster)],
    }
    return resource("apps/v1", "StatefulSet", name, marks, spec=spec)


def _claim_template(cluster: Cluster) -> Object:
    claim = volume_claim("data", broker_labels(cluster.backend), cluster.broker_storage, cluster.storage_class)
    return {key: claim[key] for key in ("apiVersion", "kind", "metadata", "spec")}


def redis_pod(secret: str) -> Object:
    """Valkey with its append-only file on the claim."""
    name = broker_name("redis")
    server = container(
        "redis",
        REDIS_IMAGE,
        command=["valkey-server", "/etc/ttg/config/valkey.conf"],
        env=env_from_secret(secret, REDISCLI_AUTH="password"),
        ports=_container_ports("redis"),
        startupProbe=_probe({"tcpSocket": {"port": "redis"}}, period=2, failures=150),
        readinessProbe=_probe({"exec": {"command": ["sh", "-c", "valkey-cli ping | grep -q PONG"]}}, period=5),
        livenessProbe=_probe({"tcpSocket": {"port": "redis"}}, period=10, failures=6),
        resources=resources("250m", "1Gi"),
        volumeMounts=[
            mount("data", "/data"),
            mount("config", "/etc/ttg/config", readOnly=True),
            mount("auth", "/etc/ttg/auth", readOnly=True),
        ],
    )
    auth = {"secretName": secret, "items": [{"key": "auth.conf", "path": "auth.conf"}]}
    volumes = [{"name": "config", "configMap": {"name": name}}, {"name": "auth", "secret": auth}]
    return pod_spec(pod_security(999, 999), [server], terminationGracePeriodSeconds=60, volumes=volumes)


def rabbitmq_pod(secret: str) -> Object:
    """RabbitMQ with the management UI and its Prometheus endpoint."""
    name = broker_name("rabbitmq")
    ping = {"exec": {"command": ["rabbitmq-diagnostics", "-q", "ping"]}}
    server = container(
        "rabbitmq",
        RABBITMQ_IMAGE,
        ports=_container_ports("rabbitmq"),
        startupProbe=_probe({"tcpSocket": {"port": "amqp"}}, period=5, failures=60),
        readinessProbe=_probe({"tcpSocket": {"port": "amqp"}}, period=5),
        livenessProbe=_probe(ping, period=60, failures=3, timeout=30),
        resources=resources("500m", "2Gi"),
        volumeMounts=[
            mount("data", "/var/lib/rabbitmq"),
            mount("logs", "/var/log/rabbitmq"),
            mount("temporary", "/tmp"),
            mount("config", "/etc/rabbitmq/conf.d/20-ttg.conf", subPath="20-ttg.conf", readOnly=True),
            mount("config", "/etc/rabbitmq/enabled_plugins", subPath="enabled_plugins", readOnly=True),
            mount("auth", "/etc/rabbitmq/definitions.json", subPath="definitions.json", readOnly=True),
        ],
    )
    volumes = [
        {"name": "config", "configMap": {"name": name}},
        {"name": "auth", "secret": {"secretName": secret}},
        scratch("logs", "1Gi"),
        scratch("temporary", "256Mi"),
    ]
    return pod_spec(pod_security(999, 999), [server], terminationGracePeriodSeconds=120, volumes=volumes)


def _container_ports(backend: str) -> list[Object]:
    return [{"name": name, "containerPort": port} for name, port in PORTS[backend].items()]


def _probe(action: Object, *, period: int, failures: int = 3, timeout: int = 5) -> Object:
    return {**action, "periodSeconds": period, "failureThreshold": failures, "timeoutSeconds": timeout}
