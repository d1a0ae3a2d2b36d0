"""Every scenario is right (`python tests/scenarios/run.py` prints a line for each)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.framework import Scenario, run_scenario, scenarios


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda scenario: scenario.name)
def test_a_run_is_judged_rightly(scenario: Scenario, tmp_path: Path) -> None:
    result = run_scenario(scenario, tmp_path)
    assert not result.wrong, result.wrong


def test_every_kind_has_three_scenarios_and_a_harmless_one() -> None:
    for kind in {scenario.kind for scenario in scenarios()}:
        of_kind = [scenario for scenario in scenarios() if scenario.kind == kind]
        assert len(of_kind) >= 3, kind
        assert any(not scenario.verdicts for scenario in of_kind), kind
