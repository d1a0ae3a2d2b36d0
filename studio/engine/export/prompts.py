"""What an export is tried on: the run's own held-out rows, or a few built-in prompts where there are none."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.config.data import RENDERING
from studio.engine.control import Progress
from studio.engine.data.prepare import prepare_data
from studio.engine.data.render import Renderer
from studio.engine.export.source import Source
from studio.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from studio.engine.data.rows import TokenizedRow

ROWS = 8
TOKENS = 256
# Long rows are fewer: whatever is wrong with an export shows at every token, and each costs a forward pass per model.
TOKENS_IN_ALL = 384
LEAST_ROWS = 3

# Prompts, not words for the window: they are the same in every language of the app.
BUILT_IN = (
    "What is the capital of France?",
    "Explain in two sentences why the sky is blue.",
    "Write a short note to a colleague who starts a new job on Monday.",
    "Count from 1 to 20, then add up 17 and 25.",
    "中国最长的河流是哪一条？",
    "请用两句话解释什么是机器学习。",
    "写一段话，介绍你喜欢的一本书。",
    "把“今天天气很好，我们去公园吧”翻译成英文。",
)


@dataclass(frozen=True)
class Prompt:
    """One row of tokens. `answer` is where the part begins that the model was trained to say.

    `source` is a file's name, or "built-in"; `number` is the row in it, from 1.
    """

    ids: tuple[int, ...]
    answer: int
    source: str
    number: int

    def describe(self) -> dict[str, Any]:
        """Return what the certificate says of it: enough to find the row and to know it again, none of its text."""
        digest = hashlib.sha256(json.dumps(self.ids).encode()).hexdigest()
        return {"source": self.source, "row": self.number, "tokens": len(self.ids), "sha256": digest}


def choose_prompts(source: Source, tokenizer: PreTrainedTokenizerBase, progress: Progress) -> tuple[Prompt, ...]:
    """Return up to `ROWS` held-out rows of the run, spread over all of them and cut to `TOKENS` tokens.

    Rows beyond `TOKENS_IN_ALL` are left out, but for the first `LEAST_ROWS`.

    The built-in prompts stand in where the dataset is gone or changed beyond reading, or nothing was held out.
    """
    try:
        data = prepare_data(source.config.data, tokenizer, source.kind, source.config.training.seed, progress)
    except DataError:
        return built_in_prompts(source, tokenizer)
    count = min(ROWS, len(data.validation))
    spread = [_from_row(data.validation[index * len(data.validation) // count]) for index in range(count)]
    sums = itertools.accumulate(len(prompt.ids) for prompt in spread)
    taken = sum(number < LEAST_ROWS or tokens <= TOKENS_IN_ALL for number, tokens in enumerate(sums))
    return tuple(spread[:taken]) or built_in_prompts(source, tokenizer)


def answer_ends(prompts: Sequence[Prompt], ends: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return, for each row whose answer ends in it, the row's number and the position in front of the ending token."""
    found = []
    for number, prompt in enumerate(prompts):
        places = (place for place in range(max(1, prompt.answer), len(prompt.ids)) if prompt.ids[place] in ends)
        found += [(number, place - 1) for place in places][:1]
    return tuple(found)


def _from_row(row: TokenizedRow) -> Prompt:
    ids = tuple(row.input_ids[:TOKENS].tolist())
    answer = next((place for place, label in enumerate(row.labels) if label >= 0), 0)
    # Plain text is learnt from its second token on and has no prompt: its first quarter is taken for one.
    prompt_length = min(answer, len(ids)) if answer > 1 else max(1, len(ids) // 4)
    return Prompt(ids, prompt_length, Path(row.source).name, row.number)


def built_in_prompts(source: Source, tokenizer: PreTrainedTokenizerBase) -> tuple[Prompt, ...]:
    """Return the built-in prompts as the run's model is asked them."""
    settings = source.config.data.model_dump(include=RENDERING) | {"max_length": TOKENS}
    renderer = Renderer(tokenizer, source.kind, **settings)
    rows = (renderer.prompt([{"role": "user", "content": text}]) for text in BUILT_IN)
    return tuple(Prompt(tuple(ids), len(ids), "built-in", number) for number, ids in enumerate(rows, start=1))
