"""boto3 as the oracle: whatever the launcher puts into a store boto3 reads, and the other way round, byte for byte.

The store is the one that the command line opens, on real servers; trees are random, names are odd, sizes lie around the
borders of parts and ranges. What a server cannot do is skipped, and printed.
"""

from __future__ import annotations

import hashlib
import json
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rig import COPY_TREE, Rig, tree
from servers import AnyStore, fresh_bucket

from launcher.cli.stores import open_store
from launcher.core.settings import read_settings
from launcher.core.urls import Location

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from servers import S3Server

    from launcher.core.stored import StoredObject
    from launcher.protocols import Store

MEBIBYTE = 1024**2
CHUNK = MEBIBYTE
RANGE = 16 * MEBIBYTE
BORDERS = (8 * MEBIBYTE, RANGE, 2 * RANGE)
"""From one put to a multipart upload, of a part and of a range, and from one read to ranges."""
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, *(border + more for border in BORDERS for more in (-1, 0, 1)))

QUICK = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
ODD = " %+&=?#;:@!$,'\"()[]{}<>|\\^`~*._-"
"""What has a meaning in URLs, XML, shells and patterns."""
LETTERS = st.one_of(
    st.sampled_from(ODD),
    st.sampled_from("aZ09äÉß中文😀e\u0301\u200b\u202e\xa0\ufeff"),
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="/"),
)


def good(segment: str) -> bool:
    """Whether a file may be called so, and the launcher has no use for the name itself."""
    return segment not in {".", ".."} and not segment.startswith(".launcher") and len(segment.encode()) <= 255


SEGMENTS = st.one_of(
    st.text(LETTERS, min_size=1, max_size=12),
    st.text(LETTERS, min_size=1, max_size=3).map(lambda few: (few * 255)[: 255 // len(few[0].encode())]),
    st.sampled_from(("..x", "x..", "...", "%2F", "%2e%2e", "a+b", "a b", "-rf", "~", "*", "x" * 255, "CON", "a%00b")),
).filter(good)
PATHS = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join).filter(lambda path: len(path.encode()) <= 700)


def apart(paths: Iterable[str]) -> list[str]:
    """Those that can lie side by side in a file system: no file where another has a folder."""
    kept: list[str] = []
    for path in paths:
        if not any(f"{path}/".startswith(f"{each}/") or f"{each}/".startswith(f"{path}/") for each in kept):
            kept.append(path)
    return kept


TREES = st.lists(PATHS, min_size=1, max_size=8).map(apart)


def content(key: str, size: int) -> bytes:
    """Bytes that no two keys share, and no two places of one."""
    return random.Random(key).randbytes(size)


def small(paths: Iterable[str]) -> dict[str, bytes]:
    return {path: content(path, len(path) % 7 * 300) for path in paths}


def never() -> bool:
    return False


@pytest.fixture
def store(s3_server: S3Server) -> Store:
    """The launcher's store on a server, wired by the command line's own hands."""
    return opened(s3_server)


def opened(server: S3Server) -> Store:
    found = open_store(None, server.env, read_settings({})).store
    assert found is not None
    return found


def put(store: Store, bucket: str, key: str, body: bytes) -> None:
    pieces: Iterator[bytes] = (body[start : start + CHUNK] for start in range(0, len(body), CHUNK))
    store.put(Location(bucket, key), pieces, len(body))


def whole(store: Store, bucket: str, item: StoredObject) -> bytes:
    return b"".join(map(bytes, store.read(bucket, item, 0, item.size, never)))


def in_ranges(store: Store, bucket: str, item: StoredObject) -> bytes:
    starts = range(0, item.size, RANGE)
    ends = (min(start + RANGE, item.size) for start in starts)
    return b"".join(
        b"".join(map(bytes, store.read(bucket, item, start, end, never)))
        for start, end in zip(starts, ends, strict=True)
    )


def oracle_reads(server: S3Server, bucket: str, prefix: str) -> dict[str, bytes]:
    found = server.read_all(bucket, server.listing(bucket, prefix))
    return {key.removeprefix(prefix): body for key, body in found.items()}


@QUICK
@given(paths=TREES)
def test_what_the_launcher_puts_the_oracle_reads(s3_server: S3Server, store: Store, paths: list[str]) -> None:
    bucket, objects = fresh_bucket(), takeable(s3_server, small(paths))
    s3_server.seed(bucket, {})
    for key, body in objects.items():
        put(store, bucket, f"out/{key}", body)
    assert oracle_reads(s3_server, bucket, "out/") == objects


@QUICK
@given(paths=TREES)
def test_what_the_oracle_puts_the_launcher_lists_in_order_and_reads(
    s3_server: S3Server, store: Store, paths: list[str]
) -> None:
    bucket, objects = fresh_bucket(), takeable(s3_server, small(paths))
    beside = {"inn": b"2", **({"in": b"1"} if s3_server.capability.beside else {})}
    s3_server.seed(bucket, {f"in/{key}": body for key, body in objects.items()} | beside)
    found = list(store.walk(Location(bucket, "in/")))
    assert [(item.key, item.size) for item in found] == sorted(
        ((f"in/{key}", len(body)) for key, body in objects.items()), key=lambda one: one[0].encode()
    )
    assert {item.key[3:]: whole(store, bucket, item) for item in found} == objects
    for number, item in enumerate(found):
        assert list(store.walk(Location(bucket, "in/"), item.key)) == found[number + 1 :]
        assert store.stat(Location(bucket, item.key)) == item


def takeable(server: S3Server, objects: dict[str, bytes]) -> dict[str, bytes]:
    """Without what a server that keeps objects as files cannot call them."""
    if server.capability.odd_keys:
        return objects
    return {key: body for key, body in objects.items() if len(key.encode()) <= 200 and key.isprintable()}


@pytest.mark.parametrize("size", SIZES)
def test_sizes_around_the_borders_agree(s3_server: S3Server, store: Store, size: int) -> None:
    bucket, body = fresh_bucket(), content("border", size)
    s3_server.seed(bucket, {"in/x": body})
    put(store, bucket, "out/x", body)
    assert s3_server.read(bucket, "out/x") == body
    for key in ("in/x", "out/x"):  # the second has the ETag of an upload in parts, where it is large
        item = store.stat(Location(bucket, key))
        assert item is not None
        assert item.size == size
        assert whole(store, bucket, item) == body
        if s3_server.capability.ranged:
            assert in_ranges(store, bucket, item) == body


@QUICK
@given(data=st.data())
def test_any_range_is_the_oracles(moto_server: S3Server, data: st.DataObject) -> None:
    size = data.draw(st.sampled_from((1, 2, 1000, CHUNK, CHUNK + 1, 3 * CHUNK + 5)))
    start = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(start + 1, size))
    body, store, bucket = content("range", size), opened(moto_server), fresh_bucket()
    moto_server.seed(bucket, {"x": body})
    item = store.stat(Location(bucket, "x"))
    assert item is not None
    assert b"".join(map(bytes, store.read(bucket, item, start, end, never))) == body[start:end]


