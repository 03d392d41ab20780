"""ObsStore against real servers and against a front that lets them fail, with boto3 as the oracle."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from fronts import Fault, s3_error
from servers import fresh_bucket
from shelf import chunks, item_at, never, obs, sizes

from launcher.adapters.obs import Credentials, Settings
from launcher.core.errors import Cancelled, StoreError
from launcher.core.stored import StoredObject
from launcher.core.urls import Location

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fronts import Front
    from servers import S3Server

    from launcher.adapters.obs import ObsStore

MEBIBYTE = 1024**2


@pytest.fixture
def front(fronted: Callable[[S3Server], Front], moto_server: S3Server) -> Front:
    return fronted(moto_server)


@pytest.fixture
def server(front: Front, moto_server: S3Server, bucket: str) -> S3Server:
    """moto behind the front, with a bucket that holds in/x and in/big."""
    moto_server.seed(bucket, {"in/x": b"content" * 100, "in/big": BIG})
    return moto_server.through(front.endpoint)


BIG = bytes(range(256)) * (35 * MEBIBYTE // 256)


def refused(action: Callable[[], object]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        action()
    return caught.value


def brought(store: ObsStore, at: Location, path: Path) -> bytes:
    store.fetch(at.bucket, item_at(store, at), str(path), never)
    return path.read_bytes()


# --- keys that are hard to say


HOSTILE = ["in/../../etc/passwd", "in//double", "in/./dot", "in/tab\there", "in/" + "s" * 300, "in/a", "in/ünï"]


def test_hostile_keys_are_listed_as_they_are(moto_server: S3Server, bucket: str) -> None:
    moto_server.seed(bucket, dict.fromkeys(HOSTILE, b"123") | {"in/sub/": b"", "in/empty": b""})
    expected = dict.fromkeys(HOSTILE, 3) | {"in/sub/": 0, "in/empty": 0}
    assert sizes(obs(moto_server), Location(bucket, "in/")) == expected
    assert moto_server.listing(bucket, "in/") == expected


@pytest.mark.parametrize("key", [*HOSTILE, "/absolute", "in/marker/", "..", "\x7f"])
def test_hostile_keys_are_read_and_removed_exactly(
    moto_server: S3Server, bucket: str, tmp_path: Path, key: str
) -> None:
    moto_server.seed(bucket, {key: b"123", "absolute": b"another", "in/marker": b"another", "etc/passwd": b"another"})
    store = obs(moto_server)
    assert brought(store, Location(bucket, key), tmp_path / "x") == b"123"
    store.remove(Location(bucket, key))
    assert set(moto_server.listing(bucket)) == {"absolute", "in/marker", "etc/passwd"}


def test_a_leading_slash_in_a_whole_bucket_is_seen(moto_server: S3Server, bucket: str) -> None:
    moto_server.seed(bucket, {"/a": b"1", "b": b"22", "c/d": b"333"})
    assert sizes(obs(moto_server), Location(bucket)) == {"/a": 1, "b": 2, "c/d": 3}


@pytest.fixture(scope="module")
def crowd(moto_server: S3Server) -> str:
    """A bucket with more than a page of objects below many/, and a key behind them that cannot be a path."""
    name = fresh_bucket()
    objects = {f"many/{number:05}": b"x" * (number % 3) for number in range(1020)}
    moto_server.seed(name, objects | {"many/00500/": b"", "zz//odd": b"1", "zz/after": b"1"})
    return name


def test_a_bad_key_late_in_a_long_listing_spoils_nothing(moto_server: S3Server, crowd: str) -> None:
    assert sizes(obs(moto_server), Location(crowd)) == moto_server.listing(crowd)


def test_markers_and_empty_files_are_told_apart(moto_server: S3Server, bucket: str) -> None:
    objects = {"in/": b"", "in/m/": b"", "in/n/": b"", "in/n/x": b"1", "in/e": b"", "in/both": b"", "in/both/": b""}
    objects |= {"in/twin": b"123", "in/twin/": b""}
    moto_server.seed(
        bucket, {**objects, "in/file": b"", "in/file/inner": b"1", "in/large/": b"123", "in/large/x": b"1"}
    )
    store = obs(moto_server)
    expected = moto_server.listing(bucket, "in/")
    del expected["in/"]
    assert sizes(store, Location(bucket, "in/")) == expected
    assert item_at(store, Location(bucket, "in/m/")).size == 0
    assert store.stat(Location(bucket, "in/m")) is None


def test_many_markers_are_told_apart_by_one_listing(
    fronted: Callable[[S3Server], Front], moto_server: S3Server, bucket: str
) -> None:
    front = fronted(moto_server)
    objects = {f"in/{number}{'/' * (number % 2)}": b"" for number in range(150)}
    moto_server.seed(bucket, objects)
    assert sizes(obs(moto_server.through(front.endpoint)), Location(bucket, "in/")) == dict.fromkeys(objects, 0)
    assert front.count("HEAD") == 0


def test_a_folder_with_its_own_marker_only_is_empty(moto_server: S3Server, bucket: str) -> None:
    moto_server.seed(bucket, {"in/": b"", "markers/": b"", "markers/a/": b""})
    store = obs(moto_server)
    assert sizes(store, Location(bucket, "in/")) == {}
    assert not store.occupied(Location(bucket, "in/"))
    assert not store.occupied(Location(bucket, "markers/"))


@pytest.mark.parametrize("key", ["out//x", "out/../x", "/x", "out/", "out/\t", ""])
def test_such_keys_are_never_written(moto_server: S3Server, bucket: str, key: str) -> None:
    moto_server.seed(bucket, {})
    assert refused(lambda: obs(moto_server).put(Location(bucket, key), iter([b"1"]), 1)).code == "store-odd-key"
    assert moto_server.listing(bucket) == {}


# --- refusals


def test_a_wrong_secret_is_refused(rclone_server: S3Server, bucket: str, tmp_path: Path) -> None:
    rclone_server.seed(bucket, {"x": b"1"})
    store, at = obs(rclone_server.with_secret("not-the-secret")), Location(bucket, "x")
    for action in (
        lambda: list(store.walk(Location(bucket))),
        lambda: store.stat(at),
        lambda: store.fetch(bucket, StoredObject("x", 1, ""), str(tmp_path / "x"), never),
        lambda: store.put(at, iter([b"2"]), 1),
        lambda: store.put(at, chunks(BIG), len(BIG)),
        lambda: store.remove(at),
        lambda: store.stat(Location(bucket, "x//y")),
    ):
        error = refused(action)
        assert error.exit_code == 77
        assert "not-the-secret" not in str(error) + error.action
    assert rclone_server.read(bucket, "x") == b"1"
    assert "the signature does not match" in str(refused(lambda: store.stat(at)))


@pytest.mark.parametrize(
    ("fault", "slug", "exit_code"),
    [
        (s3_error(403, "AccessDenied"), "store-refused", 77),
        (s3_error(403, "RequestTimeTooSkewed"), "store-clock", 77),
        (s3_error(301, "PermanentRedirect", extra="<Endpoint>obs.elsewhere</Endpoint>"), "store-region", 69),
        (s3_error(400, "AuthorizationHeaderMalformed", extra="<Region>cn-south-1</Region>"), "store-region", 69),
        (Fault("answer", body=b"<html>Welcome</html>", headers={"Content-Type": "text/html"}), "store-endpoint", 69),
        (Fault("answer", status=404, body=b"<html>nginx</html>"), "store-endpoint", 69),
        (Fault("answer", status=400, body=b"The plain HTTP request was sent to HTTPS port"), "store-endpoint", 69),
    ],
    ids=lambda value: value.body[:60].decode() if isinstance(value, Fault) else None,
)
def test_one_cause_has_one_code_whatever_was_asked(  # noqa: PLR0917
    front: Front, server: S3Server, bucket: str, tmp_path: Path, fault: Fault, slug: str, exit_code: int
) -> None:
    store, at = obs(server), Location(bucket, "in/x")
    item = item_at(store, at)
    fault.times = None
    front.lay(fault)
    for action in (
        lambda: list(store.walk(Location(bucket, "in/"))),
        lambda: store.stat(at),
        lambda: store.fetch(bucket, item, str(tmp_path / "x"), never),
        lambda: store.put(at, iter([b"2"]), 1),
    ):
        error = refused(action)
        assert (error.code, error.exit_code) == (slug, exit_code), str(error)
        assert f"obs://{bucket}/in/" in str(error)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_not_taken_for_a_page_of_html(front: Front, server: S3Server, bucket: str) -> None:
    assert sizes(obs(server), Location(bucket, "none/")) == {}
    front.lay(Fault("answer", body=b"<html>Welcome</html>", headers={"Content-Type": "text/html"}))
    assert refused(lambda: list(obs(server).walk(Location(bucket, "none/")))).code == "store-endpoint"


# --- endpoints


def test_a_dead_port_is_told_quickly(moto_server: S3Server) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as unheard:
        port = unheard.getsockname()[1]
    store = obs(moto_server.through(f"http://127.0.0.1:{port}"))
    start = time.monotonic()
    error = refused(lambda: list(store.walk(Location("bucket", "in/"))))
    assert time.monotonic() - start < 10
    assert (error.code, error.exit_code) == ("store-unreachable", 69)
    assert f"127.0.0.1:{port}" in str(error)


def test_a_name_that_does_not_resolve_is_told(moto_server: S3Server) -> None:
    error = refused(lambda: obs(moto_server.through("http://no-such-host.invalid")).stat(Location("bucket", "x")))
    assert (error.code, error.exit_code) == ("store-unreachable", 69)
    assert "no-such-host.invalid" in str(error)


def test_tls_spoken_to_a_plain_port_is_told(moto_server: S3Server) -> None:
    store = obs(moto_server.through(moto_server.endpoint.replace("http:", "https:")))
    error = refused(lambda: store.stat(Location("bucket", "x")))
    assert error.code == "store-endpoint"
    assert "https was spoken to a port that speaks http" in str(error)


@pytest.mark.parametrize(
    "endpoint",
    ["obs.example.com", "https://obs.example.com/bucket", "http://", "ftp://x", "http://a b", "https://u:pw@h"],
)
def test_what_is_no_endpoint_is_told_before_it_is_asked(moto_server: S3Server, endpoint: str) -> None:
    error = refused(lambda: obs(moto_server.through(endpoint)).stat(Location("bucket", "x")))
    assert error.code == "store-endpoint"
    assert "pw" not in str(error)


def test_an_endpoint_that_carries_the_bucket_is_told(moto_server: S3Server) -> None:
    error = refused(lambda: obs(moto_server.through("http://data.no-such.invalid")).stat(Location("data", "x")))
    assert "it carries the bucket" in str(error)
    assert error.code == "store-endpoint"


@pytest.mark.parametrize(
    ("endpoint", "path_style", "region"),
    [
        ("https://obs.cn-north-4.myhuaweicloud.com", False, "cn-north-4"),
        ("https://obs.ap-southeast-1.myhuaweicloud.com:443/", False, "ap-southeast-1"),
        ("https://s3.eu-west-1.amazonaws.com", False, "eu-west-1"),
        ("http://127.0.0.1:9000", True, "us-east-1"),
        ("http://[::1]:9000", True, "us-east-1"),
        ("http://localhost:9000", True, "us-east-1"),
        ("http://minio:9000", True, "us-east-1"),
        ("https://store.example.com", False, "us-east-1"),
    ],
)
def test_the_endpoint_tells_style_and_region(endpoint: str, path_style: bool, region: str) -> None:  # noqa: FBT001
    settings = Settings(endpoint=endpoint)
    assert (settings.path_style, settings.signing_region) == (path_style, region)
    assert Settings(endpoint=endpoint, addressing="path").path_style
    assert not Settings(endpoint=endpoint, addressing="virtual").path_style
    assert Settings(endpoint=endpoint, region="mine").signing_region == "mine"


def test_virtual_hosted_style_puts_the_bucket_before_the_host(front: Front, server: S3Server, bucket: str) -> None:
    front.lay(Fault("answer", body=b"x" * 700, headers={"ETag": '"e"'}))
    far = server.through("http://store.example.com")
    assert "size=700" in asked_alone(far, bucket, http_proxy=front.endpoint)
    assert front.seen[0].target == f"http://{bucket}.store.example.com/in/x"


def test_ipv6_is_spoken(moto_server: S3Server) -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    heard: list[bytes] = []

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            heard.append(connection.recv(65536))
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nETag: "e"\r\nConnection: close\r\n\r\n')

    thread = threading.Thread(target=answer)
    thread.start()
    with closing(listener):
        store = obs(moto_server.through(f"http://[::1]:{listener.getsockname()[1]}"))
        assert store.stat(Location("bucket", "in/x")) == StoredObject("in/x", 7, "e")
        thread.join()
    assert heard[0].startswith(b"HEAD /bucket/in/x HTTP/1.1")


def test_an_untrusted_certificate_is_told_and_can_be_let_pass(moto_server: S3Server, tmp_path: Path) -> None:
    with tls_server(tmp_path) as endpoint:
        at = Location("bucket", "x")
        error = refused(lambda: obs(moto_server.through(endpoint)).stat(at))
        assert error.code == "store-certificate"
        assert obs(moto_server.through(endpoint), verify_ssl=False).stat(at) == StoredObject("x", 7, "e")


class tls_server:  # noqa: N801 - used as a block
    """Answers every TLS connection with one object, under a certificate that nobody knows."""

    def __init__(self, folder: Path) -> None:
        self._certificate = _certificate(folder)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> str:
        self._thread.start()
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate)
        answer = b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nETag: "e"\r\nConnection: close\r\n\r\n'
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    with context.wrap_socket(connection, server_side=True) as secure:
                        secure.recv(65536)
                        secure.sendall(answer)
                except OSError:
                    continue


def _certificate(folder: Path) -> str:
    import datetime as dt  # noqa: PLC0415 - for this one test
    import ipaddress  # noqa: PLC0415

    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.timezone.utc)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + built.public_bytes(serialization.Encoding.PEM)
    path = folder / "server.pem"
    path.write_bytes(pem)
    return str(path)


# --- failures that pass


@pytest.mark.parametrize(
    "fault",
    [s3_error(503, "SlowDown"), s3_error(500, "InternalError"), Fault("reset"), Fault("truncate", method="GET")],
    ids=["slow", "internal", "reset", "truncated"],
)
def test_a_passing_failure_is_got_over(
    front: Front, server: S3Server, bucket: str, tmp_path: Path, fault: Fault
) -> None:
    store = obs(server)
    actions: list[Callable[[], object]] = [
        lambda: sizes(store, Location(bucket, "in/")),
        lambda: item_at(store, Location(bucket, "in/x")),
        lambda: brought(store, Location(bucket, "in/x"), tmp_path / "x"),
        lambda: brought(store, Location(bucket, "in/big"), tmp_path / "big"),
        lambda: store.put(Location(bucket, "out/small"), iter([b"1"]), 1),
        lambda: store.put(Location(bucket, "out/big"), chunks(BIG), len(BIG)),
        lambda: store.remove(Location(bucket, "out/none")),
    ]
    for action in actions:
        front.lay(Fault(**{**vars(fault), "times": 1}))
        action()
        front.clear()
    assert (tmp_path / "big").read_bytes() == BIG
    assert server.read(bucket, "out/big") == BIG


def test_a_listing_that_breaks_off_goes_on_where_it_was(front: Front, moto_server: S3Server, crowd: str) -> None:
    front.lay(s3_error(503, "SlowDown", target="continuation-token", times=2))
    assert len(sizes(obs(moto_server.through(front.endpoint)), Location(crowd, "many/"))) == 1021


@pytest.mark.parametrize(("fault", "slug", "tries"), [(Fault("reset"), "store-broken", 4)])
def test_a_failure_that_stays_is_told_after_a_bounded_number_of_tries(  # noqa: PLR0917
    front: Front, server: S3Server, bucket: str, tmp_path: Path, fault: Fault, slug: str, tries: int
) -> None:
    store = obs(server)
    item = item_at(store, Location(bucket, "in/x"))
    front.lay(fault)
    error = refused(lambda: store.fetch(bucket, item, str(tmp_path / "x"), never))
    assert (error.code, error.exit_code) == (slug, 69)
    assert front.count("GET", "in/x") == tries
    assert not (tmp_path / "x").exists()


def test_a_wait_between_tries_ends_when_stopped(front: Front, server: S3Server, bucket: str, tmp_path: Path) -> None:
    store = obs(server)
    item = item_at(store, Location(bucket, "in/x"))
    front.lay(s3_error(503, "SlowDown"))
    with pytest.raises(Cancelled):
        store.fetch(bucket, item, str(tmp_path / "x"), lambda: front.count("GET", "in/x") > 0)
    assert not (tmp_path / "x").exists()


def test_a_body_that_was_changed_on_the_way_is_refused(
    front: Front, server: S3Server, bucket: str, tmp_path: Path
) -> None:
    store = obs(server)
    item = item_at(store, Location(bucket, "in/x"))
    front.lay(Fault("spoil", method="GET", target="in/x", times=1))
    assert brought(store, Location(bucket, "in/x"), tmp_path / "x") == b"content" * 100
    front.lay(Fault("spoil", method="GET", target="in/x"))
    error = refused(lambda: store.fetch(bucket, item, str(tmp_path / "y"), never))
    assert error.code == "store-broken"
    assert "MD5" in str(error)
    assert not (tmp_path / "y").exists()


def test_the_etag_of_an_encrypted_object_is_no_md5(front: Front, server: S3Server, bucket: str, tmp_path: Path) -> None:
    headers = {"ETag": '"' + "0" * 32 + '"', "x-amz-server-side-encryption": "aws:kms"}
    # the true server knows nothing of that ETag, so the condition must not reach it
    front.lay(Fault("alter", method="HEAD", headers=headers))
    front.lay(Fault("answer", method="GET", target="in/x", body=b"content" * 100, headers=headers))
    store = obs(server)
    assert brought(store, Location(bucket, "in/x"), tmp_path / "x") == b"content" * 100
    asked = front.count("HEAD")
    store.fetch(bucket, StoredObject("in/x", 700, "0" * 32), str(tmp_path / "y"), never)
    assert front.count("HEAD") == asked


def test_an_object_that_changes_half_way_is_refused(
    front: Front, server: S3Server, moto_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    store = obs(server)
    item = item_at(store, Location(bucket, "in/big"))
    other = bytes(reversed(BIG))
    replace = Fault(
        "alter", target="in/big", method="GET", times=1, after=lambda: moto_server.seed(bucket, {"in/big": other})
    )
    front.lay(replace)
    error = refused(lambda: store.fetch(bucket, item, str(tmp_path / "big"), never))
    assert error.code == "store-changed"
    assert not (tmp_path / "big").exists()


def test_large_objects_come_in_pinned_ranges(front: Front, server: S3Server, bucket: str, tmp_path: Path) -> None:
    store = obs(server)
    assert brought(store, Location(bucket, "in/big"), tmp_path / "big") == BIG
    gets = [one for one in front.seen if one.method == "GET" and "in/big" in one.target]
    etag = item_at(store, Location(bucket, "in/big")).etag
    assert sorted(one.headers["range"] for one in gets) == [
        "bytes=0-16777215",
        "bytes=16777216-33554431",
        f"bytes=33554432-{len(BIG) - 1}",
    ]
    assert {one.headers["if-match"] for one in gets} == {f'"{etag}"'}


def test_a_store_without_ranges_is_read_as_a_whole_and_asked_once(
    fronted: Callable[[S3Server], Front], rclone_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    rclone_server.seed(bucket, {"big": BIG})
    front = fronted(rclone_server)
    store = obs(rclone_server.through(front.endpoint))
    for name in ("1", "2"):
        assert brought(store, Location(bucket, "big"), tmp_path / name) == BIG
    assert [one.headers.get("range") for one in front.seen if one.method == "GET"][-1] is None
    assert 1 <= sum("range" in one.headers for one in front.seen) <= 3


def test_uploads_are_unsigned_in_their_body_and_carry_no_trailers(front: Front, server: S3Server, bucket: str) -> None:
    store = obs(server)
    store.put(Location(bucket, "out/small"), iter([b"1"]), 1)
    store.put(Location(bucket, "out/big"), chunks(BIG), len(BIG))
    puts = [one for one in front.seen if one.method == "PUT"]
    assert len(puts) == 1 + 5
    assert {one.headers["x-amz-content-sha256"] for one in puts} == {"UNSIGNED-PAYLOAD"}
    assert not any("trailer" in name or "checksum" in name for one in puts for name in one.headers)


def test_a_failed_upload_leaves_no_parts(front: Front, server: S3Server, bucket: str) -> None:
    front.lay(s3_error(403, "AccessDenied", method="PUT", target="partNumber=2"))
    error = refused(lambda: obs(server).put(Location(bucket, "out/big"), chunks(BIG), len(BIG)))
    assert error.exit_code == 77
    with server.client() as client:
        assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    assert "out/big" not in server.listing(bucket)


# --- credentials that end


class Rotation:
    """Hands out one set of credentials after the other, and counts."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> Credentials:
        self.asked += 1
        return Credentials(access_key=f"key-{self.asked}", secret_key="secret", token=f"token-{self.asked}")


