"""Listings that are long, that break off, and that lie, by both engines; and where one may be gone on with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from fronts import Fault, s3_error
from servers import fresh_bucket
from shelf import boto, obs

from launcher.adapters.obs import Credentials
from launcher.core.errors import StoreError
from launcher.core.urls import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fronts import Front, Seen
    from servers import S3Server

    from launcher.core.stored import StoredObject

    Walk = Callable[[str], Iterator[StoredObject]]

COUNT = 50
PAGE = 7


@pytest.fixture(scope="module")
def shelf(moto_server: S3Server) -> str:
    """A bucket with keys of every kind: empty files, markers, twins of both, names around the slash."""
    name = fresh_bucket()
    objects = {f"in/{number:03}": b"x" * (number % 3) for number in range(COUNT)}
    objects |= {"in/": b"", "in/010/": b"", "in/020/x": b"1", "in/030-": b"", "in/m/": b"", "in/n/": b"", "in/n/x": b""}
    moto_server.seed(name, {**objects, "in/twin": b"", "in/twin-": b"1", "in/twin/": b"", "in/ü/": b"", "in/z": b""})
    return name


@pytest.fixture
def front(fronted: Callable[[S3Server], Front], moto_server: S3Server) -> Front:
    made = fronted(moto_server)
    made.page = PAGE
    return made


@pytest.fixture(params=["obstore", "boto"])
def walk(request: pytest.FixtureRequest, front: Front, moto_server: S3Server, shelf: str) -> Walk:
    """The folder in/ by one of the engines, in pages of a few keys, after a key."""
    server = moto_server.through(front.endpoint)
    if request.param == "obstore":
        return lambda after: obs(server).walk(Location(shelf, "in/"), after)
    return lambda after: (item for item in boto(server).walk(shelf, "in/", after) if item.key != "in/")


@pytest.fixture
def expected(moto_server: S3Server, shelf: str) -> list[str]:
    return sorted(key for key in moto_server.listing(shelf, "in/") if key != "in/")


def keys(items: Iterator[StoredObject]) -> list[str]:
    return [item.key for item in items]


def query(seen: Seen) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(seen.target).query).items()}


def test_short_pages_come_in_the_order_of_keys(walk: Walk, expected: list[str]) -> None:
    assert keys(walk("")) == expected


def test_a_listing_goes_on_after_every_key(walk: Walk, expected: list[str]) -> None:
    for number, key in enumerate(expected, 1):
        assert keys(walk(key)) == expected[number:], key


def test_it_asks_the_store_for_what_comes_after_and_does_not_wind_forward(front: Front, walk: Walk) -> None:
    keys(walk("in/040"))
    asked = [query(one) for one in front.seen if "list-type=2" in one.target]
    assert asked[0]["start-after"] == "in/040"
    assert len(asked) <= 7


def test_what_fails_at_any_page_can_be_gone_on_with(front: Front, walk: Walk, expected: list[str]) -> None:
    for skip in range(8):
        front.clear()
        front.lay(s3_error(503, "SlowDown", target="list-type=2", skip=skip, times=1))
        found: list[str] = []
        assert failed(walk, found) == "store-busy"
        assert failed(walk, found) is None
        assert found == expected, skip


def failed(walk: Walk, found: list[str]) -> str | None:
    """Go on after what was found; the code of the error that this ended with."""
    try:
        for item in walk(found[-1] if found else ""):
            found.append(item.key)  # noqa: PERF401 - what came before the error counts
    except StoreError as error:
        return error.code
    return None


def repeated(front: Front, nth: int, *, moving: bool) -> None:
    """Let every page from the nth on hold what that one did, with its token or (`moving`) with the true next one."""
    pages: list[bytes] = []
    token = re.compile(rb"<NextContinuationToken>[^<]*</NextContinuationToken>")

    def turn(body: bytes) -> bytes:
        pages.append(body)
        page, true = pages[min(len(pages), nth) - 1], token.search(body)
        return token.sub(true[0], page) if moving and true else page

    front.lay(Fault("pass", target="list-type=2", turn=turn))


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("nth", [1, 2, 4])
def test_pages_that_repeat_are_told_as_such(front: Front, walk: Walk, nth: int, *, moving: bool) -> None:
    repeated(front, nth, moving=moving)
    with pytest.raises(StoreError, match="not in order or repeats itself") as caught:
        keys(walk(""))
    assert (caught.value.code, caught.value.exit_code) == ("store-listing", 69)
    assert front.count("GET") <= 250 // PAGE + nth


def without(pattern: bytes, by: bytes = b"") -> Callable[[bytes], bytes]:
    return lambda body: re.sub(pattern, by, body)


@pytest.mark.parametrize(
    "turn",
    [
        without(rb"<IsTruncated>true</IsTruncated>", b"<IsTruncated>false</IsTruncated>"),
        without(rb"<NextContinuationToken>[^<]*</NextContinuationToken>"),
    ],
    ids=["ends early", "no token"],
)
@pytest.mark.parametrize("skip", [0, 3])
def test_pages_that_stop_early_are_gone_on_after(
    front: Front, walk: Walk, expected: list[str], turn: Callable[[bytes], bytes], skip: int
) -> None:
    both = without(rb"<NextContinuationToken>[^<]*</NextContinuationToken>")
    front.lay(Fault("pass", target="list-type=2", turn=lambda body: both(turn(body)), skip=skip))
    assert keys(walk("")) == expected


def test_a_store_that_does_not_know_where_to_begin_is_wound_forward(
    front: Front, moto_server: S3Server, shelf: str, expected: list[str]
) -> None:
    front.page = None
    first: list[bytes] = []

    def always_the_first(body: bytes) -> bytes:
        first.append(body)
        return first[0]

    front.lay(Fault("pass", target="list-type=2", turn=always_the_first))
    store = obs(moto_server.through(front.endpoint))
    assert keys(store.walk(Location(shelf, "in/"))) == expected
    for number in (0, 25, len(expected) - 2):
        assert keys(store.walk(Location(shelf, "in/"), expected[number])) == expected[number + 1 :]


def test_the_end_is_looked_for_with_one_small_request(front: Front, moto_server: S3Server, shelf: str) -> None:
    front.page = None
    store = obs(moto_server.through(front.endpoint))
    keys(store.walk(Location(shelf, "in/0")))
    assert front.count("GET", "list-type=2") == 1  # nothing below in/0/, so nothing can follow
    front.forget()
    assert len(keys(store.walk(Location(shelf, "in/n")))) == 1
    listings = [query(one) for one in front.seen if "list-type=2" in one.target]
    assert [one.get("start-after") for one in listings] == [None, "in/n/x"]


def test_credentials_that_end_between_pages_are_renewed(
    front: Front, moto_server: S3Server, shelf: str, expected: list[str]
) -> None:
    asked: list[int] = []

    def rotation() -> Credentials:
        asked.append(1)
        return Credentials(access_key=f"key-{len(asked)}", secret_key="secret", token="token")

    for skip in range(6):
        asked.clear()
        front.clear()
        front.lay(s3_error(400, "ExpiredToken", target="list-type=2", skip=skip, times=1))
        store = obs(moto_server.through(front.endpoint), rotation)
        assert keys(store.walk(Location(shelf, "in/"))) == expected
        assert len(asked) == 2


@pytest.mark.parametrize("objects", [["/a", "b"], ["/b", "a", "c"], [".a", "/-x", "0"], ["a/", "b/x"], ["!", "a"]])
def test_a_leading_slash_is_told_from_none(moto_server: S3Server, bucket: str, objects: list[str]) -> None:
    moto_server.seed(bucket, dict.fromkeys(objects, b"1"))
    assert keys(obs(moto_server).walk(Location(bucket))) == sorted(objects)
    for number, key in enumerate(sorted(objects), 1):
        assert keys(obs(moto_server).walk(Location(bucket), key)) == sorted(objects)[number:]


def test_an_odd_key_on_any_page_leaves_the_rest_in_order(front: Front, moto_server: S3Server, bucket: str) -> None:
    names = [f"in/{number:02}" for number in range(20)]
    moto_server.seed(bucket, dict.fromkeys([*names, "in/05//odd", "in/13/../x", "in/17\t"], b"1"))
    expected = sorted(moto_server.listing(bucket, "in/"))
    store = obs(moto_server.through(front.endpoint))
    assert keys(store.walk(Location(bucket, "in/"))) == expected
    for number, key in enumerate(expected, 1):
        assert keys(store.walk(Location(bucket, "in/"), key)) == expected[number:], key
