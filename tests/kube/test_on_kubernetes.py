"""`ttg run --on kubernetes` and `ttg demo --target kind`, against an executable that stands in for ``kubectl``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_cluster import LISTING, Fake, dataset, fake, job, pod  # noqa: F401 - `fake` is a fixture

from ttg.cli import build_parser, main
from ttg.cli.on_cluster import sweep_arguments
from ttg.demo.on_kind import PodKiller
from ttg.kube.kubectl import Kubectl


def parsed(*words: str) -> Any:
    return build_parser().parse_args(["run", *words])


def test_what_describes_the_sweep_is_passed_on_and_nothing_else() -> None:
    here = ("--on", "kubernetes", "--workers", "50", "--out", "here")
    args = parsed("m:f", "x=1,2", *here, "--seed", "7", "--zip", "--timeout", "30s")
    assert sweep_arguments(args) == ("m:f", "x=1,2", "--zip", "--seed", "7", "--timeout", "30s")


def test_the_arguments_passed_on_mean_the_same_again() -> None:
    words = ("m:f", "x=uniform(0,1)", "--sample", "9", "--method", "lhs", "--chunk-size", "3", "--retries", "0")
    again = sweep_arguments(parsed(*words))
    assert sweep_arguments(parsed(*again)) == again == words


@pytest.mark.usefixtures("fake")
def test_a_run_on_the_cluster_brings_its_table_back(fake: Fake, tmp_path: Path) -> None:  # noqa: F811
    fake.answer(LISTING, stdout={"items": [job("ttg-coordinator-r1", "Complete")]})
    archive = dataset(tmp_path, "r1", {"run.json": b"{}", "results/part-000001.parquet": b"PAR1"})
    fake.answer(["exec"], file=str(archive))
    out = tmp_path / "table"
    code = main(
        ["run", "json:dumps", "obj=1,2", "--on", "kubernetes", "--run-id", "r1", "--workers", "5", "--out", str(out)]
    )
    assert code == 0
    assert (out / "results" / "part-000001.parquet").read_bytes() == b"PAR1"
    workers = next(item for item in fake.applied() if item["metadata"]["name"].startswith("ttg-worker"))
    assert workers["spec"]["completions"] == 5
    assert fake.calls("delete"), "the run's objects are removed"


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
