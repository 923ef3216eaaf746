"""A user's files as one signed archive, made where `ttg kube run` is, and unpacked once where a pod begins.

A pod begins with ``python -P -m ttg.kube.archive FOLDER RUN@IDENTITY COMMAND …``: the parts that are mounted at FOLDER
are joined, checked against ``TTG_SECRET``, and unpacked; COMMAND then takes this process's place, in that folder.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import io
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ttg.errors import FunctionError, InputError, StorageError, TTGError
from ttg.options import IMAGE

MOST_BYTES = 100_000_000
MAC_BYTES = hashlib.sha256().digest_size


class Archive(NamedTuple):
    """Packed files; ``digest`` is of their names and contents, whatever packed them."""

    packed: bytes
    digest: str


def pack(files: Mapping[str, Path]) -> Archive:
    """The ``files``, by their place in the folder that they will be unpacked to. ``InputError`` when one cannot be
    read, or all together are more than :data:`MOST_BYTES`."""
    told, buffer = hashlib.sha256(), io.BytesIO()
    try:
        check_size(files, sum(path.stat().st_size for path in files.values()), MOST_BYTES)
        with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as stream, tarfile.open(fileobj=stream, mode="w") as tar:
            for name, path in sorted(files.items()):
                content, entry = path.read_bytes(), tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o755 if os.access(path, os.X_OK) else 0o644
                tar.addfile(entry, io.BytesIO(content))
                told.update(b"%b\0%d %d\0%b" % (os.fsencode(name), entry.mode, len(content), content))
    except OSError as error:
        raise InputError(f"cannot be sent to the cluster: {error.filename}: {error.strerror}") from error
    return Archive(buffer.getvalue(), told.hexdigest())


def check_size(files: Mapping[str, Path], size: int, most: int) -> None:
    """Raises ``InputError`` when the ``files``, of that ``size`` in bytes, are more than goes along."""
    if size > most:
        largest = sorted(files, key=lambda name: -files[name].stat().st_size)[:5]
        named = ", ".join(f"{name} ({files[name].stat().st_size:,} bytes)" for name in largest)
        raise InputError(
            f"expected at most {most:,} bytes to send to the cluster, got {size:,} in {len(files)} files, the largest: "
            f"{named}: put them into an image `FROM {IMAGE}` with `COPY … /work/`, and name that with --image"
        )


def sign(packed: bytes, secret: bytes, identity: str) -> bytes:
    """``packed`` behind its HMAC-SHA256, for one run."""
    return hmac.digest(secret, _told(packed, identity), "sha256") + packed


def opened(data: bytes, secret: bytes, identity: str) -> bytes:
    """What was signed. ``FunctionError`` when it was not by this ``secret``, for this run."""
    mac, packed = data[:MAC_BYTES], data[MAC_BYTES:]
    if not secret or not hmac.compare_digest(mac, hmac.digest(secret, _told(packed, identity), "sha256")):
        raise FunctionError(
            f"the files of run {identity} are not what was signed with this pod's TTG_SECRET: start the run again, "
            "with the same --run-id"
        )
    return packed


def _told(packed: bytes, identity: str) -> bytes:
    return b"ttg-code:" + identity.encode() + b"\0" + packed


def unpacked(packed: bytes, identity: str) -> Path:
    """The folder with the files, below that of temporary files: it appears when it is whole, and once."""
    place = Path(tempfile.gettempdir(), f"ttg-code-{identity}")
    if place.is_dir():
        return place
    partial = Path(tempfile.mkdtemp(prefix=f"{place.name}-", dir=place.parent))
    try:
        _extract(packed, partial)
        partial.rename(place)
    except OSError as error:
        if not place.is_dir():  # otherwise somebody else was first
            raise StorageError(f"cannot unpack the files of run {identity} to {place}: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return place


def _extract(packed: bytes, folder: Path) -> None:
    """Only what was signed comes here: its names are those that :func:`pack` was given."""
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        for entry in tar:
            path, content = folder / entry.name, tar.extractfile(entry)
            assert content is not None
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())
            path.chmod(entry.mode)


def main(folder: str, identity: str, *command: str) -> None:
    """Unpack the parts in ``folder`` and become ``command``; when that cannot be, exit as ``ttg`` does."""
    try:
        data = b"".join(part.read_bytes() for part in sorted(Path(folder).glob("part-*")))
        os.chdir(unpacked(opened(data, os.environb.get(b"TTG_SECRET", b""), identity), identity))
    except TTGError as error:
        print(f"ttg: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
