"""What a run may look at of its node while it goes on: nothing is imported before somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.core.devices import Devices
    from launcher.core.plan import Plan
    from launcher.protocols import Ask, Surroundings
    from launcher.senses import Senses


def surroundings() -> Surroundings:
    """What the kernel and the name server say."""
    from launcher.adapters.surroundings import System

    return System()


def devices(environ: Mapping[str, str], ask: Ask) -> Devices:
    """Its devices as they are now."""
    from launcher.cli.hardware import hardware_by

    return hardware_by(environ, ask)


def senses(environ: Mapping[str, str], plan: Plan) -> Senses:
    """By what a training is watched for hanging."""
    from launcher.cli.senses import senses as of

    return of(plan, environ)
