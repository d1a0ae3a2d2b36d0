"""Events are made by pydantic's core where it can, and by our own readers where it cannot: no one sees which."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from pathlib import Path
from typing import Any

import pytest

from studio.events import MetersSampled, RunEvent, StepCompleted, to_json
from studio.schema import MAX_CHARACTERS, field_readers, read_instance

JOURNAL = Path(__file__).parents[1] / "earlier" / "run" / "events.jsonl"
STEP = StepCompleted(
    step=3, update=2, epoch=0.5, loss=1.5, learning_rate=1e-4, grad_norm=0.7, grad_scale=65536.0, skipped=False,
    tokens=100, supervised_tokens=60, micro_batches=2, seconds=0.25, grad_norm_clipped=0.5,
)  # fmt: skip
NASTY: list[Any] = [
    None, True, False, 0, 1, -1, 7, 2**53, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30,
    0.0, -0.0, 5.0, 1.5, -1.5, 1e-320, 2.0**63, 1e19, -1e19, 1e300, 253_402_300_799, 253_402_300_800, 1e10, 1.1e10,
    math.nan, math.inf, -math.inf, "nan", "inf", "-inf", "NaN", "1.5", "3", "", "true", "text", "\ud800", "\0",
    "a" * MAX_CHARACTERS, "a" * (MAX_CHARACTERS + 1), [], [1], [1.5, "nan"], ["a"], [None], {}, {"a": 1}, {"a": "b"},
    {"a": {"b": [1]}}, [{"kernels": "torch", "outcome": "agreed"}],
]  # fmt: skip


def by_our_readers(cls: type, values: dict[str, Any]) -> Any:
    return cls(**{name: reader(values[name]) for name, reader in field_readers(cls).items() if name in values})


def outcome(make: Any, cls: type, values: dict[str, Any]) -> str:
    try:
        return repr(make(cls, values))
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def examples() -> dict[type, dict[str, Any]]:
    """An event of each kind as a journal has it."""
    lines = [*JOURNAL.read_text(encoding="utf-8").splitlines(), to_json(STEP), to_json(MetersSampled(step=1.5))]
    by_name = {values["type"]: values for values in map(json.loads, lines)}
    return {cls: by_name[cls.type] for cls in typing.get_args(RunEvent) if cls.type in by_name}


@pytest.mark.parametrize("cls", examples(), ids=lambda cls: cls.type)
def test_any_value_in_any_field_is_taken_or_refused_as_by_our_readers(cls: type) -> None:
    whole = examples()[cls]
    assert outcome(read_instance, cls, whole) == outcome(by_our_readers, cls, whole)
    for field in dataclasses.fields(cls):
        for value in NASTY:
            values = whole | {field.name: value}
            assert outcome(read_instance, cls, values) == outcome(by_our_readers, cls, values), (field.name, value)
        if field.name != "time":  # a missing one is now
            values = {name: value for name, value in whole.items() if name != field.name}
            assert outcome(read_instance, cls, values) == outcome(by_our_readers, cls, values), field.name


def test_what_was_read_cannot_be_changed() -> None:
    event = read_instance(StepCompleted, json.loads(to_json(STEP)))
    assert event == STEP
    for field in dataclasses.fields(event):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(event, field.name, None)
