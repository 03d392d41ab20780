"""What is asked of a cluster beside the job: image, kind of object, store, secrets by reference, placement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from launcher.core.frozen import Record
from launcher.core.spec import Requirement

Kind = Literal["pod", "job", "volcano", "trainjob"]
KINDS: tuple[Kind, ...] = ("pod", "job", "volcano", "trainjob")


class Reference(Record, frozen=True, kw_only=True):
    """A value that lies in a secret of the cluster: for the hyperparameter or the variable of this name."""

    name: str
    secret: str
    key: str


class Toleration(Record, frozen=True, kw_only=True):
    """A taint that is borne; without a value any value, without an effect any effect."""

    key: str
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Wishes(Record, frozen=True, kw_only=True):
    """What the command line asks for.

    `store` is `--store` as the launcher in the pod gets it, `grace` seconds from SIGTERM to the end, `claims` the
    persistent volume claims that stand for the job's volumes, by their path in the container. `device` is the name of
    the cluster's device plugin, where it is none that the flavor tells. `hidden` are hyperparameters whose values were
    given as secrets (`@env:`), however short they are. `requirements` are the algorithm's. `resume_from` is the URL of
    what the first output is filled from.
    """

    image: str
    kind: Kind = "job"
    store: str | None = None
    store_secret: str | None = None
    secrets: tuple[Reference, ...] = ()
    hidden: tuple[str, ...] = ()
    nonce: Reference | None = None
    grace: float = 25.0
    grace_asked: bool = False
    precheck: bool | None = None
    platform_args: bool = True
    resume_from: str | None = None
    namespace: str | None = None
    service_account: str | None = None
    pull_secrets: tuple[str, ...] = ()
    node_selector: Mapping[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    priority_class: str | None = None
    queue: str | None = None
    claims: Mapping[str, str] = {}
    device: str | None = None
    requirements: tuple[Requirement, ...] = ()
