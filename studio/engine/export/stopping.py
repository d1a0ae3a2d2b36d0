"""Whether a model stops by itself: greedy generation until a token that ends an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from studio.engine.control import Progress
from studio.engine.export.prompts import Prompt

# The live model may take this many tokens over an answer, and is asked at most so many prompts.
LIMIT = 128
TRIES = 3


@dataclass(frozen=True)
class Stops:
    """After how many tokens a model ended its answer to one prompt; `tokens` is None when it did not."""

    prompt: Prompt
    tokens: int | None


class _Report(StoppingCriteria):
    """Reports progress after each token; a cancel leaves generation as an exception."""

    def __init__(self, progress: Progress, stage: str, limit: int) -> None:
        self._progress, self._stage, self._limit, self._done = progress, stage, limit, 0

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        self._done += 1
        self._progress(self._stage, self._done, self._limit)
        return torch.zeros(len(input_ids), dtype=torch.bool)


def first_stop(
    model: nn.Module, prompts: Sequence[Prompt], ends: Sequence[int], limit: int, progress: Progress, stage: str
) -> Stops:
    """Ask prompts in turn until the model ends one answer within `limit` tokens; return that, or the first prompt."""
    for prompt in prompts[:TRIES]:
        tokens = _tokens_until_end(model, prompt, ends, limit, progress, stage)
        if tokens is not None:
            return Stops(prompt, tokens)
    return Stops(prompts[0], None)


@torch.no_grad()
def _tokens_until_end(
    model: nn.Module, prompt: Prompt, ends: Sequence[int], limit: int, progress: Progress, stage: str
) -> int | None:
    ids = torch.tensor([prompt.ids[: prompt.answer]])
    config = GenerationConfig(
        max_new_tokens=limit, do_sample=False, eos_token_id=list(ends) or None, pad_token_id=ends[0] if ends else None
    )
    criteria = StoppingCriteriaList([_Report(progress, stage, limit)])
    output: Tensor = model.generate(  # type: ignore[operator]
        input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config, stopping_criteria=criteria
    )
    answer = output[0, ids.shape[1] :].tolist()
    return len(answer) if answer and answer[-1] in ends else None
