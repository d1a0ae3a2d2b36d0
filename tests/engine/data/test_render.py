"""What the model sees of a row, and which of its tokens are learnt."""

from __future__ import annotations

import json
import random
import threading
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from studio.engine.data import render
from studio.engine.data.encoder import DIVIDED, NO_ROOM, Encoding
from studio.engine.data.formats import FORMATS
from studio.engine.data.formats.base import Example, Message, Piece
from studio.engine.data.formats.values import conversation
from studio.engine.data.render import Renderer
from studio.engine.data.report import RowSkipped
from studio.engine.models import template
from studio.errors import DataError, ModelError

IM_END = 2
HOSTILE = [
    "<|im_end|>",
    "<|im_start|>",
    "<|endoftext|>",
    "<|im_",
    "end|>",
    "<|",
    "|>",
    "<",
    " ",
    "\n",
    "hello",
    "é",
    "你好",
    "👩‍👩‍👧",
    "\u202eabc",
    "\u2028",
    "e\u0301",
    "\0",
    "\ufeff",
    "</s>",
    "<s>",
    "\U000f0000",
]


def talk(*contents: str, first: str = "user") -> Example:
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    return conversation([Message(roles[place % 2], content) for place, content in enumerate(contents)])


def read(name: str, **row: Any) -> Example:
    chosen = FORMATS.get(name)
    return chosen.read(row, chosen.columns(row, {}))


def learnt(tokenizer: PreTrainedTokenizerFast, row: Encoding) -> str:
    return tokenizer.decode([token for token, keep in zip(row.input_ids, row.supervised, strict=True) if keep])


def codes(row: Encoding) -> list[str]:
    return [note.code for note in row.notes]


def only(rows: tuple[Encoding, ...]) -> Encoding:
    assert len(rows) == 1
    return rows[0]


# Chat models


def test_the_answer_and_its_end_of_turn_token_are_learnt_and_nothing_else(tokenizer: PreTrainedTokenizerFast) -> None:
    row = only(Renderer(tokenizer, "chat").encode(talk("What is LoRA?", "A method.")))
    assert tokenizer.decode(row.input_ids) == (
        "<|im_start|>user\nWhat is LoRA?<|im_end|>\n<|im_start|>assistant\nA method.<|im_end|>\n"
    )
    assert learnt(tokenizer, row) == "A method.<|im_end|>"
    assert row.segments[-2:] == (("A method.<|im_end|>", True), ("\n", False))


def test_tokens_are_those_of_the_library_s_own_rendering(tokenizer: PreTrainedTokenizerFast) -> None:
    example = talk("What is LoRA?", "A method.\n", "And Paris?", "  The capital. ")
    row = only(Renderer(tokenizer, "chat").encode(example))
    turns = [{"role": message.role, "content": message.content} for message in example.messages]
    assert row.input_ids == tokenizer.apply_chat_template(turns, return_dict=False)


def test_every_answer_of_a_conversation_is_learnt(tokenizer: PreTrainedTokenizerFast) -> None:
    row = only(Renderer(tokenizer, "chat").encode(talk("a", "First.", "b", "Second.", "c", "Third.")))
    assert learnt(tokenizer, row) == "First.<|im_end|>Second.<|im_end|>Third.<|im_end|>"


def test_an_assistant_who_speaks_first_is_learnt_too(tokenizer: PreTrainedTokenizerFast) -> None:
    row = only(Renderer(tokenizer, "chat").encode(talk("Hello!", "hi", "How?", first="assistant")))
    assert learnt(tokenizer, row) == "Hello!<|im_end|>How?<|im_end|>"


def test_a_system_turn_in_the_middle_is_shown_and_not_learnt(tokenizer: PreTrainedTokenizerFast) -> None:
    turns = [Message("user", "a"), Message("system", "Be brief."), Message("assistant", "B")]
    row = only(Renderer(tokenizer, "chat").encode(conversation(turns)))
    assert "system\nBe brief." in tokenizer.decode(row.input_ids)
    assert learnt(tokenizer, row) == "B<|im_end|>"


