from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from fake_store import FakeClock, FakeRecord, FakeStore, broken, make_output, make_plan, missing, never, refused

from launcher.core.errors import Cancelled, Exit, StageError, StoreError
from launcher.core.occupancy import Owner, parse_marker
from launcher.core.urls import Location
from launcher.occupancy import Occupancy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.core.plan import Output, Plan
    from launcher.core.stored import StoredObject

NAME = ".launcher/running-modelarts-job-id1-worker-0.json"
KEY = f"train_url/{NAME}"
OWNER = Owner(boot="9f0e", namespace=1, pid=17, started=5)


class Clock(FakeClock):
    """A wall clock that stands at a minute of its own."""

    def __init__(self, minute: int = 8) -> None:
        self.minute = minute

    def now(self) -> str:
        return f"2024-05-06T07:{self.minute:02d}:09.000+00:00"


class LockedStore(FakeStore):
    """One that several runs may ask at once."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.RLock()

    def walk(self, folder: Location, after: str = "") -> Iterator[StoredObject]:
        with self.lock:
            return iter(list(super().walk(folder, after)))

    def put(self, at: Location, chunks: Iterator[bytes], size: int) -> None:
        with self.lock:
            super().put(at, chunks, size)

    def remove(self, at: Location) -> None:
        with self.lock:
            super().remove(at)


def plan_of(job: str = "id1", *, outputs: tuple[Output, ...] | None = None, in_use: str = "refuse") -> Plan:
    outputs = (make_output("/r"),) if outputs is None else outputs
    plan = make_plan("/r", outputs=outputs)
    name = msgspec.structs.replace(plan.job, id=job, label=f"modelarts-job-{job}-worker-0")
    return msgspec.structs.replace(plan, job=name, in_use=in_use)


class Run:
    """One run's occupancy and what it said."""

    def __init__(self, store: FakeStore, job: str = "id1", *, minute: int = 8, **more: Any) -> None:
        self.record = FakeRecord()
        self.clock = Clock(minute)
        options = {key: more.pop(key) for key in ("owner", "alive_here", "every") if key in more}
        self.occupancy = Occupancy(plan_of(job, **more), store, self.record, self.clock, **options)
        self.take = self.occupancy.take
        self.beat = self.occupancy.beat
        self.end = self.occupancy.end


def stored(store: FakeStore, key: str = KEY) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.objects[key])
    return found


def key_of(job: str) -> str:
    return f"train_url/.launcher/running-modelarts-job-{job}-worker-0.json"


def test_a_run_puts_its_marker_and_takes_it_away() -> None:
    store = FakeStore({"train_url/old.pt": b"x"})
    run = Run(store, owner=OWNER)
    run.take(never)
    marker = parse_marker(store.objects[KEY], NAME)
    assert (marker.job, marker.worker, marker.workers, marker.host, marker.owner) == ("id1", 0, 2, "h", OWNER)
    assert (marker.claims, marker.ended, marker.beat) == (False, False, "2024-05-06T07:08:09.000+00:00")
    run.end(never)
    assert list(store.objects) == ["train_url/old.pt"]
    assert run.record.events == []


def test_a_job_without_outputs_asks_the_store_nothing() -> None:
    store = FakeStore()
    run = Run(store, outputs=())
    run.take(never)
    run.occupancy.keep()
    run.beat(never)
    run.end(never)
    assert store.journal == []


def test_outputs_of_one_place_share_a_marker() -> None:
    store = FakeStore()
    one = make_output("/r")
    run = Run(store, outputs=(one, msgspec.structs.replace(one, name="other", path="/r/other")))
    run.take(never)
    assert list(store.objects) == [KEY]


