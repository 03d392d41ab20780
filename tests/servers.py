"""Real object stores for the tests: moto and rclone as processes on a port of their own, and what each of them can do.

Every process is started on port 0, told apart by the line it prints, and ended by its own pid. The fixtures that hand
these out are in conftest.py; the front that injects faults is in fronts.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

ACCESS_KEY = "launcherkey"
SECRET_KEY = "launchersecret"
BIN = os.path.dirname(sys.executable)

_names = count()


@dataclass(frozen=True)
class Capability:
    """What a store can do; a test asks with `need`, and what it skips is printed with its reason."""

    name: str
    signatures: bool
    """A wrong secret is refused."""
    if_match: bool
    """`If-Match` is obeyed."""
    ranged: bool
    """A Range is answered with 206."""
    markers: bool
    """A key may end in `/`."""
    beside: bool
    """`x` may lie beside `x/y`."""
    odd_keys: bool
    """`..`, `//`, a leading `/` and segments over 255 bytes are taken."""
    controls: bool = True
    """Tabs are taken in keys."""

    def need(self, *names: str) -> None:
        """Skip the test, saying why, unless the store can do all of these."""
        lacking = [name for name in names if not getattr(self, name)]
        if lacking:
            pytest.skip(f"{self.name} cannot do: {', '.join(lacking)}")


MOTO = Capability("moto", signatures=False, if_match=True, ranged=True, markers=True, beside=True, odd_keys=True)
RCLONE = Capability(
    "rclone", signatures=True, if_match=False, ranged=False, markers=False, beside=False, odd_keys=False
)
LOCALFS = Capability(
    "localfs", signatures=False, if_match=True, ranged=True, markers=True, beside=False, odd_keys=False, controls=False
)


@dataclass(frozen=True)
class S3Server:
    """A running S3 server, its keys, and a client to lay objects into it with."""

    name: str
    endpoint: str
    capability: Capability
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """A boto3 client: the oracle that seeds and reads back. Closed when the block ends."""
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 - only tests of a server pay for it
        from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415

        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"max_attempts": 1},
        )
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=config,
        )
        try:
            yield client
        finally:
            client.close()

    def seed(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        """Make the bucket where it is not, and lay these objects into it."""
        with self.client() as client:
            with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
                client.create_bucket(Bucket=bucket)
            for key, content in objects.items():
                client.put_object(Bucket=bucket, Key=key, Body=content)

    def read(self, bucket: str, key: str) -> bytes:
        """The whole object."""
        return self.read_all(bucket, (key,))[key]

    def read_all(self, bucket: str, keys: Iterable[str]) -> dict[str, bytes]:
        """Whole objects, by their keys."""
        found: dict[str, bytes] = {}
        with self.client() as client:
            for key in keys:
                with contextlib.closing(client.get_object(Bucket=bucket, Key=key)["Body"]) as body:
                    found[key] = body.read()
        return found

    def listing(self, bucket: str, prefix: str = "") -> dict[str, int]:
        """Every key below a prefix and its size."""
        found: dict[str, int] = {}
        with self.client() as client:
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                found.update({entry["Key"]: entry["Size"] for entry in page.get("Contents", ())})
        return found

    def remove(self, bucket: str, key: str) -> None:
        """Delete one object."""
        with self.client() as client:
            client.delete_object(Bucket=bucket, Key=key)

    def through(self, endpoint: str) -> S3Server:
        """The same server, reached by another address."""
        return replace(self, endpoint=endpoint)

    def with_secret(self, secret: str) -> S3Server:
        """The same server, asked with another secret."""
        return replace(self, secret_key=secret)

    @property
    def env(self) -> dict[str, str]:
        """What a launcher needs in its environment to use this server as its store."""
        return {
            "S3_ENDPOINT": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@dataclass(frozen=True)
class AnyStore:
    """One of the three stores that a launcher may meet, told to it by `launcher_args` and `env`."""

    kind: str
    capability: Capability
    launcher_args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    server: S3Server | None = None

    def bucket(self) -> str:
        """A bucket that no other test uses, made and empty."""
        name = fresh_bucket()
        self.seed(name, {})
        return name

    def seed(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        """Make the bucket where it is not, and lay these objects into it."""
        if self.server is not None:
            self.server.seed(bucket, objects)
            return
        root = self._directory / bucket
        root.mkdir(exist_ok=True)
        for key, content in objects.items():
            path = root / key
            if key.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def read(self, bucket: str, key: str) -> bytes:
        """The whole object."""
        if self.server is not None:
            return self.server.read(bucket, key)
        return (self._directory / bucket / key).read_bytes()

    def read_all(self, bucket: str, keys: Iterable[str]) -> dict[str, bytes]:
        """Whole objects, by their keys."""
        if self.server is not None:
            return self.server.read_all(bucket, keys)
        return {key: self.read(bucket, key) for key in keys}

    def listing(self, bucket: str, prefix: str = "") -> dict[str, int]:
        """Every key below a prefix and its size; directory markers are left out."""
        if self.server is not None:
            found = self.server.listing(bucket, prefix)
            return {key: size for key, size in found.items() if not key.endswith("/")}
        root = self._directory / bucket
        whole = (path for path in root.rglob("*") if not path.name.startswith(".launcher-part-") and path.is_file())
        files = {str(path.relative_to(root)): path.stat().st_size for path in whole}
        return {key: size for key, size in files.items() if key.startswith(prefix)}

    @property
    def _directory(self) -> Path:
        if self.directory is None:
            raise AssertionError("a store without a server has a directory")
        return self.directory


def fresh_bucket() -> str:
    """A bucket's name that no other test has, in no other worker either."""
    return f"bucket-{os.getpid()}-{next(_names)}"


@contextlib.contextmanager
def moto() -> Iterator[S3Server]:
    """Run moto: semantics of S3, but no check of signatures."""
    argv = (os.path.join(BIN, "moto_server"), "-H", "127.0.0.1", "-p", "0")
    with _announced(argv, re.compile(rb"Running on (http://127\.0\.0\.1:\d+)")) as endpoint:
        yield S3Server("moto", endpoint, MOTO)


@contextlib.contextmanager
def rclone(directory: Path) -> Iterator[S3Server]:
    """Run rclone over a directory: real signatures, real files. Seed it through itself: it sees others late."""
    argv = (
        os.path.join(BIN, "rclone"),
        *("serve", "s3", "--config", os.devnull, "--addr", "127.0.0.1:0"),
        *("--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", str(directory)),
    )
    with _announced(argv, re.compile(rb"\[(http://127\.0\.0\.1:\d+)/?\]")) as endpoint:
        yield S3Server("rclone", endpoint, RCLONE)


@contextlib.contextmanager
def _announced(argv: tuple[str, ...], pattern: re.Pattern[bytes]) -> Iterator[str]:
    """Start a server and read its output until it says where it listens; the rest is drained until it is ended."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.stdout
    if output is None:
        raise AssertionError("stdout is a pipe")
    drain: threading.Thread | None = None
    try:
        seen = b""
        for line in output:
            seen += line
            found = pattern.search(line)
            if found:
                break
        else:
            raise AssertionError(f"{argv[0]} ended before it listened: {seen.decode(errors='replace')}")
        drain = threading.Thread(target=_drain, args=(output,), daemon=True)
        drain.start()
        yield found[1].decode()
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if drain is not None:
            drain.join()
        output.close()


def _drain(output: Any) -> None:
    for _ in output:
        pass
