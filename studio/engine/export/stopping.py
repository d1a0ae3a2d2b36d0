"""Whether a model stops by itself: greedy generation until a token that ends an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from studio.engine.control import Progress
from studio.engine.export.prompts import Prompt
from studio.engine.models.quiet import ignore_positions

# The live model may take this many tokens over an answer, and is asked at most so many prompts.
LIMIT = 128
TRIES = 3


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
    """

    asked: int
    ended: int


class _Report(StoppingCriteria):
    """Reports progress after each token; `progress` raises `Cancelled` through generate()."""

    def __init__(self, progress: Progress, stage: str, limit: int) -> None:
        self._progress, self._stage, self._limit, self._done = progress, stage, limit, 0

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        self._done += 1
        self._progress(self._stage, self._done, self._limit)
        return torch.zeros(len(input_ids), dtype=torch.bool)


def first_stop(
    model: nn.Module,
    prompts: Sequence[Prompt],
    ends: Sequence[int],
    limit: int,
    progress: Progress,
    stage: str,
    opening: tuple[int, ...] = (),
) -> Stops:
    """Ask prompts in turn until the model ends one answer within `limit` tokens; return that, or the first one.

    `opening` are tokens that stand in front of every prompt.
    """
    asked: list[Stops] = []
    for prompt in prompts[:TRIES]:
        answer = greedy_answer(model, (*opening, *prompt.ids[: prompt.answer]), ends, limit, progress, stage)
        ended = bool(answer) and answer[-1] in ends
        asked.append(Stops(prompt, len(answer) if ended else None, answer))
        if ended:
            return asked[-1]
    return asked[0]


@torch.no_grad()
def greedy_answer(
    model: nn.Module, asked: Sequence[int], ends: Sequence[int], limit: int, progress: Progress, stage: str
) -> tuple[int, ...]:
    """Return the tokens that follow `asked`, the likeliest each time, up to one of `ends` or `limit` of them."""
    ids = torch.tensor([list(asked)], device=next(model.parameters()).device)
    config = GenerationConfig(
        max_new_tokens=limit, do_sample=False, eos_token_id=list(ends) or None, pad_token_id=ends[0] if ends else None
    )
    ignore_positions()
    criteria = StoppingCriteriaList([_Report(progress, stage, limit)])
    output: Tensor = model.generate(  # type: ignore[operator]
        input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config, stopping_criteria=criteria
    )
    return tuple(output[0, ids.shape[1] :].tolist())
