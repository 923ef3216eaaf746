"""What is to be run, frozen, before anything is started. How, says ``ttg.options``."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ttg.clock import unix_time
from ttg.errors import FunctionError, RunConflictError, SettingsError, SpaceError
from ttg.options import DEFAULTS, Options
from ttg.results.folder import RunFolder, find_run
from ttg.run.config import CoordinatorConfig
from ttg.settings import Settings
from ttg.space import Space, space_to_json
from ttg.space.codec import enums_of
from ttg.spec import SPEC_VERSION, FunctionRef, Limits, RetryPolicy, RunSpec, SharedRef, lacking, new_identity
from ttg.stores import within
from ttg.units import Share
from ttg.worker.shares import GPU, visible_gpus

if TYPE_CHECKING:
    from ttg.function import Inputs
    from ttg.run.warm import Session

EMBEDDED_KEEP_BYTES = 4 << 20
SHARED_KEEP_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Everything a coordinator needs, checked. ``broker_url`` ``None``: the embedded server. ``change`` says what
    is not as it was of a function that goes on by force. ``store`` ``None``: the one in the run's folder.
    Local workers write what calls print to ``echo_fd``, too; or they are the ``warm`` ones, which were there before."""

    spec: RunSpec
    space: Space
    settings: Settings
    out: Path
    broker_url: str | None
    workers: int
    slots: int = 1
    replace_workers: bool = True
    threads: int | None = None
    gpus: int = 0
    options: CoordinatorConfig = field(default_factory=CoordinatorConfig)
    resume: bool = False
    force: bool = False
    retry_dead: Iterable[int] = ()
    python_path: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    inputs: Inputs = field(default_factory=dict)
    change: str = ""
    store: str | None = None
    echo_fd: int | None = None
    warm: Session | None = None


def new_request(
    function: FunctionRef,
    space: Space,
    settings: Settings,
    chosen: Options = DEFAULTS,
    *,
    python_path: tuple[str, ...] = (),
    shared: Mapping[str, SharedRef] | None = None,
    inputs: Inputs | None = None,
    setup: FunctionRef | None = None,
) -> RunRequest:
    """A fresh run, frozen. Raises ``InputError`` subclasses for what cannot work. ``python_path``: the ``sys.path`` of
    a script or notebook, which local workers get too. ``inputs`` are the large objects that function and ``shared``
    refer to."""
    from ttg.function import SETUP, is_marked

    if not len(space):
        raise SpaceError("the parameter space is empty: nothing to run")
    if setup and SETUP in (*space.names, *(shared or {})):
        raise SpaceError(f"{SETUP!r} is given twice: by the setup {setup}, and as an axis or shared: rename that one")
    policy = settings.retry
    form = space_to_json(space)
    _check_enums(form, function)
    spec = RunSpec(
        run=chosen.run_id or made_up_id(function.name),
        function=function,
        space=form,
        size=len(space),
        names=space.names,
        seed=chosen.seed,
        retry=RetryPolicy(
            max_retries=policy.max_retries if chosen.retries is None else chosen.retries,
            delay_ms=policy.delay_ms if chosen.retry_delay is None else int(1000 * chosen.retry_delay),
        ),
        limits=Limits(chosen.timeout, chosen.memory, chosen.checkpoint, chosen.load_timeout),
        vectorized=chosen.vectorized or is_marked(function),
        priority=chosen.priority,
        created=unix_time(),
        version=SPEC_VERSION,
        identity=settings.run_identity or new_identity(),
        shared=dict(shared or {}),
        needs=chosen.needs,
        setup=setup,
    )
    request = _request(spec, space, settings, chosen, chosen.out or Path("ttg-runs") / spec.run)
    sources = _sources(spec, python_path)
    return replace(request, python_path=python_path, sources=sources, inputs=inputs or {})


def _sources(spec: RunSpec, path: tuple[str, ...]) -> dict[str, str]:
    from ttg.function import texts_of

    return {name: text for ref in spec.called for name, text in texts_of(ref, Path.cwd(), path).items()}


def _own_enums(form: Mapping[str, Any]) -> list[str]:
    return [name for name in enums_of(form) if name.startswith("__main__:")]


def _check_enums(form: Mapping[str, Any], function: FunctionRef) -> None:
    """Enumerations of ``__main__`` travel with a function of ``__main__`` only."""
    own = sorted(name.partition(":")[2] for name in _own_enums(form))
    if own and (function.kind != "pickled" or "." in "".join(own)):
        raise SpaceError(
            f"{own[0]} is defined in the program itself, from where no worker can import it: move it into the "
            "file of the function"
        )


