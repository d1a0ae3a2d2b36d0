"""Whether a model stops by itself: greedy generation until a token that ends an answer."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from studio.engine.control import Progress
from studio.engine.export.compare import Outputs
from studio.engine.export.prompts import Prompt
from studio.engine.models.quiet import ignore_positions

# A model may take this many tokens over an answer, and is asked at most so many prompts.
LIMIT = 128
TRIES = 3
# Seconds that it may take over them together; more where a pass over the held-out rows takes longer.
PATIENCE = 1.0


@dataclass(frozen=True)
class Stops:
    """After how many tokens a model ended its answer to one prompt; `tokens` is None when it did not."""

    prompt: Prompt
    tokens: int | None
    answer: tuple[int, ...]


@dataclass(frozen=True)
class TaughtStops:
    """How many of the held-out answers a model would end where they end, led through them word by word.

    Attributes:
        asked: how many answers were tried.
        ended: at the end of how many an ending token was the likeliest.
        probability: of all ending tokens together at these ends; the mean.
    """

    asked: int
    ended: int
    probability: float


def taught_stops(outputs: Outputs, ends: Sequence[int]) -> TaughtStops:
    """Return what outputs say at the ends of held-out answers, where `ends` are the tokens that end one."""
    logits = outputs.at_ends
    if logits is None:
        return TaughtStops(0, 0, 0.0)
    known = torch.tensor([token for token in ends if token < logits.shape[-1]], dtype=torch.long)
    ended = torch.isin(logits.argmax(-1), known).sum()
    probability = logits.double().softmax(-1)[:, known].sum(-1).mean()
    return TaughtStops(len(logits), int(ended), float(probability))


class _Watch(StoppingCriteria):
    """Reports progress after each token, and ends when time is up. `progress` raises `Cancelled` through generate()."""

    def __init__(self, progress: Progress, stage: str, limit: int, seconds: float) -> None:
        self._progress, self._stage, self._limit, self._done = progress, stage, limit, 0
        self._end = time.monotonic() + seconds

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        self._done += 1
        self._progress(self._stage, self._done, self._limit)
        return torch.full((len(input_ids),), time.monotonic() > self._end)


def first_stop(
    model: nn.Module,
    prompts: Sequence[Prompt],
    ends: Sequence[int],
    limit: int,
    progress: Progress,
    stage: str,
    opening: tuple[int, ...] = (),
    seconds: float = math.inf,
) -> Stops:
    """Ask prompts in turn until the model ends one answer within `limit` tokens; return that, or the first one.

    Args:
        opening: tokens that stand in front of every prompt.
        seconds: for all prompts together.
    """
    asked: list[Stops] = []
    end = time.monotonic() + seconds
    for prompt in prompts[:TRIES]:
        left = end - time.monotonic()
        if asked and left <= 0:
            break
        ids = (*opening, *prompt.ids[: prompt.answer])
        answer = greedy_answer(model, ids, ends, limit, progress, stage, left)
        ended = bool(answer) and answer[-1] in ends
        asked.append(Stops(prompt, len(answer) if ended else None, answer))
        if ended:
            return asked[-1]
    return asked[0]


@torch.no_grad()
def greedy_answer(
    model: nn.Module,
    asked: Sequence[int],
    ends: Sequence[int],
    limit: int,
    progress: Progress,
    stage: str,
    seconds: float = math.inf,
) -> tuple[int, ...]:
    """Return the tokens that follow `asked`, the likeliest each time, up to one of `ends`.

    They are `limit` at most, and fewer, at least one, where they take longer than so many `seconds`.
    """
    ids = torch.tensor([list(asked)], device=next(model.parameters()).device)
    config = GenerationConfig(
        max_new_tokens=limit, do_sample=False, eos_token_id=list(ends) or None, pad_token_id=ends[0] if ends else None
    )
    ignore_positions()
    criteria = StoppingCriteriaList([_Watch(progress, stage, limit, seconds)])
    output: Tensor = model.generate(  # type: ignore[operator]
        input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config, stopping_criteria=criteria
    )
    return tuple(output[0, ids.shape[1] :].tolist())
