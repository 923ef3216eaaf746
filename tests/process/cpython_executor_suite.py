"""CPython's own tests of executors, on ours: ``python -m unittest cpython_executor_suite``, where Python has them.

Three of the 29 start a program that imports the executor by its name from ``concurrent.futures``: those programs are
written anew here, with what they print and what is expected of it.
"""

from __future__ import annotations

import sys
import unittest
from typing import Any

from test import support  # type: ignore[import-not-found,unused-ignore]
from test.support.script_helper import assert_python_ok  # type: ignore[import-not-found,unused-ignore]

import ttg

try:
    from test.test_concurrent_futures import executor, test_as_completed, test_shutdown, test_wait, util  # type: ignore

    SLEEPER = "test.test_concurrent_futures.test_shutdown"
except ImportError:  # Python 3.11 has one module
    from test import test_concurrent_futures as everything  # type: ignore[import-not-found,unused-ignore]

    executor = test_as_completed = test_shutdown = test_wait = util = everything
    SLEEPER = "test.test_concurrent_futures"

support.use_resources = ["walltime", "cpu"]


class TTGMixin(util.ExecutorMixin):  # type: ignore[misc,name-defined]
    executor_type = ttg.Executor


class TTGExecutorTest(TTGMixin, executor.ExecutorTest, util.BaseTestCase):  # type: ignore[misc,name-defined]
    pass


class TTGWaitTest(TTGMixin, test_wait.WaitTests, util.BaseTestCase):  # type: ignore[misc,name-defined]
    pass


class TTGAsCompletedTest(TTGMixin, test_as_completed.AsCompletedTests, util.BaseTestCase):  # type: ignore[misc,name-defined]
    pass


class TTGShutdownTest(TTGMixin, test_shutdown.ExecutorShutdownTest, util.BaseTestCase):  # type: ignore[misc,name-defined]
    def test_interpreter_shutdown(self) -> None:
        self.check_that_an_apple_is_printed("")

    def test_hang_gh83386(self) -> None:
        self.check_that_an_apple_is_printed("executor.shutdown(wait=False)")

    def check_that_an_apple_is_printed(self, last: str) -> None:
        code = f"""
import ttg
from {SLEEPER} import sleep_and_print
if __name__ == "__main__":
    executor = ttg.Executor(3)
    executor.submit(sleep_and_print, 1.0, "apple")
    {last}
"""
        _, out, err = assert_python_ok("-c", code)
        assert not err
        assert out.strip() == b"apple"

    def test_submit_after_interpreter_shutdown(self) -> None:
        code = """
import atexit
def submit_late():
    try:
        executor.submit(id, None)
    except RuntimeError:
        print("runtime-error")
        raise
atexit.register(submit_late)
import ttg
if __name__ == "__main__":
    executor = ttg.Executor(3)
    executor.submit(id, 42).result()
"""
        _, out, err = assert_python_ok("-c", code)
        assert "RuntimeError: cannot schedule new futures" in err.decode()
        assert out.strip() == b"runtime-error"


def setUpModule() -> None:
    setup: Any = getattr(util, "setup_module", None) or getattr(util, "setUpModule", lambda: None)
    setup()


if __name__ == "__main__":
    sys.exit(unittest.main())
