from __future__ import annotations

import pytest
from test_planning import whole

from launcher.core.errors import PlanError
from launcher.core.topology import Flags, Topology, topology


def test_more_than_one_node_is_refused_with_where_it_is_said() -> None:
    with pytest.raises(PlanError, match=r"spec\.resource\.node_count is '2'"):
        topology(whole(spec={"resource": {"node_count": 2}}), {}, "h", Flags())
    for name, value in (("MA_NUM_HOSTS", "4"), ("VC_WORKER_NUM", "3"), ("VC_TASK_INDEX", "1"), ("MA_NUM_HOSTS", "x")):
        with pytest.raises(PlanError, match=f"{name} is '{value}'"):
            topology(whole(), {name: value}, "h", Flags())
    assert topology(whole(), {"MA_NUM_HOSTS": "1", "VC_TASK_INDEX": "0"}, "h", Flags()) == Topology()
