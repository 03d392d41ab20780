"""The engine for odd keys, and the credential chain."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from fronts import s3_error
from shelf import boto, read

from launcher.core.errors import StoreError
from launcher.core.stored import StoredObject

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fronts import Front
    from servers import S3Server

KEYS = ["..", "../x", "a//b", "/a", "dir/", "a\tb", "ünï", "./x", "x" * 300]


def test_every_key_is_listed_read_and_removed_as_it_is(moto_server: S3Server, bucket: str) -> None:
    objects = {key: key.encode() for key in KEYS}
    moto_server.seed(bucket, objects)
    store = boto(moto_server)
    found = list(store.walk(bucket, "", ""))
    assert {item.key for item in found} == set(KEYS)
    for item in found:
        assert read(store, bucket, item) == objects[item.key]
        assert store.stat(bucket, item.key) == item
        assert not store.encrypted(bucket, item.key)
        store.remove(bucket, item.key)
        assert store.stat(bucket, item.key) is None
    assert moto_server.listing(bucket) == {}


def test_another_version_is_refused(s3_server: S3Server, bucket: str) -> None:
    s3_server.seed(bucket, {"x": b"1"})
    with pytest.raises(StoreError) as caught:
        read(boto(s3_server), bucket, StoredObject("x", 1, "0" * 32))
    assert caught.value.code == "store-changed"


def test_its_errors_are_told_as_those_of_the_other_engine(
    fronted: Callable[[S3Server], Front], rclone_server: S3Server, bucket: str
) -> None:
    rclone_server.seed(bucket, {"x": b"1"})
    front = fronted(rclone_server)
    store = boto(rclone_server.through(front.endpoint))
    with pytest.raises(StoreError) as caught:
        list(store.walk("no-such-bucket", "", ""))
    assert caught.value.code == "store-no-bucket"
    with pytest.raises(StoreError) as caught:
        read(store, bucket, StoredObject("none", 1, ""))
    assert caught.value.code == "store-missing"
    with pytest.raises(StoreError) as caught:
        list(boto(rclone_server.with_secret("another-secret")).walk(bucket, "", ""))
    assert (caught.value.code, caught.value.exit_code) == ("store-keys", 77)
    front.lay(s3_error(400, "ExpiredToken"))
    with pytest.raises(StoreError) as caught:
        list(store.walk(bucket, "", ""))
    assert caught.value.code == "store-expired"


def test_a_dead_port_is_told(moto_server: S3Server) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as unheard:
        port = unheard.getsockname()[1]
    with pytest.raises(StoreError) as caught:
        list(boto(moto_server.through(f"http://127.0.0.1:{port}")).walk("bucket", "", ""))
    assert (caught.value.code, caught.value.exit_code) == ("store-unreachable", 69)


CHAIN = "from launcher.adapters.boto import Chain; print(Chain().keys())"


def chained(home: Path, **extra: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true", **extra}
    argv = [sys.executable, "-c", CHAIN]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def test_the_chain_finds_what_boto3_would(tmp_path: Path) -> None:
    assert chained(tmp_path) == "None"
    assert chained(tmp_path, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b") == "('a', 'b', None)"
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = c\naws_secret_access_key = d\naws_session_token = e\n"
    )
    assert chained(tmp_path) == "('c', 'd', 'e')"
