"""The sign that a launcher leaves in the outputs that it writes to, and whose process it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.core.plan import Plan
    from launcher.protocols import Clock, Occupancy, Record, Store


def sign(store: Store, clock: Clock, plan: Plan, record: Record) -> Occupancy | None:
    """The sign in a plan's outputs, where there are any."""
    if not plan.outputs:
        return None
    from launcher.cli.owner import alive_here, owner
    from launcher.occupancy import Occupancy as Sign

    return Sign(plan, store, record, clock, owner=owner(), alive_here=alive_here)
