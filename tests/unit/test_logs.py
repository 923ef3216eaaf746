"""Logs: lines for people, objects for machines."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

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
