"""Workers and the coordinator of a sweep, and the pod that reads a dataset back."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ttg.kube.archive import MAC_BYTES
from ttg.kube.brokers import PORTS, broker_name, secret_name
from ttg.kube.layout import Cluster, Sweep
from ttg.kube.objects import (
    NON_ROOT_ID,
    Object,
    container,
    disruption_budget,
    env,
    env_from_secret,
    labels,
    mount,
    pod_security,
    pod_spec,
    resource,
    resources,
    scratch,
    volume_claim,
)

DATA_CLAIM = "ttg-data"
READER = "ttg-reader"
METRICS_PORT = 9464
METRICS = ("--metrics-host", "0.0.0.0", "--metrics-port", str(METRICS_PORT))
METRICS_PORTS: list[Object] = [{"name": "metrics", "containerPort": METRICS_PORT}]
BAD_INPUT, INCOMPLETE, FINISHED_WITH_DEAD_LETTERS, DRAINED = 2, 4, 5, 75  # exit codes of `ttg`, see its --help
STOPPED = 64 + INCOMPLETE
"""A coordinator's exit code when the run stopped by itself, or was cancelled: another pod would begin again."""
DAY_SECONDS = 24 * 3600
CODE_FOLDER = "/code"
PART_BYTES = 1_000_000  # Kubernetes takes 1 MiB with everything around it

# A run that was begun is resumed, whatever ended the coordinator before: its pod may come back at any moment. What
# another run left under the same id is left alone. SIGTERM is handed on; a run that stopped without one is over.
COORDINATOR_SCRIPT = (
    'if [ ! -e "$0/run.json" ]; then ttg run "$@" & '
    'elif grep -q "$TTG_RUN_IDENTITY" "$0/run.json"; then ttg resume "$0" {resume} & '
    'else echo "ttg: $0 on the data claim holds another run with this id: choose another --run-id" >&2; exit 2; fi; '
    'told=""; trap "told=1; kill -TERM $!" TERM; '
    f'wait $!; code=$?; if [ "$told" ]; then wait $!; exit $?; fi; [ $code != {INCOMPLETE} ] || exit {STOPPED}; '
    "exit $code"
)


def run_folder(run: str) -> str:
    """Where the coordinator keeps a run on the data claim."""
    return f"/data/{run}"


def coordinator_name(run: str) -> str:
    """Name of a run's coordinator Job."""
    return f"ttg-coordinator-{run}"


def worker_name(run: str) -> str:
    """Name of a run's worker Job and of its disruption budget."""
    return f"ttg-worker-{run}"


