"""Bringing a run's folder from the cluster's claim to the local disk."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO

from ttg.errors import StorageError
from ttg.kube.jobs import READER, reader_pod
from ttg.kube.kubectl import ClusterError, Kubectl
from ttg.kube.layout import Cluster


def fetch(kubectl: Kubectl, cluster: Cluster, run: str, out: Path) -> None:
    """Copy the run's folder to ``out``, which appears only when it is complete. ``out`` must not exist."""
    purpose = f"fetching the dataset of {run}"
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    kubectl.apply(purpose, [reader_pod(cluster)])
    try:
        kubectl.call(purpose, "wait", "--for=condition=Ready", f"pod/{READER}", "--timeout=120s", seconds=150.0)
        archive = ("exec", READER, "--", "tar", "--create", "--file", "-", "--directory", "/data", run)
        with kubectl.stream(purpose, *archive) as stream:
            unpack(stream, run, partial)
        os.replace(partial, out)
    except OSError as error:
        raise StorageError(f"{purpose}: cannot write to {out}: {error.strerror}") from error
    finally:
        kubectl.call(purpose, "delete", f"pod/{READER}", "--ignore-not-found", "--wait=false")


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
