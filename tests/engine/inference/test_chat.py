"""A chat answers as plain transformers does, whatever the method, and touches nothing of a training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from studio.engine.control import no_progress
from studio.engine.export.rounded_base import load_base
from studio.engine.export.source import open_source
from studio.engine.inference.answers import ChatSettings, Token, first_difference
from studio.engine.inference.chat import BASE, TUNED, Chat, TextPieces, open_chat
from studio.engine.models.quiet import ignore_positions
from studio.errors import Cancelled
from studio.runs import RunFolder

METHODS: dict[str, dict[str, Any]] = {
    "lora": {},
    "full": {"name": "full"},
    "bottleneck": {"name": "bottleneck-adapter"},
    "prompt": {"name": "prompt-tuning", "virtual_tokens": 4},
    "prefix": {"name": "prefix-tuning", "virtual_tokens": 4},
}
QUESTION = [{"role": "user", "content": "Which colour has the sky?"}]
GREEDY = ChatSettings(limit=8)
SAMPLED = ChatSettings(temperature=1.5, top_p=0.9, limit=12, seed=3)


def _ids(tokens: tuple[Token, ...]) -> list[int]:
    return [token.id for token in tokens]


def _plain(model: nn.Module, chat: Chat) -> list[int]:
    prompt = torch.tensor([chat.renderer.prompt(QUESTION)])
    ignore_positions()
    made = model.eval().generate(  # type: ignore[operator]
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=GREEDY.limit,
        do_sample=False,
        eos_token_id=list(chat.ends),
        pad_token_id=0,
    )
    return list(made[0, prompt.shape[1] :].tolist())


@pytest.fixture
def lora(make_run: Any) -> Chat:
    return open_chat(make_run().path, device="cpu")


@pytest.mark.parametrize("name", METHODS)
def test_greedy_answers_are_those_of_plain_transformers(make_run: Any, name: str) -> None:
    run: RunFolder = make_run(method=METHODS[name])
    chat = open_chat(run.path, device="cpu")
    source = open_source(run, no_progress)
    tuned = chat.answer(TUNED, QUESTION, GREEDY)
    base = chat.answer(BASE, QUESTION, GREEDY)
    assert _ids(tuned.tokens) == _plain(source.method.load(load_base(source), run.adapter), chat)
    assert _ids(base.tokens) == _plain(load_base(source), chat)
    # Each model led through its own answer gives the probabilities with which it chose.
    for answer in (tuned, base):
        led = chat.compare(answer, QUESTION, answer.model)
        assert [token.other for token in led.tokens] == pytest.approx([t.probability for t in led.tokens], rel=1e-4)


def test_a_plain_model_folder_answers(make_run: Any) -> None:
    source = open_source(make_run(), no_progress)
    chat = open_chat(source.base, device="cpu")
    (name,) = chat.models
    assert _ids(chat.answer(name, QUESTION, GREEDY).tokens) == _plain(load_base(source), chat)


def test_sampling_repeats_with_its_seed_and_leaves_the_global_generator_alone(lora: Chat) -> None:
    before = torch.get_rng_state()
    first, again = (lora.answer(TUNED, QUESTION, SAMPLED) for _ in range(2))
    other = lora.answer(TUNED, QUESTION, ChatSettings(temperature=1.5, limit=12, seed=4))
    assert _ids(first.tokens) == _ids(again.tokens)
    assert _ids(first.tokens) != _ids(other.tokens)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_tiny_top_p_leaves_the_likeliest_token(lora: Chat) -> None:
    narrow = ChatSettings(temperature=1.5, top_p=1e-6, limit=8)
    assert _ids(lora.answer(BASE, QUESTION, narrow).tokens) == _ids(lora.answer(BASE, QUESTION, GREEDY).tokens)


def test_stop_ends_an_answer_at_the_next_token(lora: Chat) -> None:
    seen: list[int] = []

    def stop_at_two(_stage: str, done: int, _total: int) -> None:
        seen.append(done)
        if done == 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        lora.answer(TUNED, QUESTION, GREEDY, progress=stop_at_two)
    assert seen == [1, 2]


def test_what_streams_is_the_text_and_no_character_is_cut(lora: Chat) -> None:
    pieces: list[str] = []
    answer = lora.answer(TUNED, QUESTION, SAMPLED, receive=pieces.append)
    assert "".join(pieces) == answer.text == "".join(token.text for token in answer.tokens)
    text = "Grüße, 你好世界 👩‍🚀 fine"
    ids = lora.tokenizer(text, add_special_tokens=False)["input_ids"]
    streamed = TextPieces(lora.tokenizer)
    parts = [streamed.add(token) for token in ids]
    assert "".join(parts) == lora.tokenizer.decode(ids)
    assert not any("\N{REPLACEMENT CHARACTER}" in part for part in parts)
    assert streamed.rest() == ""


def test_the_first_difference_is_where_two_answers_part() -> None:
    def tokens(*ids: int) -> tuple[Token, ...]:
        return tuple(Token(id=one, text="", probability=1.0) for one in ids)

    assert first_difference(tokens(1, 2, 3), tokens(1, 5, 3)) == 1
    assert first_difference(tokens(1, 2), tokens(1, 2, 3)) is None
