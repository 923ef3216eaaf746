"""What others ask of an executor or a backend: CPython's and joblib's own tests, and programs that take a pool."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from call_workloads import square, total
from joblib import Parallel, delayed, parallel_config

import ttg.joblib
from ttg.errors import ProcessDied

HERE = Path(__file__).parent

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    yield
    ttg.joblib.shutdown()


def said_by(*arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=280, env=environment, cwd=HERE
    )
    return done.stdout + done.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("test.test_concurrent_futures") is None, reason="this Python is without its own tests"
)
def test_cpythons_own_tests_of_executors() -> None:
    said = said_by("-m", "unittest", "cpython_executor_suite")
    assert re.search(r"Ran (29|30) tests", said), said
    assert said.rstrip().endswith("OK"), said


def test_joblibs_own_tests_of_backends() -> None:
    """But for two, in which a process of loky's looks for a backend by its name, and has not imported ours."""
    foreign = [f"test_nested_loop[{outer}-ttg]" for outer in ("loky", "back_compat_backend")]
    arguments = ["-p", "joblib_plugin", "--pyargs", "joblib.test.test_parallel", "-k", "ttg", "-p", "no:cacheprovider"]
    said = said_by("-m", "pytest", "-q", "-c", os.devnull, "-p", "no:xdist", *arguments, "--timeout", "60")
    assert re.search(r"\d\d passed", said), said
    failed = [name for name in re.findall(r"FAILED \S*::(\S+)", said) if name not in foreign]
    assert not failed, said


def test_large_arrays_of_many_calls_are_sent_once() -> None:
    array = np.arange(1_000_000, dtype=float)
    with parallel_config("ttg", n_jobs=2):
        assert Parallel()(delayed(total)(array) for _ in range(20)) == 20 * [array.sum()]


def test_a_backend_reports_what_a_call_raised_and_goes_on() -> None:
    with parallel_config("ttg", n_jobs=2):
        with pytest.raises(ProcessDied):
            Parallel()(delayed(os._exit)(code) for code in (3, 4))
        assert [*Parallel(return_as="generator")(delayed(square)(x) for x in range(100))] == [x * x for x in range(100)]
        assert Parallel()(delayed(square)(x) for x in range(100)) == [x * x for x in range(100)]
    with pytest.raises(ValueError, match="n_jobs == 0"):
        Parallel(n_jobs=0, backend="ttg")(delayed(square)(x) for x in range(2))


def test_who_wants_other_workers_leaves_those_that_are_used_alone() -> None:
    with parallel_config("ttg", n_jobs=2), Parallel() as first:
        assert first(delayed(square)(x) for x in range(3)) == [0, 1, 4]
        with parallel_config("ttg", n_jobs=3):
            assert Parallel()(delayed(square)(x) for x in range(3)) == [0, 1, 4]
        assert first(delayed(square)(x) for x in range(3)) == [0, 1, 4]
        assert len(ttg.joblib._kept) == 2
    with parallel_config("ttg", n_jobs=4):
        Parallel()(delayed(square)(x) for x in range(3))
    assert len(ttg.joblib._kept) == 1


def test_another_parallel_inside_of_one_takes_nothing_from_it() -> None:
    """They have the backend of their context in common; scikit-learn's searches nest like this."""
    with parallel_config("ttg", n_jobs=2), Parallel() as outer:
        assert outer(delayed(square)(x) for x in range(4)) == [0, 1, 4, 9]
        assert Parallel()(delayed(square)(x) for x in range(3)) == [0, 1, 4]
        assert outer(delayed(square)(x) for x in range(4)) == [0, 1, 4, 9]
        with pytest.raises(TypeError):
            Parallel()(delayed(square)(None) for _ in range(3))
        assert outer(delayed(square)(x) for x in range(4)) == [0, 1, 4, 9]
