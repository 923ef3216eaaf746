"""`ttg run --on kubernetes` and `ttg demo --target kind`, against an executable that stands in for ``kubectl``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from test_cluster import LISTING, Fake, dataset, fake, job, pod  # noqa: F401 - `fake` is a fixture
from tests.kube.pods import expanded

from ttg.cli import main
from ttg.demo.on_kind import PodKiller
from ttg.kube.kubectl import Kubectl
from ttg.options import EntryPoint, Option, choose, every_option, options_at

TYPED = {
    "N": "7", "TIME": "9s", "SIZE": "300M", "N|%": "5%", "URL": "redis://somewhere", "PORT": "9000", "RUN": "other",
    "DIR": "somewhere", "ID": "r1", "NAME": "somebody", "ADDRESS": "0.0.0.0", "FILE": "x.csv", "FUNCTION": "m:f",
    "A,B": "x", "COMMAND": "get-password", "PLACE": "/nfs/runs", "LABEL": "gpu", "PROGRAM": "sh",
    "PATH": "x.csv"}  # fmt: skip
QUANTITIES = {"data_storage": "7Gi", "pod_memory": "4G"}

pytestmark = pytest.mark.usefixtures("fake")


def typed(option: Option, entry: EntryPoint = EntryPoint.RUN, *, joined: bool = False) -> list[str]:
    """The option with some value, in one of the two spellings."""
    if not option.kind.metavar:
        return [option.flag(entry)]
    choices = option.kind.metavar.strip("{}").split(",")
    value = QUANTITIES.get(option.name) or TYPED.get(option.kind.metavar) or choices[-1]
    return [f"{option.flag(entry)}={value}"] if joined else [option.flag(entry), value]


def coordinator(fake: Fake) -> list[str]:  # noqa: F811
    """The command of the coordinator's container."""
    (job,) = [item for item in fake.applied() if item["metadata"]["name"].startswith("ttg-coordinator")]
    command: list[str] = job["spec"]["template"]["spec"]["containers"][0]["command"]
    return command


def of_workers(fake: Fake) -> list[str]:  # noqa: F811
    """What the workers' container is told."""
    (job,) = [item for item in fake.applied() if item["kind"] == "Job" and "worker" in item["metadata"]["name"]]
    words: list[str] = job["spec"]["template"]["spec"]["containers"][0]["args"]
    return words


def without_readers(fake: Fake) -> list[Any]:  # noqa: F811
    """What was applied, but for the pods that read the dataset, each with a name of its own."""
    return [item for item in fake.applied() if item["kind"] != "Pod"]


