"""One parameter of a run, called in this process: no broker, no worker, no limits. For looking at it, and debugging."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttg.errors import InputError
from ttg.messages import Task
from ttg.messages.rows import NO_ROWS, packed
from ttg.options import DEFAULTS
from ttg.results.folder import RunFolder
from ttg.run.request import resume_request
from ttg.seeds import seeds
from ttg.settings import Settings


@dataclass(frozen=True)
class OneCall:
    """``call()`` is what a worker would do: it returns what the function returns, and raises what it raises.

    ``seed`` is the parameter's own; ``injected`` says whether the function gets it, or an ``rng`` made for it.
    ``workdir`` is the folder that the function gets, if it asks for one; it stays.
    ``warning`` is not empty when the function is not the one any more that the run was started with.
    """

    index: int
    parameters: dict[str, Any]
    seed: int
    injected: tuple[str, ...]
    call: Callable[[], Any]
    warning: str = ""
    workdir: Path | None = None


def prepare(folder: RunFolder, index: int, settings: Settings) -> OneCall:
    """Load the function here, and compute the parameters at ``index``. Raises ``InputError``."""
    size = folder.spec.size
    if not 0 <= index < size:
        raise InputError(f"index {index} is outside run {folder.spec.run}: expected one from 0 to {size - 1}")
    request = resume_request(str(folder.path), settings, DEFAULTS.but(force=True))
    from ttg.worker.loading import WORKDIR, load_run

    spec, space = request.spec, request.space
    secret = request.settings.secret
    loaded = load_run(spec, secret.encode() if secret else None, find_input=folder.input)
    rows = NO_ROWS if space.computable else packed(space.encoded_columns(index, index + 1))
    task = Task(spec.run, "call", ((index, index + 1),), rows=rows)
    columns = loaded.columns_of(task, index, index + 1)
    arguments: list[Any] = list(columns) if loaded.spec.vectorized else [column[0] for column in columns]
    workdir = None
    if WORKDIR in loaded.order and WORKDIR not in spec.names and not loaded.spec.vectorized:
        workdir = Path(tempfile.mkdtemp(prefix="ttg-call-"))
        arguments[loaded.order.index(WORKDIR)] = workdir
    values = [column[0] for column in loaded.parameters_of(task, index, index + 1)]
    return OneCall(
        index=index,
        parameters=dict(zip(spec.names, values, strict=True)),
        seed=seeds(spec.seed, index, index + 1, wide=spec.wide_seeds)[0],
        injected=tuple(name for name in loaded.order if name not in spec.names),
        call=lambda: loaded.function(*arguments),
        warning=request.change,
        workdir=workdir,
    )
