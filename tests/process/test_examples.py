"""The examples, run as their docstrings say, with smaller spaces."""

from __future__ import annotations

import ast
import csv
import importlib.util
import json
import math
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import ModuleType

import nbclient
import nbformat
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
TTG = Path(sys.executable).with_name("ttg")

pytestmark = pytest.mark.timeout(180)


def documented_command(example: str, starting: str) -> list[str]:
    """The command in an example's docstring that starts so, as arguments, ``linspace`` cut down to 4 points."""
    text = ast.get_docstring(ast.parse((EXAMPLES / example).read_text(encoding="utf-8"))) or ""
    command = next(line for line in text.replace("\\\n", " ").splitlines() if line.strip().startswith(starting))
    return [re.sub(r"(linspace\(.*),\d+\)$", r"\1,4)", word) for word in shlex.split(command)]


def execute(arguments: list[str], folder: Path) -> str:
    program = {"ttg": [str(TTG)], "python": [sys.executable]}[arguments[0]]
    done = subprocess.run(
        [*program, *arguments[1:]], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, f"{shlex.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder from which ``examples/…`` can be named as in the docstrings."""
    (tmp_path / "examples").symlink_to(EXAMPLES)
    return tmp_path


def load(example: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(example).stem, EXAMPLES / example)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_option_pricing(folder: Path) -> None:
    execute(documented_command("option_pricing.py", "ttg run"), folder)
    table = pq.read_table(folder / "prices" / "results").sort_by("index")
    assert table["index"].to_pylist() == list(range(4 * 3 * 2))
    exact = load("option_pricing.py").black_scholes
    for row in table.filter(pc.field("style") == "european").to_pylist():
        away = abs(row["price"] - exact(row["spot"], row["volatility"])) / row["standard_error"]
        assert away < 4.5, f"{away:.1f} standard errors from Black and Scholes: {row}"
    assert "standard_error" in execute(documented_command("option_pricing.py", "ttg results"), folder)


def test_epidemic(folder: Path) -> None:
    execute(documented_command("epidemic.py", "ttg run"), folder)
    execute(documented_command("epidemic.py", "ttg results"), folder)
    with (folder / "epidemics.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {"r0", "distancing", "peak_infectious", "peak_day", "attack_rate"} <= set(lines[0])
    assert len(lines) == 4 * 4
    rows = pq.read_table(folder / "epidemics" / "results").to_pylist()
    free = {row["r0"]: row["attack_rate"] for row in rows if row["distancing"] == 0}
    assert sorted(free.values()) == [free[r0] for r0 in sorted(free)], "the more infectious, the more are infected"
    assert all(free[row["r0"]] >= row["attack_rate"] - 1e-6 for row in rows), "distancing never makes it worse"


def test_logistic_map(folder: Path) -> None:
    execute(documented_command("logistic_map.py", "ttg run"), folder)
    execute(documented_command("logistic_map.py", "python"), folder)
    assert (folder / "logistic.png").read_bytes().startswith(b"\x89PNG")
    rows = pq.read_table(folder / "logistic" / "results").sort_by("index").to_pylist()
    assert [sum(row["visits"]) for row in rows] == [4000] * 4
    assert rows[0]["lyapunov"] < 0 < rows[-1]["lyapunov"], "order at 2.8, chaos at 4"


def test_vectorized_kepler(folder: Path) -> None:
    execute(documented_command("vectorized_kepler.py", "ttg run"), folder)
    rows = pq.read_table(folder / "orbits" / "results").to_pylist()
    assert len(rows) == 4 * 4
    for row in rows:
        conic = (1 - row["eccentricity"] ** 2) / (1 + row["eccentricity"] * math.cos(row["true_anomaly"]))
        assert row["distance"] == pytest.approx(conic), "distance and angle are of the same ellipse"
        assert abs(row["residual"]) < 1e-12


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        ("grid_search.py", r"\{'C': [\d.]+, 'gamma': 0\.\d+\} 0\.\d{4}"),
        ("posterior.py", r"best fit  \[2\.\d* +0\.3\d* *\]\nposterior \[2\.\d* +0\.3\d* *\] ± \[0\.\d+ +0\.\d* *\]"),
        ("answering_requests.py", r"360: 2 2 2 3 3 5\n97: 97\n13: .*1.*\n1001: 7 11 13\n1048583: \d"),
    ],
)
def test_examples_of_executors(folder: Path, example: str, expected: str) -> None:
    assert re.search(expected, execute(documented_command(example, "python"), folder))


def test_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell in a real kernel; a cell that fails is an error of ``execute``."""
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    notebook = nbformat.read(EXAMPLES / "pendulum.ipynb", as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    shown = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    progress, report = shown["run"]
    assert "60/60, done" in progress.data["text/plain"]
    assert "<svg" in report.data["text/html"]
    assert "'degrees': 170.0" in shown["slowest"][0].data["text/plain"]
    lines = "".join(output.text for output in shown["live"]).splitlines()
    assert sorted(int(line.partition("°")[0]) for line in lines) == [*range(10, 170, 20)]
    assert shown["failing"][-1].data["text/plain"] == "[({'degrees': 10, 'steps': 0}, 'ZeroDivisionError')]"
    assert shown["calls"][0].data["text/plain"] == "[2.01, 2.09, 2.37, 3.06]"


def test_web_service(folder: Path) -> None:
    command = [*documented_command("web_service.py", "python -m uvicorn")[1:-1], "0"]
    with subprocess.Popen([sys.executable, *command], cwd=folder, stderr=subprocess.PIPE, text=True) as service:
        try:
            assert service.stderr
            address = next(found[0] for line in service.stderr if (found := re.search(r"http://[\d.]+:\d+", line)))
            with urllib.request.urlopen(f"{address}/pi?points=2000", timeout=60) as answer:
                assert 2.8 < json.load(answer)["pi"] < 3.5
            with urllib.request.urlopen(f"{address}/sweep?points=2000", timeout=60) as answer:
                *rows, end = map(json.loads, answer)
        finally:
            service.send_signal(signal.SIGINT)
            service.communicate(timeout=60)
    assert sorted(row["seed"] for row in rows) == list(range(20))
    assert all(2.8 < row["pi"] < 3.5 for row in rows)
    assert (end["status"], end["rows"]) == ("finished", 20)
