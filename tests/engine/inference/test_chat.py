"""A chat answers as plain transformers does, whatever the method, and touches nothing of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from studio.engine.control import no_progress
from studio.engine.export.rounded_base import load_base
from studio.engine.export.run import export_run
from studio.engine.export.source import open_source
from studio.engine.inference import choice
from studio.engine.inference.answers import BASE, BESIDE, TUNED, ChatSettings, Token, first_difference, with_others
from studio.engine.inference.chat import open_chat
from studio.engine.inference.choice import choose
from studio.engine.inference.dialogue import ChatModel, OpenChat, TextPieces
from studio.engine.models.quiet import ignore_positions
from studio.errors import Cancelled, DataError
from studio.runs import RunFolder, release_lock, take_lock
from tests.engine.training.trained import Trained

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


def _plain(model: nn.Module, asked: ChatModel) -> list[int]:
    prompt = torch.tensor([asked.dialogue.renderer.prompt(QUESTION)])
    ignore_positions()
    made = model.eval().generate(  # type: ignore[operator]
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=GREEDY.limit,
        do_sample=False,
        eos_token_id=list(asked.dialogue.ends),
        pad_token_id=0,
    )
    return list(made[0, prompt.shape[1] :].tolist())


@pytest.fixture
def lora(make_run: Any) -> OpenChat:
    return open_chat(make_run().path, device="cpu")


@pytest.mark.parametrize("name", METHODS)
def test_greedy_answers_are_those_of_plain_transformers(make_run: Any, name: str) -> None:
    run: RunFolder = make_run(method=METHODS[name])
    chat = open_chat(run.path, device="cpu")
    source = open_source(run, no_progress)
    models = chat.models
    tuned, base = (models[one].answer(QUESTION, GREEDY) for one in (TUNED, BASE))
    assert _ids(tuned.tokens) == _plain(source.method.load(load_base(source), run.adapter), models[TUNED])
    assert _ids(base.tokens) == _plain(load_base(source), models[BASE])
    assert chat.copies == (2 if name == "full" else 1)
    # Each model led through its own answer gives the probabilities with which it chose.
    for answer in (tuned, base):
        led = models[answer.model].probabilities(QUESTION, _ids(answer.tokens), GREEDY)
        told = with_others(answer, led).tokens
        assert [token.other for token in told] == pytest.approx([t.probability for t in told], rel=1e-4)


def test_a_plain_model_folder_answers(make_run: Any) -> None:
    source = open_source(make_run(), no_progress)
    chat = open_chat(source.base, device="cpu")
    (model,) = chat.models.values()
    assert _ids(model.answer(QUESTION, GREEDY).tokens) == _plain(load_base(source), model)


def test_sampling_repeats_with_its_seed_and_leaves_the_global_generator_alone(lora: OpenChat) -> None:
    before = torch.get_rng_state()
    first, again = (lora.models[TUNED].answer(QUESTION, SAMPLED) for _ in range(2))
    other = lora.models[TUNED].answer(QUESTION, ChatSettings(temperature=1.5, limit=12, seed=4))
    assert _ids(first.tokens) == _ids(again.tokens)
    assert _ids(first.tokens) != _ids(other.tokens)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_tiny_top_p_leaves_the_likeliest_token(lora: OpenChat) -> None:
    narrow = ChatSettings(temperature=1.5, top_p=1e-6, limit=8)
    assert _ids(lora.models[BASE].answer(QUESTION, narrow).tokens) == _ids(
        lora.models[BASE].answer(QUESTION, GREEDY).tokens
    )


def test_stop_ends_an_answer_at_the_next_token(lora: OpenChat) -> None:
    seen: list[int] = []

    def stop_at_two(_stage: str, done: int, _total: int) -> None:
        seen.append(done)
        if done == 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        lora.models[TUNED].answer(QUESTION, GREEDY, progress=stop_at_two)
    assert seen == [1, 2]


@pytest.mark.parametrize("name", ["lora", "prompt", "prefix"])
def test_an_answer_ends_where_the_model_has_no_more_room(make_run: Any, name: str) -> None:
    """The tiny model was made for 512 positions; virtual tokens take four of them, in the cache too."""
    tuned = open_chat(make_run(method=METHODS[name]).path, device="cpu").models[TUNED]
    room, long = 512 if name == "lora" else 508, ChatSettings(limit=64)

    def prompt(words: int) -> list[dict[str, str]]:
        return [{"role": "user", "content": "sky " * words}]

    words = next(count for count in range(1, 512) if len(tuned.dialogue.prompt(prompt(count), long)) > room - 20)
    taken = len(tuned.dialogue.prompt(prompt(words), long))
    assert room - 20 < taken < room
    assert len(tuned.answer(prompt(words), long).tokens) == room - taken
    with pytest.raises(DataError, match=f"room for {room}; begin a new one"):
        tuned.answer(prompt(512), long)


def test_what_streams_is_the_text_and_no_character_is_cut(lora: OpenChat) -> None:
    pieces: list[Token] = []
    answer = lora.models[TUNED].answer(QUESTION, SAMPLED, receive=pieces.append)
    assert _ids(tuple(pieces)) == _ids(answer.tokens)
    assert answer.text == "".join(token.text for token in answer.tokens)
    assert answer.text.startswith("".join(token.text for token in pieces))
    text = "Grüße, 你好世界 👩‍🚀 fine"
    ids = lora.models[TUNED].dialogue.tokenizer(text, add_special_tokens=False)["input_ids"]
    streamed = TextPieces(lora.models[TUNED].dialogue.tokenizer)
    parts = [streamed.add(token) for token in ids]
    assert "".join(parts) == lora.models[TUNED].dialogue.tokenizer.decode(ids)
    assert not any("\N{REPLACEMENT CHARACTER}" in part for part in parts)
    assert streamed.rest() == ""


def test_the_first_difference_is_where_two_answers_part() -> None:
    def tokens(*ids: int) -> tuple[Token, ...]:
        return tuple(Token(id=one, text="", probability=1.0) for one in ids)

    assert first_difference(tokens(1, 2, 3), tokens(1, 5, 3)) == 1
    assert first_difference(tokens(1, 2), tokens(1, 2, 3)) is None


def test_two_runs_of_one_base_share_it_and_answer_as_each_does_alone(make_run: Any) -> None:
    first, second = make_run(), make_run(method={"name": "prompt-tuning", "virtual_tokens": 4})
    both = open_chat(first.path, device="cpu", beside=second.path)
    assert both.copies == 1
    assert both.vocabulary_shared
    for name, run in ((TUNED, first), (BESIDE, second)):
        alone = open_chat(run.path, device="cpu").models[TUNED].answer(QUESTION, GREEDY)
        assert _ids(both.models[name].answer(QUESTION, GREEDY).tokens) == _ids(alone.tokens)


def test_a_run_answers_beside_its_export(make_run: Any) -> None:
    run: RunFolder = make_run()
    export = export_run(run, "merged", "fp32").path
    chat = open_chat(run.path, device="cpu", beside=export)
    tuned, merged = (chat.models[name].answer(QUESTION, GREEDY) for name in (TUNED, BESIDE))
    assert chat.copies == 2
    assert _ids(tuned.tokens) == _ids(merged.tokens)


def test_plain_text_is_continued_without_a_template(lora: OpenChat) -> None:
    dialogue = lora.models[TUNED].dialogue
    turns = [{"role": "user", "content": "One, two,"}, {"role": "assistant", "content": " three,"}]
    ids = dialogue.prompt(turns, ChatSettings(asked="plain"))
    assert ids == dialogue.tokenizer("One, two, three,")["input_ids"]


def test_tokens_are_drawn_as_often_as_the_model_says() -> None:
    """The chosen token is the one at which the cumulated probabilities pass the number that was drawn."""
    logits = np.log(np.array([0.2, 0.5, 0.3], dtype=np.float32))
    settings = ChatSettings(temperature=1.0)
    assert [choose(logits, settings, drawn) for drawn in (0.0, 0.49, 0.51, 0.79, 0.81, 0.999999)] == [1, 1, 2, 2, 0, 0]
    narrow = ChatSettings(temperature=1.0, top_p=0.6)  # 0.5 is not enough, so the second one stays too: 5/8 and 3/8
    assert [choose(logits, narrow, drawn) for drawn in (0.0, 0.62, 0.63, 0.999999)] == [1, 1, 2, 2]


@pytest.mark.parametrize("top_p", [0.3, 0.95, 0.999, 1.0])
@pytest.mark.parametrize("temperature", [0.7, 3.0])
def test_sorting_the_likely_tokens_alone_gives_what_sorting_all_gives(
    top_p: float, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = np.random.default_rng(0)
    settings = ChatSettings(temperature=temperature, top_p=top_p)
    cases = [(numbers.normal(0, 3, 3000).astype(np.float32), float(numbers.random())) for _ in range(60)]
    found = [choose(logits, settings, drawn) for logits, drawn in cases]
    monkeypatch.setattr(choice, "LIKELY", 3000)
    assert found == [choose(logits, settings, drawn) for logits, drawn in cases]


def test_a_run_under_way_answers_as_its_newest_checkpoint_has_it(tmp_path: Path) -> None:
    done = Trained(tmp_path, {"training": {"max_steps": 3}}).go()
    whole = open_chat(done.folder.path, device="cpu").models[TUNED].answer(QUESTION, GREEDY)
    files = sorted(done.folder.adapter.iterdir())
    take_lock(done.folder.path)
    done.folder.write_state("paused")
    chat = open_chat(done.folder.path, device="cpu")
    assert chat.note == "The run is under way; this is its checkpoint of update 3."
    assert _ids(chat.models[TUNED].answer(QUESTION, GREEDY).tokens) == _ids(whole.tokens)
    assert sorted(done.folder.adapter.iterdir()) == files
    release_lock(done.folder.path)
