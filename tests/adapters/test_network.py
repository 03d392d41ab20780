"""Certificates of other authorities, proxies, silence, and the headers that uploads carry."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from shelf import boto, chunks, obs, read
from ways import certificate, proxy, served, tls_server

from launcher.adapters.boto import BotoStore
from launcher.core.errors import StoreError
from launcher.core.stored import StoredObject
from launcher.core.urls import Location

if TYPE_CHECKING:
    from collections.abc import Callable

    from fronts import Front
    from servers import S3Server

AT = Location("bucket", "x")
SEVEN = StoredObject("x", 7, "e")


def refused(action: Callable[[], object]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        action()
    return caught.value


# --- certificates


def test_an_untrusted_certificate_is_told_and_can_be_let_pass(moto_server: S3Server, tmp_path: Path) -> None:
    with tls_server(certificate(tmp_path)[0]) as endpoint:
        error = refused(lambda: obs(moto_server.through(endpoint)).stat(AT))
        assert error.code == "store-certificate"
        assert "LAUNCHER_CA_BUNDLE" in error.action
        assert obs(moto_server.through(endpoint), verify_ssl=False).stat(AT) == SEVEN


def test_an_authority_can_be_named_among_others(moto_server: S3Server, tmp_path: Path) -> None:
    secret, public = certificate(tmp_path)
    _, other = certificate(tmp_path, "another")
    strange = Path(other).read_bytes()
    bundle = strange + Path(public).read_bytes()
    with tls_server(secret) as endpoint:
        server = moto_server.through(endpoint)
        assert obs(server, authorities=bundle).stat(AT) == SEVEN
        error = refused(lambda: obs(server, authorities=strange).stat(AT))
        assert error.code == "store-certificate"


def test_the_other_engine_trusts_it_too(tmp_path: Path) -> None:
    secret, public = certificate(tmp_path)
    with tls_server(secret) as endpoint:

        def seen(**verify: Any) -> StoredObject | None:
            return BotoStore(endpoint, "r", lambda: ("a", "b", None), path_style=True, **verify).stat("bucket", "x")

        assert refused(seen).code == "store-certificate"
        assert seen(verify=public) == SEVEN
        assert seen(verify=False) == SEVEN


# --- proxies

ASKING = """
import sys
from launcher.cli.stores import open_store
from launcher.core.errors import StoreError
from launcher.core.settings import read_settings
from launcher.core.urls import Location
import os
opened = open_store(None, os.environ, read_settings(os.environ))
for key in ("x", "odd//x"):
    try:
        print(opened.store.stat(Location("bucket", key)).size)
    except StoreError as error:
        print(error.code, error)
