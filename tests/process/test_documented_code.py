"""All code of README.md and docs/*.md, executed as it stands, with the files that it speaks of beside it.

Blocks are ``bash`` (commands), ``console`` (commands after ``$``, and what they print), ``python`` or ``sql``; ``text``
is no code. Each page is executed in a folder of its own, top to bottom; workers that it starts go on until the end.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.process.documented_workloads import BEFORE, FILES, FILLED_IN, NAMES

from runs import eventually
from servers import RedisServer
from ttg.brokers.embedded import find_server
from ttg.cli import build_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
VARYING = re.compile(r"\b(?=[a-f]*[0-9])[0-9a-f]{4,}\b|[0-9][0-9.,]*|-{3,}|\s+")
PAGE_SECONDS = 120

IN_A_CLUSTER = ("docs/kubernetes.md",)
"""Pages whose blocks all need a cluster: tests/kube/test_documented_commands.py holds them against the manifests."""

OF_A_CLUSTER = re.compile(r"\b(kubectl|kind|docker|k8s|ttg kube)\b")
NOT_HERE = {
    "make ": "the demonstration, and these tests: minutes",
    "pip install": "would change what the tests run in",
    "ttg kube ": "needs a cluster",
    "ttg demo": "tests/process/test_demo.py shows every fault",
    "--gpus": "tests/process/test_needs.py has pretended GPUs",
    "--needs gpu": "tests/process/test_needs.py has pretended GPUs",
    "polars": "Polars is not among what the tests install",
    "arrow::": "R is not among what the tests install",
}
"""What else is not executed, and why. Of ``ttg`` the options are looked at all the same."""

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Command lines; code of another language as a whole."""
        if self.language not in ("bash", "console"):
            return [self.text]
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line.removeprefix("$ ") for line in lines if self.language == "bash" or line.startswith("$ ")]

    @property
    def printed(self) -> list[str]:
        """What a transcript shows that its commands print."""
        return [line for line in self.text.splitlines() if self.language == "console" and not line.startswith("$ ")]


def blocks() -> Iterator[Block]:
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield Block(str(path.relative_to(ROOT)), line, found[1], found[2])


BLOCKS = [block for block in blocks() if block.language != "text"]


def is_executed(command: str) -> bool:
    return not any(part in command for part in NOT_HERE)


PAGES_EXECUTED = sorted(
    {block.page for block in BLOCKS if any(map(is_executed, block.commands)) and block.page not in IN_A_CLUSTER}
)


@dataclass
class Page:
    """A page's folder, its environment, and the workers that it has started. Commands run in one shell session."""

    folder: Path
    environment: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def execute(self, block: Block) -> None:
        commands = [command for command in block.commands if is_executed(command)]
        if block.language == "python":  # executed together with the page's other ones, in one process
            if named := re.match(r"# (\w+\.py)\n", block.text):
                (self.folder / named[1]).write_text(block.text)
            return
        if block.language == "sql":
            commands = [shlex.join([sys.executable, "-c", f"import duckdb; duckdb.execute({block.text!r})"])]
        printed = "".join(self._type(command) for command in commands)
        for line in block.printed if not self.workers else ():  # which say more when there is more
            assert in_shape(line) in in_shape(printed), f"{block}: not printed: {line!r}\n{printed}"

    def _type(self, command: str) -> str:
        if assigned := re.match(r"export (.*?)(#|$)", command):
            self.environment |= dict(word.split("=", 1) for word in shlex.split(assigned[1]))
            return ""
        if command.startswith("ttg worker"):
            return self._start_worker(command)
        done = subprocess.run(
            ["bash", "-c", command], **self._here, capture_output=True, text=True, timeout=PAGE_SECONDS
        )
        assert done.returncode == 0, f"{command}\nended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def _start_worker(self, command: str) -> str:
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("wb") as file:
            words = shlex.split(command, comments=True)
            self.workers.append(subprocess.Popen(words, **self._here, stdout=file, stderr=file))
        eventually(lambda: "connected to" in log.read_text(), f"{command} is connected")
        return log.read_text()

    def execute_python(self, page: str, blocks: list[Block]) -> None:
        """All in one process, each named by its place in the page."""
        parts = [(block.text, str(block)) for block in blocks if is_executed(block.text)]
        lines = [f"exec(compile({text!r}, {name!r}, 'exec'), globals())" for text, name in parts]
        script = self.folder / "of_the_page.py"
        script.write_text("\n".join([NAMES.get(page, ""), *lines]))
        self._type(shlex.join([sys.executable, str(script)]))

    @property
    def _here(self) -> dict[str, Any]:
        return {"cwd": self.folder, "env": self.environment, "stdin": subprocess.DEVNULL}

    def leave(self) -> None:
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait(60)


def in_shape(text: str) -> str:
    """Without what differs from run to run."""
    return VARYING.sub("·", text)


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    server = RedisServer(str(find_server())).start()
    yield server.url
    server.close()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    page = Page(tmp_path, {**os.environ, "PATH": path, "TTG_HOME": str(tmp_path / "home")})
    yield page
    page.leave()


@pytest.mark.parametrize("name", PAGES_EXECUTED)
def test_the_code_of_a_page_runs(name: str, page: Page, broker: str) -> None:
    if name in BEFORE:
        page.execute(Block(name, 0, "bash", BEFORE[name]))
    filled_in = {**FILLED_IN, "redis://broker:6379": broker, "--broker URL": f"--broker {broker}"}
    mine = [block for block in BLOCKS if block.page == name]
    for written, meant in filled_in.items():
        mine = [Block(block.page, block.line, block.language, block.text.replace(written, meant)) for block in mine]
    for block in mine:
        page.execute(block)
    if python := [block for block in mine if block.language == "python"]:
        page.execute_python(name, python)


def test_every_block_says_what_it_is() -> None:
    assert {block.language for block in BLOCKS} <= {"bash", "console", "python", "sql", "r"}
    ticks = sum(path.read_text(encoding="utf-8").count("```") for path in PAGES)
    assert ticks == 2 * len(list(blocks()))


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.page in IN_A_CLUSTER], ids=str)
def test_what_is_left_to_a_cluster_needs_one(block: Block) -> None:
    assert any(map(OF_A_CLUSTER.search, block.commands))


@pytest.mark.parametrize("part", NOT_HERE)
def test_nothing_is_excused_that_is_not_there(part: str) -> None:
    assert any(part in command for block in BLOCKS for command in block.commands)


COMMANDS_OF_OURS = [
    command
    for block in BLOCKS
    for command in block.commands
    if re.match(r"(\w+=\S* )?ttg ", command) and (block.page in IN_A_CLUSTER or not is_executed(command))
]


@pytest.mark.parametrize("command", COMMANDS_OF_OURS)
def test_what_is_not_executed_has_options_that_there_are(command: str) -> None:
    words = shlex.split(command, comments=True)
    build_parser().parse_args(words[words.index("ttg") + 1 :])
