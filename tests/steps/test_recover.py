from __future__ import annotations

import json
import os
from signal import SIGTERM
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from fake_processes import FakeClock, FakeProcesses
from fake_store import FakeStore, broken, make_output, make_plan, refused
from patience import Hasty, Once

from launcher.core.lifecycle import Signalled
from launcher.core.manifest import parse_manifest
from launcher.core.parse.run import parse_run
from launcher.core.plan import Process
from launcher.core.stored import StoredObject
from launcher.core.urls import Location
from launcher.disk import stamp_of
from launcher.recover import GONE, Later, Recovered, recover, written
from launcher.sync.confirm import FEW
from launcher.sync.journal import Noted, begin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from launcher.core.lifecycle import Event

MANIFEST = "train_url/.launcher/manifest-worker-0.json"
LABEL = "modelarts-job-id1-worker-0"
SHA = "0" * 64


class Bench:
    """What a run left: an output folder, a log folder, and a store that has some of it."""

    def __init__(self, tmp_path: Path) -> None:
        process = Process(rank=0, local_rank=0, argv=("python",), env={}, cwd="/")
        plan = make_plan(str(tmp_path), outputs=(make_output(str(tmp_path)),), log_target=Location("b", "logs/"))
        self.plan = msgspec.structs.replace(plan, processes=(process,))
        self.store = FakeStore()
        self.folder = tmp_path / "outputs/train_url_0"
        self.folder.mkdir(parents=True)
        self.logs = tmp_path / "log"
        self.logs.mkdir()
        (self.logs / "run.log").write_text("said correct-horse\n")
        (self.logs / "events.jsonl").write_text("")
        self.document: dict[str, Any] = {
            "version": 1,
            "phase": "Failed",
            "exit_code": 73,
            "cause": {"code": "output-not-saved", "message": "m", "action": "a"},
            "processes": [{"exit_code": 0, "signal": None}],
            "synced": [],
        }

    def note(self, *keys: str, content: bytes = b"x", store: bool = True) -> None:
        """Let files be on the node, in the journal and, unless said otherwise, in the store."""
        journal = begin(self.plan.files.uploads)
        for key in keys:
            (self.folder / key).write_bytes(content)
            stamp = stamp_of((self.folder / key).stat())
            journal.note(
                Noted(
                    channel="train_url",
                    target="obs://b/train_url/",
                    key=key,
                    size=stamp.size,
                    mtime_ns=stamp.mtime_ns,
                    inode=stamp.inode,
                    sha256=SHA,
                    time="then",
                )
            )
            if store:
                self.store.objects[f"train_url/{key}"] = content
        journal.close()

    def recover(self, *pending: list[Event], **more: Any) -> Recovered:
        (self.logs / "run.json").write_text(json.dumps(self.document))
        earlier = parse_run(self.document)
        processes = FakeProcesses(FakeClock())
        processes.pending = list(pending)
        processes.patient = True  # what ends it is the work or the signal, and no time that goes by
        later = Later(store=self.store, processes=processes, clock=processes.clock, grace=25.0, **more)
        return recover(written(self.plan, earlier), earlier, self.document, later)

    @property
    def run_json(self) -> Any:
        return json.loads((self.logs / "run.json").read_text())

    def events(self) -> list[Any]:
        return [json.loads(line) for line in (self.logs / "events.jsonl").read_text().splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_the_journal_and_the_store_agree_on_is_not_sent_again(bench: Bench) -> None:
    bench.note("a", "b")
    (bench.folder / "c").write_bytes(b"new")
    done = bench.recover()
    assert (done.exit_code, done.failed) == (0, ())
    assert not {"train_url/a", "train_url/b"} & set(bench.store.keys_of("put"))
    assert [(each.key, each.sha256 == SHA) for each in parse_manifest(bench.store.objects[MANIFEST]).objects] == [
        ("a", True),
        ("b", True),
        ("c", False),
    ]
    assert (bench.run_json["phase"], bench.run_json["exit_code"]) == ("Completed", 0)
    assert json.loads(bench.store.objects[f"logs/{LABEL}.run.json"]) == bench.run_json


def test_what_the_store_does_not_have_as_it_was_goes_again(bench: Bench) -> None:
    bench.note("a", "b", "c")
    del bench.store.objects["train_url/a"]
    bench.store.objects["train_url/b"] = b"another size"
    assert bench.recover().exit_code == 0
    assert {"train_url/a", "train_url/b"} <= set(bench.store.keys_of("stored"))
    assert "train_url/c" not in bench.store.keys_of("put")
    assert bench.store.objects["train_url/b"] == b"x"


def test_a_journal_of_another_target_is_not_believed(bench: Bench) -> None:
    bench.note("a")
    output = msgspec.structs.replace(bench.plan.outputs[0], target=Location("b", "elsewhere/"))
    bench.plan = msgspec.structs.replace(bench.plan, outputs=(output,))
    bench.store.objects["elsewhere/a"] = b"y"
    assert bench.recover().exit_code == 0
    assert bench.store.objects["elsewhere/a"] == b"x"


def test_who_may_write_but_not_look_sends_all_of_it_again(bench: Bench) -> None:
    bench.note("a", "b")
    bench.store.always["stat", "train_url/"] = refused()
    assert bench.recover().exit_code == 0
    assert {"train_url/a", "train_url/b"} <= set(bench.store.keys_of("stored"))


def test_a_store_that_cannot_be_asked_changes_nothing(bench: Bench) -> None:
    bench.note("a")
    bench.store.always["stat", ""] = broken()
    done = bench.recover(retries=Once)
    assert (done.exit_code, done.done) == (69, False)
    assert (bench.run_json, bench.events(), bench.store.keys_of("put")) == (bench.document, [], [])


MANY = FEW + 20


def many(bench: Bench) -> list[str]:
    """More objects than are asked for one by one, among others of the same output, all of them agreed on."""
    keys = sorted(f"{number}{name}" for number in range(MANY // 4) for name in ("", "é", "😀", ".pt"))
    bench.note(*keys)
    bench.store.objects |= {f"train_url/{number}/somebody-else's": b"y" for number in range(300)}
    return keys


def again(bench: Bench) -> list[str]:
    """What is sent when the outputs are put in place once more."""
    assert bench.recover(retries=Once).exit_code == 0
    sent = [key.removeprefix("train_url/") for key in bench.store.keys_of("stored") if key.startswith("train_url/")]
    return sorted(set(sent) - {MANIFEST.removeprefix("train_url/")})


def test_many_objects_are_found_in_a_listing_and_not_asked_for_one_by_one(bench: Bench) -> None:
    keys = many(bench)
    for gone in (keys[0], keys[50], keys[-1]):
        del bench.store.objects[f"train_url/{gone}"]
    bench.store.objects[f"train_url/{keys[7]}"] = b"another size"
    assert again(bench) == sorted({keys[0], keys[7], keys[50], keys[-1]})
    assert bench.store.keys_of("walk") == ["train_url/"]
    assert len(bench.store.keys_of("stat")) <= 1, "the manifest's"


def test_a_listing_that_breaks_off_is_gone_on_with(bench: Bench) -> None:
    keys = many(bench)

    begun: list[str] = []

    class Breaking(FakeStore):
        def walk(self, folder: Location, after: str = "") -> Iterator[StoredObject]:
            begun.append(after)
            for number, item in enumerate(super().walk(folder, after)):
                if number == 100 and len(self.keys_of("walk")) < 3:
                    raise broken()
                yield item

    store = Breaking(bench.store.objects)
    bench.store = store
    del store.objects[f"train_url/{keys[60]}"]
    assert bench.recover(retries=Hasty).exit_code == 0
    assert len(begun) == 3
    assert "" == begun[0] < begun[1] < begun[2], "each from where the one before it ended"
    assert set(store.keys_of("stored")) & {f"train_url/{key}" for key in keys} == {f"train_url/{keys[60]}"}


def test_who_may_look_but_not_list_asks_for_each(bench: Bench) -> None:
    keys = many(bench)
    del bench.store.objects[f"train_url/{keys[3]}"]
    bench.store.always["walk", ""] = refused()
    assert again(bench) == [keys[3]]
    assert len(bench.store.keys_of("stat")) >= len(keys)


def test_a_listing_that_is_mostly_somebody_elses_is_left(bench: Bench) -> None:
    keys = many(bench)
    listed = 0

    class Crowded(FakeStore):
        def walk(self, folder: Location, after: str = "") -> Iterator[StoredObject]:
            nonlocal listed
            yield StoredObject(f"train_url/{keys[0]}", 1, "")
            for number in range(10**6):
                listed += 1
                yield StoredObject(f"train_url/{keys[0]}-{number:07}", 1, "")

    bench.store = Crowded(bench.store.objects)
    assert again(bench) == []
    assert listed < 4 * MANY + 11_000
    assert len(bench.store.keys_of("stat")) >= len(keys) - 1


def test_the_second_time_there_is_nothing_to_do(bench: Bench) -> None:
    bench.note("a")
    assert bench.recover().exit_code == 0
    bench.document = bench.run_json
    bench.store.journal.clear()
    done = bench.recover()
    assert (done.exit_code, done.changed, len(done.synced)) == (0, False, 2)
    assert {verb for verb, _ in bench.store.journal} == {"stat"}


def test_a_completed_run_that_wrote_more_since_is_brought_up_to_date(bench: Bench) -> None:
    bench.note("a")
    assert bench.recover().exit_code == 0
    bench.document = bench.run_json
    (bench.folder / "more").write_bytes(b"x")
    done = bench.recover()
    assert (done.exit_code, done.changed, bench.run_json["phase"]) == (0, True, "Completed")
    assert "train_url/more" in bench.store.objects


def test_a_signal_ends_the_uploads_and_says_what_is_left(bench: Bench) -> None:
    (bench.folder / "a").write_bytes(b"x")
    done = bench.recover([Signalled(SIGTERM)])
    assert (done.exit_code, done.interrupted) == (143, SIGTERM)
    assert MANIFEST not in bench.store.objects
    assert bench.run_json["exit_code"] == 73


def test_a_file_that_was_not_saved_and_is_gone_is_named(bench: Bench) -> None:
    failed = [
        {"key": key, "error": "403"}
        for key in ("gone", "there", "", "sub/", "/abs", ".launcher/manifest-worker-0.json")
    ]
    entry = {"channel": "train_url", "target": "t", "objects": 0, "bytes": 0, "seconds": 0.0, "failed": failed}
    bench.document["synced"] = [entry]
    (bench.folder / "there").write_bytes(b"x")
    done = bench.recover()
    assert done.exit_code == 73
    assert [(channel, one.key, one.error) for channel, one in done.failed] == [("train_url", "gone", GONE)]
    assert bench.run_json["phase"] == "Failed"


def test_a_log_that_must_stay_is_named_and_everything_else_goes(bench: Bench) -> None:
    (bench.folder / "a").write_bytes(b"x")
    done = bench.recover(log_stays="it may hold a secret")
    assert (done.exit_code, [(name, one.key) for name, one in done.failed]) == (73, [("log", f"{LABEL}.log")])
    assert f"logs/{LABEL}.log" not in bench.store.objects
    assert {f"logs/{LABEL}.run.json", f"logs/{LABEL}.events.jsonl", MANIFEST} <= set(bench.store.objects)


def test_nothing_secret_leaves(bench: Bench) -> None:
    assert bench.recover(secrets=("correct-horse",)).exit_code == 0
    assert bench.store.objects[f"logs/{LABEL}.log"] == b"said ******\n"


def test_the_events_tell_of_it(bench: Bench) -> None:
    (bench.folder / "a").write_bytes(b"x")
    bench.recover()
    last = bench.events()[-1]
    assert last["message"].startswith("[worker-0] Outputs were put in place after the run: 2 objects, ")
    assert (last["level"], last["source"]) == ("Info", "Task")


@pytest.mark.parametrize("key", [f"logs/{LABEL}.run.json", f"logs/{LABEL}.events.jsonl"])
def test_a_document_that_cannot_be_sent_keeps_the_run_from_being_completed(bench: Bench, key: str) -> None:
    bench.store.always["put", key] = refused()
    done = bench.recover()
    assert (done.exit_code, [one.key for _, one in done.failed]) == (73, [key.removeprefix("logs/")])
    assert bench.run_json["phase"] == "Failed"


def test_a_run_json_that_cannot_be_written_is_no_success(bench: Bench) -> None:
    plan = bench.plan
    files = msgspec.structs.replace(plan.files, run_json=f"{bench.logs}/folder")
    os.mkdir(files.run_json)
    bench.plan = msgspec.structs.replace(plan, files=files)
    done = bench.recover()
    assert done.exit_code == 73
    assert done.failed[0][1].key == "run.json"


def test_events_that_cannot_be_written_stop_nothing(bench: Bench) -> None:
    (bench.logs / "events.jsonl").unlink()
    os.mkfifo(bench.logs / "events.jsonl")
    (bench.folder / "a").write_bytes(b"x")
    done = bench.recover()
    assert "train_url/a" in bench.store.objects
    assert [one.key for _, one in done.failed] == [f"{LABEL}.events.jsonl"]


def test_without_a_place_for_the_log_the_outputs_go_all_the_same(bench: Bench) -> None:
    bench.plan = msgspec.structs.replace(bench.plan, log_target=None)
    (bench.folder / "a").write_bytes(b"x")
    assert bench.recover().exit_code == 0
    assert sorted(bench.store.objects) == [MANIFEST, "train_url/a"]


def test_without_outputs_and_log_there_is_only_run_json(bench: Bench) -> None:
    bench.plan = msgspec.structs.replace(bench.plan, log_target=None, outputs=())
    assert (bench.recover().exit_code, bench.run_json["phase"], bench.store.journal) == (0, "Completed", [])
    bench.document["processes"] = []
    (bench.logs / "events.jsonl").unlink()
    os.mkdir(bench.logs / "events.jsonl")
    assert bench.recover().exit_code == 0


def test_outputs_of_a_run_that_never_trained_are_left_alone(bench: Bench) -> None:
    bench.document |= {"phase": "Failed", "exit_code": 127, "processes": []}
    bench.store.objects[MANIFEST] = b"of an earlier run"
    (bench.folder / "a").write_bytes(b"x")
    assert bench.recover().exit_code == 0
    assert (bench.store.objects[MANIFEST], "train_url/a" in bench.store.objects) == (b"of an earlier run", False)
    assert bench.run_json["exit_code"] == 127
