"""Run every scenario and print which are right: `python tests/scenarios/run.py [WORDS]`; WORDS choose by kind or name."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main(words: list[str]) -> int:
    """Run the scenarios whose kind is, or whose name contains, one of the words; all without words."""
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in the tests: tiny models are many times slower with more
    from tests.scenarios.framework import run_scenario, scenarios

    logging.disable(logging.ERROR)
    chosen = [one for one in scenarios() if not words or any(w == one.kind or w in one.name for w in words)]
    right = alarms = harmless = 0
    for scenario in chosen:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            result = run_scenario(scenario, Path(folder))
        right += not result.wrong
        harmless += not scenario.verdicts
        alarms += result.false_alarm
        seconds = time.monotonic() - started
        print(
            f"{'right' if not result.wrong else 'WRONG'}  {scenario.kind:4} {seconds:5.1f} s  {scenario.name}  {result.wrong}"
        )
    print(f"{right} of {len(chosen)} right; false alarms: {alarms} in {harmless} harmless scenarios")
    return 0 if right == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
