"""The same row gives the same tokens and mask in the preview, in the X-ray, in training and in the check of an export."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, Literal, cast

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from studio.config import RunConfig, parse_config
from studio.config.data import RENDERING
from studio.engine.control import no_progress
from studio.engine.data.inspect import inspect_data
from studio.engine.data.prepare import prepare_data
from studio.engine.data.rows import IGNORED, RowStore
from studio.engine.data.xray import open_xray
from studio.engine.export.prompts import choose_prompts
from studio.errors import DataError
from tests.engine.data.families import FAMILIES, R1, tokenizer_of
from tests.layouts.further import FURTHER
from tests.layouts.table import CASES as LAYOUTS

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
    name: str, family: str, train_on: str, kind: Kind, jsonl: Callable[..., str]
) -> None:
    path = jsonl([SAMPLES[name](n) for n in range(1, ROWS + 1)])
    config = configuration(path, format=name, train_on=train_on)
    taught = same_everywhere(config, tokenizer_of(TOKENIZERS[family]), kind)
    assert {number for number, *_ in taught} == set(range(1, ROWS + 1))


FILES = {path.relative_to(LAYOUTS).as_posix(): path for path in LAYOUTS.rglob("*") if path.is_file()}
AWKWARD: list[tuple[str, str, Kind]] = [
    *((name, "chatml", "base") for name in FILES),
    *((name, family, "chat") for name in FILES for family in ("gemma", "qwen-3")),
    *((name, "mistral", "chat") for name in FURTHER),
]


@pytest.mark.parametrize(("name", "family", "kind"), AWKWARD)
def test_the_rows_of_an_awkward_file_are_the_same_everywhere(
    name: str, family: str, kind: Kind, jsonl: Callable[..., str]
) -> None:
    path = str(FILES[name]) if name in FILES else jsonl(FURTHER[name])
    config = configuration(path, bad_rows="skip", system_turns="question" if family == "gemma" else "template")
    same_everywhere(config, tokenizer_of(FAMILIES[family]), kind)


def same_everywhere(config: RunConfig, tokenizer: PreTrainedTokenizerFast, kind: Kind) -> list[tuple[Any, ...]]:
    """Assert that preview, X-ray and the check of an export have the rows of training; return these.

    A file none of whose rows can be taught teaches nowhere.
    """
    source = config.data.sources[0]
    settings = config.data.model_dump(include=RENDERING)
    made = cast(Any, SimpleNamespace(config=config, kind=kind))
    prompts = choose_prompts(made, tokenizer, no_progress)
    try:
        data = prepare_data(config.data, tokenizer, kind, config.training.seed)
    except DataError:
        assert {prompt.source for prompt in prompts} == {"built-in"}
        with suppress(DataError):
            assert not inspect_data(source, tokenizer, kind, **settings).rendered
            assert not len(open_xray(source, tokenizer, kind, **settings).numbers)
        return []
    taught = sorted([*texts_of(data.train, tokenizer), *texts_of(data.validation, tokenizer)])

    preview = inspect_data(source, tokenizer, kind, rows=ROWS, **settings)
    by_number = defaultdict(list)
    for row in taught:
        by_number[row[0]].append(row[1:])
    assert [shown.number for shown in preview.rendered] == sorted(by_number)[:ROWS]
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

    held = {tuple(row.input_ids.tolist()): row for row in data.validation}
    for prompt in prompts if held else ():
        row = held[prompt.ids]
        begin = int(np.flatnonzero(row.labels != IGNORED)[0])
        assert prompt.answer == begin or begin <= 1  # plain text has no question
    assert prompts
    return taught


def configuration(path: str, train_on: str = "completions", system_turns: str = "template", **source: str) -> RunConfig:
    return parse_config(
        {
            "model": {"path": "model"},
            "data": {
                "sources": [{"path": path, **source}],
                "validation_fraction": 0.4,
                "max_length": LENGTH,
                "train_on": train_on,
                "system_turns": system_turns,
            },
        }
    )
