"""Who may talk to whom. Only pods with TTG's label are governed: others in the namespace keep what they had."""

from __future__ import annotations

from ttg.kube.brokers import PORTS, broker_name
from ttg.kube.jobs import METRICS_PORT
from ttg.kube.objects import PROJECT, Object, labels, resource

CLIENT = {"ttg.io/broker-client": "true"}
COORDINATORS = {"app.kubernetes.io/name": "ttg-coordinator"}


def network_policies(backend: str) -> list[Object]:
    """Default deny; name resolution for all; workers and coordinators to their broker; metrics to monitoring."""
    broker, ports = _broker(backend), list(PORTS[backend].values())
    client = {**CLIENT, "ttg.io/queue-backend": backend}
    return [
        _policy("ttg-default-deny", PROJECT, policyTypes=["Ingress", "Egress"]),
        _policy("ttg-allow-dns", PROJECT, policyTypes=["Egress"], egress=[{"ports": _dns()}]),
        _policy(
            f"ttg-{backend}-from-clients",
            broker,
            policyTypes=["Ingress"],
            ingress=[{"from": [_pods(client)], "ports": _tcp(*ports[:1])}],
        ),
        _policy(
            f"ttg-clients-to-{backend}",
            client,
            policyTypes=["Egress"],
            egress=[{"to": [_pods(broker)], "ports": _tcp(*ports[:1])}],
        ),
    ]


def operated_policy() -> Object:
    """RabbitMQ's operator: its nodes find each other by the Kubernetes API, and talk to each other on several ports."""
    broker = _broker("rabbitmq")
    ingress = [{"from": [_pods(broker)]}]
    return _policy("ttg-rabbitmq-nodes", broker, policyTypes=["Ingress", "Egress"], ingress=ingress, egress=[{}])


def metrics_policies() -> list[Object]:
    """Prometheus, in a namespace labelled ``ttg.io/scrapes=true``, reaches the metrics of workers, coordinators and
    RabbitMQ."""
    return [
        _policy("ttg-workers-metrics", {"app.kubernetes.io/name": "ttg-worker"}, **_from_monitoring(METRICS_PORT)),
        _policy("ttg-coordinators-metrics", COORDINATORS, **_from_monitoring(METRICS_PORT)),
        _policy("ttg-rabbitmq-metrics", _broker("rabbitmq"), **_from_monitoring(PORTS["rabbitmq"]["metrics"])),
    ]


def autoscaler_policy(backend: str) -> Object:
    """KEDA, in its namespace ``keda``, asks the broker for queue lengths."""
    port = {"redis": PORTS["redis"]["redis"], "rabbitmq": PORTS["rabbitmq"]["management"]}[backend]
    keda = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}}
    ingress = [{"from": [keda], "ports": _tcp(port)}]
    return _policy(f"ttg-{backend}-from-keda", _broker(backend), policyTypes=["Ingress"], ingress=ingress)


def _broker(backend: str) -> dict[str, str]:
    """Labels of a broker's pods, whoever made them: RabbitMQ's operator gives them this name and another component."""
    return {"app.kubernetes.io/name": broker_name(backend)}


def _policy(name: str, selector: dict[str, str], **rules: object) -> Object:
    spec = {"podSelector": {"matchLabels": selector}, **rules}
    return resource("networking.k8s.io/v1", "NetworkPolicy", name, labels("ttg-network", "network"), spec=spec)


def _from_monitoring(port: int) -> Object:
    monitoring = {"namespaceSelector": {"matchLabels": {"ttg.io/scrapes": "true"}}}
    return {"policyTypes": ["Ingress"], "ingress": [{"from": [monitoring], "ports": _tcp(port)}]}


def _pods(selector: dict[str, str]) -> Object:
    return {"podSelector": {"matchLabels": selector}}


def _tcp(*ports: int) -> list[Object]:
    return [{"protocol": "TCP", "port": port} for port in ports]


def _dns() -> list[Object]:
    return [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
