"""A user's own files on their way into the pods: a ConfigMap, mounted as the working folder."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from ttg.errors import InputError
from ttg.kube.jobs import code_name
from ttg.kube.objects import Object, labels, resource

MOST_BYTES = 1_000_000  # Kubernetes takes 1 MiB with everything around it


def collect_files(arguments: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Path]]:
    """The arguments of ``ttg run`` as they are inside the pod, and the local files that they name, by name there.

    A target in a local file and the file of ``--params`` go along; a target in a module must be in the image.
    """
    inside, files = list(arguments), dict[str, Path]()
    path, _, function = inside[0].rpartition(":")
    if path.endswith(".py"):
        inside[0] = f"{_take(Path(path), files)}:{function}"
    for position in range(1, len(inside)):
        if inside[position - 1] == "--params":
            inside[position] = _take(Path(inside[position]), files)
    return tuple(inside), files


def _take(path: Path, files: dict[str, Path]) -> str:
    if not path.is_file():
        raise InputError(f"expected a file to send to the cluster, found none at {path}")
    files[path.name] = path
    return path.name


def code_config(run: str, files: dict[str, Path]) -> Object:
    """The ConfigMap with ``files``; too much for one is an error that says what to do instead."""
    contents = {name: path.read_bytes() for name, path in files.items()}
    total = sum(map(len, contents.values()))
    if total > MOST_BYTES:
        names = ", ".join(files)
        raise InputError(
            f"{names}: {total:,} bytes are more than a ConfigMap takes ({MOST_BYTES:,}): build an image "
            "`FROM ttg-worker` with `COPY … /work/` and name it with --image"
        )
    data = {name: base64.b64encode(content).decode() for name, content in contents.items()}
    return resource("v1", "ConfigMap", code_name(run), labels("ttg-code", "code", run=run), binaryData=data)