"""


def asked(endpoint: str, **extra: str) -> list[str]:
    env = {"PATH": os.environ["PATH"], "S3_ENDPOINT": endpoint, "AWS_EC2_METADATA_DISABLED": "true"}
    env |= {"AWS_ACCESS_KEY_ID": "launcherkey", "AWS_SECRET_ACCESS_KEY": "launchersecret", **extra}
    argv = [sys.executable, "-c", ASKING]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=100, check=True)
    return done.stdout.splitlines()


def test_plain_requests_go_through_a_proxy_unless_it_is_to_be_passed_by(
    fronted: Callable[[S3Server], Front], moto_server: S3Server
) -> None:
    moto_server.seed("bucket", {"x": b"123", "odd//x": b"12345"})
    front = fronted(moto_server)
    with proxy() as between:
        assert asked(front.endpoint, http_proxy=between.endpoint) == ["3", "5"]
        assert [line.split()[0] for line in between.asked] == ["HEAD", "HEAD"]
        between.asked.clear()
        assert asked(front.endpoint, http_proxy=between.endpoint, NO_PROXY="other,127.0.0.1") == ["3", "5"]
        assert between.asked == []


def test_tls_goes_through_a_tunnel_and_its_authority_can_be_named(tmp_path: Path) -> None:
    secret, public = certificate(tmp_path)
    with tls_server(secret) as endpoint, proxy() as between:
        found = asked(endpoint, HTTPS_PROXY=between.endpoint, LAUNCHER_CA_BUNDLE=public)
        assert found == ["7", "7"]
        assert {line.split()[0] for line in between.asked} == {"CONNECT"}
        assert len(between.asked) == 2


def test_a_proxy_that_is_dead_is_told_as_the_proxy(moto_server: S3Server, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unheard:
        port = unheard.getsockname()[1]
    way = f"http://user:hunter2@127.0.0.1:{port}"
    for lines in (asked(moto_server.endpoint, http_proxy=way), asked("https://127.0.0.1:1", https_proxy=way)):
        assert len(lines) == 2
        for line in lines:
            assert line.startswith("store-unreachable")
            assert f"a proxy that does not answer or lets nothing through: http://127.0.0.1:{port}" in line
            assert "hunter2" not in line


def test_a_proxy_that_lets_nobody_through_is_told_as_the_proxy() -> None:
    with proxy() as between:
        between.refuse = True
        for line in asked("https://127.0.0.1:1", https_proxy=between.endpoint):
            assert line.startswith("store-unreachable")
            assert between.endpoint in line


# --- silence


def test_a_server_that_says_nothing_is_given_up_in_seconds(moto_server: S3Server) -> None:
    over = threading.Event()

    def silent(connection: socket.socket) -> None:
        connection.recv(65536)
        over.wait(60)

    with served(silent) as port:
        try:
            store = obs(moto_server.through(f"http://127.0.0.1:{port}"))
            error = refused(lambda: list(store.walk(Location("bucket"))))
            assert error.code == "store-unreachable"
            assert "no answer in time" in str(error)
            assert not over.is_set()
        finally:
            over.set()


# --- how uploads are encrypted


@pytest.mark.parametrize(
    ("wanted", "headers"),
    [
        ("AES256", {"x-amz-server-side-encryption": "AES256"}),
        ("aws:kms", {"x-amz-server-side-encryption": "aws:kms"}),
        (
            "aws:kms:key/1",
            {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "key/1"},
        ),
    ],
)
def test_uploads_ask_for_the_encryption_and_nothing_else_does(
    fronted: Callable[[S3Server], Front],
    moto_server: S3Server,
    bucket: str,
    wanted: str,
    headers: dict[str, str],
) -> None:
    moto_server.seed(bucket, {"in/x": b"1", "in//odd": b"1"})
    front = fronted(moto_server)
    server = moto_server.through(front.endpoint)
    store = obs(server, encryption=wanted)
    big = b"x" * (17 * 1024**2)
    store.put(Location(bucket, "out/small"), iter([b"1"]), 1)
    store.put(Location(bucket, "out/middle"), chunks(big[: 1024**2]), 1024**2)
    store.put(Location(bucket, "out/big"), chunks(big), len(big))
    for item in store.walk(Location(bucket)):
        read(store, bucket, item)
        store.stat(Location(bucket, item.key))
    store.remove(Location(bucket, "out/small"))
    list(boto(server).walk(bucket, "", ""))
    for seen in front.seen:
        sent = {name.lower(): value for name, value in seen.headers.items() if "encryption" in name.lower()}
        begins = seen.method == "PUT" and "partNumber" not in seen.target
        begins |= seen.method == "POST" and "uploads" in seen.target
        assert sent == (headers if begins else {}), seen
    assert server.read(bucket, "out/big") == big


def test_no_encryption_is_asked_for_by_itself(
    fronted: Callable[[S3Server], Front], moto_server: S3Server, bucket: str
) -> None:
    moto_server.seed(bucket, {})
    front = fronted(moto_server)
    obs(moto_server.through(front.endpoint)).put(Location(bucket, "out/x"), iter([b"1"]), 1)
    assert not any("encryption" in name.lower() for seen in front.seen for name in seen.headers)
