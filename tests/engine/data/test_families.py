"""Each family's conversations are taught as the library renders them: the answers, told by prefix difference."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from studio.engine.data.encoder import Encoding
from studio.engine.data.formats.base import Message
from studio.engine.data.formats.values import conversation
from studio.engine.data.render import Renderer
from studio.engine.data.report import Remark, RowSkipped
from tests.engine.data.families import FAMILIES, MISTRAL, QWEN_3, R1, Family, tokenizer_of

SYSTEM = ("system", "Answer in one word.")
TALK = (
    ("user", "What is LoRA?"),
    ("assistant", "A method, that learns a low-rank change."),
    ("user", "And the capital of France?"),
    ("assistant", "Paris。\n\nIt is 微调."),
    ("user", "Thanks!"),
    ("assistant", "hello world"),
)
SHAPES = {
    "one answer": TALK[:2],
    "three answers": TALK,
    "system, one answer": (SYSTEM, *TALK[:2]),
    "system, three answers": (SYSTEM, *TALK),
}

Turns = list[dict[str, str]]


def turns_of(shape: str) -> Turns:
    return [{"role": role, "content": content} for role, content in SHAPES[shape]]


def encode(tokenizer: PreTrainedTokenizerFast, turns: Turns, train_on: Any = "completions") -> tuple[Encoding, ...]:
    messages = [Message(t["role"], t["content"], thought=t.get("reasoning_content", "")) for t in turns]
    return Renderer(tokenizer, "chat", train_on).encode(conversation(messages))


def library(tokenizer: PreTrainedTokenizerFast, turns: Turns, ask: bool = False) -> str:
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask))


def learnt(tokenizer: PreTrainedTokenizerFast, row: Encoding) -> list[str]:
    """The parts that are learnt, each as text."""
    pairs = zip(row.input_ids, row.supervised, strict=True)
    groups = groupby(pairs, key=lambda pair: pair[1])
    return [str(tokenizer.decode([token for token, _ in group])) for keep, group in groups if keep]


def by_prefix_difference(tokenizer: PreTrainedTokenizerFast, turns: Turns) -> list[str]:
    """What each answer adds to the rendering that asks for it."""
    found = []
    for place, turn in enumerate(turns):
        if turn["role"] == "assistant":
            asked, text = library(tokenizer, turns[:place], ask=True), library(tokenizer, turns[: place + 1])
            assert text.startswith(asked)
            found.append(text[len(asked) :].removesuffix("\n"))
    return found


CASES = [
    (name, shape)
    for name, family in FAMILIES.items()
    for shape in SHAPES
    if family is not QWEN_3 and ("system" not in shape or family.system == "shown")
]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_a_row_is_what_the_library_renders_and_what_prefix_difference_finds_is_learnt(name: str, shape: str) -> None:
    tokenizer, turns = tokenizer_of(FAMILIES[name]), turns_of(shape)
    rows = encode(tokenizer, turns)
    if name == "phi-3" and "three" in shape:  # its template ends a conversation with a token that later turns take away
        assert [tokenizer.decode(row.input_ids) for row in rows] == [
            library(tokenizer, turns[: place + 1]) for place, turn in enumerate(turns) if turn["role"] == "assistant"
        ]
    else:
        assert [row.input_ids for row in rows] == [tokenizer.apply_chat_template(turns, return_dict=False)]
    assert [part for row in rows for part in learnt(tokenizer, row)] == by_prefix_difference(tokenizer, turns)
    assert "system_dropped" not in {note.code for row in rows for note in row.notes}


@pytest.mark.parametrize("shape", SHAPES)
def test_qwen_is_taught_each_answer_after_what_it_will_be_asked_and_no_empty_thought(shape: str) -> None:
    tokenizer, turns = tokenizer_of(QWEN_3), turns_of(shape)
    rows = encode(tokenizer, turns)
    places = [place for place, turn in enumerate(turns) if turn["role"] == "assistant"]
    assert [tokenizer.decode(row.input_ids) for row in rows] == [
        library(tokenizer, turns[: place + 1]) for place in places
    ]
    assert [learnt(tokenizer, row) for row in rows] == [[turns[place]["content"] + "<|im_end|>"] for place in places]


@pytest.mark.parametrize("beside", [True, False], ids=["beside the answer", "in the answer"])
def test_qwen_is_taught_the_thoughts_that_rows_have(beside: bool) -> None:
    tokenizer = tokenizer_of(QWEN_3)
    thought, said = {"reasoning_content": "add them"}, {"content": "4"}
    answer = thought | said if beside else {"content": "<think>\nadd them\n</think>\n\n4"}
    (row,) = encode(tokenizer, [{"role": "user", "content": "2+2?"}, {"role": "assistant", **answer}])
    assert learnt(tokenizer, row) == ["<think>\nadd them\n</think>\n\n4<|im_end|>"]
    assert row.notes == ()


@pytest.mark.parametrize("beside", [True, False], ids=["beside the answer", "in the answer"])
def test_a_thought_that_the_template_cuts_out_is_taught_after_what_will_be_asked(beside: bool) -> None:
    tokenizer = tokenizer_of(R1)
    thought, said = {"reasoning_content": "add them"}, {"content": "4"}
    answer = thought | said if beside else {"content": "<think>\nadd them\n</think>\n\n4"}
    turns = [{"role": "user", "content": "2+2?"}, {"role": "assistant", **answer}]
    (row,) = encode(tokenizer, turns)
    asked = library(tokenizer, turns[:1], ask=True)
    assert tokenizer.decode(row.input_ids) == asked + "add them\n</think>\n\n4<|end|>"
    assert learnt(tokenizer, row) == ["add them\n</think>\n\n4<|end|>"]
    assert [note.code for note in row.notes] == ["cut_from_answer"]


def test_an_earlier_thought_that_the_template_cuts_is_learnt_in_a_row_of_its_own() -> None:
    tokenizer = tokenizer_of(R1)
    turns = [
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "<think>\nadd\n</think>\n\n4"},
        {"role": "user", "content": "3+3?"},
        {"role": "assistant", "content": "6"},
    ]
    rows = encode(tokenizer, turns)
    assert [learnt(tokenizer, row) for row in rows] == [["add\n</think>\n\n4<|end|>"], ["6<|end|>"]]
    asked = library(tokenizer, turns[:3], ask=True)
    assert tokenizer.decode(rows[1].input_ids) == asked + "\n</think>\n\n6<|end|>"
    assert {note.code for note in rows[0].notes} == {"cut_from_answer", "answer_opens_differently", "rewritten_turns"}


@pytest.mark.parametrize("shape", ["system, one answer", "system, three answers"])
def test_a_system_text_that_only_stands_before_the_last_question_is_taught_where_it_will_be_asked(shape: str) -> None:
    tokenizer, turns = tokenizer_of(MISTRAL), turns_of(shape)
    rows = encode(tokenizer, turns)
    places = [place for place, turn in enumerate(turns) if turn["role"] == "assistant"]
    assert [tokenizer.decode(row.input_ids) for row in rows] == [
        f"{library(tokenizer, turns[:place], ask=True)} {turns[place]['content']}</s>" for place in places
    ]
    assert [learnt(tokenizer, row) for row in rows] == [[f" {turns[place]['content']}</s>"] for place in places]
    assert all("Answer in one word." in tokenizer.decode(row.input_ids) for row in rows)
    assert "asked_otherwise" in {note.code for row in rows for note in row.notes}


def test_a_system_turn_that_the_template_refuses_skips_the_row_and_is_told_from_other_refusals() -> None:
    tokenizer = tokenizer_of(FAMILIES["gemma"])
    with pytest.raises(RowSkipped) as reason:
        encode(tokenizer, turns_of("system, one answer"))
    assert reason.value.remark == Remark("system_refused")
    tokenizer.chat_template = "{{ raise_exception('No.') }}"
    with pytest.raises(RowSkipped) as reason:
        encode(tokenizer, turns_of("system, one answer"))
    assert reason.value.remark.code == "refused_by_template"


@pytest.mark.parametrize("family", ["gemma", "without system", "chatml"])
def test_a_system_text_can_stand_before_the_next_question_in_training_and_when_the_model_is_asked(family: str) -> None:
    tokenizer = tokenizer_of(FAMILIES.get(family, WITHOUT_SYSTEM))
    renderer = Renderer(tokenizer, "chat", system_turns="question")
    talk = [("system", "Curt."), ("user", "2+2?"), ("assistant", "4"), ("system", "Late."), ("assistant", "5")]
    meant = [("user", "Curt.\n\n2+2?"), ("assistant", "4"), ("user", "Late."), ("assistant", "5")]
    (row,) = renderer.encode(conversation([Message(*turn) for turn in talk]))
    (same,) = Renderer(tokenizer, "chat").encode(conversation([Message(*turn) for turn in meant]))
    assert (row.input_ids, row.supervised, row.notes) == (same.input_ids, same.supervised, ())
    assert renderer.prompt([Message(*turn) for turn in talk[:2]]) == tokenizer.apply_chat_template(
        [{"role": "user", "content": "Curt.\n\n2+2?"}], add_generation_prompt=True, return_dict=False
    )


WITHOUT_SYSTEM = Family(
    "{% for m in messages if m.role != 'system' %}{{ m.role }}: {{ m.content[:20] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}",
    ("</s>",),
    "</s>",
)


def test_turns_that_the_template_leaves_out_are_named() -> None:
    tokenizer = tokenizer_of(WITHOUT_SYSTEM)
    (row,) = encode(tokenizer, turns_of("system, one answer"))
    assert [note.code for note in row.notes] == ["system_dropped", "cut_from_answer"]
    assert learnt(tokenizer, row) == ["A method, that learns a low-rank change.</s>"]
    question = [{"role": "user", "content": "What is " * 9}, {"role": "assistant", "content": "Paris"}]
    (row,) = encode(tokenizer, question)
    assert [note.code for note in row.notes] == ["question_dropped"]


def test_an_answer_that_is_not_to_be_learnt_is_shown_and_masked() -> None:
    tokenizer = tokenizer_of(FAMILIES["chatml"])
    messages = [Message("user", "a"), Message("assistant", "bad", learnt=False), Message("user", "c")]
    example = conversation([*messages, Message("assistant", "good")])
    (row,) = Renderer(tokenizer, "chat").encode(example)
    assert learnt(tokenizer, row) == ["good<|im_end|>"]
    (row,) = Renderer(tokenizer, "chat", "all").encode(example)
    everything = "".join(learnt(tokenizer, row))
    assert "bad" not in everything
    assert "user\nc<|im_end|>\n<|im_start|>assistant\ngood<|im_end|>" in everything


@pytest.mark.parametrize("name", FAMILIES)
def test_on_request_all_is_learnt_but_empty_thoughts(name: str) -> None:
    tokenizer, turns = tokenizer_of(FAMILIES[name]), turns_of("one answer")
    (row,) = encode(tokenizer, turns, "all")
    whole = library(tokenizer, turns)
    assert tokenizer.decode(row.input_ids) == whole
    first = tokenizer.decode(row.input_ids[:1])
    assert "".join(learnt(tokenizer, row)) == whole.removeprefix(first).replace("<think>\n\n</think>\n\n", "")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prompt_is_what_the_library_asks_with(name: str) -> None:
    tokenizer, turns = tokenizer_of(FAMILIES[name]), turns_of("three answers")[:5]
    assert Renderer(tokenizer, "chat").prompt(turns) == tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_dict=False
    )
