"""Any schedule of failures, late words, cut connections and killed launchers: all agree on attempts, and all end.

The table, each node's part and its ear are real; the network between them, the clock and the runs are made up here.
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING

import msgspec
import pytest

from launcher.core import lifecycle
from launcher.core.meeting import Rhythm
from launcher.core.meeting.part import Part
from launcher.core.meeting.table import Table
from launcher.core.meeting.words import GUEST, HOST, Again, Final, Idle, Parting, Ping, Ready, heard, line
from launcher.core.plan import Meeting, Rendezvous
from launcher.rendezvous.ear import Ear

if TYPE_CHECKING:
    from launcher.core.lifecycle import Event
    from launcher.core.meeting.table import Notes
    from launcher.core.meeting.words import Letter

MOST_ATTEMPTS = 4
STEPS = 400
PATIENCE = 20_000


class Node:
    """One launcher's run: it stages, waits, trains, ends, and begins again where it is told so."""

    def __init__(self, world: World, number: int, session: str) -> None:
        self.world, self.number, self.session = world, number, session
        self.ear = Ear(world.names, number, self.hear, lambda text, level: None)
        self.part = Part(1)
        self.attempt = 1
        self.does = "stages"
        self.released = self.ended = False
        self.inbox: deque[bytes] = deque()
        self.outbox: deque[bytes] = deque()
        self.connected = number == 0
        self.trained: list[int] = []

    def hear(self, event: Event) -> None:
        self.released = self.released or isinstance(event, lifecycle.Released)
        self.ended = self.ended or isinstance(event, lifecycle.PeerEnded)

    def say(self, word: Letter) -> None:
        if self.number == 0:
            self.world.tell(self.world.table.hear(0, word, self.world.now))
        else:
            self.part.take(word)

    def parts(self, how: str, during: str) -> None:
        failed = how == "failed"
        code = "nccl-timeout" if failed else ""
        word = Parting(attempt=self.attempt, how=how, during=during, exit_code=int(failed), code=code)  # type: ignore[arg-type]
        self.say(word)

    def step(self) -> None:
        """What the run does next, if it does anything."""
        steps = {
            "stages": self.wait,
            "waits": self.waits,
            "trains": self.trains,
            "ends": self.ends,
            "idles": self.idles,
            "leaves": self.leaves,
        }
        going = self.does in ("stages", "waits", "trains")
        if going and self.ended:
            self.does = "ends"
        elif going and not self.world.fair and self.world.chance.random() < 0.03:
            self.parts("failed", "training" if self.does == "trains" else "staging")
            self.does = "ends"
        else:
            steps[self.does]()

    def wait(self) -> None:
        if self.ear.attempt > self.attempt:
            self.begin()
        self.say(Ready(attempt=self.attempt))
        self.does = "waits"

    def waits(self) -> None:
        if self.ear.attempt > self.attempt:
            self.wait()
        elif self.released:
            self.does = "trains"
            self.trained.append(self.attempt)
            self.world.begins(self)

    def trains(self) -> None:
        if self.world.fair or self.world.chance.random() < 0.1:
            self.parts("done", "training")
            self.does = "ends"

    def ends(self) -> None:
        self.say(Idle(attempt=self.attempt))
        self.does = "idles"

    def leaves(self) -> None:
        """It has left."""

    def idles(self) -> None:
        if self.ear.attempt > self.attempt:
            self.begin()
        elif self.ear.final:
            self.does = "leaves"
        elif self.number == 0:
            table = self.world.table
            if table.rested or table.hopeless:
                more = self.attempt < MOST_ATTEMPTS and not table.hopeless
                self.say(Again(attempt=self.attempt + 1) if more else Final(attempt=self.attempt))

    def begin(self) -> None:
        self.attempt = self.ear.attempt
        self.ear.wait(self.attempt)
        self.part = Part(self.attempt)
        self.part.connect()
        self.released = self.ended = False
        self.does = "stages"
        self.ear.go()


