"""``ttg kube`` against an executable that stands in for ``kubectl``: what is called, and what a person is told."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runs import eventually
from ttg.cli import main
from ttg.errors import InputError
from ttg.kube import cluster
from ttg.kube import fetch as fetching
from ttg.kube.archive import opened
from ttg.kube.brokers import broker_objects
from ttg.kube.code import with_files
from ttg.kube.fetch import unpack
from ttg.kube.kubectl import ClusterError, Kubectl
from ttg.kube.layout import Cluster, Sweep
from ttg.options import Options

REDIS = Cluster(backend="redis")
SECRET = b"of-a-test"


class Fake:
    """The stand-in's folder: set its answers, read its calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rules: list[dict[str, Any]] = []
        program = Path(__file__).with_name("fake_kubectl.py").read_text(encoding="utf-8")
        (folder / "kubectl").write_text(f"#!{sys.executable} -IS\n{program}", encoding="utf-8")
        (folder / "kubectl").chmod(0o755)
        self.answer([], stdout="")

    def answer(self, words: list[str], *, stdout: Any = "", **rule: Any) -> None:
        """From now on, a call with all ``words`` gets this; later rules go first."""
        text = stdout if isinstance(stdout, str) else json.dumps(stdout)
        self.rules.insert(0, {"words": words, "stdout": text, **rule})
        (self.folder / "rules.new").write_text(json.dumps(self.rules))
        (self.folder / "rules.new").replace(self.folder / "rules.json")

    def recorded(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "calls.jsonl").read_text().splitlines()]

    def calls(self, verb: str) -> list[dict[str, Any]]:
        return [call for call in self.recorded() if verb in call["arguments"]]

    def applied(self) -> list[Any]:
        return [item for call in self.calls("apply") for item in json.loads(call["stdin"])["items"]]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.0)
    stand_in = Fake(folder)
    stand_in.answer(["get", "--output", "json"], stdout={"items": []})
    stand_in.answer(["get", "jsonpath={.data.signing-secret}"], stdout=base64.b64encode(SECRET).decode())
    return stand_in


@pytest.fixture
def said() -> list[str]:
    return []


def job(name: str, *conditions: str, identity: str = "") -> dict[str, Any]:
    status = {"conditions": [{"type": kind, "status": "True"} for kind in conditions]}
    labels = {"ttg.io/run": name.rpartition("-")[2]}
    metadata = {"name": name, "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"}
    container = {"env": [{"name": "TTG_RUN_IDENTITY", "value": identity}]}
    spec = {"template": {"spec": {"containers": [container]}}}
    return {"kind": "Job", "metadata": metadata, "spec": spec, "status": status}


def pod(owner: str, state: dict[str, Any], **status: Any) -> dict[str, Any]:
    owners = [{"kind": "Job", "name": owner}]
    containers = [{"image": "ttg-worker:v1.3.0", "state": state}]
    return {
        "kind": "Pod",
        "metadata": {"name": f"{owner}-x1", "ownerReferences": owners},
        "status": {"containerStatuses": containers, "phase": "Pending", **status},
    }


