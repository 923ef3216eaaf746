"""A user's own files on their way into the pods: a ConfigMap, mounted as the working folder."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ttg.errors import InputError
from ttg.kube.jobs import code_name, keys_of
from ttg.kube.layout import Sweep
from ttg.kube.objects import Object, labels, resource
from ttg.options import FILE, IMAGE, every_option

MOST_BYTES = 1_000_000  # Kubernetes takes 1 MiB with everything around it


def with_files(sweep: Sweep) -> Sweep:
    """The sweep as it is inside the pods, where the local files that it names lie in the working folder.

    A function in a local file and the files that options name go along, besides those that the sweep has already (what
    the function's file imports); a function in a module must be in the image.
    """
    files, function = dict(sweep.files), sweep.function
    path, _, name = function.rpartition(":")
    if path.endswith(".py"):
        function = f"{_take(Path(path), files)}:{name}"
    named = {option.name: getattr(sweep.chosen, option.name) for option in every_option() if option.kind is FILE}
    inside = {name: Path(_take(path, files)) for name, path in named.items() if path is not None}
    return replace(sweep, function=function, chosen=sweep.chosen.but(**inside), files=files)


def _take(path: Path, files: dict[str, Path]) -> str:
    if not path.is_file():
        raise InputError(f"expected a file to send to the cluster, found none at {path}")
    if files.setdefault(path.name, path) != path:
        raise InputError(f"{path} and {files[path.name]} have one name in the cluster: rename one of them")
    return path.name


def code_config(run: str, files: Mapping[str, Path]) -> Object:
    """The ConfigMap with ``files``; too much for one is an error that says what to do instead."""
    contents = {key: files[name].read_bytes() for name, key in keys_of(files).items()}
    total = sum(map(len, contents.values()))
    if total > MOST_BYTES:
        names = ", ".join(sorted(files, key=lambda name: -files[name].stat().st_size)[:5])
        raise InputError(
            f"{names}: {total:,} bytes are more than a ConfigMap takes ({MOST_BYTES:,}): build an image "
            f"`FROM {IMAGE}` with `COPY … /work/` and name it with --image"
        )
    data = {key: base64.b64encode(content).decode() for key, content in contents.items()}
    return resource("v1", "ConfigMap", code_name(run), labels("ttg-code", "code", run=run), binaryData=data)
