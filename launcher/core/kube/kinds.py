"""How the pods of a job are run: by themselves, by an Indexed Job, by Volcano, by Kubeflow's trainer. A table.

Each kind tells its pods which node they are in the way that `core.topology.surroundings` reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launcher.core.constraints import flavor_cards
from launcher.core.errors import Problem, SpecError
from launcher.core.kube.pod import pod_spec, pod_template
from launcher.core.kube.policy import failure_policy, retries, volcano_policies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.core.kube.pod import Subject
    from launcher.core.kube.wishes import Kind

_KUEUE = "kueue.x-k8s.io/queue-name"
_ANCESTOR = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}


def _pod(subject: Subject) -> tuple[dict[str, Any], ...]:
    """One pod, for one node: nobody starts it again."""
    if subject.nodes > 1:
        message = f"a pod is one node, and the job has {subject.nodes}; use --kind job, volcano or trainjob"
        raise SpecError([Problem(path="spec.resource.node_count", message=message)])
    return (_object("v1", "Pod", subject, pod_spec(subject), **_queue(subject)),)


def _job(subject: Subject) -> tuple[dict[str, Any], ...]:
    """An Indexed Job; pods are called `<name>-<index>`, and found below a headless service of the same name."""
    several = subject.nodes > 1
    template = pod_template(subject, **({"LAUNCHER_SERVICE": subject.name} if several else {}))
    if several:
        template["spec"]["subdomain"] = subject.name
    job = _object("batch/v1", "Job", subject, _indexed(subject, template), **_queue(subject))
    return (_service(subject), job) if several else (job,)


def _service(subject: Subject) -> dict[str, Any]:
    """The names of the pods, also while they are not ready: the launchers meet before there is anything to be ready."""
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {
            "app.kubernetes.io/name": subject.labels["app.kubernetes.io/name"],
            "app.kubernetes.io/instance": subject.name,
        },
    }
    return _object("v1", "Service", subject, spec)


def _indexed(subject: Subject, template: dict[str, Any]) -> dict[str, Any]:
    return {
        "completionMode": "Indexed",
        "completions": subject.nodes,
        "parallelism": subject.nodes,
        # where one node fails all do, and each of them counts
        "backoffLimit": retries(subject.job) * subject.nodes,
        "podFailurePolicy": failure_policy(subject.job),
        "template": template,
    }


def _volcano(subject: Subject) -> tuple[dict[str, Any], ...]:
    """A Volcano Job: all pods at once or none; its plugins `svc` and `env` tell VC_WORKER_HOSTS and VC_TASK_INDEX."""
    wishes = subject.wishes
    spec: dict[str, Any] = {
        "schedulerName": "volcano",
        "minAvailable": subject.nodes,
        **({"queue": wishes.queue} if wishes.queue else {}),
        **({"priorityClassName": wishes.priority_class} if wishes.priority_class else {}),
        # Volcano counts the first run as well; a node that is taken away is made up for once in any case
        "maxRetry": max(retries(subject.job), 1) + 1,
        "plugins": {"env": [], "svc": ["--publish-not-ready-addresses=true"]},
        "policies": volcano_policies(subject.job),
        "tasks": [{"name": "worker", "replicas": subject.nodes, "template": pod_template(subject)}],
    }
    return (_object("batch.volcano.sh/v1alpha1", "Job", subject, spec),)


def _trainjob(subject: Subject) -> tuple[dict[str, Any], ...]:
    """A TrainJob of Kubeflow's Trainer and the runtime that it names, which alone has room for a whole pod.

    Its torch policy tells PET_*, and with them how many processes a node has: by itself it would count processors, or
    cards that it knows. Where the flavor does not tell, the devices shall: the pods meet as those of an Indexed Job.
    """
    told = flavor_cards(subject.job)
    group = "trainer.kubeflow.org"
    template = pod_template(subject, "node", LAUNCHER_SERVICE=subject.name)
    job = {"metadata": {"labels": _ANCESTOR}, "spec": _indexed(subject, template)}
    runtime = {
        "mlPolicy": {"numNodes": subject.nodes, **({} if told is None else {"torch": {}})},
        "template": {"spec": {"replicatedJobs": [{"name": "node", "template": job}]}},
    }
    train = {
        "runtimeRef": {"apiGroup": group, "kind": "TrainingRuntime", "name": subject.name},
        "trainer": {"numNodes": subject.nodes, **({} if told is None else {"numProcPerNode": max(told, 1)})},
    }
    version = f"{group}/v1alpha1"
    return (
        _object(version, "TrainingRuntime", subject, runtime),
        _object(version, "TrainJob", subject, train, **_queue(subject)),
    )


def _object(version: str, kind: str, subject: Subject, spec: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": subject.metadata(**labels), "spec": spec}


def _queue(subject: Subject) -> dict[str, str]:
    """The queue of Kueue, where Volcano has none of its own."""
    return {_KUEUE: subject.wishes.queue} if subject.wishes.queue else {}


KINDS: Mapping[Kind, Callable[[Subject], tuple[dict[str, Any], ...]]] = {
    "pod": _pod,
    "job": _job,
    "volcano": _volcano,
    "trainjob": _trainjob,
}
