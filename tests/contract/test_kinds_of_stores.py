"""Every kind of store keeps the same promises: what is read is what was written or is lost, and who shares one knows
it. What goes wrong is said with what to do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from s3_server import CREDENTIALS, S3Server
from ttg.errors import StoreError
from ttg.messages import StoreRef
from ttg.stores import ObjectLost, Store, open_store, within

INPUT = "a" * 32
SHARED = ["found", "named", "file://", "s3://"]
"""The first is that of a run without --store."""


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.fixture(params=SHARED)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store can be made."""
    if request.param == "s3://":
        server: S3Server = request.getfixturevalue("bucket")
        return server.place()
    (tmp_path / "mount").mkdir()
    return f"{request.param if '://' in request.param else ''}{tmp_path / 'mount'}"


@pytest.fixture
def ref(request: pytest.FixtureRequest, place: str) -> Iterator[StoreRef]:
    ref = Store.create(within(place, "store"), named="found" not in request.node.callspec.params.values())
    yield ref
    open_store(ref).clear()


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_what_is_read_is_what_was_written_also_after_it_is_removed(ref: StoreRef, size: int) -> None:
    store, payload = Store.attach(ref), b"x" * size
    stored = store.put(payload)
    read = open_store(ref).get(stored)
    store.remove([stored.name, stored.name])
    assert bytes(read) == payload
    with pytest.raises(ObjectLost, match="not there"):
        store.get(stored)


@pytest.mark.parametrize("damaged", [b"", b"y" * 2_000_000, b"x" * 1_999_999])
def test_a_damaged_object_is_lost(ref: StoreRef, damaged: bytes) -> None:
    store = Store.attach(ref)
    stored = store.put(b"x" * 2_000_000)
    store.write(stored.name, damaged)
    with pytest.raises(ObjectLost, match="damaged: expected 2000000 bytes"):
        store.get(stored)


def test_who_goes_on_with_a_store_goes_on_with_its_proof_and_others_do_not_share_it(place: str) -> None:
    ref, other = (Store.create(within(place, name), named=True) for name in ("store", "other"))
    assert Store.create(ref.place, named=True) == ref
    for elsewhere in (other.place, within(place, "nowhere")):
        with pytest.raises(StoreError, match="it is not shared with it"):
            Store.attach(replace(ref, place=elsewhere))


def test_a_store_that_is_gone_is_made_anew_with_the_inputs_of_the_run(ref: StoreRef, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    (inputs / INPUT).write_bytes(b"all of it")
    store = open_store(ref)
    store.clear()
    store.clear()
    with pytest.raises(StoreError, match="it is not shared with it"):
        Store.attach(ref)
    store.restore(inputs)
    store.write(INPUT, b"all")
    store.add_files(inputs)
    assert bytes(Store.attach(ref).read(INPUT)) == (inputs / INPUT).read_bytes() == b"all of it"


@pytest.mark.parametrize("place", SHARED[:3], indirect=True)
def test_a_folder_that_is_gone_is_not_written_to(ref: StoreRef) -> None:
    """Where a disk is not mounted, nothing of ours is made."""
    store = Store.attach(ref)
    store.clear()
    with pytest.raises(StoreError, match=r"cannot use the store .*: is it mounted here"):
        store.put(b"x")


def test_of_a_store_that_is_cleared_nothing_stays(bucket: S3Server) -> None:
    place = bucket.place()
    ref = Store.create(within(place, "store"), named=True)
    Store.attach(ref).put(b"x")
    assert len(bucket.objects(place)) == 2
    open_store(ref).clear()
    assert not bucket.objects(place)


# ---------------------------------------------------------------------------------------------- trouble


def test_a_bucket_that_is_missing_is_to_be_made(bucket: S3Server) -> None:
    with pytest.raises(StoreError, match=r"s3://nobodys/.*NO_SUCH_BUCKET.*: make the bucket"):
        Store.create(bucket.place("nobodys"), named=True)


def test_a_server_that_is_not_there_may_be_misnamed(bucket: S3Server) -> None:
    with pytest.raises(StoreError, match=r"NETWORK_CONNECTION.*: check its address .* and the network"):
        Store.create(bucket.place(port=1), named=True)


def test_a_server_that_never_answers_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten more tries than these held a write, and so Ctrl-C, for 94 s. Here it hangs up, for the tries cost less so."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    tries = 0
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            nonlocal tries
            with suppress(OSError):  # closed
                while True:
                    server.accept()[0].close()
                    tries += 1

        threading.Thread(target=hang_up, daemon=True).start()
        address = f"endpoint_override=127.0.0.1:{server.getsockname()[1]}&scheme=http&region=us-east-1"
        with pytest.raises(StoreError, match="check its address"):
            Store.create(f"s3://bucket/place?{address}", named=True)
        server.shutdown(socket.SHUT_RDWR)
    assert 1 <= tries <= 3


def test_credentials_that_are_refused_are_to_be_set(bucket: S3Server) -> None:
    bucket.refuse(True)
    try:
        with pytest.raises(StoreError, match=r"ACCESS_DENIED.*: expected credentials .*AWS_SECRET_ACCESS_KEY"):
            Store.create(bucket.place(), named=True)
    finally:
        bucket.refuse(False)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/sys/ttg", "expected a folder in which this user can make and remove files"),
        (
            "/nowhere/ttg",
            "expected a folder /nowhere for the store, found none: make it, mount it, or name another --store",
        ),
        ("file:///nowhere/ttg", "expected a folder /nowhere for the store"),
        ("memory://ttg", "expected a folder, or s3://, gs:// or abfs://"),
        ("tape://ttg", "expected a folder, or s3://, gs:// or abfs://"),
    ],
)
def test_a_place_that_cannot_be_a_store_is_refused(place: str, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        Store.create(place, named=True)


def test_a_password_in_a_place_is_not_shown(bucket: S3Server) -> None:
    place = bucket.place("nobodys").replace("s3://", "s3://someone:pAss-word@")
    with pytest.raises(StoreError, match=r"s3://\*\*\*@nobodys") as caught:
        Store.create(place, named=True)
    assert "pAss" not in str(caught.value)