def resume_request(
    run: str, settings: Settings, chosen: Options = DEFAULTS, *, python_path: tuple[str, ...] = ()
) -> RunRequest:
    """Go on with ``run``. Refuses (``RunConflictError``) when the function, or what it imports of the user's own, has
    changed since, unless ``chosen.force``."""
    from ttg.results.rows import space_of
    from ttg.run.secret import with_secret

    folder = find_run(run, settings.home)
    path = tuple(dict.fromkeys([*folder.info.python_path, *python_path]))
    if folder.spec.function.kind == "pickled" or folder.spec.shared:
        settings = with_secret(settings)
    inputs: Inputs = {}
    spec, change = _same_function(folder, path, settings, inputs, force=chosen.force)
    request = _request(spec, space_of(folder), settings, chosen, folder.path, resume=True)
    sources = _sources(spec, path) if chosen.force else {}
    return replace(request, python_path=path, sources=sources, change=change, inputs=inputs)


def _request(
    spec: RunSpec, space: Space, settings: Settings, chosen: Options, out: Path, *, resume: bool = False
) -> RunRequest:
    warm = warm_for(chosen)
    url = warm.url if warm else chosen.broker or settings.broker_url
    keep = chosen.keep_results
    if keep is None:
        keep = SHARED_KEEP_BYTES if url and not warm else EMBEDDED_KEEP_BYTES
    workers = warm.count if warm else _workers(spec, chosen, settings)
    visible_gpus(os.environ, 0, workers * chosen.gpus)
    most = chosen.max_failures
    most = most.of(spec.size) if isinstance(most, Share) else most
    return RunRequest(
        spec=spec,
        space=space,
        settings=warm.settings
        if warm
        else replace(
            settings,
            namespace=chosen.namespace or settings.namespace,
            credentials_command=chosen.credentials_command or settings.credentials_command,
        ),
        out=out,
        broker_url=url,
        workers=workers,
        slots=warm.slots if warm else chosen.slots,
        replace_workers=chosen.replace,
        threads=chosen.threads,
        gpus=chosen.gpus,
        options=CoordinatorConfig(chosen.chunk_size, most, chosen.fail_fast, keep_result_bytes=keep),
        resume=resume,
        force=chosen.force,
        retry_dead=chosen.retry_dead,
        store=place_of_store(spec, chosen.store, settings.store),
        warm=warm,
    )


def warm_for(chosen: Options) -> Session | None:
    """The workers of :func:`ttg.workers` that are open, unless others are asked for."""
    warm = sys.modules.get("ttg.run.warm")  # otherwise nobody has made any
    others = chosen.broker or chosen.workers is not None or chosen.slots != 1 or chosen.threads or chosen.gpus
    return None if others or chosen.needs or warm is None else warm.open_session()


def _workers(spec: RunSpec, chosen: Options, settings: Settings) -> int:
    """How many of this machine; as many as there are cores would not have so many GPUs each. None of those that would
    only refuse."""
    missing = lacking(spec.needs, (*settings.labels, *([GPU] if chosen.gpus else [])))
    if missing and chosen.workers:
        raise SettingsError(
            f"the workers of this machine do not have {missing}, which the run needs: say that they do with "
            "TTG_LABELS, or give --workers 0 and start some elsewhere"
        )
    if missing or chosen.workers is not None:
        return chosen.workers or 0
    return 1 if chosen.gpus else usable_cores()


def place_of_store(spec: RunSpec, named: str | None, usual: str | None) -> str | None:
    """The run's place in the store that was named, in the one that it has had, or in the usual one."""
    if named is None and spec.store is not None:
        return spec.store.place if spec.store.named else None
    return within(place, f"{spec.run}-{spec.identity}") if (place := named or usual) else None


def _same_function(
    folder: RunFolder, path: tuple[str, ...], settings: Settings, inputs: Inputs, *, force: bool
) -> tuple[RunSpec, str]:
    """The run's specification with its function as it is now, and how that differs from the one of then."""
    from ttg.run.provenance import change_since

    spec = folder.spec
    try:
        now = _at_present(spec, path, settings, inputs)
        change, lines = change_since(folder, now, _sources(now, path))
    except FunctionError as error:
        raise FunctionError(f"{error}; go on with run {spec.run} in the folder where it was started") from error
    if not change:
        return spec, ""
    if not force:
        then = (
            f" `ttg resume {spec.run}` elsewhere goes on with the one of then,"
            if spec.function.kind == "pickled"
            else ""
        )
        raise RunConflictError(
            f"{change}, so old and new rows would not belong together:{then} start a new run, or insist with --force"
            f"{lines}"
        )
    return now, f"{change}{lines}"


def _at_present(spec: RunSpec, path: tuple[str, ...], settings: Settings, inputs: Inputs) -> RunSpec:
    """The run with its function and setup as they are now."""
    from ttg.function import refreshed

    setup, beside = spec.setup, spec.setup if spec.setup and spec.setup.kind == "beside" else None
    if setup and not beside:
        setup = refreshed(setup, path=path, secret=settings.secret, inputs=inputs)
    enums = _own_enums(spec.space)
    function = refreshed(spec.function, path=path, secret=settings.secret, enums=enums, setup=beside, inputs=inputs)
    return msgspec.structs.replace(spec, function=function, setup=setup)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def made_up_id(function: str) -> str:
    """``price-1123-a1b2c3``: readable, sortable within a day, unique."""
    name = (
        "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in function).strip("-").lower()[:20]
        or "run"
    )
    return f"{name}-{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(2)}"
