"""What the diagnosis of a run remembers, as JSON for a checkpoint: a run that goes on is judged as if unbroken."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Mapping
from typing import Any, TypeAlias

from studio.config import PrecisionConfig
from studio.engine.numerics.facts import FirstNonFinite
from studio.engine.numerics.loss_history import LossHistory
from studio.engine.numerics.loss_scale import Descent, LossScaleHistory
from studio.engine.numerics.throttle import CostThrottle, NewsThrottle, Repetition
from studio.engine.numerics.verdict import Verdict, Watched
from studio.events import spell_non_finite

Remembering: TypeAlias = Verdict | LossHistory | LossScaleHistory | NewsThrottle | CostThrottle | Repetition
# Attributes that belong to the run: settings, and histories that several verdicts share.
SHARED = Watched, LossHistory, PrecisionConfig
# JSON has neither of these. Each is written as an object with its name as the only key.
RECORDS: Mapping[str, type] = {"Descent": Descent, "FirstNonFinite": FirstNonFinite}
NUMBER, EVIDENCE = "number", "evidence"


def to_json(thing: Remembering) -> dict[str, Any]:
    """Return the attributes of `thing` that change from step to step, as JSON values."""
    return {name: value_to_json(value) for name, value in vars(thing).items() if not isinstance(value, SHARED)}


def restore(thing: Remembering, kept: Mapping[str, Any]) -> None:
    """Give `thing` the attributes that `to_json` returned; those that an earlier version did not have stay."""
    for name, value in vars(thing).items():
        if name in kept and not isinstance(value, SHARED):
            setattr(thing, name, value_from_json(kept[name], value))


def value_to_json(value: Any) -> Any:
    """Return a value that a verdict keeps, as JSON."""
    if isinstance(value, NewsThrottle | CostThrottle | Repetition):
        return to_json(value)
    if type(value).__name__ in RECORDS:
        return {type(value).__name__: dataclasses.asdict(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return {NUMBER: spell_non_finite(value)}
    if isinstance(value, Mapping):
        return {EVIDENCE: value}
    if isinstance(value, deque | tuple | set):
        return [value_to_json(one) for one in (sorted(value) if isinstance(value, set) else value)]
    return value


def value_from_json(kept: Any, now: Any = None) -> Any:
    """Return the value that became `kept`; `now`, the one in its place, tells a deque or a set from a tuple."""
    if isinstance(now, NewsThrottle | CostThrottle | Repetition):
        restore(now, kept)
        return now
    if isinstance(kept, list):
        values = tuple(value_from_json(one) for one in kept)
        return deque(values, now.maxlen) if isinstance(now, deque) else set(values) if isinstance(now, set) else values
    if not isinstance(kept, dict):
        return kept
    [(name, value)] = kept.items()
    return float(value) if name == NUMBER else value if name == EVIDENCE else RECORDS[name](**value)
