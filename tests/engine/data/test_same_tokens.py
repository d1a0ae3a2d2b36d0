"""The same row gives the same tokens and mask in the preview, in the X-ray, in training and in the check of an export."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from studio.config import RunConfig, parse_config
from studio.engine.control import no_progress
from studio.engine.data.inspect import inspect_data
from studio.engine.data.prepare import prepare_data
from studio.engine.data.rows import IGNORED, RowStore
from studio.engine.data.xray import open_xray
from studio.engine.export.prompts import choose_prompts
from tests.engine.data.families import FAMILIES, R1, tokenizer_of

Kind = Literal["base", "chat"]
ROWS, LENGTH = 6, 224


def turns(n: int, role: str, content: str) -> list[dict[str, str]]:
    said = [("user", f"Question {n}?"), ("assistant", f"First {n}."), ("user", "And?"), ("assistant", f"Then {n} 微.")]
    roles = {"user": "human", "assistant": "gpt"} if role == "from" else {}
    return [{role: roles.get(who, who), content: text} for who, text in said]


SAMPLES: dict[str, Callable[[int], dict[str, Any]]] = {
    "messages": lambda n: {"messages": turns(n, "role", "content")},
    "sharegpt": lambda n: {"conversations": turns(n, "from", "value")},
    "alpaca": lambda n: {"instruction": "Add.", "input": f"1 {n}", "output": f"sum {n} <|im_end|>"},
    "prompt-completion": lambda n: {"prompt": f"wor {n} wor", "completion": "ld, hello"},
    "text": lambda n: {"text": f"hello world {n}, " * 90},
    "preference": lambda n: {"prompt": f"Question {n}?", "chosen": f"Good {n}.", "rejected": "Bad."},
    "rated": lambda n: {"prompt": f"Question {n}?", "completion": f"Good {n}.", "label": True},
}
TRAIN_ON = ("completions", "all")
TOKENIZERS = {"chatml": FAMILIES["chatml"], "thoughts": R1, "rewritten": FAMILIES["qwen-3"]}


def texts_of(store: RowStore, tokenizer: PreTrainedTokenizerFast) -> Iterator[tuple[int, str, str, int]]:
    """Number, text, learnt text and count of tokens of each row."""
    for row in store:
        learnt = row.labels[row.labels != IGNORED]
        assert np.array_equal(row.input_ids[row.labels != IGNORED], learnt)
        yield row.number, tokenizer.decode(row.input_ids), tokenizer.decode(learnt), len(row.input_ids)


CASES = [(name, "chatml", train_on, kind) for name in SAMPLES for train_on in TRAIN_ON for kind in ("base", "chat")]
CASES += [("messages", family, train_on, "chat") for family in ("thoughts", "rewritten") for train_on in TRAIN_ON]


@pytest.mark.parametrize(("name", "family", "train_on", "kind"), CASES)
def test_a_row_is_the_same_everywhere(
    name: str, family: str, train_on: str, kind: Kind, jsonl: Callable[..., str], tmp_path: Path
) -> None:
    path = jsonl([SAMPLES[name](n) for n in range(1, ROWS + 1)])
    config = configuration(path, name, train_on)
    source = config.data.sources[0]
    tokenizer = tokenizer_of(TOKENIZERS[family])
    settings: Any = {"train_on": train_on, "max_length": LENGTH}
    data = prepare_data(config.data, tokenizer, kind, 0)
    taught = sorted([*texts_of(data.train, tokenizer), *texts_of(data.validation, tokenizer)])
    assert {number for number, *_ in taught} == set(range(1, ROWS + 1))

    preview = inspect_data(source, tokenizer, kind, rows=ROWS, **settings)
    by_number = defaultdict(list)
    for row in taught:
        by_number[row[0]].append(row[1:])
    for shown in preview.rendered:
        text = "".join(text for text, _ in shown.segments)
        learnt = "".join(text for text, keep in shown.segments if keep)
        first = tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"][:1])
        assert (text, shown.tokens) in [(row[0], row[2]) for row in by_number[shown.number]]
        assert learnt in [row[1] for row in by_number[shown.number]] + [
            first + row[1] for row in by_number[shown.number]
        ]  # the first token of a row is never learnt

    xray = open_xray(source, tokenizer, kind, **settings)
    rows = [xray.row(place) for place in range(len(xray.numbers))]
    assert (
        sorted(
            (
                row.number,
                "".join(part.text for part in row.segments),
                "".join(part.text for part in row.segments if part.learnt),
                row.tokens,
            )
            for row in rows
        )
        == taught
    )

    made = cast(Any, SimpleNamespace(config=config, kind=kind))
    prompts = choose_prompts(made, tokenizer_of(TOKENIZERS[family]), no_progress)
    held = {tuple(row.input_ids.tolist()) for row in data.validation}
    assert prompts
    assert {prompt.ids for prompt in prompts} <= held


def configuration(path: str, name: str, train_on: str) -> RunConfig:
    return parse_config(
        {
            "model": {"path": "model"},
            "data": {
                "sources": [{"path": path, "format": name}],
                "validation_fraction": 0.4,
                "max_length": LENGTH,
                "train_on": train_on,
            },
        }
    )