class World:
    """All nodes and what lies between them."""

    def __init__(self, seed: int, count: int) -> None:
        self.chance = random.Random(seed)
        self.fair = False
        self.now = 0.0
        self.names = tuple(f"worker-{number}" for number in range(count))
        meeting = Meeting(peers_s=60, ready_s=600)
        self.table = Table(Rendezvous(host="w0", number=0, names=self.names, nonce="n", meeting=meeting), Rhythm(), 0.0)
        self.nodes = [Node(self, number, f"launcher {number}") for number in range(count)]
        self.killed = 0

    def tell(self, notes: Notes) -> None:
        for numbers, word in notes:
            for number in numbers:
                if number == 0:
                    self.nodes[0].ear.take(word)
                elif self.nodes[number].connected:
                    self.nodes[number].inbox.append(line(word)[:-1])

    def begins(self, node: Node) -> None:
        """Nobody trains while anything of another attempt runs, and all who train do so in the same one."""
        assert self.table.attempt == node.attempt
        for other in self.nodes:
            if other.does == "leaves" or self.is_refused(other):
                continue
            assert other.attempt == node.attempt, "somebody is still in another attempt"
            assert other.does in ("waits", "trains", "ends", "idles")

    def is_refused(self, node: Node) -> bool:
        """Whether it was started in place of another launcher and may not sit there."""
        return bool(node.number) and self.table._seats[node.number].session != node.session

    def connect(self, node: Node) -> None:
        answer, notes = self.table.call(node.number, node.session, self.now)
        self.tell(notes)
        if answer == "in":
            node.connected = True
            node.inbox.clear()
            node.outbox.clear()
            node.part.connect()
            node.inbox.extend(line(word)[:-1] for word in self.table.standing(node.number))

    def cut(self, node: Node) -> None:
        """What is on its way in either direction may be lost."""
        if not node.connected:
            return
        node.connected = False
        for box in (node.inbox, node.outbox):
            while box and self.chance.random() < 0.7:
                box.pop()
        while node.outbox:
            self._to_table(node)
        while node.inbox:
            self._to_node(node)
        self.table.gone(node.number, self.now, by_itself=self.chance.random() < 0.8)

    def kill(self, node: Node) -> None:
        """The launcher and all of it is gone; another one is started in its place."""
        self.cut(node)
        self.killed += 1
        self.nodes[node.number] = Node(self, node.number, f"launcher {node.number}, {self.killed}")

    def move(self, node: Node) -> None:
        """One thing happens on the way."""
        if node.number == 0:
            return
        if not node.connected:
            if node.does != "leaves":
                self.connect(node)
            return
        node.outbox.extend(line(word)[:-1] for word in node.part.to_say())
        if node.outbox and self.chance.random() < 0.5:
            self._to_table(node)
        elif node.inbox:
            self._to_node(node)

    def time(self, seconds: float) -> None:
        self.now += seconds
        for node in self.nodes[1:]:
            if node.connected:
                self.tell(self.table.hear(node.number, Ping(), self.now))
        self.tell(self.table.beat(self.now))

    def _to_table(self, node: Node) -> None:
        word = heard(node.outbox.popleft(), GUEST)
        assert word is not None
        self.tell(self.table.hear(node.number, word, self.now))

    def _to_node(self, node: Node) -> None:
        word = heard(node.inbox.popleft(), HOST)
        assert word is not None
        node.part.hear(word)
        node.ear.take(word)


def happens(world: World) -> None:
    """One random thing."""
    node, what = world.chance.choice(world.nodes), world.chance.random()
    if what < 0.45:
        world.move(node)
    elif what < 0.9:
        node.step()
    elif what < 0.95:
        world.time(world.chance.choice([0.1, 3.0, 6.0]))
    elif node.number and what < 0.98:
        world.cut(node)
    elif node.number and what < 0.985 and world.killed < 3 and node.does != "leaves":
        world.kill(node)


def settles(world: World) -> bool:
    """Everything goes well from here on; whether it comes to an end."""
    world.fair = True
    for _ in range(PATIENCE):
        for node in world.nodes:
            world.move(node)
            node.step()
        world.time(1.0)
        # who is refused hears of the end when number 0 leaves, or calls in vain
        if all(node.does == "leaves" or (node.number and world.is_refused(node)) for node in world.nodes):
            return True
    return False


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("start", range(0, 400, 100))
def test_whatever_happens_all_agree_on_attempts_and_come_to_an_end(count: int, start: int) -> None:
    for seed in range(start, start + 100):
        world = World(seed, count)
        for _ in range(STEPS):
            happens(world)
        assert settles(world), f"seed {seed}: {[(node.does, node.attempt) for node in world.nodes]}"
        assert world.table.attempt <= MOST_ATTEMPTS, f"seed {seed}"
        for node in world.nodes:
            assert node.trained == sorted(set(node.trained)), f"seed {seed}: no attempt is begun twice"


def test_without_trouble_there_is_one_attempt() -> None:
    world = World(1, 3)
    assert settles(world)
    assert [node.trained for node in world.nodes] == [[1], [1], [1]]


def test_a_word_survives_its_way() -> None:
    word = msgspec.structs.replace(Parting(how="done"), final=True)
    assert heard(line(word)[:-1], GUEST) == word