def test_the_prompt_of_chat_is_the_beginning_of_the_row(tokenizer: PreTrainedTokenizerFast) -> None:
    renderer = Renderer(tokenizer, "chat")
    row = only(renderer.encode(talk("What is LoRA?", "A method.")))
    prompt = renderer.prompt([{"role": "user", "content": "What is LoRA?"}])
    assert row.input_ids[: len(prompt)] == prompt
    assert row.supervised.index(True) == len(prompt)


def test_everything_is_learnt_on_request_but_the_first_token(tokenizer: PreTrainedTokenizerFast) -> None:
    row = only(Renderer(tokenizer, "chat", "all").encode(talk("a", "b")))
    assert row.supervised == [False] + [True] * (len(row.input_ids) - 1)


def test_alpaca_speaks_to_a_chat_model_through_its_template(tokenizer: PreTrainedTokenizerFast) -> None:
    row = only(Renderer(tokenizer, "chat").encode(read("alpaca", instruction="Add.", input="1 2", output="3")))
    assert tokenizer.decode(row.input_ids).startswith(
        "<|im_start|>user\nAdd.\n\n1 2<|im_end|>\n<|im_start|>assistant\n3"
    )


def test_plain_text_is_shown_to_a_chat_model_without_its_template(tokenizer: PreTrainedTokenizerFast) -> None:
    row = only(Renderer(tokenizer, "chat").encode(read("text", text="hello world")))
    assert tokenizer.decode(row.input_ids) == "hello world<|im_end|>"


THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_where_earlier_turns_are_rewritten_each_answer_is_its_own_row(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer(THINKING)
    rows = Renderer(tokenizer, "chat").encode(talk("a", "First.", "b", "Second."))
    assert [learnt(tokenizer, row) for row in rows] == [
        "First.<|im_end|>",
        "Second.<|im_end|>",
    ]
    assert "<|im_start|>assistant\nFirst.<|im_end|>" in tokenizer.decode(rows[1].input_ids)
    assert all(codes(row) == ["answer_opens_differently", "rewritten_turns"] for row in rows)


def test_a_template_that_asks_with_an_open_thought_still_shows_where_answers_begin(make_tokenizer: Any) -> None:
    asking = "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
    plain = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    tokenizer = make_tokenizer(plain + asking)
    renderer = Renderer(tokenizer, "chat")
    row = only(renderer.encode(talk("a", "<the answer")))
    assert learnt(tokenizer, row) == "<the answer<|im_end|>"
    asked = renderer.prompt([{"role": "user", "content": "a"}])
    assert row.input_ids[: len(asked)] == asked
    assert row.notes[0].code == "answer_opens_differently"


def test_a_template_without_a_generation_prompt_teaches_the_header_as_well(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer("{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}<|im_end|>{% endfor %}")
    row = only(Renderer(tokenizer, "chat").encode(talk("a", "b")))
    assert learnt(tokenizer, row) == "[assistant]b<|im_end|>"


def test_where_the_template_writes_no_end_the_end_token_is_added_and_learnt(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}")
    row = only(Renderer(tokenizer, "chat").encode(talk("a", "b")))
    assert tokenizer.decode(row.input_ids) == "user: a\nassistant: b\n<|im_end|>"
    assert row.input_ids[-1] == IM_END
    assert row.supervised[-1]


def test_the_first_token_is_not_written_twice(make_tokenizer: Any) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = make_tokenizer(
        "{{ bos_token }}{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}", bos_token="<|endoftext|>"
    )
    opening = TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)])
    tokenizer.backend_tokenizer.post_processor = opening
    assert tokenizer("hello")["input_ids"][0] == 0
    assert only(Renderer(tokenizer, "chat").encode(talk("a", "b"))).input_ids.count(0) == 1
    base = only(Renderer(tokenizer, "base").encode(read("text", text="hello")))
    assert base.input_ids.count(0) == 1
    assert base.input_ids[0] == 0
    assert base.segments[0] == ("<|endoftext|>", False)
    assert Renderer(tokenizer, "base").prompt([{"role": "user", "content": "a"}]).count(0) == 1


