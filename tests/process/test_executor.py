"""``ttg.Executor`` as a program uses it: real processes, a real broker, and what ends them."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future, as_completed
from pathlib import Path
from typing import Any

import call_workloads as calls
import numpy as np
import pytest

import ttg
from runs import descendants_of, eventually, is_running
from ttg.errors import ProcessDied, SettingsError

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def executor() -> Iterator[ttg.Executor]:
    with ttg.Executor(2) as executor:
        yield executor


def raised_by(future: Future[Any]) -> BaseException:
    error = future.exception(60)
    assert error is not None
    return error


def test_calls_give_values_and_the_original_exceptions(executor: ttg.Executor) -> None:
    assert executor.submit(pow, 2, 8).result() == 256
    assert executor.submit(calls.echo, 1, self=2, fn=3).result() == ((1,), {"self": 2, "fn": 3})
    assert executor.submit(lambda x: x + 1, 2).result() == 3
    error = raised_by(executor.submit(calls.fail, "this"))
    assert (type(error), error.args) == (KeyError, ("this",))
    assert "in fail" in str(error.__cause__)
    assert "ttg/worker" not in str(error.__cause__)
    odd = raised_by(executor.submit(calls.fail_oddly))
    assert isinstance(odd, calls.Odd)
    assert (str(odd), odd.number, odd.__notes__) == ("1 odd", 1, ["noted"])
    assert "in fail_oddly" in str(odd.__cause__)
    exit_code = raised_by(executor.submit(calls.fail_with_more_than_its_attributes))
    assert isinstance(exit_code, RuntimeError)
    assert "OddExit: 3" in str(exit_code)
    assert isinstance(raised_by(executor.submit(sys.exit, 3)), SystemExit)


def test_what_cannot_be_pickled_is_that_futures_error_only(executor: ttg.Executor) -> None:
    assert "pickle" in str(raised_by(executor.submit(calls.square, threading.Lock())))
    error = raised_by(executor.submit(calls.unpicklable))
    assert (type(error), "generator" in str(error)) == (TypeError, True)
    assert error.__notes__ == ["what the call returned, a generator, cannot be pickled"]
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(executor)
    assert executor.submit(calls.square, 3).result() == 9


@pytest.mark.parametrize(("how", "code", "kind"), [("kill", -9, "signal"), ("exit", 7, "exit")])
def test_a_call_that_ends_its_process_fails_by_itself(how: str, code: int, kind: str) -> None:
    with ttg.Executor(1) as executor:
        before = [executor.submit(calls.square, x) for x in range(20)]
        culprit = executor.submit(calls.die, how)
        after = [executor.submit(calls.square, x) for x in range(20)]
        error = raised_by(culprit)
        assert isinstance(error, ProcessDied)
        assert (error.kind, error.exit_code) == (kind, code)
        assert "last words" in error.output
        assert [future.result() for future in before + after] == 2 * [x * x for x in range(20)]
    assert pickle.loads(pickle.dumps(error)).exit_code == code


def test_limits_end_a_call_and_nothing_else() -> None:
    with ttg.Executor(1, timeout="1s") as executor:
        late = executor.submit(signal.pause)
        assert executor.submit(calls.square, 3).result() == 9
        assert isinstance(raised_by(late), TimeoutError)
    with ttg.Executor(1, memory="512M") as executor:
        large = executor.submit(calls.take_memory, 1 << 30)
        assert executor.submit(calls.square, 3).result() == 9
        assert isinstance(raised_by(large), MemoryError)


def test_retries(tmp_path: Path) -> None:
    with ttg.Executor(1, retries=2) as executor:
        assert executor.submit(calls.fail_until, str(tmp_path / "a"), 2).result() == 3
        assert isinstance(raised_by(executor.submit(calls.fail_until, str(tmp_path / "b"), 3)), OSError)


def test_an_initializer_is_called_once_in_each_process() -> None:
    with ttg.Executor(1, initializer=calls.set_up, initargs=("set up",)) as executor:
        first, second = (executor.submit(calls.what_was_set_up).result() for _ in range(2))
    assert first == second
    assert len(first) == 1
    assert first[0].startswith("set up ")


def test_an_initializer_that_raises_breaks_the_executor() -> None:
    with ttg.Executor(1, initializer=calls.broken_set_up) as executor:
        assert "no licence" in str(raised_by(executor.submit(calls.square, 1)))
        eventually(lambda: executor._session.ended.is_set(), "the end of the session")
        with pytest.raises(BrokenExecutor, match="no licence"):
            executor.submit(calls.square, 1)


def test_large_arguments_and_results_do_not_pass_the_broker(executor: ttg.Executor) -> None:
    array = np.arange(4_000_000, dtype=float)
    assert executor.submit(calls.total, array).result() == array.sum()
    assert executor.submit(calls.zeros, 4_000_000).result().shape == (4_000_000,)
    text = "x" * (40 << 20)
    assert executor.submit(len, text).result() == len(text)
    inputs, own = executor._session.queue.inputs, executor._session._request.inputs.keys()
    eventually(lambda: {path.name for path in inputs.iterdir()} == own, "inputs of settled calls are gone")


def test_executors_with_one_store_leave_each_other_alone(tmp_path: Path) -> None:
    (tmp_path / "another's").touch()
    with ttg.Executor(1, store=tmp_path) as first:
        with ttg.Executor(1, store=tmp_path) as second:
            assert second.submit(calls.zeros, 100_000).result().shape == (100_000,)
        assert first.submit(calls.zeros, 100_000).result().shape == (100_000,)
    assert [path.name for path in tmp_path.iterdir()] == ["another's"]


def test_map_is_lazy_about_results_and_with_a_buffer_about_arguments_as_well(executor: ttg.Executor) -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(10_000):
            taken.append(number)
            yield number

    results = executor.map(calls.square, numbers(), buffersize=50)
    assert next(results) == 0
    assert len(taken) <= 51
    assert list(results) == [x * x for x in range(1, 10_000)]
    assert list(executor.map(pow, [2, 3], [3, 2, 1])) == [8, 9]
    for wrong, error in ((0, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match="buffersize must be"):
            executor.map(calls.square, [1], buffersize=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="chunksize must be >= 1"):
        executor.map(calls.square, [1], chunksize=0)


def test_calls_that_wait_for_each_other_run_at_once(executor: ttg.Executor, tmp_path: Path) -> None:
    list(executor.map(calls.square, range(1_000)))  # so that calls are known to be short
    pair = [executor.submit(calls.meet, str(tmp_path), *names) for names in (("a", "b"), ("b", "a"))]
    assert [future.result() for future in pair] == ["a", "b"]


def test_cancelling_withdraws_what_nobody_has_begun(tmp_path: Path) -> None:
    with ttg.Executor(1) as executor:
        busy = executor.submit(calls.hold, str(tmp_path), "pid")
        waiting = [executor.submit(calls.slow_square, x, 0.0, str(tmp_path)) for x in range(100)]
        eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the first call")
        assert not busy.cancel()
        cancelled = [future for future in waiting if future.cancel()]
        assert len(cancelled) > 90
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        assert isinstance(raised_by(busy), ProcessDied)
        rest = [future for future in waiting if future not in cancelled]
        assert all(future.result() is not None for future in rest)
    assert len([*tmp_path.iterdir()]) == 1 + len(rest)


def test_nothing_is_left_and_nothing_more_is_taken_after_shutdown() -> None:
    before = descendants_of(os.getpid())  # of other tests of this process
    executor = ttg.Executor(2)
    executor.submit(calls.square, 1).result()
    below, folder = set(descendants_of(os.getpid())) - set(before), executor._session.folder
    assert below
    executor.shutdown()
    executor.shutdown()
    eventually(lambda: not [pid for pid in below if is_running(pid)], "all processes are gone")
    assert not folder.exists()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(calls.square, 1)


def test_an_executor_that_nobody_refers_to_finishes_and_goes() -> None:
    executor = ttg.Executor(1)
    future, session, reference = executor.submit(calls.square, 3), executor._session, weakref.ref(executor)
    del executor
    assert reference() is None
    assert future.result() == 9
    eventually(session.ended.is_set, "the end of the session")


def test_a_forked_process_is_told_that_the_executor_is_not_its_own(executor: ttg.Executor) -> None:
    executor.submit(calls.square, 1).result()
    if (pid := os.fork()) == 0:
        try:
            executor.submit(calls.square, 1)
        except RuntimeError:
            os._exit(42)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42


def test_from_an_event_loop_from_threads_and_from_a_call(executor: ttg.Executor) -> None:
    async def gathered() -> list[int]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, calls.square, x) for x in range(50)))

    assert asyncio.run(gathered()) == [x * x for x in range(50)]
    found: dict[int, list[int]] = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: list(executor.map(calls.square, range(200)))}))  # type: ignore[misc]
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [x * x for x in range(200)] for n in range(4)}
    assert executor.submit(calls.nested, 3).result() == 10


def test_what_the_program_does_to_a_future_costs_no_other(executor: ttg.Executor, tmp_path: Path) -> None:
    def leave(future: Future[Any]) -> None:
        sys.exit(3)

    executor.submit(calls.square, 1).add_done_callback(leave)
    running = executor.submit(calls.slow_square, 1, 0.3, str(tmp_path))
    eventually((tmp_path / "1").exists, "the first call runs")
    running.set_result("set while it ran")
    futures = [executor.submit(calls.slow_square, x, 0.1, str(tmp_path)) for x in range(2, 22)]
    futures[-1].set_result("set before it ran")
    assert [future.result(60) for future in futures] == [*(x * x for x in range(2, 21)), "set before it ran"]
    assert executor.submit(calls.square, 3).result(60) == 9


def test_a_copy_that_a_call_forks_neither_answers_nor_listens() -> None:
    with ttg.Executor(1) as executor:
        first = [executor.submit(calls.fork_and_return_twice).result(60) for _ in range(5)]
        assert first == 5 * ["original"]
        assert list(executor.map(calls.square, range(50))) == [x * x for x in range(50)]


def test_wrong_use_is_told() -> None:
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="max_workers must be greater than 0"):
            ttg.Executor(wrong)
    with pytest.raises(TypeError, match="initializer must be a callable"):
        ttg.Executor(initializer=3)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="TTG_SECRET"):
        ttg.Executor(broker="redis://127.0.0.1:1")


# ---------------------------------------------------------------------------------------------- whole programs


def program(code: str, *expected: str) -> subprocess.CompletedProcess[str]:
    text = textwrap.dedent(code)
    folder = str(Path(__file__).parent)
    return subprocess.run(
        [sys.executable, "-c", text, *expected],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": folder},
    )


def test_a_program_that_ends_has_its_calls_finished_and_sees_what_they_print() -> None:
    said = program(
        """
        import ttg
        def say(text):
            print(text)
        if __name__ == "__main__":
            ttg.Executor(2).submit(say, "apple")
        """
    )
    assert (said.stdout.strip(), said.stderr) == ("apple", "")


def test_after_shutdown_without_waiting_the_program_still_waits_at_its_end() -> None:
    said = program(
        """
        import ttg
        def say(text):
            print(text)
        if __name__ == "__main__":
            executor = ttg.Executor(2)
            executor.submit(say, "apple")
            executor.shutdown(wait=False)
        """
    )
    assert (said.stdout.strip(), said.stderr) == ("apple", "")


def test_functions_of_the_main_file_see_what_its_initializer_has_set() -> None:
    said = program(
        """
        import ttg
        model, filled, count = None, {}, 0

        def set_up(name):
            global model
            model = name
            filled["by"] = name

        def use(data):
            return model, filled, len(data)

        def counted():
            global count
            count += step
            return count

        step = 1
        with ttg.workers(1):
            first = ttg.Executor(initializer=set_up, initargs=("a",))
            second = ttg.Executor(initializer=set_up, initargs=("b",))
            for size in (1, 1_000_000, 2):
                for executor, name in ((first, "a"), (second, "b")):
                    got = executor.submit(use, name.encode() * size).result()
                    assert got == (name, {"by": name}, size), got
                assert list(first.map(use, [b"x"])) == [("a", {"by": "a"}, 1)]
            print([first.submit(counted).result() for _ in range(3)], [second.submit(counted).result()])
            step = 10
            print(first.submit(counted).result())
            first.shutdown(), second.shutdown()
        """
    )
    assert said.stdout == "[1, 2, 3] [1]\n10\n", said.stderr


@pytest.mark.parametrize("how", ["executor.submit(time.sleep, 600).result()", "with executor: wait(executor)"])
def test_ctrl_c_does_not_wait_for_calls_that_do_not_hear_of_it(how: str, tmp_path: Path) -> None:
    code = f"""
        import sys, time
        import ttg

        def hold():
            open({str(tmp_path / "running")!r}, "w").close()
            time.sleep(600)

        def wait(executor):
            executor.submit(time.sleep, 600).result()

        if __name__ == "__main__":
            executor = ttg.Executor(1)
            executor.submit(hold)
            {how}
    """
    file = tmp_path / "interrupted.py"
    file.write_text(textwrap.dedent(code))
    process = subprocess.Popen([sys.executable, file], stderr=subprocess.PIPE, text=True)
    eventually((tmp_path / "running").exists, "the call runs")
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode == -signal.SIGINT


def test_a_call_while_the_interpreter_ends_is_refused() -> None:
    said = program(
        """
        import atexit
        @atexit.register
        def last():
            try:
                executor.submit(id, None)
            except RuntimeError as error:
                print(error)
        import ttg
        if __name__ == "__main__":
            executor = ttg.Executor(1)
            print(executor.submit(abs, -42).result())
        """
    )
    assert said.stdout.split("\n")[:2] == ["42", "cannot schedule new futures after interpreter shutdown"], said.stderr


def test_the_first_of_several_is_there_before_the_last(executor: ttg.Executor, tmp_path: Path) -> None:
    held = executor.submit(calls.hold, str(tmp_path), "held")
    quick = [executor.submit(calls.square, x) for x in range(10)]
    assert {future.result() for future in as_completed(quick, timeout=60)} == {x * x for x in range(10)}
    assert not held.done()
    eventually(lambda: (tmp_path / "held").exists() and (tmp_path / "held").read_text(), "the call that is held")
    os.kill(int((tmp_path / "held").read_text()), signal.SIGKILL)
    assert isinstance(raised_by(held), ProcessDied)


def test_who_is_killed_before_anything_began_ends_at_once() -> None:
    executor = ttg.Executor(1)
    future = executor.submit(time.sleep, 3_600)
    executor.kill_workers()
    assert "were killed" in str(raised_by(future))
    executor.shutdown()


def test_without_an_output_what_calls_print_is_dropped(executor: ttg.Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    executor.submit(print, "nobody sees this").result(60)
    executor.shutdown()
    assert executor._session.broken is None
