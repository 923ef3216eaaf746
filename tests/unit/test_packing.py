"""Objects whose large buffers lie beside their pickle: what is packed comes back, mapped, or not at all."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from disks import full_disk
from ttg.errors import FunctionError, StoreError
from ttg.function import Packed, check_store, function_from_callable, load, shared_reference, shared_value, signed_store
from ttg.function.packing import unpacked
from ttg.messages import StoreRef
from ttg.spec import FunctionRef
from ttg.stores.cache import write_copy

MIB = 1 << 20


def packed_in(folder: Path, packed: Packed) -> str:
    packed.write(folder / packed.name)
    assert (folder / packed.name).stat().st_size == packed.size
    return packed.name


@pytest.mark.parametrize(
    "array",
    [
        np.arange(MIB),
        np.arange(MIB).reshape(1024, -1).T,
        np.arange(MIB)[::3],
        np.arange(3),
        np.zeros(0),
        np.array(["a", {"b": 1}], dtype=object),
    ],
    ids=["flat", "fortran", "strided", "small", "empty", "objects"],
)
def test_arrays_come_back_equal_and_can_be_changed(array: np.ndarray[Any, Any], tmp_path: Path) -> None:
    name = packed_in(tmp_path, Packed(array))
    before = (tmp_path / name).read_bytes()
    found = unpacked(name, tmp_path.joinpath)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    found[...] = 0
    assert (tmp_path / name).read_bytes() == before


def test_frames_and_tables_are_mapped(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(MIB), "y": np.arange(MIB) / 7})
    table = pa.table({"x": np.arange(MIB), "s": ["text"] * MIB})
    both = unpacked(packed_in(tmp_path, Packed({"frame": frame, "table": table})), tmp_path.joinpath)
    pd.testing.assert_frame_equal(both["frame"], frame)
    assert both["table"].equals(table)


def test_a_packed_object_has_one_name_and_lies_beside_its_stream() -> None:
    array = np.arange(MIB)
    assert Packed(array).name == Packed(array.copy()).name != Packed(array + 1).name
    assert len(Packed(array).stream) < 1000


@pytest.mark.parametrize("place", [0, 9, 100, 5000, -1], ids=["magic", "sizes", "stream", "data", "end"])
def test_a_damaged_file_is_refused(place: int, tmp_path: Path) -> None:
    name = packed_in(tmp_path, Packed(np.arange(MIB)))
    data = bytearray((tmp_path / name).read_bytes())
    data[place] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FunctionError, match="cannot be read"):
        unpacked(name, tmp_path.joinpath)


def test_data_that_were_changed_on_purpose_are_refused(tmp_path: Path) -> None:
    """Their checksum may be what it was."""
    name = packed_in(tmp_path, Packed(np.arange(MIB)))
    data = bytearray((tmp_path / name).read_bytes())
    before = zlib.crc32(data)
    for place, bits in enumerate(0x1DB710641.to_bytes(5, "little"), start=5000):  # the polynomial of CRC-32
        data[place] ^= bits
    assert zlib.crc32(data) == before
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FunctionError, match="data are damaged"):
        unpacked(name, tmp_path.joinpath)


@pytest.mark.parametrize("size", [0, 10, 30, 200, 5000])
def test_a_file_that_is_cut_short_is_refused(size: int, tmp_path: Path) -> None:
    name = packed_in(tmp_path, Packed(np.arange(MIB)))
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:size])
    with pytest.raises(FunctionError, match="cannot be read"):
        unpacked(name, tmp_path.joinpath)


def test_a_function_over_a_large_array_refers_to_it(tmp_path: Path) -> None:
    array, inputs = np.arange(MIB), {}
    ref = function_from_callable(lambda x: int(array[x]), ["x"], secret="s", inputs=inputs)
    assert (ref.blob, list(inputs)) == ("", [ref.packed])
    packed_in(tmp_path, inputs[ref.packed])
    assert load(ref, secret="s", find_input=tmp_path.joinpath)(7) == 7
    with pytest.raises(FunctionError, match="TTG_SECRET"):
        load(ref, secret="other", find_input=tmp_path.joinpath)
    forged = FunctionRef(**{name: getattr(ref, name) for name in ref.__struct_fields__} | {"packed": "0" * 32})
    with pytest.raises(FunctionError, match="TTG_SECRET"):
        load(forged, secret="s", find_input=tmp_path.joinpath)


def test_a_shared_object_is_signed_with_its_name(tmp_path: Path) -> None:
    inputs: dict[str, Packed] = {}
    ref = shared_reference("data", {"a": 1}, "s", inputs)
    packed_in(tmp_path, inputs[ref.packed])
    assert shared_value("data", ref, "s", tmp_path.joinpath) == {"a": 1}
    for name, secret in (("other", "s"), ("data", "t")):
        with pytest.raises(FunctionError, match="TTG_SECRET"):
            shared_value(name, ref, secret, tmp_path.joinpath)


def test_what_cannot_be_pickled_is_named() -> None:
    with pytest.raises(FunctionError, match=r"shared 'lock' cannot be pickled \(TypeError"):
        shared_reference("lock", __import__("threading").Lock(), "s", {})


@pytest.mark.parametrize(
    "change",
    [{}, {"place": "/home"}, {"proof": "0"}, {"named": True}, {"signature": ""}, {"signature": "é"}],
    ids=lambda change: next(iter(change), "nothing"),
)
def test_workers_with_a_secret_use_the_store_that_was_signed_for_the_run(change: dict[str, Any]) -> None:
    """It comes from the broker, and what they have computed is written there."""
    ref = signed_store(StoreRef("/shared/run", "proof"), "run 1", "s")
    other = msgspec.structs.replace(ref, **change)
    check_store(other, "run 1", None)
    for run, secret in (("run 1", "s"), ("run 2", "s"), ("run 1", "t")):
        if not change and (run, secret) == ("run 1", "s"):
            check_store(other, run, secret)
            continue
        with pytest.raises(StoreError, match="not signed by this worker's TTG_SECRET"):
            check_store(other, run, secret)


def test_a_full_disk_is_not_left_with_a_part(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(OSError, match="too large"):
        Packed("x" * MIB).write(tmp_path / "packed")
    with full_disk(), pytest.raises(OSError, match="too large"):
        write_copy(tmp_path / "copy", b"x" * MIB)
    assert not list(tmp_path.iterdir())