def test_objects_that_were_put_in_parts_by_the_oracle_agree(moto_server: S3Server) -> None:
    bucket, store, body = fresh_bucket(), opened(moto_server), content("parts", 11 * MEBIBYTE)
    moto_server.seed(bucket, {})
    with moto_server.client() as client:
        begun = client.create_multipart_upload(Bucket=bucket, Key="x")["UploadId"]
        parts = []
        for number, start in enumerate(range(0, len(body), 5 * MEBIBYTE), 1):
            part = client.upload_part(
                Bucket=bucket, Key="x", UploadId=begun, PartNumber=number, Body=body[start : start + 5 * MEBIBYTE]
            )
            parts.append({"ETag": part["ETag"], "PartNumber": number})
        client.complete_multipart_upload(Bucket=bucket, Key="x", UploadId=begun, MultipartUpload={"Parts": parts})
    (item,) = store.walk(Location(bucket))
    assert "-" in item.etag
    assert whole(store, bucket, item) == in_ranges(store, bucket, item) == body


# --- whole runs


def odd_tree(seed: int) -> dict[str, bytes]:
    """A tree for a whole run: odd names by a seed, and sizes around the borders."""
    chance = random.Random(seed)
    letters = ODD + "aZ09äÉß中文😀\u0301\xa0"
    names = {"".join(chance.choices(letters, k=chance.randrange(1, 30))) for _ in range(30)}
    names |= {"x" * 255, "文" * 85, "...", "..x", " ", "%2e%2e", "a//b".replace("//", "%2F"), "-rf", "empty"}
    folders = ["", "deep/", "ümläut 1/", "%41/+/", f"{'y' * 200}/"]
    paths = apart(f"{chance.choice(folders)}{name}" for name in sorted(names) if good(name))
    found = {path: content(path, chance.choice((0, 1, 10, 5000))) for path in paths}
    borders = chance.sample([size for size in SIZES if size > CHUNK], 3)
    return found | {f"large/{size}.bin": content(str(size), size) for size in borders}


@pytest.mark.parametrize("seed", range(3))
def test_a_whole_run_brings_a_tree_of_the_oracle_there_and_back(s3_server: S3Server, tmp_path: Path, seed: int) -> None:
    objects = takeable(s3_server, odd_tree(seed))
    rig = Rig(AnyStore(s3_server.name, s3_server.capability, env=s3_server.env, server=s3_server), tmp_path)
    rig.code(COPY_TREE)
    s3_server.remove(rig.bucket, "data/a.csv")
    s3_server.seed(rig.bucket, {f"data/{key}": body for key, body in objects.items()})
    result = rig.run()
    assert result.code == 0, f"seed {seed}: {result.err}"
    assert tree(rig.inputs) == objects
    assert {key: body for key, body in oracle_reads(s3_server, rig.bucket, "out/").items() if key in objects} == objects
    assert rig.stored().keys() == objects.keys()
    assert listed(s3_server, rig.bucket) == {
        key: (len(body), hashlib.sha256(body).hexdigest()) for key, body in objects.items()
    }


def listed(server: S3Server, bucket: str) -> Mapping[str, tuple[int, str]]:
    manifest = json.loads(server.read(bucket, "out/.launcher/manifest-worker-0.json"))
    return {each["key"]: (each["size"], each["sha256"]) for each in manifest["objects"]}
