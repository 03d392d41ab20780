"""ObsStore against real servers and against a front that lets them fail, with boto3 as the oracle."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fronts import Fault, s3_error
from servers import fresh_bucket
from shelf import boto, chunks, item_at, never, obs, persistent, read, sizes

from launcher.adapters.obs import Credentials, Settings
from launcher.core.errors import Cancelled, StoreError
from launcher.core.stored import StoredObject
from launcher.core.urls import Location

if TYPE_CHECKING:
    from collections.abc import Callable

    from fronts import Front, Seen
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


def brought(store: ObsStore, at: Location) -> bytes:
    return read(store, at.bucket, item_at(store, at))


# --- keys that are hard to say


HOSTILE = ["in/../../etc/passwd", "in//double", "in/./dot", "in/tab\there", "in/" + "s" * 300, "in/a", "in/ünï"]


def test_hostile_keys_are_listed_as_they_are(moto_server: S3Server, bucket: str) -> None:
    moto_server.seed(bucket, dict.fromkeys(HOSTILE, b"123") | {"in/sub/": b"", "in/empty": b""})
    expected = dict.fromkeys(HOSTILE, 3) | {"in/sub/": 0, "in/empty": 0}
    assert sizes(obs(moto_server), Location(bucket, "in/")) == expected
    assert moto_server.listing(bucket, "in/") == expected


@pytest.mark.parametrize("key", [*HOSTILE, "/absolute", "in/marker/", "..", "\x7f"])
def test_hostile_keys_are_read_and_removed_exactly(moto_server: S3Server, bucket: str, key: str) -> None:
    moto_server.seed(bucket, {key: b"123", "absolute": b"another", "in/marker": b"another", "etc/passwd": b"another"})
    store = obs(moto_server)
    assert brought(store, Location(bucket, key)) == b"123"
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
    assert front.count("HEAD") <= 1  # for the last one, whose page was over


def test_a_folder_with_its_own_marker_only_is_empty(moto_server: S3Server, bucket: str) -> None:
    moto_server.seed(bucket, {"in/": b"", "markers/": b"", "markers/a/": b""})
    store = obs(moto_server)
    assert sizes(store, Location(bucket, "in/")) == {}


@pytest.mark.parametrize("key", ["out//x", "out/../x", "/x", "out/", "out/\t", ""])
def test_such_keys_are_never_written(moto_server: S3Server, bucket: str, key: str) -> None:
    moto_server.seed(bucket, {})
    assert refused(lambda: obs(moto_server).put(Location(bucket, key), iter([b"1"]), 1)).code == "store-odd-key"
    assert moto_server.listing(bucket) == {}


# --- refusals


def test_a_wrong_secret_is_refused(rclone_server: S3Server, bucket: str) -> None:
    rclone_server.seed(bucket, {"x": b"1"})
    store, at = obs(rclone_server.with_secret("not-the-secret")), Location(bucket, "x")
    for action in (
        lambda: list(store.walk(Location(bucket))),
        lambda: store.stat(at),
        lambda: read(store, bucket, StoredObject("x", 1, "")),
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
    front: Front, server: S3Server, bucket: str, fault: Fault, slug: str, exit_code: int
) -> None:
    store, at = obs(server), Location(bucket, "in/x")
    item = item_at(store, at)
    fault.times = None
    front.lay(fault)
    for action in (
        lambda: list(store.walk(Location(bucket, "in/"))),
        lambda: store.stat(at),
        lambda: read(store, bucket, item),
        lambda: store.put(at, iter([b"2"]), 1),
    ):
        error = refused(action)
        assert (error.code, error.exit_code) == (slug, exit_code), str(error)
        assert f"obs://{bucket}/in/" in str(error)


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


# --- failures that pass


PASSING = [s3_error(503, "SlowDown"), s3_error(500, "InternalError"), Fault("reset"), Fault("truncate", method="GET")]


@pytest.mark.parametrize("fault", PASSING, ids=["slow", "internal", "reset", "truncated"])
def test_a_passing_failure_is_got_over_by_another_try(
    front: Front, server: S3Server, bucket: str, fault: Fault
) -> None:
    store = obs(server)
    item = item_at(store, Location(bucket, "in/big"))
    actions: list[Callable[[], object]] = [
        lambda: sizes(store, Location(bucket, "in/")),
        lambda: store.stat(Location(bucket, "in/x")),
        lambda: brought(store, Location(bucket, "in/x")),
        lambda: read(store, bucket, item),
        lambda: read(store, bucket, item, (5, 3 * MEBIBYTE)),
        lambda: store.put(Location(bucket, "out/small"), iter([b"1"]), 1),
        lambda: store.remove(Location(bucket, "out/none")),
        lambda: store.put(Location(bucket, "out/big"), chunks(BIG), len(BIG)),
    ]
    for action in actions:
        front.lay(Fault(**{**vars(fault), "times": 1}))
        persistent(action)
        front.clear()
    assert read(store, bucket, item) == BIG
    assert server.read(bucket, "out/big") == BIG


@pytest.mark.parametrize(
    ("fault", "slug"), [(s3_error(503, "SlowDown"), "store-busy"), (Fault("reset"), "store-broken")]
)
def test_one_request_is_one_try(front: Front, server: S3Server, bucket: str, fault: Fault, slug: str) -> None:
    store = obs(server)
    item = item_at(store, Location(bucket, "in/x"))
    actions: list[Callable[[], object]] = [
        lambda: read(store, bucket, item),
        lambda: list(store.walk(Location(bucket, "in/"))),
        lambda: store.put(Location(bucket, "out/x"), iter([b"1"]), 1),
        lambda: store.put(Location(bucket, "out/x"), iter([b"1" * MEBIBYTE]), 1),
        lambda: store.remove(Location(bucket, "out/x")),
        lambda: store.stat(Location(bucket, "in//x")),
        lambda: list(store.walk(Location(bucket, "in//"))),
        lambda: read(store, bucket, StoredObject("in//x", 1, "")),
    ]
    for action in actions:
        front.clear()
        front.lay(fault)
        front.seen.clear()
        error = refused(action)
        assert (error.code, error.exit_code) == (slug, 69)
        assert len(front.seen) == 1


def test_a_body_that_was_changed_on_the_way_is_refused(front: Front, server: S3Server, bucket: str) -> None:
    store = obs(server)
    item = item_at(store, Location(bucket, "in/x"))
    front.lay(Fault("spoil", method="GET", target="in/x", times=1))
    assert persistent(lambda: read(store, bucket, item)) == b"content" * 100
    front.lay(Fault("spoil", method="GET", target="in/x"))
    for one in (item, StoredObject("in/x", -1, "")):
        error = refused(lambda this=one: read(store, bucket, this, (0, this.size)))  # type: ignore[misc]
        assert error.code == "store-broken"
        assert "MD5" in str(error)


def test_the_etag_of_an_encrypted_object_is_no_md5(front: Front, server: S3Server, bucket: str) -> None:
    headers = {"ETag": '"' + "0" * 32 + '"', "x-amz-server-side-encryption": "aws:kms"}
    # the true server knows nothing of that ETag, so the condition must not reach it
    front.lay(Fault("alter", method="HEAD", headers=headers))
    front.lay(Fault("answer", method="GET", target="in/x", body=b"content" * 100, headers=headers))
    front.lay(Fault("alter", method="PUT", headers=headers))
    store = obs(server)
    assert brought(store, Location(bucket, "in/x")) == b"content" * 100
    asked = front.count("HEAD")
    read(store, bucket, StoredObject("in/x", 700, "0" * 32))
    store.put(Location(bucket, "out/x"), iter([b"1"]), 1)
    assert front.count("HEAD") == asked


def test_a_little_object_is_asked_for_once_and_its_md5_says_which_version_it_is(
    front: Front, server: S3Server, bucket: str
) -> None:
    store = obs(server)
    item = item_at(store, Location(bucket, "in/x"))
    assert read(store, bucket, item) == b"content" * 100
    assert front.count("GET") == 1
    assert "if-match" not in front.seen[-1].headers


@pytest.mark.parametrize("other", [b"another" * 100, b"longer!" * 200, b"short", b""])
def test_a_little_object_that_was_replaced_is_refused(
    moto_server: S3Server, server: S3Server, bucket: str, other: bytes
) -> None:
    store = obs(server)
    item = item_at(store, Location(bucket, "in/x"))
    moto_server.seed(bucket, {"in/x": other})
    assert refused(lambda: read(store, bucket, item)).code == "store-changed"


def has_range(seen: Seen) -> bool:
    return "range" in seen.headers


@pytest.mark.parametrize(
    "odd",
    [
        Fault("answer", status=206, body=b"content" * 100, headers={"Content-Range": "bytes 0-699/*"}),
        Fault("answer", status=206, body=b"content" * 100),
        Fault("answer", status=206, body=b"cont", headers={"Content-Range": "bytes 0-3/700"}),
        Fault("answer", status=200, body=b"content" * 100),
        Fault("answer", status=400, body=b"no ranges here"),
        s3_error(416, "InvalidRange"),
        s3_error(501, "NotImplemented"),
    ],
    ids=["total-unknown", "untold", "short", "whole", "foreign", "unsatisfied", "unimplemented"],
)
def test_a_store_that_does_not_like_ranges_is_asked_without(
    front: Front, server: S3Server, bucket: str, odd: Fault
) -> None:
    store = obs(server)
    item = item_at(store, Location(bucket, "in/x"))
    front.lay(replace(odd, method="GET", when=has_range))
    for asked in (2, 3):
        assert read(store, bucket, item) == b"content" * 100
        assert front.count("GET") == asked


@pytest.mark.parametrize("headers", [{"Content-Range": "bytes 0-9/*"}, {}])
def test_a_part_that_is_not_told_is_no_part(
    front: Front, server: S3Server, bucket: str, headers: dict[str, str]
) -> None:
    store = obs(server)
    item = item_at(store, Location(bucket, "in/big"))
    front.lay(Fault("answer", method="GET", status=206, body=b"x" * 10, headers=headers))
    assert refused(lambda: read(store, bucket, item, (0, 10))).code == "store-unranged"


def test_little_objects_of_an_encrypted_bucket_are_asked_for_twice_only_once(
    front: Front, server: S3Server, bucket: str
) -> None:
    headers = {"ETag": '"' + "0" * 32 + '"', "x-amz-server-side-encryption": "aws:kms"}
    front.lay(Fault("alter", method="HEAD", headers=headers))
    body, part = b"content" * 100, {**headers, "Content-Range": "bytes 0-699/700"}
    ranged = Fault("answer", method="GET", status=206, body=body, headers=part, when=has_range)
    front.lay(ranged)
    front.lay(Fault("answer", method="GET", body=body, headers=headers))
    store = obs(server)
    for asked in (2, 3, 4):
        assert read(store, bucket, StoredObject("in/x", 700, "0" * 32)) == body
        assert front.count("GET") == asked


def test_an_object_that_changes_half_way_is_refused(
    front: Front, server: S3Server, moto_server: S3Server, bucket: str
) -> None:
    store = obs(server)
    item = item_at(store, Location(bucket, "in/big"))
    other = bytes(reversed(BIG))
    replace = Fault(
        "alter", target="in/big", method="GET", times=1, after=lambda: moto_server.seed(bucket, {"in/big": other})
    )
    front.lay(replace)
    error = refused(lambda: [read(store, bucket, item, (start, start + 9)) for start in (0, 9)])
    assert error.code == "store-changed"


def test_parts_are_pinned_to_the_version_and_checked(front: Front, server: S3Server, bucket: str) -> None:
    store = obs(server)
    item = item_at(store, Location(bucket, "in/big"))
    assert read(store, bucket, item, (7, 7 + 2 * MEBIBYTE)) == BIG[7 : 7 + 2 * MEBIBYTE]
    assert front.seen[-1].headers["range"] == f"bytes=7-{6 + 2 * MEBIBYTE}"
    assert front.seen[-1].headers["if-match"] == f'"{item.etag}"'
    answers = {
        "store-changed": {"ETag": '"another"', "Content-Range": f"bytes 0-9/{len(BIG)}"},
        "store-unranged": {"ETag": f'"{item.etag}"', "Content-Range": f"bytes 5-14/{len(BIG)}"},
    }
    for code, headers in answers.items():
        front.lay(Fault("answer", method="GET", status=206, body=b"x" * 10, headers=headers, times=1))
        assert refused(lambda: read(obs(server), bucket, item, (0, 10))).code == code
    short = {"ETag": f'"{item.etag}"', "Content-Range": f"bytes 0-9/{len(BIG)}"}
    for count in (0, 9, 11):
        front.lay(Fault("answer", method="GET", status=206, body=b"x" * count, headers=short, times=1))
        assert refused(lambda: read(store, bucket, item, (0, 10))).code == "store-broken"
    grown = {"ETag": f'"{item.etag}"', "Content-Range": f"bytes 0-9/{len(BIG) + 1}"}
    front.lay(Fault("answer", method="GET", status=206, body=b"x" * 10, headers=grown, times=1))
    assert refused(lambda: read(store, bucket, item, (0, 10))).code == "store-changed"


def test_a_part_that_ends_early_is_broken(front: Front, server: S3Server, bucket: str) -> None:
    store = obs(server)
    item = item_at(store, Location(bucket, "in/big"))
    front.lay(Fault("truncate", method="GET"))
    for end in (MEBIBYTE, 3 * MEBIBYTE):
        assert refused(lambda to=end: read(store, bucket, item, (0, to))).code == "store-broken"  # type: ignore[misc]


def test_a_store_without_ranges_is_asked_once(
    fronted: Callable[[S3Server], Front], rclone_server: S3Server, bucket: str
) -> None:
    rclone_server.seed(bucket, {"big": BIG})
    front = fronted(rclone_server)
    store = obs(rclone_server.through(front.endpoint))
    item = item_at(store, Location(bucket, "big"))
    for _ in range(3):
        assert refused(lambda: read(store, bucket, item, (0, 9))).code == "store-unranged"
    assert front.count("GET") == 1
    assert read(store, bucket, item) == BIG


def test_a_store_without_ranges_is_asked_for_a_part_that_is_the_whole_once(
    fronted: Callable[[S3Server], Front], rclone_server: S3Server, bucket: str
) -> None:
    rclone_server.seed(bucket, {"little": b"12345"})
    front = fronted(rclone_server)
    store = obs(rclone_server.through(front.endpoint))
    item = item_at(store, Location(bucket, "little"))
    for asked in (2, 3, 4):
        assert read(store, bucket, item) == b"12345"
        assert front.count("GET") == asked


def test_a_read_that_is_given_up_lets_go_of_its_connection(moto_server: S3Server) -> None:
    gone = threading.Event()

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 99000000\r\nETag: "e"\r\n\r\n')
            try:
                while True:
                    connection.sendall(b"x" * MEBIBYTE)
            except OSError:
                gone.set()

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        store = obs(moto_server.through(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        reading = store.read("bucket", StoredObject("x", 99_000_000, "e"), 0, 99_000_000, never)
        assert len(memoryview(next(reading))) >= MEBIBYTE
        reading.close()  # type: ignore[attr-defined]
        assert gone.wait(30)
        thread.join()


@pytest.mark.parametrize("key", ["in//odd", "in/tab\there"])
def test_parts_of_odd_keys_are_read_too(front: Front, server: S3Server, bucket: str, key: str) -> None:
    server.seed(bucket, {key: BIG})
    store = obs(server)
    item = item_at(store, Location(bucket, key))
    assert read(store, bucket, item, (5, 2 * MEBIBYTE)) == BIG[5 : 2 * MEBIBYTE]
    assert read(store, bucket, StoredObject(key, -1, ""), (0, -1)) == BIG
    with pytest.raises(Cancelled):
        read(store, bucket, item, stopped=lambda: True)
    wrong = {"ETag": f'"{item.etag}"', "Content-Range": f"bytes 5-14/{len(BIG)}"}
    for status, headers, code in ((206, wrong, "store-unranged"), (200, {"ETag": "x"}, "store-unranged")):
        front.lay(Fault("answer", method="GET", status=status, body=b"x" * 10, headers=headers, times=1))
        assert refused(lambda: read(store, bucket, item, (0, 10))).code == code
    for kind in ("truncate", "spoil"):
        front.lay(Fault(kind, method="GET", times=1))
        assert refused(lambda: read(store, bucket, item)).code == "store-broken"
    server.seed(bucket, {key: b"another"})
    assert refused(lambda: read(store, bucket, item)).code == "store-changed"


def test_an_upload_that_the_store_has_otherwise_is_told(front: Front, server: S3Server, bucket: str) -> None:
    front.lay(Fault("alter", method="PUT", headers={"ETag": '"' + "0" * 32 + '"'}))
    error = refused(lambda: obs(server).put(Location(bucket, "out/x"), iter([b"1"]), 1))
    assert error.code == "store-broken"
    assert "MD5" in str(error)


def test_a_large_upload_of_which_parts_are_missing_is_told(front: Front, server: S3Server, bucket: str) -> None:
    wrong = b"<CompleteMultipartUploadResult><ETag>%s</ETag></CompleteMultipartUploadResult>" % (b"0" * 32 + b"-2")
    at = Location(bucket, "out/big")
    server.seed(bucket, {at.key: b"something shorter"})
    front.lay(Fault("answer", method="POST", target="uploadId", body=wrong))
    error = refused(lambda: obs(server).put(at, chunks(BIG), len(BIG)))
    assert error.code == "store-broken"
    assert f"{len(BIG)} bytes were sent, the store has 17" in str(error)
    server.seed(bucket, {at.key: BIG})
    obs(server).put(at, chunks(BIG), len(BIG))  # whatever is counted there, all of it came


def test_uploads_are_unsigned_in_their_body_and_carry_no_trailers(front: Front, server: S3Server, bucket: str) -> None:
    store = obs(server)
    store.put(Location(bucket, "out/small"), iter([b"1"]), 1)
    store.put(Location(bucket, "out/big"), chunks(BIG), len(BIG))
    puts = [one for one in front.seen if one.method == "PUT"]
    assert len(puts) == 1 + 5
    assert {one.headers["x-amz-content-sha256"] for one in puts} == {"UNSIGNED-PAYLOAD"}
    boto(server).remove(bucket, "out//odd")
    list(boto(server).walk(bucket, "", ""))
    for one in front.seen:
        assert not any("trailer" in name.lower() or "checksum" in name.lower() for name in one.headers), one
        assert "aws-chunked" not in one.headers.get("content-encoding", "")
        assert not one.headers.get("x-amz-content-sha256", "").startswith("STREAMING"), one


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


def test_expired_credentials_are_renewed_once_and_the_work_goes_on(front: Front, server: S3Server, bucket: str) -> None:
    rotation = Rotation()
    store = obs(server, rotation)
    assert brought(store, Location(bucket, "in/x")) == b"content" * 100
    for number, method in enumerate(("GET", "PUT", "DELETE"), start=2):
        front.lay(s3_error(400, "ExpiredToken", method=method, times=1))
        read(store, bucket, StoredObject("in/x", 700, ""))
        store.put(Location(bucket, "out/x"), iter([b"1"]), 1)
        store.remove(Location(bucket, "out/x"))
        assert rotation.asked == number
    assert front.seen[-1].headers["x-amz-security-token"] == "token-4"


def test_many_threads_renew_expired_credentials_together(front: Front, server: S3Server, bucket: str) -> None:
    rotation = Rotation()
    store = obs(server, rotation)
    item = item_at(store, Location(bucket, "in/big"))
    front.lay(
        s3_error(400, "ExpiredToken", method="GET", when=lambda seen: seen.header("x-amz-security-token") == "token-1")
    )
    found: dict[int, bytes] = {}
    part = 16 * MEBIBYTE

    def work(start: int) -> None:
        found[start] = read(store, bucket, item, (start, min(start + part, item.size)))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, item.size, part)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b"".join(found[start] for start in sorted(found)) == BIG
    assert rotation.asked == 2


def test_keys_that_are_refused_are_asked_for_again_but_never_twice_the_same(
    front: Front, server: S3Server, bucket: str
) -> None:
    rotation = Rotation()
    front.lay(s3_error(403, "InvalidAccessKeyId", method="GET", times=1))
    assert read(obs(server, rotation), bucket, StoredObject("in/x", 700, "")) == b"content" * 100
    assert rotation.asked == 2
    front.seen.clear()
    front.lay(s3_error(403, "InvalidAccessKeyId", method="GET"))
    store = obs(server)
    assert refused(lambda: read(store, bucket, StoredObject("in/x", 700, ""))).code == "store-keys"
    assert len(front.seen) == 1


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
    assert refused(lambda: store.put(at, chunks(BIG), len(BIG))).code == "store-renewed"
    store.put(at, chunks(BIG), len(BIG))
    front.lay(s3_error(400, "ExpiredToken", method="PUT", target="partNumber=2", times=1))
    persistent(lambda: store.put(at, chunks(BIG), len(BIG)))
    assert server.read(bucket, "out/big") == BIG
    assert rotation.asked == 3
    front.lay(s3_error(400, "ExpiredToken", method="PUT", target="partNumber=2"))
    unchanging = obs(server)
    assert refused(lambda: unchanging.put(at, chunks(BIG), len(BIG))).code == "store-expired"


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
