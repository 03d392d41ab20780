"""One call at number 0's door: a connection on which both sides have shown who they are, or a sentence why not."""

from __future__ import annotations

import errno
import os
import selectors
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from launcher.core.meeting.words import HOST, VERSION, Challenge, Hello, Refused, Welcome, heard, line
from launcher.rendezvous import proof
from launcher.rendezvous.channel import Broken, Channel
from launcher.rendezvous.listening import addresses

if TYPE_CHECKING:
    from launcher.core.meeting import Rhythm
    from launcher.core.plan import Rendezvous

Await = Callable[["socket.socket | Channel", int, float], bool]
"""Waits for one connection, so many seconds at most; whether it can be used."""

REFUSALS = {
    "version": "it speaks another version of the rendezvous: use one version of the launcher on all nodes",
    "nonce": "it is of another job, sees other nodes, or has another LAUNCHER_NONCE",
    "taken": "another launcher of this number is there already",
}
STRANGER = "what answers there is no launcher"


class Refusal(Broken):
    """A launcher answers there that does not let us in, or that is not of this job."""


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """A connection, which launcher is at its other end, and the lines that have come already."""

    channel: Channel
    session: str
    early: Sequence[bytes]


def call(known: Rendezvous, session: str, rhythm: Rhythm, wait: Await, now: Callable[[], float]) -> Reached:
    """Try each address of number 0 once. Raises Broken, which says why the last one is not to be spoken to."""
    try:
        found = addresses(known.host, known.meeting.port)
    except OSError as error:
        raise Broken(f"its name could not be resolved ({error.strerror or error})", by_itself=False) from error
    last = Broken("its name has no address")
    for family, address in found:
        try:
            connection = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise Broken(f"this node has no socket for it ({error.strerror})", by_itself=False) from error
        channel = Channel(connection, rhythm.dead_s)
        try:
            _reach(connection, address, rhythm.hello_s, wait)
            return _greet(channel, known, session, _until(now() + rhythm.hello_s, channel, wait, now))
        except Broken as broken:
            last = broken
            channel.close()
        except BaseException:
            channel.close()
            raise
    raise last


def _reach(connection: socket.socket, address: tuple[object, ...], seconds: float, wait: Await) -> None:
    code = connection.connect_ex(address)
    if code == errno.EINPROGRESS:
        reached = wait(connection, selectors.EVENT_WRITE, seconds)
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if reached else errno.ETIMEDOUT
    if not code and _is_its_own(connection):
        code = errno.ECONNREFUSED  # where nobody listens on this machine, TCP may connect a socket to itself
    if code:
        raise Broken(os.strerror(code).lower(), by_itself=False)


def _is_its_own(connection: socket.socket) -> bool:
    try:
        return bool(connection.getsockname() == connection.getpeername())
    except OSError as error:  # it was taken and reset in one moment
        raise Broken((error.strerror or "it was reset").lower(), by_itself=False) from error


def _until(by: float, channel: Channel, wait: Await, now: Callable[[], float]) -> Callable[[], bool]:
    """Wait for a connection, all times together no longer than that: who answers by the byte is no launcher."""
    return lambda: wait(channel, selectors.EVENT_READ, max(0.0, by - now()))


def _greet(channel: Channel, known: Rendezvous, session: str, wait: Callable[[], bool]) -> Reached:
    challenge, *_ = _lines(channel, wait)
    asked = heard(challenge, HOST)
    if not isinstance(asked, Challenge):
        raise Broken(STRANGER)
    own = proof.fresh()
    shown = proof.guest(known, asked.random, own, session)
    channel.send(line(Hello(version=VERSION, number=known.number, session=session, random=own, proof=shown)))
    first, *early = _lines(channel, wait)
    answer = heard(first, HOST)
    if isinstance(answer, Refused):
        raise Refusal(REFUSALS[answer.why])
    if not isinstance(answer, Welcome):
        raise Broken(STRANGER)
    wanted = proof.host(known, (known.number, own), asked.random, answer.session)
    if not proof.same(wanted, answer.proof):
        raise Refusal(REFUSALS["nonce"])
    channel.known()
    return Reached(channel=channel, session=answer.session, early=early)


def _lines(channel: Channel, wait: Callable[[], bool]) -> Sequence[bytes]:
    """The next lines of somebody who is not known yet."""
    while wait():
        found: Sequence[bytes] = channel.lines()
        if found:
            return found
    raise Broken("what answers there says nothing")
