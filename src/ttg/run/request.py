"""What is to be run, checked and frozen, before anything is started."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ttg.clock import unix_time
from ttg.errors import FunctionError, InputError, RunConflictError, SpaceError
from ttg.results.folder import RunFolder, find_run
from ttg.run.options import RunOptions
from ttg.settings import Settings, check_url
from ttg.space import Space, space_to_json
from ttg.spec import FunctionRef, Limits, RetryPolicy, RunSpec, new_identity
from ttg.units import max_failures as max_failures_of

T = TypeVar("T", float | None, int | None)

EMBEDDED_KEEP_BYTES = 4 << 20
SHARED_KEEP_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Everything a coordinator needs, checked. ``broker_url`` ``None``: the embedded server."""

    spec: RunSpec
    space: Space
    settings: Settings
    out: Path
    broker_url: str | None
    workers: int
    slots: int = 1
    replace_workers: bool = True
    options: RunOptions = field(default_factory=RunOptions)
    resume: bool = False
    force: bool = False
    retry_dead: Iterable[int] = ()


def new_request(
    function: FunctionRef,
    space: Space,
    settings: Settings,
    *,
    run_id: str | None = None,
    out: Path | None = None,
    broker: str | None = None,
    workers: int | None = None,
    slots: int = 1,
    replace: bool = True,
    chunk_size: int | None = None,
    seed: int = 0,
    retries: int | None = None,
    retry_delay_seconds: float | None = None,
    timeout_seconds: float | None = None,
    memory_bytes: int | None = None,
    checkpoint_seconds: float | None = None,
    max_failures: str | int | None = None,
    vectorized: bool = False,
    priority: int = 0,
    keep_results: int | None = None,
) -> RunRequest:
    """A fresh run, frozen. Raises ``InputError`` subclasses for values that cannot work."""
    from ttg.function import is_marked

    if not len(space):
        raise SpaceError("the parameter space is empty: nothing to run")
    url = _checked_url(broker, settings)
    policy = settings.retry
    spec = RunSpec(
        run=_checked_id(run_id) if run_id else made_up_id(function.name),
        function=function,
        space=space_to_json(space),
        size=len(space),
        names=space.names,
        seed=seed,
        retry=RetryPolicy(
            max_retries=policy.max_retries if retries is None else _at_least(0, retries, "retries"),
            delay_ms=policy.delay_ms if retry_delay_seconds is None else int(1000 * retry_delay_seconds),
        ),
        limits=Limits(
            timeout_seconds=_above_zero(timeout_seconds, "timeout"),
            memory_bytes=_above_zero(memory_bytes, "memory"),
            checkpoint_seconds=_above_zero(checkpoint_seconds, "checkpoint") or Limits().checkpoint_seconds,
        ),
        vectorized=vectorized or is_marked(function),
        priority=priority,
        created=unix_time(),
        identity=new_identity(),
    )
    return RunRequest(
        spec=spec,
        space=space,
        settings=settings,
        out=out or Path("ttg-runs") / spec.run,
        broker_url=url,
        workers=_worker_count(workers),
        slots=_at_least(1, slots, "slots"),
        replace_workers=replace,
        options=_options(spec, chunk_size, max_failures, keep_results, url),
    )


def resume_request(
    run: str,
    settings: Settings,
    *,
    force: bool = False,
    broker: str | None = None,
    workers: int | None = None,
    slots: int = 1,
    replace: bool = True,
    chunk_size: int | None = None,
    max_failures: str | int | None = None,
    keep_results: int | None = None,
    retry_dead: Iterable[int] = (),
) -> RunRequest:
    """Go on with ``run``. Refuses (``RunConflictError``) when the function changed since, unless ``force``."""
    from ttg.results.rows import space_of

    folder = find_run(run, settings.home)
    spec = _same_function(folder, force=force)
    url = _checked_url(broker, settings)
    return RunRequest(
        spec=spec,
        space=space_of(folder),
        settings=settings,
        out=folder.path,
        broker_url=url,
        workers=_worker_count(workers),
        slots=_at_least(1, slots, "slots"),
        replace_workers=replace,
        options=_options(spec, chunk_size, max_failures, keep_results, url),
        resume=True,
        force=force,
        retry_dead=retry_dead,
    )


def _same_function(folder: RunFolder, *, force: bool) -> RunSpec:
    from ttg.function import refreshed

    spec = folder.spec
    try:
        now = refreshed(spec.function)
    except FunctionError as error:
        raise FunctionError(f"{error}; go on with run {spec.run} in the folder where it was started") from error
    if now.code == spec.function.code:
        return spec
    if not force:
        raise RunConflictError(
            f"{spec.function} has changed since run {spec.run} began, so old and new rows would not belong together: "
            "start a new run, or insist with --force"
        )
    return _with(spec, function=now)


def _with(spec: RunSpec, **changes: Any) -> RunSpec:
    changed: RunSpec = msgspec.structs.replace(spec, **changes)
    return changed


def _options(
    spec: RunSpec, chunk_size: int | None, failures: str | int | None, keep: int | None, url: str | None
) -> RunOptions:
    if chunk_size is not None:
        _at_least(1, chunk_size, "chunk-size")
    default = SHARED_KEEP_BYTES if url else EMBEDDED_KEEP_BYTES
    return RunOptions(
        chunk_size=chunk_size,
        max_failures=max_failures_of(failures, spec.size) if isinstance(failures, str) else failures,
        keep_result_bytes=default if keep is None else keep,
    )


def _at_least(least: int, value: int, name: str) -> int:
    if value < least:
        raise InputError(f"--{name}: expected at least {least}, got {value}")
    return value


def _above_zero(value: T, name: str) -> T:
    if value is not None and value <= 0:
        raise InputError(f"--{name}: expected more than 0, got {value:g}")
    return value


def _checked_url(broker: str | None, settings: Settings) -> str | None:
    """Before anything is made on disk for a run that cannot begin."""
    url = broker or settings.broker_url
    return check_url(url) if url else None


def _checked_id(run: str) -> str:
    """A run's id becomes part of file names, message ids and commands."""
    if not re.fullmatch(r"\w[\w.-]*", run):
        raise InputError(f"--run-id: expected letters, digits, '-', '_' and '.', got {run!r}")
    return run


def _worker_count(workers: int | None) -> int:
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _at_least(0, workers, "workers")


def made_up_id(function: str) -> str:
    """``price-1123-a1b2c3``: readable, sortable within a day, unique."""
    name = "".join(letter if letter.isalnum() else "-" for letter in function).strip("-").lower()[:20] or "run"
    return f"{name}-{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(2)}"