def test_another_job_is_refused_as_long_as_the_first_runs() -> None:
    store = FakeStore()
    first, second = Run(store, "id1"), Run(store, "id2")
    first.take(never)
    with pytest.raises(StageError, match=r"train_url.* in use by job 'id1'") as caught:
        second.take(never)
    assert (caught.value.code, caught.value.exit_code) == ("output-in-use", Exit.INVALID)
    assert store.keys_of("put") == [KEY, KEY]
    assert second.record.events == []
    second.end(never)
    assert list(store.objects) == [KEY]
    first.end(never)
    second.take(never)
    assert list(store.objects) == [key_of("id2")]


def test_one_output_in_use_is_enough_and_end_frees_the_others() -> None:
    store = FakeStore()
    Run(store, "id1").take(never)
    second = Run(store, "id2", outputs=(make_output("/r", name="free"), make_output("/r")))
    with pytest.raises(StageError, match="train_url"):
        second.take(never)
    second.end(never)
    assert list(store.objects) == [KEY]


def test_it_can_be_only_a_warning() -> None:
    store = FakeStore()
    Run(store, "id1").take(never)
    second = Run(store, "id2", in_use="warn")
    second.take(never)
    (warning,) = second.record.messages("Warning")
    assert "in use by job 'id1'" in warning
    second.beat(never)
    assert len(second.record.messages("Warning")) == 1
    assert set(store.objects) == {KEY, key_of("id2")}


def test_a_run_that_was_killed_holds_nothing_up_for_long() -> None:
    store = FakeStore()
    Run(store, "id1", minute=8).take(never)
    with pytest.raises(StageError):
        Run(store, "id2", minute=10).take(never)
    later = Run(store, "id2", minute=11)
    later.take(never)
    assert list(store.objects) == [key_of("id2")]
    assert "has not been heard of since" in later.record.messages("Info")[0]


def test_a_killed_attempt_of_this_worker_is_gone_on_from() -> None:
    store = FakeStore()
    Run(store, owner=OWNER).take(never)
    token = stored(store)["token"]
    again = Run(store, alive_here=lambda _: False)
    again.take(never)
    assert stored(store)["token"] != token
    assert again.record.events == []


def test_on_the_same_kernel_a_killed_run_holds_nothing_up_at_all() -> None:
    store = FakeStore()
    Run(store, "id1", owner=OWNER).take(never)
    second = Run(store, "id2", alive_here=lambda owner: owner != OWNER)
    second.take(never)
    assert list(store.objects) == [key_of("id2")]
    assert second.record.events == []


def test_a_marker_that_may_not_be_deleted_says_that_it_ended() -> None:
    store = FakeStore()
    store.always["remove", ""] = refused()
    run = Run(store)
    run.take(never)
    run.end(never)
    assert stored(store)["ended"] is True
    second = Run(store, "id2")
    second.take(never)
    assert second.record.events == []


def test_the_other_workers_of_the_job_are_not_even_read() -> None:
    store = FakeStore({f"train_url/.launcher/running-modelarts-job-id1-worker-{i}.json": b"" for i in range(1, 99)})
    Run(store).take(never)
    assert store.keys_of("read") == [KEY]


def test_markers_without_end_are_not_all_read() -> None:
    store = FakeStore({f"train_url/.launcher/running-{i:04d}.json": b"x" for i in range(1000)})
    Run(store, in_use="warn").take(never)
    assert len(store.keys_of("read")) == 64


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 9000, b"x" * 10**6])
def test_what_is_no_marker_is_left_alone(content: bytes) -> None:
    store = FakeStore({key_of("id2"): content, "train_url/.launcher/running-a/b.json": content})
    run = Run(store)
    run.take(never)
    run.end(never)
    assert store.objects[key_of("id2")] == content
    assert run.record.events == []


def test_a_marker_that_goes_while_it_is_read_is_gone() -> None:
    store = FakeStore()
    Run(store, "id2").take(never)
    store.faults["read", key_of("id2")] = [missing(key_of("id2"))] * 9
    Run(store).take(never)


