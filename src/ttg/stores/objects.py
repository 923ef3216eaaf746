"""A store in an object store (S3, Google Cloud Storage, Azure), by PyArrow's file systems."""

from __future__ import annotations

import contextlib
import copy
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any

import pyarrow as pa
from pyarrow import fs

from ttg.errors import StoreError
from ttg.messages import StoreRef
from ttg.stores.base import ObjectLost, Store

LONGEST_REASON = 400
_ADVICE = {
    "NO_SUCH_BUCKET": "make the bucket, TTG makes none",
    "NETWORK_CONNECTION": "check its address (endpoint_override, scheme, region) and the network",
    "HTTP status 301": "the bucket is of another region: name that with ?region=",
    "Unrecognized filesystem": "expected a folder, or s3://, gs:// or abfs:// with what that needs",
    "UNAVAILABLE": "check its address and the network",
    "Unable to load": "expected a folder, or a kind of object store that this PyArrow can use",
    "not built": "expected a folder, or a kind of object store that this PyArrow can use",
}
"""What to do, by what PyArrow says; anything else is most often a matter of rights."""
_RIGHTS = (
    "expected credentials in the environment (for s3://: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), here and where the "
    "workers are, that may read, write, list and delete there"
)
_TRY = (
    "import sys; from pyarrow import fs; files, path = fs.FileSystem.from_uri(sys.argv[1]); files.get_file_info(path)"
)


class ObjectStore(Store):
    """One object each, at a URL such as ``s3://bucket/prefix?region=eu-central-1``. Credentials are those of the
    environment. An object is visible once it is written to its end."""

    def __init__(self, ref: StoreRef) -> None:
        super().__init__(ref)
        with self.errors():
            files, self._path = fs.FileSystem.from_uri(self.place)
        # One of a URL asks a server that never answers for 100 s, again and again; one that is made in Python, as a
        # copy is, three times, for 10 s. Whoever uses a store waits for it anyway, and can be interrupted there.
        self._files = copy.copy(files) if files.type_name == "s3" else files

    def make(self) -> None:
        """Prefixes need not be made. Where Azure grants no token, PyArrow ends the whole process: another one tries."""
        if self.place.startswith("abfs"):
            command = [sys.executable, "-c", _TRY, self.place]
            tried = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
            if tried.returncode:
                raise self._error(tried.stderr[-LONGEST_REASON:])

    def size(self, name: str) -> int | None:
        with self.errors():
            found = self._files.get_file_info(f"{self._path}/{name}")
        return found.size if found.type is fs.FileType.File else None

    def find(self, name: str) -> bytes | None:
        try:
            return bytes(self.read(name))
        except ObjectLost:
            return None

    def read(self, name: str) -> Any:
        with self.errors():
            try:
                with self._files.open_input_file(f"{self._path}/{name}") as file:
                    return memoryview(file.read_buffer())
            except FileNotFoundError:
                raise ObjectLost(f"{name} is not there") from None

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        with self.errors():
            try:
                file = self._files.open_input_stream(f"{self._path}/{name}")
            except FileNotFoundError:
                raise ObjectLost(f"{name} is not there") from None
        with file:
            yield file

    def write(self, name: str, data: Any) -> None:
        with self.errors(), self._files.open_output_stream(f"{self._path}/{name}") as file:
            for piece in self.pieces(data):
                file.write(piece)

    def remove(self, names: Iterable[str]) -> None:
        with self.errors():
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    self._files.delete_file(f"{self._path}/{name}")

    def names(self) -> list[str]:
        with self.errors():
            found = self._files.get_file_info(fs.FileSelector(self._path, allow_not_found=True))
        return [info.base_name for info in found]

    def _clear(self) -> None:
        with self.errors(), contextlib.suppress(FileNotFoundError):
            self._files.delete_dir(self._path)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise self._error(str(error)) from error

    def _error(self, text: str) -> StoreError:
        reason = " ".join(text.split())[:LONGEST_REASON]
        advice = next((advice for part, advice in _ADVICE.items() if part in text), _RIGHTS)
        return StoreError(f"cannot use the store {self.shown}: {reason}: {advice}")
