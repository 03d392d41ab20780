"""The meeting of a job's launchers: who they are, by what they know each other, and when one counts as lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from launcher.core.plan import Rendezvous

if TYPE_CHECKING:
    from launcher.core.facts import Facts
    from launcher.core.spec import Job
    from launcher.core.topology import Topology


class Rhythm(msgspec.Struct, frozen=True, kw_only=True):
    """The times of a meeting in seconds.

    Each side says something every `ping_s`. Whose connection is gone has `lost_s` from its last word to call again.
    Whose connection stands but who says nothing, because its launcher was stopped or gets no turn on its processors,
    has `silent_s`: the kernel over there still answers, so that nobody is gone. A machine or a way that is gone is told
    from that by its kernel, which acknowledges nothing for `dead_s`; then the connection counts as closed.
    A caller has `hello_s` to show who it is. Every `tell_s` those who wait are told for whom.
    """

    ping_s: float = 5.0
    lost_s: float = 30.0
    silent_s: float = 120.0
    dead_s: float = 15.0
    hello_s: float = 5.0
    tell_s: float = 30.0


def rendezvous(job: Job, facts: Facts, topology: Topology) -> Rendezvous | None:
    """How this node meets the others of its job; None where it is the only one.

    The nonce is the same on all nodes of a job, and another one for another job, for other nodes, and for whoever does
    not know LAUNCHER_NONCE.
    """
    names = topology.tasks
    if len(names) == 1:
        return None
    import hashlib  # noqa: PLC0415 - milliseconds, and not for one node

    identity = job.metadata.id or job.metadata.name
    told = (identity, facts.environ.get("MA_VJ_NAME", ""), str(len(names)), *names, facts.settings.nonce)
    # Each part with its length: no two jobs add up to one text.
    text = "".join(f"{len(part)}:{part}" for part in ("launcher rendezvous v1", *told))
    return Rendezvous(
        host=topology.master,
        number=topology.number,
        names=names,
        nonce=hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest(),
        meeting=facts.settings.meeting,
    )
