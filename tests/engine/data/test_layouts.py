"""What the row says is what is taught, over the layouts in `tests.layouts`, which are listed in docs/data-layouts.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from transformers import PreTrainedTokenizerFast

from studio.config import DataSource
from studio.config.data import TrainOn
from studio.engine.control import no_progress
from studio.engine.data.examples import open_source
from studio.engine.data.formats.base import Example, Message
from studio.engine.data.inspect import DataInspection, inspect_data, peek_columns
from studio.engine.data.report import Remark
from studio.engine.data.xray import open_xray
from studio.errors import DataError
from tests.layouts.further import FURTHER, said
from tests.layouts.table import CASES, PAGE, describe, page

Jsonl = Callable[..., str]


def only(path: str, **options: Any) -> Example:
    (_, example), *_ = open_source(DataSource(path=path, **options), no_progress).examples()
    return example


def learnt(found: DataInspection) -> str:
    return "\n".join(text for row in found.rendered for text, supervised in row.segments if supervised)


def read(found: DataInspection) -> str:
    return "\n".join(text for row in found.rendered for text, _ in row.segments)


def test_the_page_of_layouts_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it again: python -m tests.layouts.table"


@pytest.mark.parametrize("train_on", ["completions", "all"])
@pytest.mark.parametrize("kind", ["base", "chat"])
@pytest.mark.parametrize("name", [name for name, rows in FURTHER.items() if "UNTAUGHT" in str(rows)])
def test_what_is_marked_as_not_to_be_learnt_never_is(
    name: str, kind: Literal["base", "chat"], train_on: TrainOn, jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast
) -> None:
    found = inspect_data(DataSource(path=jsonl(FURTHER[name])), tokenizer, kind, train_on)
    assert found.rendered
    assert "UNTAUGHT" not in learnt(found)
    counted = {"answers_only_read", "rows_skipped"} & {problem.code for problem in found.problems}
    assert counted


@pytest.mark.parametrize("value", [0, 0.0, "0", False, "false", "no", "bad", -1, "Rejected"])
@pytest.mark.parametrize("name", ["weight", "train", "label", "kto_tag", "loss", "quality"])
def test_a_row_whose_mark_says_no_is_skipped_and_counted(name: str, value: Any, jsonl: Jsonl) -> None:
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d", name: value}]
    found = inspect_data(DataSource(path=jsonl(rows)))
    assert found.skipped == 1
    assert name not in found.unused_columns


@pytest.mark.parametrize("value", [1, "1.0", True, "yes", "good"])
def test_a_row_whose_mark_says_yes_is_learnt(value: Any, jsonl: Jsonl) -> None:
    found = inspect_data(DataSource(path=jsonl([{"prompt": "a", "completion": "b", "label": value}])))
    assert (found.skipped, [problem.code for problem in found.problems]) == (0, ["rated_data"])


def test_a_mark_of_a_row_that_is_not_understood_is_asked_about_until_its_column_is_ignored(jsonl: Jsonl) -> None:
    path = jsonl([{"question": "a", "answer": "b", "label": "geography"}])
    found = inspect_data(DataSource(path=path))
    asked = next(problem for problem in found.problems if problem.code == "mark_not_understood")
    assert '"label"' in asked.text()
    assert '"geography"' in asked.text()
    assert inspect_data(DataSource(path=path, ignored_columns=("label",))).problems == ()


def test_a_mark_of_a_message_that_is_not_understood_skips_its_row(jsonl: Jsonl) -> None:
    turns = [said("user", "a"), said("assistant", "b", weight="heavy")]
    found = inspect_data(DataSource(path=jsonl([{"messages": turns}])))
    assert found.reasons == {Remark.of("unknown_mark", field="weight", value="heavy"): 1}


def test_a_weight_between_0_and_1_is_learnt_as_1_and_told(jsonl: Jsonl) -> None:
    turns = [said("user", "a"), said("assistant", "b", weight=0.5)]
    found = inspect_data(DataSource(path=jsonl([{"messages": turns}, {"messages": turns, "loss_weight": 0.5}])))
    assert [problem.code for problem in found.problems] == ["weights_count_as_one"]


def test_a_row_none_of_whose_answers_is_to_be_learnt_is_skipped(jsonl: Jsonl) -> None:
    found = inspect_data(DataSource(path=jsonl([{"messages": [said("user", "a"), said("assistant", "b", weight=0)]}])))
    assert found.reasons == {Remark("no_learnt_answer"): 1}


@pytest.mark.parametrize("kind", ["base", "chat"])
@pytest.mark.parametrize(
    "columns",
    [
        {"prompt": "QUESTION", "completion": "b"},
        {"instruction": "QUESTION", "output": "b"},
        {"messages": [said("user", "QUESTION"), said("assistant", "b")]},
        {"conversations": [{"from": "human", "value": "QUESTION"}, {"from": "gpt", "value": "b"}]},
        {"prompt": "QUESTION", "chosen": "b", "rejected": "c"},
        {"prompt": "QUESTION", "completion": "b", "label": True},
    ],
)
def test_companions_are_read_in_every_format_and_not_learnt(
    columns: dict[str, Any], kind: Literal["base", "chat"], jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast
) -> None:
    beside = {
        "system_prompt": "SYSTEM",
        "context": "CONTEXT",
        "history": [["EARLIER", "ANSWERED"]],
        "choices": ["FIRST", "SECOND"],
        "source": "x",
    }
    found = inspect_data(DataSource(path=jsonl([columns | beside])), tokenizer, kind)
    shown, taught = read(found), learnt(found)
    places = [shown.index(word) for word in ("SYSTEM", "EARLIER", "ANSWERED", "QUESTION", "FIRST", "SECOND")]
    assert places == sorted(places)
    assert "CONTEXT" in shown
    assert taught.startswith("b")
    assert not any(word in taught for word in ("SYSTEM", "CONTEXT", "EARLIER", "ANSWERED", "FIRST"))
    assert found.unused_columns == ("source",)
    assert "source" in next(problem for problem in found.problems if problem.code == "unused_columns").text()


def test_context_stands_before_the_question(jsonl: Jsonl) -> None:
    example = only(jsonl([{"question": "How deep?", "context": "It is 90 m deep.", "answer": "90 m"}]))
    assert example.messages[0].content == "It is 90 m deep.\n\nHow deep?"


def test_a_column_that_repeats_another_is_read_once(jsonl: Jsonl) -> None:
    row = {"prompt": "Context: the lake. How deep is the lake?", "question": "How deep is the lake?", "answer": "90 m"}
    assert only(jsonl([row])).messages[0].content == row["prompt"]


def test_an_ignored_column_is_neither_used_nor_named(jsonl: Jsonl) -> None:
    path = jsonl([{"question": "a", "context": "c", "answer": "b", "id": 1}])
    source = DataSource(path=path, ignored_columns=("context", "id"))
    assert only(path, ignored_columns=("context", "id")).messages[0].content == "a"
    assert inspect_data(source).unused_columns == ()


@pytest.mark.parametrize(
    ("row", "question"),
    [
        ({"instruction": "Translate.", "input": "cat", "chosen": "chat", "rejected": "x"}, "Translate.\n\ncat"),
        ({"prompt": "Hi", "chosen": [said("assistant", "chat")], "rejected": [said("assistant", "x")]}, "Hi"),
        ({"chosen": "\n\nHuman: Hi\n\nAssistant: chat", "rejected": "\n\nHuman: Hi\n\nAssistant: x"}, "Hi"),
        ({"prompt": "\n\nHuman: Hi\n\nAssistant:", "chosen": "chat", "rejected": "x"}, "Hi"),
        ({"question": "Hi", "response_j": "chat", "response_k": "x"}, "Hi"),
        ({"prompt": "Hi", "chosen": ["chat", "x"], "rejected": "x"}, "Hi"),
    ],
)
def test_preference_rows_keep_their_whole_question(row: dict[str, Any], question: str, jsonl: Jsonl) -> None:
    assert only(jsonl([row])).messages == (Message("user", question), Message("assistant", "chat"))


@pytest.mark.parametrize(
    "row",
    [
        {"question": "2+2?", "rationale": "two and two", "answer": "4"},
        {"instruction": "2+2?", "thinking": "two and two", "output": "4"},
        {"messages": [said("user", "2+2?"), said("assistant", "4", reasoning="two and two")]},
        {"messages": [said("user", "2+2?"), said("assistant", "4")], "reasoning_content": "two and two"},
    ],
)
def test_thoughts_are_read_and_can_be_written_into_the_answer_or_left_out(
    row: dict[str, Any], jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast
) -> None:
    path = jsonl([row])
    assert only(path).messages[-1].thought == "two and two"
    for kind in ("base", "chat"):
        written = inspect_data(DataSource(path=path, thoughts="answer"), tokenizer, kind)  # type: ignore[arg-type]
        assert learnt(written).startswith("<think>\ntwo and two\n</think>\n\n4")
        omitted = inspect_data(DataSource(path=path, thoughts="omit"), tokenizer, kind)  # type: ignore[arg-type]
        assert learnt(omitted).startswith("4")
        assert omitted.problems == ()
        left_out = inspect_data(DataSource(path=path), tokenizer, kind)  # type: ignore[arg-type]
        assert "thought_left_out" in {problem.code for problem in left_out.problems}


@pytest.mark.parametrize("name", ["image", "images", "audio", "video"])
def test_a_row_about_an_image_or_a_sound_is_refused_by_the_name_of_its_column(name: str, jsonl: Jsonl) -> None:
    rows = [{"prompt": "What is it?", "completion": "A lake.", name: ["a.bin"]}, {"prompt": "a", "completion": "b"}]
    assert inspect_data(DataSource(path=jsonl(rows))).reasons == {Remark.of("needs_media", field=name): 1}


def test_the_marker_of_an_image_is_never_a_question(jsonl: Jsonl) -> None:
    rows = [
        {"prompt": "<image>\nWhat is it?", "completion": "A lake."},
        {"prompt": "What is <image>?", "completion": "b"},
    ]
    assert inspect_data(DataSource(path=jsonl(rows))).reasons == {Remark("holds_media"): 1}


def test_the_number_of_an_answer_is_taught_as_the_choice_that_it_numbers(jsonl: Jsonl) -> None:
    path = jsonl([{"question": "a?", "options": ["x", "y"], "answer": number} for number in (1, 2)])
    assert only(path).messages[-1].content == "B. y"
    assert inspect_data(DataSource(path=path)).reasons == {Remark.of("no_such_choice", number="2"): 1}


def test_a_question_at_the_end_is_left_out_and_said_to_be(jsonl: Jsonl) -> None:
    turns = [said("user", "2+2?"), said("assistant", "4"), said("user", "Thanks.")]
    beside = {"messages": turns, "thought": "two and two", "choices": ["3", "4"]}
    for path in (jsonl([beside]), jsonl([{**beside, "messages": ["2+2?", "4", "Thanks."]}], "texts.jsonl")):
        asked = Message("user", "2+2?\n\nA. 3\nB. 4")
        assert only(path).messages == (asked, Message("assistant", "4", thought="two and two"))
        assert [problem.code for problem in inspect_data(DataSource(path=path)).problems] == ["unanswered_turn"]


def test_choices_in_columns_of_letters_are_choices_unless_the_user_ignores_them(jsonl: Jsonl) -> None:
    path = jsonl([{"question": "Capital?", "A": "Oslo", "B": "Rome", "C": "", "answer": 1}])
    assert [message.content for message in only(path).messages] == ["Capital?\n\nA. Oslo\nB. Rome", "B. Rome"]
    assert inspect_data(DataSource(path=path)).unused_columns == ()
    ignored = DataSource(path=path, ignored_columns=("A", "B", "C"))
    assert learnt(inspect_data(ignored)) == "1"


def test_turns_in_a_column_with_a_common_name_are_turns_where_nothing_else_fits(jsonl: Jsonl) -> None:
    row = {"data": ["Hi", "Hello!", "Bye", "See you."], "id": 1}
    assert [message.content for message in only(jsonl([row])).messages] == row["data"]
    assert only(jsonl([row | {"prompt": "a", "completion": "b"}])).messages[-1].content == "b"
    with pytest.raises(DataError, match="fit no known format"):
        inspect_data(DataSource(path=jsonl([{"data": "a text"}])))


def test_several_answers_are_told_from_messages(jsonl: Jsonl) -> None:
    (reason,) = inspect_data(DataSource(path=jsonl([{"question": "a?", "answer": ["b", "c"]}]))).reasons
    assert '"answer" holds several answers' in reason.text()
    assert only(jsonl([{"question": "a?", "answer": ["b", "b"]}])).messages[-1].content == "b"
    ranked = only(jsonl([{"question": "a?", "answer": ["b", "c"]}]), format="preference", columns={"chosen": "answer"})
    assert ranked.messages == (Message("user", "a?"), Message("assistant", "b"))


def test_beside_plain_text_a_label_is_a_class_unless_it_is_true_or_false(jsonl: Jsonl) -> None:
    classes = inspect_data(DataSource(path=jsonl([{"text": "a", "label": 0}, {"text": "b", "label": "negative"}])))
    assert (classes.skipped, classes.unused_columns) == (0, ("label",))
    assert inspect_data(DataSource(path=jsonl([{"text": "a", "label": False}, {"text": "b"}]))).skipped == 1
    assert inspect_data(DataSource(path=jsonl([{"text": "a", "weight": 0}, {"text": "b"}]))).skipped == 1


def test_a_message_with_an_image_is_refused(jsonl: Jsonl) -> None:
    turns = [said("user", "What is it?", images=["a.jpg"]), said("assistant", "A lake.")]
    found = inspect_data(DataSource(path=jsonl([{"messages": turns}])))
    assert found.reasons == {Remark("holds_media"): 1}


def test_a_message_without_a_role_names_the_keys_that_it_has(jsonl: Jsonl) -> None:
    (reason,) = inspect_data(DataSource(path=jsonl([{"messages": [{"colour": "red"}]}] * 2))).reasons
    assert reason.text() == "a message has no role (it has colour)"


def test_messages_one_a_row_are_refused_unless_the_user_wants_plain_text(jsonl: Jsonl) -> None:
    path = jsonl(FURTHER["one message a row"])
    with pytest.raises(DataError, match="one message of a conversation"):
        inspect_data(DataSource(path=path))
    assert inspect_data(DataSource(path=path, format="text")).rows == 2


def test_a_table_stored_by_columns_is_unfolded(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"prompt": ["a", "b"], "completion": ["c", "d"]}', encoding="utf-8")
    found = inspect_data(DataSource(path=str(path)))
    assert (found.rows, found.skipped, [row.number for row in found.rendered]) == (2, 0, [1, 2])


def test_what_stands_beside_wrapped_rows_is_used_or_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    rows = [{"question": f"{n}?", "answer": str(n), "id": n} for n in range(3)]
    beside = {"version": "1.2", "system": "Be curt.", "id": "all", "note": "", "test": rows * 100}
    path.write_text(json.dumps({**beside, "train": rows}), encoding="utf-8")
    found = inspect_data(DataSource(path=str(path)))
    assert (found.rows, found.skipped) == (3, 0)
    assert read(found).startswith("Be curt.\n\n0?")
    assert found.unused_columns == ("version", "id", "test")
    assert next(column for column in found.columns if column.name == "id").example == "0"
    named = DataSource(path=str(path), ignored_columns=("version", "id", "test"))
    assert [problem.code for problem in inspect_data(named).problems] == ["unwrapped"]


def test_rows_that_each_stand_under_a_name_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"q1": {"question": "a?", "answer": "b"}, "7": {"question": "c?", "answer": "d"}}', "utf-8")
    found = inspect_data(DataSource(path=str(path)))
    assert (found.rows, learnt(found), [one.code for one in found.problems]) == (2, "b\nd", ["named_rows"])
    path.write_text('{"user": {"role": "u", "text": "a"}, "bot": {"role": "b", "text": "c"}}', "utf-8")
    assert inspect_data(DataSource(path=str(path))).rows == 1


@pytest.mark.parametrize(
    ("folder", "taught"),
    [
        ("01-alpaca-history", "Hi."),
        ("02-openai-weight", "4."),
        ("08-xtuner-conversation", "See you."),
        ("08b-firefly", "不客气。"),
        ("09-merged-null", "Hello"),
        ("11-hh-rlhf", "Rinse it, then simmer."),
        ("12-dpo-sharegpt", "Hello!"),
        ("14-pandas-json-columns", "hi"),
        ("15-excel-sep", "See you"),
        ("17-csv-question-headers", "2 km"),
        ("19-oasst", "In spring."),
        ("48c-mcq", "B. Dead"),
    ],
)
def test_files_that_were_taught_wrong_are_taught_as_they_mean(folder: str, taught: str) -> None:
    path = min(path for path in (CASES / folder).iterdir())
    found = inspect_data(DataSource(path=str(path)))
    assert found.skipped == 0
    assert taught in learnt(found)


def test_describing_a_refused_file_gives_its_reason(jsonl: Jsonl) -> None:
    assert describe(Path(jsonl(FURTHER["one message a row"])))[0] == "refused"


def test_a_tree_of_messages_is_taught_along_its_best_replies(jsonl: Jsonl) -> None:
    path = jsonl(FURTHER["OpenAssistant: a tree of messages"])
    taught = [
        [turn.content for turn in one.messages] for _, one in open_source(DataSource(path=path), no_progress).examples()
    ]
    assert taught == [["Hi", "Hello!", "Bye", "See you."], ["2+2?", "4"]]
    found = inspect_data(DataSource(path=path))
    assert (found.rows, found.skipped, found.reasons) == (3, 1, {Remark("lost_parent"): 1})
    assert found.unused_columns == ("lang",)
    assert learnt(inspect_data(DataSource(path=path, format="text"))).startswith("Hi")


def test_pairs_of_role_and_text_are_turns_and_no_questions_about_roles(jsonl: Jsonl) -> None:
    turns = [["system", "Be brief."], ["User", "2+2?"], ["assistant", "4"]]
    expected = (Message("system", "Be brief."), Message("user", "2+2?"), Message("assistant", "4"))
    assert only(jsonl([{"messages": turns}])).messages == expected
    asked = only(jsonl([{"history": [["2+2?", "4"]], "prompt": "And 3?", "completion": "7"}])).messages
    assert [(message.role, message.content) for message in asked[:2]] == [("user", "2+2?"), ("assistant", "4")]


@pytest.mark.parametrize(
    "row",
    [
        {"问题": "2+2?", "回答": "4"},
        {"指令": "2+2?", "输入": "", "输出": "4"},
        {"human": "2+2?", "bot": "4"},
        {"document": "2+2?", "summary": "4"},
        {"article": "2+2?", "highlights": "4"},
    ],
)
def test_customary_names_of_question_and_answer_are_known(row: dict[str, str], jsonl: Jsonl) -> None:
    path = jsonl([row])
    assert only(path).messages == (Message("user", "2+2?"), Message("assistant", "4"))
    assert inspect_data(DataSource(path=path)).unused_columns == ()


def test_equal_answers_of_a_preference_are_told(jsonl: Jsonl) -> None:
    rows = [{"prompt": f"a{n}", "chosen": "b", "rejected": rejected} for n, rejected in enumerate("bcb")]
    tied = [problem for problem in inspect_data(DataSource(path=jsonl(rows))).problems if not problem.neutral]
    assert [(problem.code, dict(problem.values)["count"]) for problem in tied] == [("tied_answers", 2)]


NESTED = [{"id": n, "talk": {"asked": {"text": f"{n}+2?"}, "said": f"{n + 2}"}} for n in range(120)]


def test_the_columns_inside_objects_can_be_mapped(jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast) -> None:
    path = jsonl(NESTED)
    with pytest.raises(DataError, match=r"no known format \(id, talk\.asked\.text, talk\.said\)"):
        inspect_data(DataSource(path=path))
    assert [column.name for column in peek_columns(DataSource(path=path))] == ["id", "talk.asked.text", "talk.said"]
    source = DataSource(path=path, columns={"prompt": "talk.asked.text", "completion": "talk.said"})
    assert inspect_data(source).unused_columns == ("id",)
    assert only(path, columns=source.columns).messages == (Message("user", "0+2?"), Message("assistant", "2"))
    xray = open_xray(source, tokenizer, "base")
    assert (xray.rows, xray.skipped_rows) == (120, 0)  # also those behind the first, which decide the format
    assert "".join(part.text for part in xray.row(2).segments if part.learnt).startswith("4")


def test_a_known_column_that_holds_an_object_stays_whole(jsonl: Jsonl) -> None:
    row = {"context": "It is 4.", "question": "2+2?", "answers": {"text": ["4"], "answer_start": [6]}}
    assert only(jsonl([row])).messages[-1] == Message("assistant", "4")
