"""Whether an export stops by itself: who is asked, how often, and what counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from torch import nn

from studio.engine.control import no_progress
from studio.engine.export import stopping
from studio.engine.export.checks.stop import answer
from studio.engine.export.prefix import Prefix
from studio.engine.export.prompts import Prompt
from tests.engine.export.test_checks import logits, reference

END, LONG, SHORT = 0, Prompt((1, 2, 3, 4), 1, "rows.jsonl", 1), Prompt((5, 6), 1, "rows.jsonl", 2)
EXPORT, TRAINED = nn.Identity(), nn.Identity()


@pytest.mark.parametrize(
    ("export", "trained", "passed", "asked"),
    [
        # The prompt with the shortest held-out answer alone, and not the trained model.
        ({5: 7}, {}, True, [(EXPORT, 5)]),
        # Neither stops: every prompt was tried with the trained model.
        ({}, {}, True, [(EXPORT, 5), (TRAINED, 5), (TRAINED, 1)]),
        # The trained model stops, so the export is asked again, from that prompt on, with twice as long.
        ({}, {1: 10}, False, [(EXPORT, 5), (TRAINED, 5), (TRAINED, 1), (EXPORT, 1), (EXPORT, 5)]),
        ({1: 50}, {1: 10}, True, [(EXPORT, 5), (TRAINED, 5), (TRAINED, 1), (EXPORT, 1)]),
        ({1: 53}, {1: 10}, False, [(EXPORT, 5), (TRAINED, 5), (TRAINED, 1), (EXPORT, 1), (EXPORT, 5)]),
    ],
)
def test_the_trained_model_is_asked_only_where_the_export_does_not_stop(
    export: dict[int, int],
    trained: dict[int, int],
    passed: bool,
    asked: list[tuple[nn.Module, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def greedy_answer(
        model: nn.Module, ids: Sequence[int], ends: Sequence[int], limit: int, *_: Any
    ) -> tuple[int, ...]:
        seen.append((model, ids[0]))
        tokens = (export if model is EXPORT else trained).get(ids[0], 1000)
        return (9,) * (tokens - 1) + (END,) if tokens <= limit else (9,) * limit

    monkeypatch.setattr(stopping, "greedy_answer", greedy_answer)
    known = reference(logits(), prompts=(LONG, SHORT), prefix=Prefix(tokenizer=None, ids=()))  # type: ignore[arg-type]
    _, check = answer(EXPORT, lambda: TRAINED, known, ([END], [END]), no_progress)
    assert check.passed is passed
    assert seen == asked
