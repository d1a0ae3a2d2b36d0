"""How often something that costs time is done."""

from __future__ import annotations

from studio.engine.numerics.throttle import CostThrottle


def test_what_costs_time_is_done_freely_at_first_and_then_once_in_so_many_steps() -> None:
    throttle = CostThrottle(3)
    assert [step for step in range(1, 321) if throttle.passes(step, 100)] == [1, 2, 3, 103, 203, 303]
