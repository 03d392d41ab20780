"""The sign that a run keeps in each of its outputs, so that no other job writes there meanwhile.

It is taken before anything is staged, which shows at no cost that the outputs may be written; it is renewed while the
run goes on, and taken away at its end. What the markers mean is decided in `core.occupancy`. It deletes markers only.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from launcher.core import occupancy as rules
from launcher.core.errors import Cancelled, Exit, StageError, StoreError
from launcher.core.keys import OWN
from launcher.core.stored import StoredObject
from launcher.pool import each
from launcher.retry import Retries, pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.core.occupancy import Marker, Owner, Rival, Verdict
    from launcher.core.plan import Output, Plan
    from launcher.core.urls import Location
    from launcher.protocols import Clock, Record, Stopped, Store

_log = logging.getLogger(__name__)

MOST_READ = 64
"""So many markers of other jobs are read in one output; more than these change nothing."""
THREADS = 8
PATIENCE = 15.0
"""Seconds that a claim waits for another, made in the same moment, to be given up."""
LOOK = 0.25
"""Seconds between two looks at it."""


class _Place:
    """One output's folder; several outputs of one place are one.

    `put`: a marker of ours may be there. `blind`: it may not be seen who else is, which was told. `after`: who was cut
    off there before us.
    """

    def __init__(self, output: Output, label: str) -> None:
        self.name = f"{output.field} ({output.name})"
        self.folder = output.target.folder
        self.at = rules.marker_at(self.folder, label)
        self.put = self.blind = False
        self.after = ""
        self.told: set[str] = set()


class Occupancy:
    """The places of a plan's outputs, from `take` to `end`. Whoever calls `take` calls `end`, however it went.

    `owner` is this process and `alive_here` says of another whether it runs, None where that cannot be known.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        record: Record,
        clock: Clock,
        *,
        owner: Owner | None = None,
        alive_here: Callable[[Owner], bool | None] = lambda _: None,
        every: float = rules.EVERY,
    ) -> None:
        self._plan = plan
        self._store = store
        self._record = record
        self._clock = clock
        self._alive_here = alive_here
        self._retries = Retries(clock.monotonic, patience=plan.transfers.patience)
        places = {output.target.folder: _Place(output, plan.job.label) for output in reversed(plan.outputs)}
        self._places = tuple(reversed(places.values()))
        self._over = threading.Event()
        self._guard = threading.Lock()
        now = clock.now()
        self._mine = rules.Marker(
            job=plan.job.id,
            label=plan.job.label,
            worker=plan.node.index,
            workers=plan.node.count,
            host=plan.node.host[:255],
            owner=owner,
            token=os.urandom(16).hex(),
            started=now,
            beat=now,
            every=every,
        )

    def take(self, stopped: Stopped) -> None:
        """Put a marker into every output, or refuse: `StageError` "output-in-use", or what the store answered."""
        each(self._take, self._places, THREADS, stopped, apart=True)

    def keep(self) -> None:
        """Renew the markers from now on, beside everything else, until `end`."""
        if not self._places:
            return
        try:
            threading.Thread(target=self._keep, name="beats", daemon=True).start()
        except RuntimeError:
            self._record.event("No thread can be started: other runs will take this one for gone.", "Warning")

    def beat(self, stopped: Stopped) -> None:
        """Renew every marker once. What fails is told once, and the next beat tries again."""
        each(self._beat, self._places, THREADS, stopped, apart=True)

    def end(self, stopped: Stopped) -> None:
        """Take the markers away. Never raises: one that stays is not renewed any more."""
        self._over.set()
        try:
            while not self._guard.acquire(timeout=LOOK):
                if stopped():
                    return
            self._guard.release()
            each(self._leave, [place for place in self._places if place.put], THREADS, stopped, apart=True)
        except Cancelled:
            _log.debug("no time was left to take the markers away")

    def _keep(self) -> None:
        while not self._over.wait(self._mine.every):
            with self._guard:
                try:
                    self.beat(self._over.is_set)
                except Cancelled:
                    return

    def _take(self, place: _Place, halted: Stopped) -> None:
        refuses = self._plan.in_use == "refuse"
        verdict = self._look(place, halted, self._retries)
        self._remark(place, verdict)
        if verdict.rivals and refuses:
            raise rules.refusal(place.name, place.folder, verdict.rivals[0])
        self._warn(place, verdict)
        place.after = next(map(rules.last_seen, verdict.cut_off), "")
        try:
            if refuses:
                self._put(place, halted, claims=True)
                self._settle(place, halted)
            self._put(place, halted)
        except StoreError as error:
            raise _unwritable(place, error) from error
        for gone in verdict.gone:
            if gone.label != self._mine.label:
                self._forget(rules.marker_at(place.folder, gone.label))

    def _settle(self, place: _Place, halted: Stopped) -> None:
        """Look again, now that others can see this claim: of two that came together one stays."""
        end = self._clock.monotonic() + PATIENCE
        while True:
            rivals = self._look(place, halted, self._retries).rivals
            if not rivals:
                return
            first = rules.yields(self._mine, rivals)
            if first is not None or self._clock.monotonic() > end:
                self._leave(place, halted)
                raise rules.refusal(place.name, place.folder, first or rivals[0])
            pause(LOOK, halted, self._clock.monotonic)

    def _beat(self, place: _Place, halted: Stopped) -> None:
        try:
            verdict = self._look(place, halted, None)
            self._remark(place, verdict)
            self._warn(place, verdict)
            self._put(place, halted, again=False)
        except StoreError as error:
            if "" not in place.told:
                _log.warning("%s: the sign that it is in use cannot be renewed: %s", place.name, error)
            place.told.add("")
        else:
            place.told.discard("")

    def _leave(self, place: _Place, halted: Stopped) -> None:
        """Take our marker away; one that another start of this worker put in its place stays."""
        try:
            found = self._retries.call(lambda: self._read(place.at, halted), halted)
            if found is not None and found.token == self._mine.token:
                self._retries.call(lambda: self._store.remove(place.at), halted)
        except StoreError as error:
            if error.exit_code != Exit.REFUSED:
                _log.warning("%s: the sign that it is in use stays there: %s", place.name, error)
                return
            try:
                self._put(place, halted, again=False, ended=True)  # who may not delete can still say so
            except StoreError as refused:
                _log.warning("%s: the sign that it is in use stays there: %s", place.name, refused)

    def _forget(self, at: Location) -> None:
        try:
            self._store.remove(at)
        except StoreError as error:
            _log.debug("%s stays: %s", at.url, error)

    def _remark(self, place: _Place, verdict: Verdict) -> None:
        """Tell what is strange, once."""
        for remark in verdict.remarks:
            if remark not in place.told:
                self._record.event(f"{place.name}: {remark}")
        place.told.update(verdict.remarks)

    def _warn(self, place: _Place, verdict: Verdict) -> None:
        """Warn of each run that writes there too, once."""
        for rival in verdict.rivals:
            if rival.marker.token not in place.told:
                self._record.event(_beside(place, rival), "Warning")
        place.told.update(rival.marker.token for rival in verdict.rivals)

    def _look(self, place: _Place, halted: Stopped, retries: Retries | None) -> Verdict:
        """What the markers in a place say; nothing where they may not be seen, which is told."""

        def seen() -> list[Marker]:
            return list(self._markers(place, halted))

        try:
            found = seen() if retries is None else retries.call(seen, halted)
        except StoreError as error:
            if error.exit_code == Exit.MISSING:
                return rules.Verdict()  # a store that knows no empty folder; the put will say what is missing
            if error.exit_code != Exit.REFUSED:
                raise
            known, place.blind = place.blind, True
            remark = f"whether another job writes there cannot be seen: {error}"
            return rules.Verdict(remarks=() if known else (remark,))
        return rules.judge(found, self._mine, rules.seconds(self._clock.now()), self._alive_here)

    def _markers(self, place: _Place, halted: Stopped) -> Iterator[Marker]:
        """The markers of a place but those of this job's other workers, of which there may be a thousand."""
        own = place.folder.child(f"{OWN}/")
        first = rules.marker_at(place.folder, "").key.removesuffix(".json")
        read = 0
        for item in self._store.walk(own, after=first):
            relative = item.key[len(place.folder.key) :]
            if not item.key.startswith(first) or read == MOST_READ:
                return
            if rules.is_marker(relative) and not rules.is_peer(relative, self._plan.job):
                read += 1
                found = self._read(place.folder.child(relative), halted)
                if found is not None:
                    yield found

    def _read(self, at: Location, halted: Stopped) -> Marker | None:
        """The marker that lies at a place now; None where it is gone, or is none."""
        raw = b""
        try:
            for piece in self._store.read(at.bucket, StoredObject(at.key, -1, ""), 0, -1, halted):
                raw += memoryview(piece)[: rules.MOST_BYTES + 1]
                if len(raw) > rules.MOST_BYTES:
                    break
            return rules.parse_marker(raw, at.key[at.key.rindex(f"{OWN}/") :])
        except StoreError as error:
            if error.exit_code == Exit.MISSING:
                return None
            raise
        except ValueError as error:
            _log.debug("%s is left alone: %s", at.url, error)
            return None

    def _put(
        self, place: _Place, halted: Stopped, *, again: bool = True, claims: bool = False, ended: bool = False
    ) -> None:
        marker = rules.renewed(self._mine, self._clock.now(), after=place.after, claims=claims, ended=ended)
        raw = rules.dump_marker(marker)
        place.put = True

        def put() -> None:
            self._store.put(place.at, iter((raw,)), len(raw))

        if again:
            self._retries.call(put, halted)
        else:
            put()


def _beside(place: _Place, rival: Rival) -> str:
    return f"{rules.in_use(place.name, place.folder, rival)}; what both write there is in danger"


def _unwritable(place: _Place, error: StoreError) -> StageError:
    return StageError(
        f"{place.name}: {place.folder.url} cannot be written: {error}",
        code=error.code,
        action=error.action,
        exit_code=error.exit_code,
    )