def test_what_was_rendered_on_another_day_is_rendered_again_where_the_template_tells_the_date(
    make_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dated = Renderer(make_tokenizer("{{ strftime_now('%d %b') }}{{ messages }}"), "chat")
    undated = Renderer(make_tokenizer("{{ messages }}"), "chat")
    before = dated.fingerprint, undated.fingerprint
    assert (dated.fingerprint, undated.fingerprint) == before
    monkeypatch.setattr(render, "_today", lambda: "2001-01-01")
    assert dated.fingerprint != before[0]
    assert undated.fingerprint == before[1]


# Templates that fail


def refusal(renderer: Renderer, example: Example) -> str:
    with pytest.raises(RowSkipped) as reason:
        renderer.encode(example)
    return reason.value.remark.text()


def test_a_conversation_that_the_template_refuses_is_skipped_with_its_words(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer("{{ raise_exception('Conversation roles must alternate') }}")
    assert refusal(Renderer(tokenizer, "chat"), talk("a", "b")) == (
        "the chat template refuses it (Conversation roles must alternate)"
    )


@pytest.mark.parametrize("template", ["{{ messages[7]['content'].x.y }}", "{{ 1 // 0 }}", "{{ messages.append(1) }}"])
def test_a_template_that_fails_skips_the_row(template: str, make_tokenizer: Any) -> None:
    assert "the chat template refuses it" in refusal(Renderer(make_tokenizer(template), "chat"), talk("a", "b"))


def test_a_template_that_hides_the_answer_skips_the_row(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer("{{ messages|length }}{% if add_generation_prompt %}?{% endif %}")
    assert "does not show where" in refusal(Renderer(tokenizer, "chat"), talk("a", "b"))


def test_a_template_that_makes_far_too_much_text_is_stopped(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer("{% for i in range(9999) %}{{ messages[0]['content'] * 999 }}{% endfor %}")
    assert "far too much text" in refusal(Renderer(tokenizer, "chat"), talk("a", "b"))


@pytest.mark.parametrize("template", ["{% for m in messages %}", "{{ messages"])
def test_a_template_that_is_not_valid_is_refused(template: str, make_tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="Line 1 of the model's chat template is not valid"):
        Renderer(make_tokenizer(template), "chat").encode(talk("a", "b"))


def test_a_chat_model_without_a_template_is_refused(make_tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="no chat template"):
        Renderer(make_tokenizer(None), "chat")


ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


def test_a_template_without_an_end_is_stopped_on_any_thread(
    make_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "SECONDS", 0.2)
    renderer = Renderer(make_tokenizer(ENDLESS), "chat")
    found: list[str] = []

    def attempt() -> None:
        try:
            renderer.encode(talk("a", "b"))
        except ModelError as error:
            found.append(str(error))

    attempt()
    worker = threading.Thread(target=attempt)
    worker.start()
    worker.join()
    assert len(found) == 2
    assert all("does not come to an end" in sentence for sentence in found)


# Base models


def test_prompt_and_completion_follow_each_other_and_end_with_the_end_token(tokenizer: PreTrainedTokenizerFast) -> None:
    row = only(Renderer(tokenizer, "base").encode(read("prompt-completion", prompt="Question:", completion=" Paris")))
    assert tokenizer.decode(row.input_ids) == "Question: Paris<|im_end|>"
    assert learnt(tokenizer, row) == " Paris<|im_end|>"


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [("The capital: ", "Paris"), ("wor", "ld"), ("a\n", "\nb"), ("x  ", "  y"), ("👩‍", "👩‍👧"), ("Answer:", " Paris")],
)
def test_no_token_reaches_from_the_prompt_into_the_answer(
    prompt: str, completion: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    row = only(Renderer(tokenizer, "base").encode(read("prompt-completion", prompt=prompt, completion=completion)))
    begin = row.supervised.index(True)
    assert tokenizer.decode(row.input_ids[:begin]) == prompt
    assert tokenizer.decode(row.input_ids[begin:]) == completion + "<|im_end|>"
    assert row.input_ids[:begin] == tokenizer(prompt, add_special_tokens=False)["input_ids"]


SPACED = [
    ("Q:\n\n", "Yes"),
    ("Q:  ", "Yes"),
    ("Q:\n\n", "\nYes"),
    ("Q:\n\n\n", "  Yes"),
    ("Q: \n\n", "是"),
    ("\n\n", "Yes"),
]


@pytest.mark.parametrize(("prompt", "completion"), SPACED)
def test_a_row_begins_with_the_tokens_of_its_prompt_though_space_is_split_by_what_follows(
    prompt: str, completion: str, make_tokenizer: Any
) -> None:
    tokenizer = make_tokenizer("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    tokenizer.backend_tokenizer.model = with_merges(tokenizer, [("Ċ", "Ċ"), ("Ġ", "Ġ")])
    assert tokenizer.tokenize("a\n\n") == ["a", "ĊĊ"]
    renderer = Renderer(tokenizer, "base")
    row = only(renderer.encode(Example((Piece(prompt, learnt=False), Piece(completion, learnt=True)))))
    asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert row.input_ids[: len(asked)] == asked
    assert row.supervised.index(True) == len(asked)
    assert tokenizer.decode(row.input_ids) == f"{prompt}{completion}<|im_end|>"


def with_merges(tokenizer: PreTrainedTokenizerFast, merges: list[tuple[str, str]]) -> Any:
    from tokenizers import models

    state = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    vocabulary = {**state["vocab"]}
    for pair in merges:
        vocabulary.setdefault("".join(pair), len(vocabulary))
    return models.BPE(vocab=vocabulary, merges=[*map(tuple, state["merges"]), *merges])


def test_alpaca_has_its_customary_layout(tokenizer: PreTrainedTokenizerFast) -> None:
    both = only(Renderer(tokenizer, "base").encode(read("alpaca", instruction="Add.", input="1 2", output="3")))
    assert tokenizer.decode(both.input_ids) == (
        "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
        "response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n"
        "### Response:\n3<|im_end|>"
    )
    bare = only(Renderer(tokenizer, "base").encode(read("alpaca", instruction="Add 1 2.", output="3")))
    assert "### Input" not in tokenizer.decode(bare.input_ids)
    assert learnt(tokenizer, bare) == "3<|im_end|>"


def test_a_conversation_is_laid_out_under_headings_and_each_answer_ends(tokenizer: PreTrainedTokenizerFast) -> None:
    renderer = Renderer(tokenizer, "base")
    row = only(renderer.encode(talk("a", "b", "c", "d")))
    assert tokenizer.decode(row.input_ids) == (
        "### User:\na\n\n### Assistant:\nb<|im_end|>\n\n### User:\nc\n\n### Assistant:\nd<|im_end|>"
    )
    assert learnt(tokenizer, row) == "b<|im_end|>d<|im_end|>"
    prompt = renderer.prompt([{"role": "user", "content": "a"}])
    assert row.input_ids[: len(prompt)] == prompt
    assert row.supervised.index(True) == len(prompt)


def test_a_model_without_an_end_token_is_taught_the_text_alone(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer(None, eos_token=None)
    row = only(Renderer(tokenizer, "base").encode(read("text", text="hello world")))
    assert tokenizer.decode(row.input_ids) == "hello world"


# Length


def test_a_long_row_is_cut_and_said_to_be(tokenizer: PreTrainedTokenizerFast) -> None:
    example = read("prompt-completion", prompt="hello", completion="hello world " * 50)
    row = only(Renderer(tokenizer, "base", max_length=16).encode(example))
    assert len(row.input_ids) == len(row.supervised) == 16
    assert row.lost > 0
    assert row.lost == len(only(Renderer(tokenizer, "base").encode(example)).input_ids) - 16
    assert "".join(text for text, _ in row.segments) == tokenizer.decode(row.input_ids)


@pytest.mark.parametrize(
    "text",
    [
        "hello world, this is Paris. What is LoRA?\n\nIt teaches a model\nsomething new. " * 30,
        "微调让模型学会新的东西。什么是低秩适配？" * 40,
        "x" * 700,
        "👩‍👩‍👧 é " * 100,
        "a spelled <|im_end|> stays text " * 40,
    ],
)
def test_a_long_text_is_cut_into_rows_and_nothing_of_it_is_lost(text: str, tokenizer: PreTrainedTokenizerFast) -> None:
    rows = Renderer(tokenizer, "base", max_length=32).encode(read("text", text=text))
    assert len(rows) > 3
    assert max(len(row.input_ids) for row in rows) <= 32
    assert "".join(tokenizer.decode(row.input_ids) for row in rows) == text + "<|im_end|>"
    assert "".join(part for row in rows for part, _ in row.segments) == text + "<|im_end|>"
    assert [row.input_ids.count(2) for row in rows] == [0] * (len(rows) - 1) + [1]
    assert all(sum(row.supervised) == len(row.input_ids) - 1 for row in rows)  # nothing precedes the first token
    assert all(DIVIDED in row.notes and not row.lost for row in rows)


def test_a_long_text_is_cut_where_a_paragraph_a_line_or_a_word_ends(tokenizer: PreTrainedTokenizerFast) -> None:
    def first(text: str) -> str:
        rows = Renderer(tokenizer, "base", max_length=64).encode(read("text", text=text))
        return "".join(part for part, _ in rows[0].segments)

    words = "hello world " * 29
    assert first(words + "\n\nhello\nhello world" + words) == words + "\n\n"
    assert first(words + "\nhello. hello world" + words) == words + "\n"
    assert first(words + "hello. hello world hello" + words) == words + "hello."
    assert first("hello world " * 90).endswith(("hello", "world"))


def test_a_row_whose_answer_is_cut_away_is_skipped_with_the_length_it_needs(tokenizer: PreTrainedTokenizerFast) -> None:
    example = talk("hello " * 50, "b")
    with pytest.raises(RowSkipped) as reason:
        Renderer(tokenizer, "chat", max_length=16).encode(example)
    assert reason.value.remark == NO_ROOM
    assert reason.value.needed == len(only(Renderer(tokenizer, "chat").encode(example)).input_ids)


def test_a_very_long_row_is_encoded_only_as_far_as_it_is_kept(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "hello world, this is Paris. " * 40_000
    example = read("prompt-completion", prompt="hello", completion=text)
    row = only(Renderer(tokenizer, "base", max_length=64).encode(example))
    prompt, begin = tokenizer("hello")["input_ids"], tokenizer(text[:4000])["input_ids"]
    assert row.input_ids == [*prompt, *begin][:64]
    assert row.lost == pytest.approx(len(tokenizer(text)["input_ids"]), rel=0.01)


def test_text_of_few_tokens_and_many_characters_is_encoded_to_its_end(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer(None)
    tokenizer.add_tokens(["=" * 200])
    row = only(Renderer(tokenizer, "base", max_length=64).encode(read("text", text="=" * 200 * 40 + "end")))
    assert len(row.input_ids) == 40 + len(tokenizer("end")["input_ids"]) + 1
    assert row.lost == 0


# Control tokens in the text of rows


def control_ids(ids: list[int]) -> list[int]:
    return [token for token in ids if token < 3]


def test_a_control_token_in_a_row_s_text_stays_text(tokenizer: PreTrainedTokenizerFast) -> None:
    row = only(Renderer(tokenizer, "chat").encode(talk("Say <|im_end|> twice <|im_start|>system", "<|im_end|> no")))
    assert control_ids(row.input_ids) == [1, 2, 1, 2]
    assert tokenizer.decode(row.input_ids) == (
        "<|im_start|>user\nSay <|im_end|> twice <|im_start|>system<|im_end|>\n"
        "<|im_start|>assistant\n<|im_end|> no<|im_end|>\n"
    )
    assert learnt(tokenizer, row) == "<|im_end|> no<|im_end|>"
    assert "".join(text for text, _ in row.segments) == tokenizer.decode(row.input_ids)
    assert row.spelled


def test_hostile_text_never_becomes_a_control_token_and_is_kept_to_the_byte(tokenizer: PreTrainedTokenizerFast) -> None:
    source = random.Random(0)
    chat, base = Renderer(tokenizer, "chat"), Renderer(tokenizer, "base")
    for _ in range(300):
        question, answer = ("x" + "".join(source.choices(HOSTILE, k=source.randint(1, 8))) for _ in range(2))
        row = only(chat.encode(talk(question, answer)))
        assert control_ids(row.input_ids) == [1, 2, 1, 2]
        assert tokenizer.decode(row.input_ids) == (
            f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"
        )
        assert learnt(tokenizer, row) == answer + "<|im_end|>"
        row = only(base.encode(Example((Piece(question, learnt=False), Piece(answer, learnt=True)))))
        assert control_ids(row.input_ids) == [2]
        assert tokenizer.decode(row.input_ids) == question + answer + "<|im_end|>"
        assert learnt(tokenizer, row) == answer + "<|im_end|>"
        prompt = chat.prompt([{"role": "user", "content": question}])
        assert control_ids(prompt) == [1, 2, 1]


def test_tokens_that_only_the_template_knows_are_kept_out_of_questions_and_allowed_in_answers(
    make_tokenizer: Any,
) -> None:
    template = "{% for m in messages %}<user>{{ m['content'] }}<|im_end|>{% endfor %}"
    tokenizer = make_tokenizer(template)
    tokenizer.add_tokens(["<user>"])
    marker = tokenizer.convert_tokens_to_ids("<user>")
    row = only(Renderer(tokenizer, "chat").encode(talk("a <user> b", "c <user> d")))
    assert row.input_ids.count(marker) == 3


def test_the_reserved_characters_are_kept_alone_and_refused_beside_control_tokens(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    renderer = Renderer(tokenizer, "chat")
    alone = only(renderer.encode(talk("\U00100001\U0010fffd", "b")))
    assert "\U00100001\U0010fffd" in tokenizer.decode(alone.input_ids)
    assert "private-use" in refusal(renderer, talk("\U00100001\U0010fffd <|im_end|>", "b"))
    with pytest.raises(DataError, match="private-use"):
        renderer.prompt([{"role": "user", "content": "\U00100001 <|im_end|>"}])


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """Unigram with <s> and </s> in its vocabulary, as Llama 2 has them; it splits at spaces only."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = [(letter, -5.0) for letter in "▁abcdehlorsw<>/[]"]
    vocabulary = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("▁hello", -1.0), ("▁world", -1.0), *letters]
    backend = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    backend.add_special_tokens([AddedToken(name, normalized=False) for name in ("<unk>", "<s>", "</s>")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[{{ m['content'] }}]"
        "{% else %} {{ m['content'] }} {{ eos_token }}{% endif %}{% endfor %}"
    )
    return tokenizer


def test_a_vocabulary_that_holds_control_tokens_gives_none_of_them_away() -> None:
    tokenizer = sentencepiece_like()
    renderer = Renderer(tokenizer, "chat")
    plain = only(renderer.encode(talk("hello world", "hello")))
    assert plain.input_ids == tokenizer("<s>[hello world] hello </s>", add_special_tokens=False)["input_ids"]
    assert learnt(tokenizer, plain) == "hello </s>"
    spelled = only(renderer.encode(talk("hello </s> <s>", "</s> hello")))
    assert [token for token in spelled.input_ids if token in (1, 2)] == [1, 2]
    assert tokenizer.decode(spelled.input_ids) == "<s>[hello </s> <s>] </s> hello </s>"


def test_text_with_unknown_characters_is_not_taken_for_control_tokens() -> None:
    tokenizer = sentencepiece_like()
    row = only(Renderer(tokenizer, "chat").encode(talk("hello ☃", "world")))
    assert row.input_ids.count(0) == 1


def test_many_examples_give_what_each_gives_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    renderer = Renderer(tokenizer, "chat", max_length=32)
    examples = [talk("a", "b"), talk("hello " * 99, "b"), talk("<|im_end|>", "c"), read("text", text="d")]
    for example, outcome in zip(examples, renderer.encode_all(examples), strict=True):
        if isinstance(outcome, RowSkipped):
            assert refusal(renderer, example) == outcome.remark.text()
        else:
            assert renderer.encode(example) == outcome
