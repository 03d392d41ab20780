"""TensorFlow: one process on each node, worker or parameter server, told of its cluster by TF_CONFIG and by flags."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING

from launcher.core.engines.peers import servers, workers
from launcher.core.engines.start import Engaged, Launch, boot, replaced
from launcher.core.interfaces import at

if TYPE_CHECKING:
    from launcher.core.engines.start import Start


def tensorflow(start: Start) -> Engaged:
    """A worker, or a server of parameters, which never ends by itself. On one node it is plain Python.

    There is no chief in the cluster: the service has no such task, and TensorFlow takes worker 0 for it. A TF_CONFIG
    that the platform has set stands.
    """
    here = start.facts.topology
    if here.workers + len(here.servers) <= 1 and here.role == "worker":
        return Engaged(launches=(Launch(argv=(start.interpreter, *boot(start))),))
    told = {"worker": workers(start, "TensorFlow"), "ps": servers(start, "TensorFlow")}
    # TensorFlow listens at all of a machine's addresses: where one machine plays all nodes, each has a port of its own
    port = count(here.port, step=1 if start.facts.rehearsal else 0)
    cluster = {task: [at(host, next(port)) for host in names] for task, (names, _) in told.items() if names}
    document = {"cluster": cluster, "task": {"type": here.role, "index": here.index}}
    platform = _flags(start, cluster) if start.facts.platform_args else {}
    launch = Launch(
        argv=(start.interpreter, *boot(start, platform)),
        env={} if start.facts.environ.get("TF_CONFIG") else {"TF_CONFIG": json.dumps(document, separators=(",", ":"))},
        rank=here.index,
    )
    return Engaged(
        launches=(launch,),
        serves=here.role == "ps",
        pending=tuple(x for _, p in told.values() for x in p),
        warnings=replaced(start, platform),
    )


def _flags(start: Start, cluster: dict[str, list[str]]) -> dict[str, str]:
    here = start.facts.topology
    lists = {f"{task}_hosts": ",".join(cluster.get(task, ())) for task in ("ps", "worker")}
    return {"job_name": here.role, "task_index": str(here.index), **lists}