def test_expired_credentials_are_renewed_once_and_the_work_goes_on(
    front: Front, server: S3Server, bucket: str, tmp_path: Path
) -> None:
    rotation = Rotation()
    store = obs(server, rotation)
    assert brought(store, Location(bucket, "in/x"), tmp_path / "0") == b"content" * 100
    for number, method in enumerate(("GET", "PUT", "DELETE"), start=2):
        front.lay(s3_error(400, "ExpiredToken", method=method, times=1))
        store.fetch(bucket, StoredObject("in/x", 700, ""), str(tmp_path / method), never)
        store.put(Location(bucket, "out/x"), iter([b"1"]), 1)
        store.remove(Location(bucket, "out/x"))
        assert rotation.asked == number
    assert front.seen[-1].headers["x-amz-security-token"] == "token-4"


def test_many_threads_renew_expired_credentials_together(
    front: Front, server: S3Server, bucket: str, tmp_path: Path
) -> None:
    rotation = Rotation()
    store = obs(server, rotation)
    item = item_at(store, Location(bucket, "in/big"))
    front.lay(s3_error(400, "ExpiredToken", method="GET", times=3))
    store.fetch(bucket, item, str(tmp_path / "big"), never)
    assert (tmp_path / "big").read_bytes() == BIG
    assert rotation.asked == 2