def code_names(sweep: Sweep) -> list[str]:
    """Names of the ConfigMaps with a run's own files, signed and cut into parts."""
    size = MAC_BYTES + len(sweep.archive.packed) if sweep.archive else 0
    return [f"ttg-code-{sweep.run}-{place}" for place in range(-(-size // PART_BYTES))]


def identity_of(coordinator: Object) -> str:
    """The identity of the run that a coordinator Job, as the cluster has it, is of."""
    variables = coordinator["spec"]["template"]["spec"]["containers"][0]["env"]
    return next((str(entry["value"]) for entry in variables if entry["name"] == "TTG_RUN_IDENTITY"), "")


def worker_labels(cluster: Cluster, run: str | None) -> dict[str, str]:
    """Labels of workers; ``run`` ``None`` for those that serve any run."""
    own = {"queue_backend": cluster.backend, "broker_client": "true"} | ({"run": run} if run else {})
    return labels("ttg-worker", "worker", **own)


def coordinator_labels(cluster: Cluster, run: str) -> dict[str, str]:
    """Labels of a run's coordinator."""
    own = {"queue_backend": cluster.backend, "broker_client": "true", "run": run}
    return labels("ttg-coordinator", "coordinator", **own, data_claim=DATA_CLAIM)


def _where_the_claim_is() -> Object:
    """A disk is with one node at a time: who needs it goes to the node of those who have it."""
    terms = [
        {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {"ttg.io/data-claim": DATA_CLAIM}},
        }
    ]
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def worker_job(cluster: Cluster, sweep: Sweep) -> Object:
    """An Indexed Job: each index is replaced by itself for as long as it fails, and is done when the run is.

    Without indices, the first worker that exits with 0 would stop the replacement of all others.
    """
    marks = worker_labels(cluster, sweep.run)
    spec = {
        "completionMode": "Indexed",
        "completions": sweep.workers,
        "parallelism": sweep.workers,
        "backoffLimitPerIndex": 1000,
        "ttlSecondsAfterFinished": DAY_SECONDS,
        "podFailurePolicy": {"rules": [_on_disruption(), _on_exit("Ignore", DRAINED), _on_exit("FailJob", BAD_INPUT)]},
        "template": {
            "metadata": {"labels": marks},
            "spec": {
                **_worker_pod(cluster, sweep, ["--until-run", sweep.full_name, *map(_literally, sweep.words_to_allow)]),
                "restartPolicy": "Never",
            },
        },
    }
    return resource("batch/v1", "Job", worker_name(sweep.run), marks, spec=spec)


def worker_budget(cluster: Cluster, sweep: Sweep) -> Object:
    """A node drain may take half of the workers at a time. A Job has no scale: the bound is a number, not a share."""
    marks = worker_labels(cluster, sweep.run)
    bound = sweep.workers // 2
    return disruption_budget(worker_name(sweep.run), marks, _selector(marks), minAvailable=bound)


def worker_deployment(cluster: Cluster, sweep: Sweep) -> Object:
    """Workers for any run, as many as an autoscaler wants."""
    marks = worker_labels(cluster, None)
    spec = {
        "selector": {"matchLabels": _selector(marks)},
        "template": {"metadata": {"labels": marks}, "spec": _worker_pod(cluster, sweep, [])},
    }
    return resource("apps/v1", "Deployment", f"ttg-worker-{cluster.backend}", marks, spec=spec)


def coordinator_objects(cluster: Cluster, sweep: Sweep) -> list[Object]:
    """The data claim and the Job that plans, submits, collects and reports."""
    data = labels("ttg-data", "dataset")
    return [
        volume_claim(DATA_CLAIM, data, cluster.data_storage, cluster.storage_class),
        coordinator_job(cluster, sweep),
    ]


def coordinator_job(cluster: Cluster, sweep: Sweep) -> Object:
    """One coordinator at a time; a new pod resumes the run from the claim.

    Bad input, a run that finished with dead letters, and one that stopped end the Job: trying again would change
    nothing.
    """
    marks = coordinator_labels(cluster, sweep.run)
    hopeless = _on_exit("FailJob", BAD_INPUT, FINISHED_WITH_DEAD_LETTERS, STOPPED)
    spec = {
        "backoffLimit": 100,
        "podReplacementPolicy": "Failed",
        "ttlSecondsAfterFinished": 7 * DAY_SECONDS,
        "podFailurePolicy": {"rules": [_on_disruption(), hopeless]},
        "template": {
            "metadata": {"labels": marks, "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}},
            "spec": {**_coordinator_pod(cluster, sweep), "restartPolicy": "Never"},
        },
    }
    return resource("batch/v1", "Job", coordinator_name(sweep.run), marks, spec=spec)


def reader_pod(cluster: Cluster, name: str = READER) -> Object:
    """A pod that only holds the data claim, so that a dataset can be copied out; it ends by itself after an hour."""
    marks = labels(READER, "reader", data_claim=DATA_CLAIM)
    reader = container(
        "reader",
        cluster.image,
        command=["sleep", "3600"],
        resources=resources("50m", "64Mi"),
        volumeMounts=[mount("data", "/data", readOnly=True)],
    )
    security = pod_security(NON_ROOT_ID, NON_ROOT_ID)
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": DATA_CLAIM}}]
    ending = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
    spec = pod_spec(security, [reader], volumes=volumes, affinity=_where_the_claim_is(), **ending)
    return resource("v1", "Pod", name, marks, spec=spec)


def _worker_pod(cluster: Cluster, sweep: Sweep, until: list[str]) -> Object:
    health = {"httpGet": {"path": "/healthz", "port": "metrics"}}
    worker = container(
        "worker",
        cluster.image,
        **({"command": _with_code(sweep, ["ttg"])} if sweep.archive else {}),
        args=["worker", "--slots", str(sweep.slots), "--grace", "20s", *METRICS, *until],
        env=[*broker_env(cluster), *env({"HOME": "/tmp", "TTG_HOME": "/tmp/ttg"})],
        ports=METRICS_PORTS,
        livenessProbe={**health, "initialDelaySeconds": 30, "periodSeconds": 15, "failureThreshold": 4},
        resources=resources(sweep.cpu, f"{sweep.pod_mib}Mi"),
        volumeMounts=[mount("temporary", "/tmp"), *_code_mounts(sweep)],
    )
    return pod_spec(
        pod_security(NON_ROOT_ID, NON_ROOT_ID),
        [worker],
        terminationGracePeriodSeconds=30,
        topologySpreadConstraints=[_spread(cluster)],
        volumes=[scratch("temporary", "1Gi"), *_code_volumes(sweep)],
    )


def _coordinator_pod(cluster: Cluster, sweep: Sweep) -> Object:
    folder = run_folder(sweep.run)
    own = ["--workers=0", *METRICS]
    script = COORDINATOR_SCRIPT.format(resume=shlex.join([*own, *sweep.words_to_resume]))
    words, behind = map(_literally, sweep.words), map(_literally, sweep.words_behind)
    run = [*words, *own, f"--run-id={sweep.run}", f"--out={folder}", *behind]
    coordinator = container(
        "coordinator",
        cluster.image,
        command=_with_code(sweep, ["sh", "-c", script, folder, *run]),
        env=[
            *broker_env(cluster),
            *env({"HOME": "/tmp", "TTG_HOME": "/data/.ttg", "TTG_RUN_IDENTITY": sweep.identity}),
        ],
        ports=METRICS_PORTS,
        resources=resources("500m", "1Gi"),
        volumeMounts=[mount("data", "/data"), mount("temporary", "/tmp"), *_code_mounts(sweep)],
    )
    data = {"name": "data", "persistentVolumeClaim": {"claimName": DATA_CLAIM}}
    return pod_spec(
        pod_security(NON_ROOT_ID, NON_ROOT_ID),
        [coordinator],
        terminationGracePeriodSeconds=60,
        affinity=_where_the_claim_is(),
        volumes=[data, scratch("temporary", "1Gi"), *_code_volumes(sweep)],
    )


def broker_env(cluster: Cluster) -> list[Object]:
    """What tells `ttg` where its broker is."""
    prefix, backend = cluster.backend.upper(), cluster.backend
    port = next(iter(PORTS[backend].values()))
    address = {"QUEUE_BACKEND": backend, f"{prefix}_HOST": broker_name(backend), f"{prefix}_PORT": str(port)}
    account = {f"{prefix}_PASSWORD": "password", "TTG_SECRET": "signing-secret"}
    if backend == "rabbitmq":
        account["RABBITMQ_USER"] = "username"
    return [*env(address), *env_from_secret(secret_name(backend, cluster.account), **account)]


def _selector(marks: dict[str, str]) -> dict[str, str]:
    chosen = ("app.kubernetes.io/name", "ttg.io/queue-backend", "ttg.io/run")
    return {key: marks[key] for key in chosen if key in marks}


def _spread(cluster: Cluster) -> Object:
    """Workers spread over nodes where they can, so that a lost node costs few of them."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": _selector(worker_labels(cluster, None))},
    }


def _on_disruption() -> Object:
    """Eviction, preemption, a drained or lost node: nobody's fault, so no attempt is counted."""
    return {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def _on_exit(action: str, *codes: int) -> Object:
    return {"action": action, "onExitCodes": {"operator": "In", "values": sorted(codes)}}


def _literally(word: str) -> str:
    """A word of a command that Kubernetes leaves as it is: it takes ``$$`` for ``$`` and ``$(NAME)`` for a variable."""
    return word.replace("$", "$$")


def _with_code(sweep: Sweep, command: Sequence[str]) -> list[str]:
    """``command``, in the folder that a run's own files are unpacked to, if there are any."""
    unpack = ["python", "-P", "-m", "ttg.kube.archive", CODE_FOLDER, sweep.full_name] if sweep.archive else []
    return [*unpack, *command]


def _code_mounts(sweep: Sweep) -> list[Object]:
    return [mount("code", CODE_FOLDER, readOnly=True)] if sweep.archive else []


def _code_volumes(sweep: Sweep) -> list[Object]:
    sources = [{"configMap": {"name": name}} for name in code_names(sweep)]
    return [{"name": "code", "projected": {"sources": sources}}] if sources else []
