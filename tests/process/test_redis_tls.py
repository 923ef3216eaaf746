"""Runs on a Redis that takes only TLS, with a certificate of an authority of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from workloads import value

from certificates import Certificates
from runs import TtgRun, apply_oracle
from servers import RedisServer, redis_program
from tools import need_program
from ttg.demo.local_rabbitmq import free_ports

WORKLOADS = str(Path(__file__).with_name("workloads.py"))
SIZE = 500


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    need_program("openssl", install="openssl")
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def url(files: Certificates) -> Iterator[str]:
    server, url = secure_server(files, "no")
    yield url
    server.close()


def secure_server(files: Certificates, asks: str) -> tuple[RedisServer, str]:
    """``asks``: whether clients need a certificate."""
    port = free_ports(1)[0]
    pem = ("--tls-ca-cert-file", files.authority, "--tls-cert-file", files.certificate, "--tls-key-file", files.key)
    words = ("--tls-port", port, *pem, "--tls-auth-clients", asks)
    return RedisServer(redis_program(), *map(str, words)).start(), f"rediss://localhost:{port}/0"


def start(run: TtgRun, **environment: str) -> TtgRun:
    run.environment = environment
    return run.start("run", f"{WORKLOADS}:value", f"i=range(0,{SIZE})", "--workers", "1", "--out", str(run.folder))


def test_a_run_over_tls(ttg: TtgRun, url: str, files: Certificates) -> None:
    assert start(ttg, TTG_BROKER=url, TTG_CA_FILE=str(files.authority)).wait() == 0, ttg.said()
    apply_oracle(ttg.folder, SIZE, value, dead=set())


def test_a_certificate_of_an_unknown_authority_is_refused(ttg: TtgRun, url: str) -> None:
    assert start(ttg, TTG_BROKER=url).wait() == 3, ttg.said()
    assert "TTG_CA_FILE" in ttg.said()


def test_an_authority_file_that_does_not_exist_is_a_wrong_setting(ttg: TtgRun, url: str, tmp_path: Path) -> None:
    assert start(ttg, TTG_BROKER=url, TTG_CA_FILE=str(tmp_path / "none.pem")).wait() == 2, ttg.said()
    assert "none.pem" in ttg.said()
    assert not ttg.folder.exists(), "nothing was started"


def test_a_server_that_asks_for_a_certificate_gets_one_or_is_named(ttg: TtgRun, files: Certificates) -> None:
    server, url = secure_server(files, "yes")
    known = {"TTG_BROKER": url, "TTG_CA_FILE": str(files.authority)}
    try:
        assert start(ttg, **known).wait() == 3, ttg.said()
        assert "the server asks for a certificate that it accepts: set TTG_CERT_FILE" in ttg.said()
        assert not ttg.folder.exists()
        ours = {"TTG_CERT_FILE": str(files.certificate), "TTG_KEY_FILE": str(files.key)}
        assert start(ttg, **known, **ours).wait() == 0, ttg.said()
        apply_oracle(ttg.folder, SIZE, value, dead=set())
    finally:
        server.close()
