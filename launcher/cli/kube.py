"""`launcher kube`: the manifests that run a job in a cluster, printed or as a base of kustomize; it asks no cluster."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.options import declared, request
from launcher.core.kube.names import KEY, LABEL, QUALIFIED, SUBDOMAIN, VALUE
from launcher.core.kube.wishes import KINDS, Reference, Toleration, Wishes

if TYPE_CHECKING:
    from collections.abc import Sequence

_IMAGE = r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,400}(@sha256:[0-9a-f]{64})?"
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_DEVICE = rf"(?=[^/]+/){QUALIFIED}"


class _Discreet(click.Command):
    """A command whose errors show nothing of what was given: it may be a secret in the wrong place."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The command line, read. Raises click.UsageError."""
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter:
            raise
        except click.BadParameter as error:
            option = error.param.opts[0] if error.param else "the command line"
            wanted = "a number" if option == "--grace" else f"one of {', '.join(KINDS)}"
            raise click.UsageError(f"{option}: expected {wanted}.", ctx) from None
        except (click.NoSuchOption, click.BadOptionUsage):
            raise
        except click.UsageError:
            raise click.UsageError("expected one JOB and options; found something more.", ctx) from None


@click.command(name="kube", cls=_Discreet)
@click.option("--image", required=True, help="Image of the training, with the launcher in it.")
@click.option("--kind", type=click.Choice(KINDS), default="job", show_default=True, help="What runs the pods.")
@click.option("--kustomize", metavar="DIR", help="Write a base of kustomize instead of printing.")
@click.option("--json", "as_json", is_flag=True, help="The objects as one JSON list.")
@click.option("--store", metavar="URL|PATH", help="Endpoint of obs://, or a path in the pod [default: S3_ENDPOINT].")
@click.option("--store-secret", metavar="SECRET", help="Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
@click.option("--secret", "secrets", metavar="NAME=SECRET/KEY", multiple=True, help="Value by reference.")
@declared("job", "algorithm", "values", "variables", "datasets", "grace", "precheck", "platform_args", "resume_from")
@click.option("--nonce", metavar="SECRET/KEY", help="What the launchers of several nodes know of each other.")
@click.option("--namespace", metavar="NAME", help="Namespace of all objects.")
@click.option("--service-account", metavar="NAME", help="Service account of the pods; its token is not mounted.")
@click.option("--image-pull-secret", "pull_secrets", metavar="SECRET", multiple=True, help="To pull the image with.")
@click.option("--node-selector", "selectors", metavar="KEY=VALUE", multiple=True, help="Label of the nodes.")
@click.option("--toleration", "tolerations", metavar="KEY[=VALUE][:EFFECT]", multiple=True, help="Taint to bear.")
@click.option("--priority-class", metavar="NAME", help="Priority class of the pods.")
@click.option("--queue", metavar="NAME", help="Queue of Volcano, or of Kueue.")
@click.option(
    "--claim", "claims", metavar="PATH=CLAIM", multiple=True, help="Volume claim for the job's volume at PATH."
)
@click.option("--device", metavar="NAME", help="The cluster's name for the flavor's cards, such as nvidia.com/gpu.")
def command(as_json: bool, kustomize: str | None, **options: Any) -> None:  # noqa: FBT001 - click passes by name
    """Print the manifests that run a job in a cluster. No secret stands in them: values come by reference.

    \b
    Example:
      launcher kube job.json --image registry/train:1 --store https://obs.example.com \\
          --store-secret obs-keys | kubectl apply -f -
      launcher kube job.json --image registry/train:1 --kind volcano --kustomize base
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    if as_json and kustomize:
        raise click.UsageError("--json prints, and --kustomize writes files; give one of them.")
    if kustomize == "":
        raise click.UsageError("--kustomize: the value is empty; was a shell variable not set?")
    environ = dict(os.environ)
    wanted = {name: options.pop(name) for name in _OWN}
    wanted["hidden"] = tuple(name for name, _, text in map(_parted, options["values"]) if text.startswith("@env:"))
    wishes = _wishes(wanted, grace=options["grace"], precheck=options["precheck"], platform=options["platform_args"])
    from launcher.cli import result
    from launcher.cli.manifests import rendered, written_base, yaml_text

    objects = rendered(request(environ, options), environ, wishes)
    if kustomize:
        result("\n".join(written_base(kustomize, objects)))
    elif as_json:
        import json

        result(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=1, ensure_ascii=False))
    else:
        result("---\n".join(map(yaml_text, objects)))


_OWN = (
    *("image", "kind", "store_secret", "secrets", "nonce", "namespace", "service_account", "pull_secrets"),
    *("selectors", "tolerations", "priority_class", "queue", "claims", "device"),
)


def _parted(pair: str) -> tuple[str, str, str]:
    return pair.partition("=")


def _wishes(given: dict[str, Any], *, grace: float | None, precheck: bool | None, platform: bool) -> Wishes:
    """The command line as a value, every name in it checked. Raises click.UsageError."""
    nonce = _named("--nonce", given["nonce"], f"{SUBDOMAIN}/{KEY}", "SECRET/KEY")
    return Wishes(
        image=_named("--image", given["image"], _IMAGE, "an image such as registry/name:tag") or "",
        kind=given["kind"],
        store_secret=_named("--store-secret", given["store_secret"], SUBDOMAIN, "the name of a secret"),
        secrets=tuple(map(_reference, given["secrets"])),
        hidden=given["hidden"],
        nonce=Reference(name="", secret=nonce.rpartition("/")[0], key=nonce.rpartition("/")[2]) if nonce else None,
        grace=Wishes(image="").grace if grace is None else grace,
        grace_asked=grace is not None,
        precheck=precheck,
        platform_args=platform,
        namespace=_named("--namespace", given["namespace"], LABEL, "a name of lower-case letters, digits and '-'"),
        service_account=_named("--service-account", given["service_account"], SUBDOMAIN, "a service account's name"),
        pull_secrets=tuple(
            _named("--image-pull-secret", each, SUBDOMAIN, "the name of a secret") or ""
            for each in given["pull_secrets"]
        ),
        node_selector=dict(_pairs("--node-selector", given["selectors"], QUALIFIED, VALUE, "KEY=VALUE")),
        tolerations=tuple(map(_toleration, given["tolerations"])),
        priority_class=_named("--priority-class", given["priority_class"], SUBDOMAIN, "a priority class's name"),
        queue=_named("--queue", given["queue"], LABEL, "a queue's name"),
        claims=dict(_pairs("--claim", given["claims"], r"/[^\0]{1,1024}", SUBDOMAIN, "PATH=CLAIM")),
        device=_named("--device", given["device"], _DEVICE, "a device's name such as nvidia.com/gpu"),
    )


def _named(option: str, value: str | None, pattern: str, meaning: str) -> str | None:
    """A name as it was given. The message shows no value, which may be a secret in the wrong place."""
    if value is None or re.fullmatch(pattern, value):
        return value
    raise click.UsageError(f"{option}: expected {meaning}.")


def _pairs(option: str, given: Sequence[str], key: str, value: str, form: str) -> list[tuple[str, str]]:
    made: list[tuple[str, str]] = []
    for text in given:
        name, mark, rest = text.partition("=")
        if not mark or not re.fullmatch(key, name) or not re.fullmatch(value, rest):
            raise click.UsageError(f"{option}: expected {form}, names as Kubernetes has them.")
        if os.path.normpath(name) in {os.path.normpath(each) for each, _ in made}:
            raise click.UsageError(
                f"{option}: expected each {form.partition('=')[0]} once, found one twice; keep one of the two."
            )
        made.append((name, rest))
    return made


def _reference(text: str) -> Reference:
    found = re.fullmatch(rf"(?P<name>[A-Za-z0-9_-]{{1,256}})=(?P<secret>{SUBDOMAIN})/(?P<key>{KEY})", text)
    if found is None:
        raise click.UsageError("--secret: expected NAME=SECRET/KEY: the name of a secret of the cluster, and its key.")
    return Reference(name=found["name"], secret=found["secret"], key=found["key"])


def _toleration(text: str) -> Toleration:
    effects = "|".join(_EFFECTS)
    found = re.fullmatch(rf"(?P<key>{QUALIFIED})(=(?P<value>{VALUE}))?(:(?P<effect>{effects}))?", text)
    if found is None:
        raise click.UsageError(f"--toleration: expected KEY[=VALUE][:EFFECT], an effect of {', '.join(_EFFECTS)}.")
    effect: Any = found["effect"]
    return Toleration(key=found["key"], value=found["value"], effect=effect)
