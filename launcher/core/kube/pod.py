"""The pod of a job: one container that is the launcher, and everything around it that is the same in each kind."""

from __future__ import annotations

import math
from typing import Any

from launcher.core.frozen import Record
from launcher.core.kube.resources import container_resources
from launcher.core.kube.secrets import Withheld, from_secret
from launcher.core.kube.volumes import BODY, folders
from launcher.core.kube.wishes import Reference, Wishes
from launcher.core.spec import Job

JOB_FILE, ALGORITHM_FILE = "job.json", "algorithm.json"
SLACK = 5
"""Seconds that a pod has beyond the launcher's grace, so that nothing kills the launcher before its own end."""

_STORE_KEYS = (("AWS_ACCESS_KEY_ID", True), ("AWS_SECRET_ACCESS_KEY", True), ("AWS_SESSION_TOKEN", False))
_USER, _GROUP = 1000, 100


class Subject(Record, frozen=True, kw_only=True):
    """What all kinds are made of: the job, what is wished, its name in the cluster, and its body without secrets."""

    job: Job
    wishes: Wishes
    name: str
    withheld: Withheld

    @property
    def nodes(self) -> int:
        """How many pods the job has."""
        resource = self.job.spec.resource if self.job.spec else None
        return (resource.node_count if resource else None) or 1

    @property
    def labels(self) -> dict[str, str]:
        """What every object of the job bears."""
        return {
            "app.kubernetes.io/name": "modelarts-launcher",
            "app.kubernetes.io/instance": self.name,
            "app.kubernetes.io/component": "training",
            "app.kubernetes.io/managed-by": "launcher",
        }

    def metadata(self, **labels: str) -> dict[str, Any]:
        """The metadata of an object of the job."""
        place = {"namespace": self.wishes.namespace} if self.wishes.namespace else {}
        return {"name": self.name, **place, "labels": {**self.labels, **labels}}


def pod_template(subject: Subject, container: str = "launcher", **variables: str) -> dict[str, Any]:
    """Metadata and spec of one pod; `variables` are those of its kind."""
    return {"metadata": {"labels": subject.labels}, "spec": pod_spec(subject, container, **variables)}


def pod_spec(subject: Subject, container: str = "launcher", **variables: str) -> dict[str, Any]:
    """The spec of one pod: no probe, for a training that is busy must not be killed for its silence."""
    wishes = subject.wishes
    mounted = folders(subject.job, subject.name, wishes.claims)
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": math.ceil(wishes.grace) + SLACK,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **({"serviceAccountName": wishes.service_account} if wishes.service_account else {}),
        **({"imagePullSecrets": [{"name": each} for each in wishes.pull_secrets]} if wishes.pull_secrets else {}),
        **({"priorityClassName": wishes.priority_class} if wishes.priority_class else {}),
        **({"nodeSelector": dict(wishes.node_selector)} if wishes.node_selector else {}),
        **({"tolerations": _tolerations(wishes)} if wishes.tolerations else {}),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _GROUP,
            "fsGroup": _GROUP,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": container,
                "image": wishes.image,
                "command": ["launcher", "run"],
                "args": list(_arguments(subject)),
                "env": _environment(subject, variables),
                **_resources(subject),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "volumeMounts": [
                    {"name": each.name, "mountPath": each.path, **({"readOnly": True} if each.read_only else {})}
                    for each in mounted
                ],
            }
        ],
        "volumes": [{"name": each.name, **each.source} for each in mounted],
    }


def _arguments(subject: Subject) -> tuple[str, ...]:
    """What the launcher in the pod is called with: what the body cannot say. A cluster would expand `$(NAME)` in it."""
    wishes = subject.wishes
    switches = {True: ("--precheck",), False: ("--no-precheck",), None: ()}[wishes.precheck]
    return (
        f"{BODY}/{JOB_FILE}",
        *((f"--algorithm={BODY}/{ALGORITHM_FILE}",) if wishes.requirements else ()),
        *(("--store=" + wishes.store.replace("$", "$$"),) if wishes.store else ()),
        *((f"--grace={wishes.grace:g}",) if wishes.grace_asked else ()),
        *switches,
        *(() if wishes.platform_args else ("--no-platform-args",)),
        *(("--resume-from=" + wishes.resume_from.replace("$", "$$"),) if wishes.resume_from else ()),
        *subject.withheld.arguments,
    )


def _environment(subject: Subject, variables: dict[str, str]) -> list[dict[str, Any]]:
    wishes = subject.wishes
    made: list[dict[str, Any]] = [{"name": "HOME", "value": "/home/ma-user"}]
    made += [{"name": name, "value": value} for name, value in variables.items()]
    if wishes.store_secret:
        for name, needed in _STORE_KEYS:
            variable = from_secret(name, Reference(name=name, secret=wishes.store_secret, key=name))
            if not needed:
                variable["valueFrom"]["secretKeyRef"]["optional"] = True
            made.append(variable)
    if wishes.nonce:
        made.append(from_secret("LAUNCHER_NONCE", wishes.nonce))
    return [*made, *subject.withheld.variables]


def _resources(subject: Subject) -> dict[str, Any]:
    asked = container_resources(subject.job, subject.wishes.device)
    return {"resources": asked} if asked else {}


def _tolerations(wishes: Wishes) -> list[dict[str, str]]:
    return [
        {
            "key": each.key,
            **({"operator": "Exists"} if each.value is None else {"operator": "Equal", "value": each.value}),
            **({"effect": each.effect} if each.effect else {}),
        }
        for each in wishes.tolerations
    ]