def test_credentials_that_stay_expired_are_told(front: Front, server: S3Server, bucket: str) -> None:
    rotation = Rotation()
    front.lay(s3_error(400, "ExpiredToken"))
    error = refused(lambda: obs(server, rotation).stat(Location(bucket, "in/x")))
    assert (error.code, error.exit_code) == ("store-expired", 77)
    assert rotation.asked <= 3


def test_a_listing_goes_on_with_new_credentials(front: Front, moto_server: S3Server, crowd: str) -> None:
    rotation = Rotation()
    front.lay(s3_error(400, "ExpiredToken", target="continuation-token", times=1))
    assert len(sizes(obs(moto_server.through(front.endpoint), rotation), Location(crowd, "many/"))) == 1021
    assert rotation.asked == 2


def test_a_large_upload_whose_credentials_end_can_be_put_again(front: Front, server: S3Server, bucket: str) -> None:
    rotation = Rotation()
    store, at = obs(server, rotation), Location(bucket, "out/big")
    front.lay(s3_error(400, "ExpiredToken", method="PUT", target="partNumber=2", times=1))
    assert refused(lambda: store.put(at, chunks(BIG), len(BIG))).code == "store-expired"
    store.put(at, chunks(BIG), len(BIG))
    assert server.read(bucket, "out/big") == BIG
    assert rotation.asked == 2


