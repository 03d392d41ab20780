"""What a small program with boto3 does: get or put every object, in threads, with the calls that its users reach for.

    python benchmarks/botoclient.py get ENDPOINT BUCKET PREFIX FOLDER THREADS
    python benchmarks/botoclient.py put ENDPOINT BUCKET PREFIX FOLDER THREADS

Small objects by `get_object` and `put_object`, which is quicker than `download_file` and `upload_file`; large ones by
ranges of 16 MiB, and up by `upload_file`.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import boto3  # type: ignore[import-untyped]
from boto3.s3.transfer import TransferConfig  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PART = 16 * 1024**2
RANGED_FROM = 2 * PART


def main() -> None:
    verb, endpoint, bucket, prefix, folder, threads = sys.argv[1:]
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path", "payload_signing_enabled": False},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        max_pool_connections=int(threads),
    )
    client = boto3.client("s3", endpoint_url=endpoint, config=config)
    {"get": get, "put": put}[verb](client, bucket, prefix, folder, int(threads))


def get(client: Any, bucket: str, prefix: str, folder: str, threads: int) -> None:
    jobs: list[tuple[str, int, int]] = []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            key, size = entry["Key"], entry["Size"]
            os.makedirs(os.path.dirname(os.path.join(folder, key[len(prefix) :])), exist_ok=True)
            step = size if size < RANGED_FROM else PART
            jobs.extend((key, start, min(start + step, size)) for start in range(0, size, step))

    def fetch(job: tuple[str, int, int]) -> None:
        key, start, end = job
        body = client.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}")["Body"]
        number = os.open(os.path.join(folder, key[len(prefix) :]), os.O_WRONLY | os.O_CREAT, 0o666)
        os.pwrite(number, body.read(), start)
        os.close(number)

    in_threads(fetch, jobs, threads)


def put(client: Any, bucket: str, prefix: str, folder: str, threads: int) -> None:
    paths = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
    bulk = TransferConfig(max_concurrency=threads, multipart_chunksize=PART)

    def send(path: str) -> None:
        key = prefix + os.path.relpath(path, folder)
        if os.path.getsize(path) >= RANGED_FROM:
            client.upload_file(path, bucket, key, Config=bulk)
            return
        with open(path, "rb") as content:
            client.put_object(Bucket=bucket, Key=key, Body=content)

    in_threads(send, paths, threads)


def in_threads(work: Callable[[Any], None], jobs: Iterable[Any], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, jobs):
            pass


if __name__ == "__main__":
    main()
