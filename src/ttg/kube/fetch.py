"""Bringing a run's folder from the cluster's claim to the local disk."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from ttg.errors import StorageError
from ttg.kube.jobs import READER, reader_pod
from ttg.kube.kubectl import ClusterError, Kubectl
from ttg.kube.layout import Cluster
from ttg.kube.objects import Object
from ttg.kube.problems import pod_troubles

ROOM_TRIES, ROOM_SECONDS = 60, 10.0
FULL = "exceeded quota"


def fetch(
    kubectl: Kubectl,
    cluster: Cluster,
    run: str,
    out: Path,
    say: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Copy the run's folder to ``out``, which appears only when it is complete. ``out`` must not exist. While a quota
    leaves no room for the pod that reads it, that is waited for; the dataset stays on the claim whatever happens."""
    purpose = f"fetching the dataset of {run}"
    reader = f"{READER}-{secrets.token_hex(3)}"
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    _start(kubectl, run, purpose, reader_pod(cluster, reader), say, pause)
    try:
        _await(kubectl, run, purpose, reader)
        archive = ("exec", reader, "--", "tar", "--create", "--file", "-", "--directory", "/data", run)
        with kubectl.stream(purpose, *archive) as stream:
            unpack(stream, run, partial)
        os.replace(partial, out)
    except OSError as error:
        raise StorageError(f"{purpose}: cannot write to {out}: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        kubectl.call(purpose, "delete", f"pod/{reader}", "--ignore-not-found", "--wait=false")


def _await(kubectl: Kubectl, run: str, purpose: str, reader: str) -> None:
    """Return when the pod that reads the dataset runs; what is in its way is in the error."""
    try:
        kubectl.call(purpose, "wait", "--for=condition=Ready", f"pod/{reader}", "--timeout=120s", seconds=150.0)
    except ClusterError as error:
        pod = json.loads(kubectl.call(purpose, "get", f"pod/{reader}", "--output", "json"))
        reasons = pod_troubles([pod]) or [str(error).removeprefix(f"{purpose}: ")]
        raise ClusterError(f"{purpose}: {'; '.join(reasons)}; it stays on the claim: {_later(run)}") from error


def _later(run: str) -> str:
    return f"`ttg kube fetch {run}` fetches it at any time"


def _start(
    kubectl: Kubectl, run: str, purpose: str, reader: Object, say: Callable[[str], None], pause: Callable[[float], None]
) -> None:
    for attempt in range(ROOM_TRIES):
        try:
            kubectl.apply(purpose, [reader])
            return
        except ClusterError as error:
            if FULL not in str(error):
                raise
            if not attempt:
                minutes = ROOM_TRIES * ROOM_SECONDS / 60
                say(f"trouble: {error}; waiting for room, {minutes:.0f} min at most ({_later(run)})")
            pause(ROOM_SECONDS)
    raise ClusterError(
        f"{purpose}: the quota left no room for a pod that reads it; it stays on the claim: {_later(run)}"
    )


def unpack(stream: IO[bytes], run: str, folder: Path) -> None:
    """Write the regular files of a tar stream below ``run`` into ``folder``; nothing else, and nowhere else."""
    folder.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if member.isfile() and path.parts[0] == run and ".." not in path.parts:
                    _write(archive, member, folder.joinpath(*path.parts[1:]))
    except tarfile.TarError as error:
        raise ClusterError(f"the dataset of {run} arrived damaged ({error}): try again") from error


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None
    with source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