@pytest.fixture
def on_cluster(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:  # noqa: F811
    """Runs `ttg run m:f … --on kubernetes` in an empty folder, on a cluster where the run is done at once."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("x\n1\n")
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1", "Complete")]})
    fake.answer(["exec"], file=str(dataset(tmp_path, "r1", {"run.json": RUN_JSON})))

    def run(*words: str, program: Sequence[str] = ()) -> int:
        called = (["m:f"], []) if not program else ([], ["--", *program])
        return main(["run", *called[0], "x=1,2", "--on", "kubernetes", "--run-id=r1", *words, *called[1]])

    return run


RUN_JSON = b"""{"spec": {"run": "r1", "function": {"kind": "module", "location": "m", "name": "f"}, "space": {},
"size": 2, "names": ["x"]}, "state": "finished", "created": 1, "updated": 2, "size": 2, "done": 2}"""

HANDED_ON = [option for option in options_at(EntryPoint.ON_CLUSTER) if option.sent]
OF_PROGRAMS = ("shell", "output")
USED_HERE = [option for option in options_at(EntryPoint.ON_CLUSTER) if not option.sent]
REFUSED = [option for option in options_at(EntryPoint.RUN) if EntryPoint.ON_CLUSTER not in option.at]


def test_every_option_of_a_run_is_handed_on_used_here_or_refused() -> None:
    assert {option.name for option in USED_HERE} == {
        "on", "run_id", "out", "workers", "slots", "quiet", "json", "backend", "image", "send", "cpu", "pod_memory",
        "kube_namespace", "kube_context", "data_storage", "storage_class", "keep",
    }  # fmt: skip
    assert {option.name for option in REFUSED} == {
        "replace", "store", "broker", "namespace", "credentials_command", "dashboard", "metrics_port", "metrics_host",
        "threads", "gpus", "needs", "setup",
    }  # fmt: skip


@pytest.mark.parametrize("joined", [False, True], ids=["--option value", "--option=value"])
@pytest.mark.parametrize("option", HANDED_ON, ids=lambda option: option.name)
def test_what_describes_the_run_means_the_same_to_the_coordinator(
    fake: Fake,  # noqa: F811
    on_cluster: Callable[..., int],
    option: Option,
    joined: bool,
) -> None:
    assert on_cluster(*typed(option, joined=joined), program=["echo", "{x}"] if option.name in OF_PROGRAMS else ()) == 0
    command = coordinator(fake)
    (word,) = [word for word in command[4:] if word.startswith(option.flag(EntryPoint.RUN))]
    text = typed(option, joined=True)[0].partition("=")[2]
    expected = choose(EntryPoint.RUN, {option.name: text or not option.default})
    assert vars(choose(EntryPoint.RUN, {option.name: word.partition("=")[2] or not option.default})) == vars(expected)
    if option.name == "params":
        assert [item["metadata"]["name"] for item in fake.applied() if item["kind"] == "ConfigMap"] == ["ttg-code-r1-0"]
    assert (word in command[2]) == (EntryPoint.RESUME in option.at), "a coordinator that comes back resumes with it"


@pytest.mark.parametrize("option", REFUSED, ids=lambda option: option.name)
def test_what_a_cluster_cannot_do_is_refused(
    on_cluster: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    option: Option,
    fake: Fake,  # noqa: F811
) -> None:
    assert on_cluster(*typed(option)) == 2
    said = capsys.readouterr().err
    assert said == f"ttg: {option.flag(EntryPoint.RUN)} does not go with ttg run --on kubernetes: {option.instead}\n"
    assert option.instead
    assert not (fake.folder / "calls.jsonl").exists()


ONLY_THERE = [option for option in USED_HERE if EntryPoint.RUN not in option.at and option.name != "on"]


@pytest.mark.parametrize("option", ONLY_THERE, ids=lambda option: option.name)
def test_what_is_for_a_cluster_is_refused_elsewhere(option: Option, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "m:f", "x=1", *typed(option)]) == 2
    assert "it goes with --on kubernetes" in capsys.readouterr().err


def test_what_is_used_here(
    fake: Fake,  # noqa: F811
    on_cluster: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = (
        "--workers=5",
        "--slots=2",
        "--cpu=250m",
        "--backend=rabbitmq",
        "--image=mine:1",
        "--data-storage=7Gi",
        "--keep",
    )
    place = ("--kube-namespace=there", "--kube-context=somewhere", "--storage-class=fast", "--out=table", "--json")
    assert on_cluster(*words, *place, "--memory=300M") == 0
    by_kind = {item["kind"]: item for item in fake.applied() if not item["metadata"]["name"].startswith("ttg-coord")}
    worker = by_kind["Job"]["spec"]
    container = worker["template"]["spec"]["containers"][0]
    assert (worker["completions"], container["image"]) == (5, "mine:1")
    assert container["resources"]["limits"]["memory"] == "792Mi", "two children and the supervisor"
    assert container["resources"]["requests"]["cpu"] == "250m"
    assert container["args"][:3] == ["worker", "--slots", "2"]
    assert by_kind["PersistentVolumeClaim"]["spec"]["resources"]["requests"]["storage"] == "7Gi"
    assert by_kind["PersistentVolumeClaim"]["spec"]["storageClassName"] == "fast"
    assert {"--context", "somewhere", "--namespace", "there"} < set(fake.calls("apply")[0]["arguments"])
    assert not fake.calls("jobs,poddisruptionbudgets,configmaps"), "the jobs are kept"
    said = capsys.readouterr()
    assert json.loads(said.out)["done"] == 2
    assert said.err == ""
    assert (tmp_path / "table" / "run.json").exists()


def test_a_child_without_a_limit_has_its_share_of_the_pod(fake: Fake, on_cluster: Callable[..., int]) -> None:  # noqa: F811
    assert on_cluster("--pod-memory", "1216M", "--slots", "4") == 0
    assert "--memory=256M" in coordinator(fake)


def test_ttg_kube_run_is_the_same_command(
    fake: Fake,  # noqa: F811
    on_cluster: Callable[..., int],
    tmp_path: Path,
) -> None:
    assert on_cluster("--seed=7", "--timeout=30s") == 0
    here = without_readers(fake)
    (fake.folder / "calls.jsonl").unlink()
    words = ["kube", "run", "--workers", "3", "m:f", "--run-id", "r1", "x=1,2", "--seed", "7", "--timeout", "30s"]
    assert main([*words, "--namespace", "ttg", "--out", str(tmp_path / "other")]) == 0
    assert without_readers(fake) == here


def test_the_last_line_says_what_there_is(on_cluster: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert on_cluster() == 0
    assert capsys.readouterr().err.splitlines()[-1] == "finished: 2 results"


def test_words_are_passed_on_as_they_are_meant(fake: Fake, on_cluster: Callable[..., int]) -> None:  # noqa: F811
    assert on_cluster("--priority", "-3", "--method", "random", "y=a,'b c'", "z=a$$b,$(HOME)") == 0
    command = [expanded(word, {"HOME": "/tmp"}) for word in coordinator(fake)]
    assert "z=a$$b,$(HOME)" in command
    assert "--priority=-3" in command
    assert "y=a,'b c'" in command
    assert not [word for word in command if word.startswith("--method")], "the default says itself"


@pytest.mark.parametrize("words", [["--out", "here"], ["--memory", "1G"]], ids=" ".join)
def test_kube_up_has_no_options_of_a_run(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["kube", "up", *words])
    assert f"{words[0]} does not go with ttg kube up" in capsys.readouterr().err


def test_the_options_of_this_test_are_all_there_are() -> None:
    """A kind of value that is new gets an example here."""
    kinds = {option.kind.metavar for option in every_option() if option.kind.metavar and "{" not in option.kind.metavar}
    assert kinds <= {*TYPED, "INDICES"}


def test_one_pod_is_deleted_once_when_it_is_time(fake: Fake) -> None:  # noqa: F811
    running = pod("ttg-worker-r1", {"running": {}}, phase="Running")
    fake.answer(["get", "pods"], stdout={"items": [running]})
    said: list[str] = []
    killer = PodKiller(Kubectl("ttg"), "r1", 0.3, said.append)
    for line in (" 10 %  100/1,000", " 31 %  310/1,000", " 60 %  600/1,000"):
        killer.hear(line)
    deletions = fake.calls("delete")
    assert [call["arguments"][-4] for call in deletions] == ["ttg-worker-r1-x1"]
    assert any("ttg-worker-r1-x1 deleted" in line for line in said)


def test_a_program_and_its_scripts_go_along(fake: Fake, on_cluster: Callable[..., int], tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "tools").mkdir()
    for name in ("tools/model", "prepare.py"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert on_cluster("--slots=2", program=["tools/model", "prepare.py", "--x", "{x}", "a b"]) == 0
    assert coordinator(fake)[-6:] == ["--", "tools/model", "prepare.py", "--x", "{x}", "a b"]
    words = of_workers(fake)
    assert words[-2:] == ["--allow-program", "tools/model prepare.py --x '{x}' 'a b'"]
    assert "--allow" not in words


def test_a_line_of_shell_is_all_that_workers_execute(fake: Fake, on_cluster: Callable[..., int]) -> None:  # noqa: F811
    assert on_cluster("--shell", program=["echo {x} | tr 1 2"]) == 0
    assert of_workers(fake)[-1] == "echo {x} | tr 1 2"
    assert not [item for item in fake.applied() if item["kind"] == "ConfigMap"], "all is in the image"


@pytest.mark.parametrize("program", ["of-the-image", "/opt/of-the-image/model"])
def test_a_program_may_be_in_the_image_only(fake: Fake, on_cluster: Callable[..., int], program: str) -> None:  # noqa: F811
    assert on_cluster(program=[program, "{x}"]) == 0
    assert of_workers(fake)[-2:] == ["--allow-program", f"{program} '{{x}}'"]


UNSENT = {
    "missing": ("./model", "expected a program at"),
    "absolute": ("{here}/model", "expected a path from here, ./model: elsewhere it lies in another folder"),
    "not executable": ("./data", "may not be executed"),
}


@pytest.mark.parametrize("case", UNSENT)
def test_a_program_that_cannot_be_sent(
    on_cluster: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path, case: str
) -> None:
    program, words = UNSENT[case]
    (tmp_path / "data").touch()
    if case == "absolute":
        (tmp_path / "model").touch(0o755)
    assert on_cluster(program=[program.format(here=tmp_path), "{x}"]) == 2
    assert words in capsys.readouterr().err
