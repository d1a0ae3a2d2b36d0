"""Whether an export stops by itself: who is asked, how often, and what counts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from studio.engine.control import no_progress
from studio.engine.export import stopping
from studio.engine.export.checks.stop import answer
from studio.engine.export.compare import Outputs
from studio.engine.export.prefix import Prefix
from studio.engine.export.prompts import Prompt
from studio.engine.export.stopping import greedy_answer, taught_stops
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
def test_without_held_out_ends_the_trained_model_is_asked_only_where_the_export_does_not_stop(
    export: dict[int, int],
    trained: dict[int, int],
    passed: bool,
    asked: list[tuple[nn.Module, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = answering(monkeypatch, export, trained)
    known = reference(logits(), prompts=(LONG, SHORT), prefix=Prefix(tokenizer=None, ids=()))  # type: ignore[arg-type]
    _, check = answer(EXPORT, lambda: TRAINED, known, Outputs(()), ([END], [END]), math.inf, no_progress)
    assert check.passed is passed
    assert seen == asked


def answering(
    monkeypatch: pytest.MonkeyPatch, export: dict[int, int], trained: dict[int, int]
) -> list[tuple[nn.Module, int]]:
    """Let models end their answers, by the first token of the prompt, after so many tokens; return who was asked."""
    seen = []

    def greedy_answer(
        model: nn.Module, ids: Sequence[int], ends: Sequence[int], limit: int, *_: Any
    ) -> tuple[int, ...]:
        seen.append((model, ids[0]))
        tokens = (export if model is EXPORT else trained).get(ids[0], 1000)
        return (9,) * (tokens - 1) + (END,) if tokens <= limit else (9,) * limit

    monkeypatch.setattr(stopping, "greedy_answer", greedy_answer)
    return seen


def at_ends(*probabilities: float) -> Outputs:
    """Outputs that find the end token so probable where held-out answers end, and token 1 as probable as the rest."""
    logits = [[math.log(probability), math.log(1 - probability)] for probability in probabilities]
    return Outputs((torch.zeros(1, 2),), at_ends=torch.tensor(logits))


@pytest.mark.parametrize(
    ("trained", "found", "waited", "passed"),
    [
        ((0.1, 0.2), (0.1, 0.2), False, True),
        ((0.4, 0.4), (0.01, 0.01), False, False),  # the end is never the likeliest, but it was as good as lost
        ((0.9, 0.2, 0.2), (0.8, 0.1, 0.2), False, True),
        ((0.9, 0.2, 0.2), (0.2, 0.2, 0.2), True, False),  # it may have ended its own answer
        ((0.9, 0.2), (0.8, 0.2), True, True),
        ((0.9, 0.9), (0.8, 0.9), True, True),
        ((0.9, 0.9), (0.9, 0.1), True, True),
        ((0.9, 0.9), (0.1, 0.1), True, False),
        ((0.9, 0.9), (0.1, math.nan), True, False),
        ((0.51, 0.02, 0.02), (0.49, 0.02, 0.02), False, True),  # rounding turns the one end that was found
        ((0.06, 0.06), (0.02, 0.02), False, False),
        ((0.04, 0.04), (0.001, 0.001), False, True),  # it was not taught to end
    ],
)
def test_an_answer_that_does_not_end_in_time_is_replaced_by_the_ends_of_held_out_ones(
    trained: tuple[float, ...],
    found: tuple[float, ...],
    waited: bool,
    passed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = answering(monkeypatch, {}, {})
    known = dataclasses.replace(
        reference(logits(), prompts=(LONG, SHORT), prefix=Prefix(tokenizer=None, ids=())),  # type: ignore[arg-type]
        trained=at_ends(*trained),
        asked=((0, 2), (1, 0)),
    )
    _, check = answer(EXPORT, pytest.fail, known, at_ends(*found), ([END], [END]), math.inf, no_progress)
    assert check.passed is passed
    assert seen == ([(EXPORT, 5)] if waited else [])
    assert check.evidence is not None
    assert check.evidence["teacher_forced"]
    assert check.evidence["generated"] == (stopping.LIMIT if waited else 0)


def test_an_export_whose_ends_are_lost_fails_by_the_held_out_ones() -> None:
    assert taught_stops(at_ends(0.9, 0.8), [END]).ended == 2
    lost = taught_stops(at_ends(0.9, 0.8), [])
    assert (lost.ended, lost.probability) == (0, 0.0)
    assert taught_stops(at_ends(0.9), [END, 9]).probability == pytest.approx(0.9)


def test_an_answer_takes_no_longer_than_it_is_waited_for(bases: dict[str, Path]) -> None:
    model = AutoModelForCausalLM.from_pretrained(bases["llama-tied"])
    assert len(greedy_answer(model, [5, 6], [], 12, no_progress, "verifying")) == 12
    assert len(greedy_answer(model, [5, 6], [], 12, no_progress, "verifying", seconds=0)) == 1