def dataset(folder: Path, run: str, files: dict[str, bytes]) -> Path:
    """A tar of a run's folder, as ``tar`` in the reader pod would send it."""
    archive = folder / "dataset.tar"
    with tarfile.open(archive, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{run}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive


LISTING = ["get", "jobs,pods"]


def test_up_creates_what_is_missing(fake: Fake, said: list[str]) -> None:
    cluster.up(Kubectl("ttg"), REDIS, said.append)
    created = [json.loads(call["stdin"]) for call in fake.calls("create")]
    assert [item["kind"] for item in created] == ["Namespace", "Secret"]
    password = created[1]["stringData"]["password"]
    assert len(password) >= 32
    assert not any(password in line for line in said), "a password is never shown"
    assert not any(password in " ".join(call["arguments"]) for call in fake.calls("create")), "nor seen by ps"
    assert "StatefulSet" in {item["kind"] for item in fake.applied()}
    assert said[-1] == "ttg-redis is ready"


def test_up_never_replaces_credentials(fake: Fake, said: list[str]) -> None:
    fake.answer(["get", "secret/ttg-redis-auth"], stdout="secret/ttg-redis-auth\n")
    fake.answer(["get", "namespace/ttg"], stdout="namespace/ttg\n")
    cluster.up(Kubectl("ttg"), REDIS, said.append)
    assert fake.calls("create") == []


def test_up_leaves_a_disk_as_it_is(fake: Fake, said: list[str]) -> None:
    """Kubernetes takes no other: `ttg kube up` again, without the options of the first time, was refused."""
    before = broker_objects(Cluster(broker_storage="50Gi", storage_class="fast"))
    fake.answer(["get", "statefulsets"], stdout={"items": [item for item in before if item["kind"] == "StatefulSet"]})
    cluster.up(Kubectl("ttg"), REDIS, said.append)
    assert [item for item in fake.applied() if item["kind"] == "StatefulSet"] == [
        item for item in before if item["kind"] == "StatefulSet"
    ]
    assert "the broker's disk stays as it is: 50Gi of class fast" in said


def test_a_claim_for_datasets_stays_as_it_is(fake: Fake) -> None:
    def applied() -> set[str]:
        return {item["kind"] for item in fake.applied()}

    fake.answer(["get", "persistentvolumeclaim/ttg-data"], stdout="persistentvolumeclaim/ttg-data\n")
    cluster.start(Kubectl("ttg"), REDIS, Sweep("r1", "models.sim:f", ("x=1,2",)))
    assert "PersistentVolumeClaim" not in applied()
    assert not fake.calls("create")
    larger = Cluster(data_storage="50Gi")
    cluster.start(Kubectl("ttg"), larger, Sweep("r1", "models.sim:f", ("x=1,2",)))
    assert "PersistentVolumeClaim" in applied(), "it may grow"


def test_up_says_why_the_broker_is_not_ready(fake: Fake, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fake.answer(["rollout"], stderr="error: timed out waiting for the condition\n", code=1)
    broken = pod("ttg-redis", {"waiting": {"reason": "CrashLoopBackOff"}})
    fake.answer(["get", "pods"], stdout={"items": [broken]})
    fake.answer(["logs", "--previous"], stdout="Can't open the append-only file\n")
    monkeypatch.setattr(cluster, "READY_TRIES", 3)
    with pytest.raises(ClusterError, match=r"broker is not ready: 1 pod: CrashLoopBackOff"):
        cluster.up(Kubectl("ttg"), REDIS, said.append)
    told = [line for line in said if line.startswith("trouble: ")]
    assert len(told) == 2, "each once, and long before it is given up"
    assert told[1] == "trouble: its last words: Can't open the append-only file"


def test_a_run_from_arguments_to_dataset(fake: Fake, said: list[str], tmp_path: Path) -> None:
    (tmp_path / "sim.py").write_text("def f(x):\n    return x\n")
    (tmp_path / "part.py").write_text("y = 1\n")
    more = {"models/part.py": tmp_path / "part.py"}
    sweep = Sweep("r1", f"{tmp_path}/sim.py:f", ("x=range(0,10)",), Options(workers=5), more)
    names = ("ttg-coordinator-r1", "ttg-worker-r1")
    fake.answer(LISTING, stdout={"items": [job(names[0], "Complete"), job(names[1], "Complete")]})
    fake.answer(LISTING, stdout={"items": [job(names[0]), job(names[1])]}, times=2)
    fake.answer(["logs"], stdout=" 40 %  4/10\n")
    fake.answer(["exec"], file=str(dataset(tmp_path, "r1", {"run.json": b"{}", "results/part-0.parquet": b"PAR1"})))

    code = cluster.run(Kubectl("ttg", "kind-ttg-sandbox"), REDIS, sweep, tmp_path / "out", said.append)

    assert code == 0
    assert (tmp_path / "out" / "results" / "part-0.parquet").read_bytes() == b"PAR1"
    by_name = {(item["kind"], item["metadata"]["name"]): item for item in fake.applied()}
    assert by_name["Job", "ttg-worker-r1"]["spec"]["parallelism"] == 5
    assert "--server-side" in fake.calls("apply")[0]["arguments"], "or its annotation would hold 256 KiB at most"
    coordinator = by_name["Job", "ttg-coordinator-r1"]["spec"]["template"]["spec"]
    (code,) = [volume["projected"]["sources"] for volume in coordinator["volumes"] if volume["name"] == "code"]
    assert code == [{"configMap": {"name": "ttg-code-r1-0"}}]
    (part,) = by_name["ConfigMap", "ttg-code-r1-0"]["binaryData"].values()
    archive = opened(base64.b64decode(part), SECRET, with_files(sweep).full_name)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert {entry.name for entry in tar} == {"sim.py", "models/part.py"}
    command = coordinator["containers"][0]["command"]
    assert "sim.py:f" in command, "the file's name inside the pod"
    assert said.count("40 %  4/10") == 1, "progress is told when it changes"
    removed = fake.calls("delete")[-1]["arguments"]
    assert "ttg.io/project=distributed-compute,ttg.io/run=r1" in removed
    assert all("kind-ttg-sandbox" in call["arguments"] for call in fake.calls("--context"))


def test_a_run_under_way_is_followed_not_started_again(fake: Fake, said: list[str], tmp_path: Path) -> None:
    sweep = Sweep("r1", "models.sim:f", ("x=1,2",))
    fake.answer(["get", "jobs"], stdout={"items": [job("ttg-coordinator-r1", identity=sweep.identity)]})
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1", "Complete")]})
    fake.answer(["exec"], file=str(dataset(tmp_path, "r1", {"run.json": b"{}"})))
    assert cluster.run(Kubectl("ttg"), REDIS, sweep, tmp_path / "out", said.append, keep=True) == 0
    assert [item["kind"] for item in fake.applied()] == ["Pod"], "only the reader of the dataset"


def test_the_id_of_a_run_under_way_is_not_for_other_arguments(fake: Fake, said: list[str], tmp_path: Path) -> None:
    first, second = (Sweep("r1", "models.sim:f", (axis,)) for axis in ("x=1,2", "x=1,2,3"))
    fake.answer(["get", "jobs"], stdout={"items": [job("ttg-coordinator-r1", identity=first.identity)]})
    with pytest.raises(InputError, match=r"--run-id: a run r1 is under way .* other arguments"):
        cluster.run(Kubectl("ttg"), REDIS, second, tmp_path / "out", said.append)
    assert not fake.calls("apply")


FULL = "0/4 nodes are available: 4 Insufficient cpu."
TROUBLES = {
    "image": ({"waiting": {"reason": "ErrImageNeverPull"}}, {}, "scripts/build.sh --load-kind"),
    "secret": ({"waiting": {"reason": "CreateContainerConfigError"}}, {}, "ttg kube up"),
    "out of memory": ({"terminated": {"reason": "OOMKilled", "exitCode": 137}}, {}, "raise --pod-memory"),
    "no such program": (
        {"terminated": {"reason": "StartError", "exitCode": 128}},
        {},
        "the image is not made `FROM",
    ),
    "nodes full": ({}, {"conditions": [{"reason": "Unschedulable", "message": FULL}]}, "fewer --workers"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_troubles_are_told_once_with_advice(fake: Fake, said: list[str], trouble: str) -> None:
    state, status, advice = TROUBLES[trouble]
    pods = [pod("ttg-worker-r1", state, **status)]
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1", "Complete"), *pods]})
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1"), *pods]}, times=3)
    assert cluster.follow(Kubectl("ttg"), "r1", said.append) == 0
    told = [line for line in said if line.startswith("trouble: ")]
    assert len(told) == 1
    assert advice in told[0]


def test_a_quota_is_told(fake: Fake, said: list[str]) -> None:
    message = (
        'pods "ttg-worker-r1-0" is forbidden: exceeded quota: team, requested: pods=1, used: pods=10, limited: pods=10'
    )
    again = message.replace("r1-0", "r1-0-x7k").replace("used: pods=10", "used: pods=9")
    events = [{"message": text, "involvedObject": {"name": "ttg-coordinator-r1"}} for text in (message, again)]
    others = ("other", "ttg-coordinator-r10", "ttg-coordinator-r10-0-abcde")
    foreign = [{"message": f"{message} of {name}", "involvedObject": {"name": name}} for name in others]
    foreign.append({**events[0], "message": f"{message} before", "lastTimestamp": "2025-12-31T23:59:59Z"})
    fake.answer(["get", "events"], stdout={"items": [*foreign, *events]})
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1", "Complete")]})
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1")]}, times=2)
    cluster.follow(Kubectl("ttg"), "r1", said.append)
    assert len(said) == 1
    fake.answer(["get", "jobs,statefulsets,pods"], stdout={"items": [job("ttg-coordinator-r1")]})
    assert f"trouble: {message}" in "\n".join(cluster.status(Kubectl("ttg"))), "and later, too"
    assert said[0].endswith("ask for fewer workers or less memory, or raise the namespace's quota")


UNBOUND = "0/4 nodes are available: pod has unbound immediate PersistentVolumeClaims."


def test_a_claim_whose_disk_is_only_just_made_is_no_trouble(fake: Fake, said: list[str]) -> None:
    """Every first run has that for some seconds, and the cluster keeps the warning."""
    waiting = pod("ttg-coordinator-r1", {}, conditions=[{"reason": "Unschedulable", "message": UNBOUND}])
    event = {"message": UNBOUND, "involvedObject": {"name": "ttg-coordinator-r1-x1"}}
    fake.answer(["get", "events"], stdout={"items": [event]})
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1", "Complete")]})
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1"), waiting]}, times=cluster.PASSING_LOOKS - 1)
    assert cluster.follow(Kubectl("ttg"), "r1", said.append) == 0
    assert said == []
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1"), waiting]}, times=cluster.PASSING_LOOKS)
    assert cluster.follow(Kubectl("ttg"), "r1", said.append) == 0
    assert len(said) == 1
    assert "name a --storage-class" in said[0]


def removed_parts(fake: Fake) -> list[str]:
    """Which part of the run each deletion was of."""
    selectors = [call["arguments"][call["arguments"].index("--selector") + 1] for call in fake.calls("delete")]
    return [selector.rpartition("component=")[2] for selector in selectors if "component=" in selector]


def test_a_run_that_failed_leaves_no_workers(fake: Fake, said: list[str], tmp_path: Path) -> None:
    ended = pod("ttg-coordinator-r1", {"terminated": {"exitCode": 2, "finishedAt": "2026-01-01T00:00:00Z"}})
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1", "Failed"), ended, job("ttg-worker-r1")]})
    sweep = Sweep("r1", "models.sim:f", ("x=1,2",))
    assert cluster.run(Kubectl("ttg"), REDIS, sweep, tmp_path / "out", said.append) == 2
    assert removed_parts(fake) == ["worker"], "its coordinator stays, for its log"


QUOTA = 'Error from server (Forbidden): pods "ttg-reader" is forbidden: exceeded quota: team, requested: pods=1\n'


def test_under_a_full_quota_the_table_is_fetched_when_there_is_room(
    fake: Fake, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "ROOM_SECONDS", 0.0)
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1", "Complete")]})
    fake.answer(["exec"], file=str(dataset(tmp_path, "r1", {"run.json": b"{}"})))
    sweep = Sweep("r1", "models.sim:f", ("x=1,2",))
    cluster.start(Kubectl("ttg"), REDIS, sweep)
    fake.answer(["apply"], stderr=QUOTA, code=1, times=3)
    fetching.fetch(Kubectl("ttg"), REDIS, "r1", tmp_path / "out", said.append)
    assert (tmp_path / "out" / "run.json").exists()
    assert len(said) == 1, "told once"
    assert "waiting for room" in said[0]
    monkeypatch.setattr(fetching, "ROOM_TRIES", 2)
    fake.answer(["apply"], stderr=QUOTA, code=1)
    with pytest.raises(ClusterError, match="stays on the claim: `ttg kube fetch r1` fetches it at any time"):
        fetching.fetch(Kubectl("ttg"), REDIS, "r1", tmp_path / "again", said.append)
    readers = {item["metadata"]["name"] for item in fake.applied() if item["kind"] == "Pod"}
    assert len(readers) == 2, "two who fetch at once do not take each other's"


def test_what_is_in_the_way_of_the_reader_is_said(fake: Fake, said: list[str], tmp_path: Path) -> None:
    fake.answer(["wait"], stderr="error: timed out waiting for the condition on pods/ttg-reader-x\n", code=1)
    stays = "it stays on the claim: `ttg kube fetch r1`"
    with pytest.raises(ClusterError, match=f"timed out [^;]*; {stays}"):
        fetching.fetch(Kubectl("ttg"), REDIS, "r1", tmp_path / "out", said.append)
    full = pod("", {}, conditions=[{"reason": "Unschedulable", "message": FULL}])
    fake.answer(["get", "--output", "json"], stdout=full)
    with pytest.raises(ClusterError, match=f"1 pod: not scheduled: {FULL[:-1]}: the nodes are full[^;]*; {stays}"):
        fetching.fetch(Kubectl("ttg"), REDIS, "r1", tmp_path / "out", said.append)


def test_the_workers_room_is_the_readers(fake: Fake, said: list[str], tmp_path: Path) -> None:
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1", "Complete")]})
    fake.answer(["exec"], file=str(dataset(tmp_path, "r1", {"run.json": b"{}"})))
    cluster.run(Kubectl("ttg"), REDIS, Sweep("r1", "models.sim:f", ("x=1,2",)), tmp_path / "out", said.append)
    order = [call["arguments"] for call in [*fake.recorded()] if {"delete", "exec"} & set(call["arguments"])]
    ended = next(place for place, words in enumerate(order) if any("component=worker" in word for word in words))
    assert ended < next(place for place, words in enumerate(order) if "exec" in words)


def test_a_dataset_is_fetched_later(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the run stands: it goes on, has stopped, or all but its dataset is gone."""
    monkeypatch.chdir(tmp_path)
    fake.answer(["exec"], file=str(dataset(tmp_path, "r1", {"run.json": STOPPED})))
    ended = pod("ttg-coordinator-r1", {"terminated": {"exitCode": 68, "finishedAt": "2026-01-01T00:00:00Z"}})
    fake.answer(["get", "jobs"], stdout={"items": [job("ttg-coordinator-r1")]})
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1", "Failed"), ended]})
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1")]}, times=1)
    assert main(["kube", "fetch", "r1", "--image", "mine:1"]) == 4
    assert (tmp_path / "ttg-runs" / "r1" / "run.json").read_bytes() == STOPPED
    (reader,) = fake.applied()
    assert reader["spec"]["containers"][0]["image"] == "mine:1"
    assert capsys.readouterr().err.splitlines()[-1] == "failed: 0 results"
    fake.answer(["get", "jobs"], stdout={"items": []})
    assert main(["kube", "fetch", "r1", "--out", "again"]) == 4
    assert main(["kube", "fetch", "r1", "--out", "again"]) == 2
    assert "again exists" in capsys.readouterr().err
    nothing = str(dataset(tmp_path, "r1", {}))
    fake.answer(
        ["exec"], file=nothing, stderr="tar: r1: Cannot stat: No such file or directory\ntar: Exiting\n", code=2
    )
    assert main(["kube", "fetch", "r1", "--out", "other"]) == 3
    assert "Cannot stat: No such file or directory: there is no such run on the claim" in capsys.readouterr().err


def test_ctrl_c_while_a_dataset_is_fetched_leaves_nothing_behind(fake: Fake, tmp_path: Path) -> None:
    fake.answer(["exec"], lasts=True)
    command = [sys.executable, "-m", "ttg", "kube", "fetch", "r1", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    eventually(lambda: (fake.folder / "calls.jsonl").exists() and fake.calls("exec"), "the transfer is under way")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to kubectl, too
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 4, said
    assert "`ttg kube fetch r1` follows it" in said
    assert fake.recorded()[-1]["arguments"][2:4] == ["delete", f"pod/{fake.applied()[0]['metadata']['name']}"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]


STOPPED = b"""{"spec": {"run": "r1", "function": {"kind": "module", "location": "m", "name": "f"}, "space": {},
"size": 2, "names": ["x"]}, "state": "failed", "created": 1, "updated": 2, "size": 2, "done": 0}"""


def test_a_run_that_stopped_says_where_what_it_has_is(fake: Fake, said: list[str], tmp_path: Path) -> None:
    ended = pod("ttg-coordinator-r1", {"terminated": {"exitCode": 68, "finishedAt": "2026-01-01T00:00:00Z"}})
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1", "Failed"), ended]})
    sweep = Sweep("r1", "models.sim:f", ("x=1,2",))
    assert cluster.run(Kubectl("ttg"), REDIS, sweep, tmp_path / "out", said.append) == 4
    assert "`ttg kube fetch r1` brings what there is" in said[-1]


MISTAKES = {
    "no function": (["sim.py", "x=1"], "expected FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION, got 'sim.py'"),
    "no such function": (["sim.py:g", "x=1"], "there is no 'g'"),
    "no such parameter": (["sim.py:f", "y=1"], "y"),
    "no space": (["sim.py:f", "x=linspace("], "x"),
    "no size": (["sim.py:f", "x=1", "--data-storage", "much"], "such as 20Gi, got 'much'"),
    "no CPUs": (["sim.py:f", "x=1", "--cpu", "1,5"], "such as 2 or 250m, got '1,5'"),
    "nothing to send": (["sim.py:f", "x=1", "--send", ""], "--send: expected text"),
    "standard input": (["sim.py:f", "--params", "-"], "write it to a file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_said_before_anything_is_started(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    words, message = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    Path("sim.py").write_text("def f(x): return x\n")
    assert main(["kube", "run", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (fake.folder / "calls.jsonl").exists()


def test_exit_codes_come_through(fake: Fake, said: list[str], tmp_path: Path) -> None:
    ended = pod("ttg-coordinator-r1", {"terminated": {"exitCode": 5, "finishedAt": "2026-01-01T00:00:00Z"}})
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1", "Failed"), ended]})
    fake.answer(["exec"], file=str(dataset(tmp_path, "r1", {"run.json": b"{}"})))
    sweep = Sweep("r1", "models.sim:f", ("x=1,2",))
    assert cluster.run(Kubectl("ttg"), REDIS, sweep, tmp_path / "out", said.append) == 5
    assert (tmp_path / "out" / "run.json").exists(), "a run with dead letters has a dataset"


def test_workers_that_give_up_end_the_run(fake: Fake, tmp_path: Path) -> None:
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1"), job("ttg-worker-r1", "Failed")]})
    fake.answer(["logs", "job/ttg-worker-r1"], stdout="ttg: target not allowed\n")
    with pytest.raises(ClusterError, match="workers gave up: ttg: target not allowed"):
        cluster.run(Kubectl("ttg"), REDIS, Sweep("r1", "models.sim:f", ("x=1,2",)), tmp_path / "out", print)
    assert removed_parts(fake) == ["coordinator"], "it would wait for others for ever"


def test_a_broken_transfer_leaves_no_dataset(fake: Fake, said: list[str], tmp_path: Path) -> None:
    archive = dataset(tmp_path, "r1", {"run.json": b"{}" * 2000})
    archive.write_bytes(archive.read_bytes()[:1000])
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1", "Complete")]})
    fake.answer(["exec"], file=str(archive), code=137)
    sweep = Sweep("r1", "models.sim:f", ("x=1,2",))
    with pytest.raises(ClusterError, match="try again"):
        cluster.run(Kubectl("ttg"), REDIS, sweep, tmp_path / "out", said.append)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]
    assert fake.calls("delete")[-1]["arguments"][3].startswith("pod/ttg-reader-"), (
        "the reader is removed, the run stays"
    )


def test_a_dataset_cannot_write_elsewhere(tmp_path: Path) -> None:
    archive = dataset(tmp_path, "r1", {"../../evil": b"x", "good": b"y"})
    with archive.open("rb") as stream:
        unpack(stream, "r1", tmp_path / "target")
    assert [path.name for path in (tmp_path / "target").rglob("*")] == ["good"]


def test_down_touches_only_what_is_labelled(fake: Fake, said: list[str]) -> None:
    cluster.down(Kubectl("ttg"), said.append)
    kinds = [call["arguments"][3] for call in fake.calls("delete")]
    for call in fake.calls("delete"):
        position = call["arguments"].index("--selector")
        assert call["arguments"][position + 1] == "ttg.io/project=distributed-compute"
    assert kinds[0] == "scaledobjects.keda.sh", "before what it would start again"
    assert {"triggerauthentications.keda.sh", "servicemonitors.monitoring.coreos.com"} < set(kinds)
    assert not any("persistentvolumeclaims" in kind or "secrets" in kind for kind in kinds), (
        "the disk knows the password"
    )
    assert "--data" in said[-1]


def test_down_where_there_are_no_operators(fake: Fake, said: list[str]) -> None:
    for kind in (*cluster.OPERATED_KINDS, *cluster.OPERATED_DATA_KINDS):
        fake.answer(["get", kind], stderr=f'error: the server doesn\'t have a resource type "{kind}"\n', code=1)
    cluster.down(Kubectl("ttg"), said.append, data=True)
    (call,) = fake.calls("delete")
    assert call["arguments"][3] == f"{cluster.KINDS},{cluster.DATA_KINDS}"


def test_scaling(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    active = [job("ttg-worker-r1"), job("ttg-worker-r2", "Complete")]
    fake.answer(["get", "jobs"], stdout={"items": active})
    assert main(["kube", "scale", "8"]) == 0
    changes = [call["arguments"] for call in fake.calls("patch")]
    assert [words[3] for words in changes] == ["job/ttg-worker-r1", "pdb/ttg-worker-r1"]
    assert changes[0][-1] == '--patch={"spec": {"parallelism": 8, "completions": 8}}'
    assert "run r1 gets 8 workers" in capsys.readouterr().err
    assert main(["kube", "scale", "8", "r2"]) == 2
    assert "expected a run that has workers in namespace ttg, got r2: has r1" in capsys.readouterr().err
    fake.answer(["get", "jobs"], stdout={"items": [*active, job("ttg-worker-r3")]})
    assert main(["kube", "scale", "8"]) == 2
    assert "expected RUN after the number" in capsys.readouterr().err
    assert main(["kube", "scale", "0", "r1"]) == 2
    assert "expected at least 1 worker" in capsys.readouterr().err


ERRORS: dict[str, tuple[str, str]] = {
    "no cluster": (
        "The connection to the server 127.0.0.1:6443 was refused - connection refused\n",
        "kubectl get nodes",
    ),
    "no context": ('error: context "nope" does not exist\n', "get-contexts"),
    "no answer": ("Unable to connect to the server: context deadline exceeded\n", "did not answer in time"),
    "no login": ("error: You must be logged in to the server (Unauthorized)\n", "log in to the cluster again"),
    "other settings": (
        'The PersistentVolumeClaim "ttg-data" is invalid: spec: Forbidden: spec is immutable after creation\n',
        "made with other options",
    ),
    "forbidden": ('Error from server (Forbidden): jobs is forbidden: User "eve" cannot list\n', "role `edit`"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line_with_advice(fake: Fake, capsys: pytest.CaptureFixture[str], case: str) -> None:
    stderr, advice = ERRORS[case]
    fake.answer([], stderr=stderr, code=1)
    assert main(["kube", "status"]) == 3
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert advice in printed


def test_without_kubectl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="expected kubectl on PATH"):
        Kubectl("ttg").call("listing", "get", "pods")


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "backend": (lambda: Cluster(backend="kafka"), "expected redis or rabbitmq, got 'kafka'"),
    "namespace": (lambda: Cluster(namespace="My_Space"), "lower-case letters"),
    "memory": (lambda: Sweep("r", "m:f", chosen=Options(slots=4, pod_memory=256 << 20)), "at least 448M for 4 slots"),
    "children": (
        lambda: Sweep("r", "m:f", chosen=Options(slots=2, memory=512 << 20, pod_memory=1 << 30)),
        "--pod-memory: expected at least 1216M for 2 slots, got 1024M",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_wishes(what: str) -> None:
    make, message = WRONG[what]
    with pytest.raises(InputError, match=message):
        make()


def test_without_the_clusters_secret_nothing_is_sent(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "sim.py").write_text("def f(x): return x\n")
    fake.answer(["get", "jsonpath={.data.signing-secret}"])
    with pytest.raises(ClusterError, match="`ttg kube up --backend redis` makes it"):
        cluster.start(Kubectl("ttg"), REDIS, Sweep("r1", f"{tmp_path}/sim.py:f", ("x=1",)))
    assert not fake.calls("apply")


NOT_SENT = (".git/config", "__pycache__/sim.pyc", "ttg-runs/r1/run.json", "env/pyvenv.cfg", "env/bin/python")


def sent(folder: Path) -> dict[str, Path]:
    """What goes along of a folder that is sent."""
    return dict(with_files(Sweep("r1", "models.sim:f", (), Options(send=(folder,)))).files)


def test_a_folder_that_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("models/sim.py", "models/data/ä b.csv", *(f"models/{name}" for name in NOT_SENT)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "models" / "same.csv").symlink_to("data/ä b.csv")
    names = {"sim.py", "same.csv", "data/ä b.csv"}
    assert sent(tmp_path / "models").keys() == {f"models/{name}" for name in names}
    monkeypatch.chdir(tmp_path / "models")
    assert sent(Path()).keys() == names, "its contents"
    assert sent(Path("..") / "models").keys() == {f"models/{name}" for name in names}
    sweep = with_files(Sweep("r1", "models.sim:f", (), Options(send=(tmp_path / "models",))))
    again = with_files(Sweep("r1", "models.sim:f", (), Options(send=(Path("../models"),))))
    assert sweep.identity == again.identity, "wherever it is sent from"
    (tmp_path / "models" / "sim.py").write_text("other")
    assert with_files(sweep).identity != sweep.identity


def link_out(folder: Path) -> None:
    (folder / "out.csv").symlink_to("/etc/passwd")


def link_to_folder(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "link").symlink_to("data")


def much(folder: Path) -> None:
    with (folder / "zeros").open("wb") as file:
        file.truncate(200_000_000)


def incompressible(folder: Path) -> None:
    (folder / "noise").write_bytes(os.urandom(10_000_001))


UNSENDABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link out": (link_out, "out.csv is a link out of .*sent, to /etc/passwd: put a copy in its place"),
    "a link to a folder": (link_to_folder, "found a link to a folder: .*link"),
    "no file": (lambda folder: os.mkfifo(folder / "pipe"), "found neither: .*pipe"),
    "too much": (much, r"at most 100,000,000 bytes .*, got 200,000,000 in 1 files, .*zeros \(200,000,000 bytes\)"),
    "too much when packed": (incompressible, r"at most 10,000,000 bytes .* `FROM ttg-worker:v1\.3\.0`"),
    "nothing": (lambda folder: None, "expected files in .*sent, found none"),
    "not there": (Path.rmdir, "--send: expected a file or a folder, found none at .*sent"),
}


@pytest.mark.parametrize("what", UNSENDABLE)
def test_what_cannot_be_sent(tmp_path: Path, what: str) -> None:
    make, message = UNSENDABLE[what]
    (tmp_path / "sent").mkdir()
    make(tmp_path / "sent")
    with pytest.raises(InputError, match=message):
        sent(tmp_path / "sent")


def test_two_files_of_one_name_cannot_be_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sent").mkdir()
    for name in ("sim.py", "sent/sim.py"):
        Path(name).touch()
    with pytest.raises(InputError, match="have one name in the cluster"):
        with_files(Sweep("r1", "sim.py:f", (), Options(send=(Path("sent/sim.py"),))))
    assert with_files(Sweep("r1", "sim.py:f", (), Options(send=(Path(),)))).files.keys() == {"sim.py", "sent/sim.py"}
