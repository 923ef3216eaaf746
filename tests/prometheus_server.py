"""A private Prometheus for tests, on a free port, with the alert rules of `monitoring/`."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from tools import need_program
from ttg.demo.local_rabbitmq import free_ports
from waiting import until

MONITORING = Path(__file__).parents[1] / "monitoring"

Answer = dict[tuple[str, ...], float]
"""Values by the labels' values, in the order of the labels' names; a query error is an error of the test."""


class Prometheus:
    """Scrapes ``targets`` (job: port) every second, with ``token`` as a bearer's."""

    def __init__(self, folder: Path, targets: Mapping[str, int], token: str) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        jobs = [
            {
                "job_name": job,
                "authorization": {"credentials": token},
                "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
            }
            for job, port in targets.items()
        ]
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(MONITORING / "rules.yml")],
            "scrape_configs": jobs,
        }
        folder.mkdir()
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))

    @contextmanager
    def running(self) -> Iterator[Prometheus]:
        """While open, it answers."""
        flags = {"config.file": "prometheus.yml", "storage.tsdb.path": "data", "web.listen-address": self.address}
        command = [need_program("prometheus", install="prometheus"), *(f"--{key}={flags[key]}" for key in flags)]
        with (self.folder / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        try:
            until(self._is_ready, within_seconds=60)
            yield self
        finally:
            process.terminate()
            process.wait(30)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5):
                return True
        except OSError:
            return False

    def ask(self, query: str) -> Answer:
        """What it answers now."""
        try:
            with urllib.request.urlopen(
                f"http://{self.address}/api/v1/query?query={quote(query)}", timeout=10
            ) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None
        return {tuple(value for _, value in sorted(row["metric"].items())): float(row["value"][1]) for row in found}


def panels() -> dict[str, str]:
    """The queries of the Grafana dashboard by title and reference, for all runs, at the scrapes of these tests."""
    dashboard = json.loads((MONITORING / "grafana/dashboards/ttg.json").read_text())
    return {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$run", ".*").replace("$__rate_interval", "5s")
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