def test_who_may_write_but_not_look_goes_on_and_says_so_once() -> None:
    store = FakeStore()
    run = Run(store)
    store.always["walk", "train_url/"] = refused("403 AccessDenied")
    run.take(never)
    store.always["walk", "train_url/"] = refused("403 AccessDenied, request id 2")
    run.beat(never)
    assert list(store.objects) == [KEY]
    assert [message for _, message in run.record.events] == [
        "outputs[0] (train_url): whether another job writes there cannot be seen: 403 AccessDenied"
    ]


def test_a_folder_that_is_not_there_yet_is_free() -> None:
    store = FakeStore()
    store.always["walk", "train_url/"] = missing("train_url/")
    Run(store).take(never)
    assert list(store.objects) == [KEY]


def test_an_output_that_may_not_be_written_is_told_by_name() -> None:
    store = FakeStore()
    store.always["put", "train_url/"] = refused("403 AccessDenied")
    with pytest.raises(StageError, match=r"\(train_url\): obs://b/train_url/ cannot be written: 403") as caught:
        Run(store).take(never)
    assert (caught.value.code, caught.value.exit_code) == ("store-refused", Exit.REFUSED)


def test_a_store_that_cannot_be_listed_at_all_is_an_error() -> None:
    store = FakeStore()
    store.always["walk", "train_url/"] = StoreError("dns", code="store-endpoint", action="Check it.")
    with pytest.raises(StoreError, match="dns"):
        Run(store).take(never)


def test_a_busy_store_is_asked_again() -> None:
    store = FakeStore()
    busy = StoreError("503", code="store-busy", action="Try again.")
    store.faults["walk", "train_url/.launcher/"] = [busy]
    store.faults["put", KEY] = [busy]
    Run(store).take(never)
    assert list(store.objects) == [KEY]


def test_a_stop_breaks_it_off() -> None:
    with pytest.raises(Cancelled):
        Run(FakeStore()).take(lambda: True)


# Two that start in the same moment


def in_between(store: FakeStore, verb: str, key: str, nth: int, then: Callable[[], None]) -> None:
    """Let something happen just before the nth call of a kind."""
    store.faults[verb, key] = [*([None] * (nth - 1)), then]


WALK = "train_url/.launcher/"


def test_one_that_looked_just_before_the_other_came_gives_way() -> None:
    store = FakeStore()
    first, second = Run(store, "id1"), Run(store, "id2")
    in_between(store, "put", KEY, 1, lambda: second.take(never))
    with pytest.raises(StageError, match="in use by job 'id2'"):
        first.take(never)
    assert list(store.objects) == [key_of("id2")]


def claim(store: FakeStore, token: str) -> None:
    """Another run's claim, as it stands in the store."""
    other = FakeStore()
    Run(other, "id2").take(never)
    store.objects[key_of("id2")] = msgspec.json.encode(
        {**stored(other, key_of("id2")), "claims": True, "token": token * 32}
    )


def test_of_two_claims_the_greater_token_gives_way() -> None:
    store = FakeStore()
    in_between(store, "walk", WALK, 2, lambda: claim(store, "0"))
    with pytest.raises(StageError, match="in use by job 'id2'"):
        Run(store).take(never)
    assert list(store.objects) == [key_of("id2")]


def test_of_two_claims_the_smaller_token_waits_until_the_other_has_given_way() -> None:
    store = FakeStore()
    store.faults["walk", WALK] = [
        None,
        lambda: claim(store, "f"),
        lambda: store.remove(Location("b", key_of("id2"))),
    ]
    run = Run(store)
    run.take(never)
    assert list(store.objects) == [KEY]
    assert stored(store)["claims"] is False


