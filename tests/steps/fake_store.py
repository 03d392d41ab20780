"""A store that is a dict, with faults by script; and the small doubles that the steps' tests share."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from launcher.core.errors import Cancelled, Exit, StoreError
from launcher.core.plan import Code, CodeLimits, Files, Input, JobName, LogRules, Node, Output, Plan, Transfers
from launcher.core.stored import StoredObject
from launcher.core.urls import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.core.record import Level, Staged, Synced

BUCKET = "b"


def refused(message: str = "403 AccessDenied") -> StoreError:
    return StoreError(message, code="store-refused", action="Check the keys.", exit_code=Exit.REFUSED)


def missing(key: str) -> StoreError:
    return StoreError(f"no such object {key}", code="store-missing", action="Check it.", exit_code=Exit.MISSING)


def broken(message: str = "503 SlowDown") -> StoreError:
    return StoreError(message, code="store-unreachable", action="Try again.")


class FakeStore:
    """Bucket `b` as a dict. `journal` holds (verb, key) in the order of the calls.

    `faults[verb, key]` is a list of what the next calls do: an error that is raised, a callable that is run, or None.
    With `always` an error is raised by every call of a verb whose key starts so.
    """

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})
        self.sizes: dict[str, int] = {}
        self.etags: dict[str, str] = {}
        self.journal: list[tuple[str, str]] = []
        self.faults: dict[tuple[str, str], list[Exception | Callable[[], None] | None]] = defaultdict(list)
        self.always: dict[tuple[str, str], Exception] = {}
        self.extra_listing: list[StoredObject] = []
        self.put_seen = threading.Condition()

    def keys_of(self, verb: str) -> list[str]:
        return [key for what, key in self.journal if what == verb]

    def wait_for_puts(self, key: str, count: int = 1) -> None:
        """Wait until an object was put so many times."""
        with self.put_seen:
            assert self.put_seen.wait_for(lambda: self.keys_of("stored").count(key) >= count, timeout=30), self.journal

    def walk(self, folder: Location, after: str = "") -> Iterator[StoredObject]:
        self._meet("walk", folder.key)
        entries = [self._entry(key) for key in self.objects] + self.extra_listing
        for item in sorted(entries, key=lambda each: each.key.encode()):
            if item.key.startswith(folder.key) and item.key > after:
                yield item

    def stat(self, at: Location) -> StoredObject | None:
        self._meet("stat", at.key)
        return self._entry(at.key) if at.key in self.objects else None

    def read(
        self, bucket: str, item: StoredObject, start: int, end: int, stopped: Callable[[], bool]
    ) -> Iterator[bytes]:
        assert bucket == BUCKET
        self._meet("read", item.key)
        if stopped():
            raise Cancelled
        if item.key not in self.objects:
            raise missing(item.key)
        content = self.objects[item.key]
        yield content[start : len(content) if end < 0 else end]

    def put(self, at: Location, chunks: Iterator[bytes], size: int) -> None:
        self._meet("put", at.key)
        content = b"".join(chunks)
        with self.put_seen:
            self.objects[at.key] = content
            self.journal.append(("stored", at.key))
            self.put_seen.notify_all()

    def remove(self, at: Location) -> None:
        self._meet("remove", at.key)
        self.objects.pop(at.key, None)

    def _entry(self, key: str) -> StoredObject:
        content = self.objects[key]
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return StoredObject(key, self.sizes.get(key, len(content)), self.etags.get(key, f'"{etag}"'))

    def _meet(self, verb: str, key: str) -> None:
        self.journal.append((verb, key))
        for (fault, prefix), error in self.always.items():
            if fault == verb and key.startswith(prefix):
                raise error
        script = self.faults.get((verb, key))
        if script:
            fault_now = script.pop(0)
            if isinstance(fault_now, Exception):
                raise fault_now
            if fault_now is not None:
                fault_now()


class FakeRecord:
    """Keeps what the steps say."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.stagings: list[Staged] = []
        self.syncs: list[Synced] = []

    def event(self, message: str, level: Level = "Info") -> None:
        self.events.append((level, message))

    def staged(self, entry: Staged) -> None:
        self.stagings.append(entry)

    def synced(self, entry: Synced) -> None:
        self.syncs.append(entry)

    def messages(self, level: Level) -> list[str]:
        return [message for this, message in self.events if this == level]


class FakeClock:
    """Real monotonic seconds, one fixed wall time."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> str:
        return "2024-05-06T07:08:09.000+00:00"


def never() -> bool:
    return False


def make_plan(
    root: str,
    *,
    code: Code | None = None,
    inputs: tuple[Input, ...] = (),
    outputs: tuple[Output, ...] = (),
    folders: tuple[str, ...] = (),
    limits: CodeLimits | None = None,
    log_target: Location | None = None,
    transfers: int = 4,
) -> Plan:
    """A plan with nothing in it but what a test asks for."""
    return Plan(
        job=JobName(id="id1", name="job", label="modelarts-job-id1-worker-0"),
        node=Node(index=0, count=2, host="h"),
        root=root,
        folders=folders,
        code=code,
        inputs=inputs,
        outputs=outputs,
        processes=(),
        scratch=None,
        packages=f"{root}/packages",
        pip_index=(),
        logs=LogRules(),
        stop_after=None,
        files=Files(
            log=f"{root}/log/run.log",
            run_json=f"{root}/log/run.json",
            events=f"{root}/log/events.jsonl",
            plan=f"{root}/log/plan.json",
            staged=f"{root}/log/.launcher-staged",
            uploads=f"{root}/log/.launcher-uploads.jsonl",
            roll=f"{root}/log/.launcher-processes.json",
            termination=None,
            report=None,
        ),
        log_target=log_target,
        limits=limits or CodeLimits(),
        grace=25.0,
        transfers=Transfers(most=transfers),
        in_use="refuse",
        language="en",
        warnings=(),
    )


def make_code(root: str, boot_file: str | None = None) -> Code:
    return Code(source=Location(BUCKET, "code/"), path=f"{root}/job/code", boot_file=boot_file)


def make_input(root: str, key: str = "data/", name: str = "data_url") -> Input:
    return Input(
        name=name, description="", field="inputs[0]", source=Location(BUCKET, key), path=f"{root}/inputs/{name}_0"
    )


def make_output(root: str, *, name: str = "train_url", predownload: bool = False, period: float = 0.05) -> Output:
    return Output(
        name=name,
        description="",
        field="outputs[0]",
        target=Location(BUCKET, f"{name}/"),
        path=f"{root}/outputs/{name}_0",
        predownload=predownload,
        period=period,
    )
