"""Starting a child, where that fails."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from ttg.worker.launching import Process, launch


def no_process(descriptors: Sequence[int], output: int, environment: dict[str, str]) -> Process:
    raise BlockingIOError("no process left")


def test_a_child_that_cannot_be_started_leaves_no_descriptor() -> None:
    """A worker tries again and again."""
    before = os.listdir("/dev/fd")
    with pytest.raises(BlockingIOError):
        launch(no_process)
    assert os.listdir("/dev/fd") == before