def test_credentials_do_not_show() -> None:
    keys = Credentials(access_key="AKEXAMPLE", secret_key="SKEXAMPLE", token="TKEXAMPLE")
    assert "EXAMPLE" not in repr(keys) + str(keys) + f"{[keys]}"


# --- what the environment must not do

STRAY = """
import sys
from launcher.adapters.obs import Credentials, ObsStore, Settings
from launcher.core.urls import Location
keys = Credentials(access_key="launcherkey", secret_key="launchersecret")
store = ObsStore(Settings(endpoint=sys.argv[1]), lambda: keys, None)
print(store.stat(Location(sys.argv[2], "in/x")))
"""


def asked_alone(server: S3Server, bucket: str, **extra: str) -> str:
    env = {"PATH": os.environ["PATH"], **extra}
    done = subprocess.run(
        [sys.executable, "-c", STRAY, server.endpoint, bucket],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_variables_meant_for_others_change_nothing(front: Front, server: S3Server, bucket: str) -> None:
    stray = {
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_ENDPOINT": "http://127.0.0.1:1",
        "AWS_SESSION_TOKEN": "stray-token",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
        "AWS_REGION": "mars-1",
    }
    assert "size=700" in asked_alone(server, bucket, **stray)
    headers = front.seen[-1].headers
    assert "x-amz-security-token" not in headers
    assert "us-east-1" in headers["authorization"]


def test_a_system_without_certificates_can_still_speak_http(server: S3Server, bucket: str) -> None:
    assert "size=700" in asked_alone(server, bucket, SSL_CERT_FILE="/nowhere", SSL_CERT_DIR="/nowhere")
