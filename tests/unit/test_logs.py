"""Logs: lines for people, objects for machines."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ttg.errors import SettingsError
from ttg.logs import configure_logging


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("ttg")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def test_people_read_lines() -> None:
    stream = io.StringIO()
    configure_logging("info", "text", stream)
    logging.getLogger("ttg.worker").info("task %s settled", "c7")
    logging.getLogger("ttg.worker").debug("not heard")
    logging.getLogger("somebody.else").info("not heard")
    assert stream.getvalue().endswith("INFO    task c7 settled\n")
    assert stream.getvalue().count("\n") == 1


def test_machines_read_one_object_per_line_with_fields_and_traceback() -> None:
    stream = io.StringIO()
    configure_logging("DEBUG", "json", stream)
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("ttg.run").warning("failed: %s", "x", extra={"run": "r1"}, exc_info=True)
    entry = json.loads(stream.getvalue())
    assert (entry["level"], entry["logger"], entry["text"], entry["run"]) == ("warning", "ttg.run", "failed: x", "r1")
    assert "ValueError: no" in entry["traceback"]


@pytest.mark.parametrize(("level", "form"), [("loud", "text"), ("info", "xml")])
def test_an_unknown_level_or_format_is_refused(level: str, form: str) -> None:
    with pytest.raises(SettingsError, match="expected LOG_"):
        configure_logging(level, form)


def test_a_bounded_log_is_two_files_with_the_newest_lines(tmp_path: Path) -> None:
    path = tmp_path / "worker-1.log"
    code = (
        "import logging, sys; from pathlib import Path; from ttg import logs; logs.LOG_BYTES = 10_000\n"
        "logs.configure_logging(); logs.bound_log(Path(sys.argv[1]))\n"
        "for number in range(1000): logging.getLogger('ttg').info('line %d, %s', number, 'x' * 50)\n"
        "print('what is printed follows', flush=True)"
    )
    with path.open("ab") as log:
        subprocess.run([sys.executable, "-c", code, str(path)], stdout=log, stderr=log, check=True)
    before, last = (tmp_path / "worker-1.log.1").read_text(), path.read_text()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["worker-1.log", "worker-1.log.1"]
    assert max(len(before), len(last)) < 10_200
    first_line, *lines = last.splitlines()
    assert "what was logged before is in worker-1.log.1" in first_line
    assert lines[-1] == "what is printed follows"
    numbers = [int(line.split("line ")[1].split(",")[0]) for line in [*before.splitlines()[1:], *lines[:-1]]]
    assert numbers == list(range(numbers[0], 1000)), "none between the files is missing"