def test_many_that_start_together_leave_one() -> None:
    for _ in range(10):
        store = LockedStore()
        won: list[str] = []

        def start(job: str, store: FakeStore = store, won: list[str] = won) -> None:
            run = Run(store, job)
            try:
                run.take(never)
            except StageError:
                run.end(never)
            else:
                won.append(job)

        threads = [threading.Thread(target=start, args=(f"id{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(won) == 1
        assert list(store.objects) == [key_of(won[0])]


# Beats


def test_a_beat_renews_the_time() -> None:
    store = FakeStore()
    run = Run(store)
    run.take(never)
    before = stored(store)
    run.clock.minute = 9
    run.beat(never)
    assert stored(store) == {**before, "beat": "2024-05-06T07:09:09.000+00:00"}


def test_beats_go_on_beside_the_run_until_its_end() -> None:
    store = FakeStore()
    run = Run(store, every=0.01)
    run.take(never)
    run.occupancy.keep()
    store.wait_for_puts(KEY, 5)
    run.end(never)
    assert store.objects == {}
    puts = len(store.keys_of("put"))
    assert not threading.Event().wait(0.05)
    assert len(store.keys_of("put")) == puts
    assert store.objects == {}


def test_a_run_that_took_the_place_is_told_once() -> None:
    store = FakeStore()
    run = Run(store)
    run.take(never)
    other = Run(store, "id2", in_use="warn")
    other.take(never)
    for _ in range(3):
        run.beat(never)
    (warning,) = run.record.messages("Warning")
    assert "in use by job 'id2'" in warning


def test_a_beat_that_fails_is_told_once_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    store = FakeStore()
    run = Run(store)
    run.take(never)
    store.faults["put", KEY] = [broken()] * 2
    with caplog.at_level(logging.WARNING):
        run.beat(never)
        run.beat(never)
        run.clock.minute = 9
        run.beat(never)
        assert len(caplog.records) == 1
        assert stored(store)["beat"] == "2024-05-06T07:09:09.000+00:00"
        store.faults["put", KEY] = [broken()]
        run.beat(never)
        assert len(caplog.records) == 2


# The end


def test_the_marker_of_a_later_start_of_this_worker_stays() -> None:
    store = FakeStore()
    first, second = Run(store), Run(store)
    first.take(never)
    second.take(never)
    assert "earlier attempt of this worker" in second.record.messages("Info")[0]
    token = stored(store)["token"]
    first.end(never)
    assert stored(store)["token"] == token


class Hanging(FakeStore):
    """One whose beats hang until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.hung, self.go, self.removed = threading.Event(), threading.Event(), threading.Event()

    def remove(self, at: Location) -> None:
        super().remove(at)
        self.removed.set()

    def hang(self) -> None:
        self.hung.set()
        assert self.go.wait(60)


@pytest.fixture
def hanging() -> Iterator[tuple[Hanging, Run]]:
    store = Hanging()
    run = Run(store, every=0.01)
    run.take(never)
    store.faults["put", KEY] = [store.hang]
    run.occupancy.keep()
    assert store.hung.wait(30)
    yield store, run
    store.go.set()


def test_an_end_waits_for_a_beat_that_would_put_the_marker_again(hanging: tuple[Hanging, Run]) -> None:
    store, run = hanging
    ending = threading.Thread(target=run.end, args=(never,))
    ending.start()
    store.removed.wait(0.3)  # it must not come
    store.go.set()
    ending.join(30)
    assert store.objects == {}


def test_an_end_that_is_stopped_leaves_a_beat_that_hangs(hanging: tuple[Hanging, Run]) -> None:
    store, run = hanging
    run.end(lambda: True)
    assert list(store.objects) == [KEY]


@pytest.mark.parametrize("error", [broken(), refused()])
def test_an_end_never_raises(error: StoreError) -> None:
    store = FakeStore()
    run = Run(store)
    run.take(never)
    for verb in ("read", "remove", "put"):
        store.always[verb, ""] = error
    run.end(never)
    run.end(lambda: True)
    assert list(store.objects) == [KEY]


def test_who_may_not_read_still_says_that_it_ended() -> None:
    store = FakeStore()
    store.always["read", ""] = refused()
    store.always["walk", ""] = refused()
    run = Run(store)
    run.take(never)
    run.end(never)
    assert stored(store)["ended"] is True


def test_what_was_never_put_is_not_removed() -> None:
    store = FakeStore()
    Run(store).end(never)
    assert store.journal == []
