"""Prompts that are one click away: the rows that a run held out, and the questions that ship with the app."""

from __future__ import annotations

from pathlib import Path

from studio.config import parse_config, write_config
from studio.engine.data.prepare import prepare_data
from studio.engine.inference.prompts import held_out_prompts, retention_questions
from studio.engine.models.load import load_tokenizer
from studio.runs import create_run
from tests.tiny import save_model, save_rows


def test_held_out_rows_are_those_of_the_run_with_their_answers(tmp_path: Path) -> None:
    model, rows = save_model(tmp_path / "model"), save_rows(tmp_path / "rows.jsonl", 40)
    tables = {
        "model": {"path": str(model)},
        "data": {"sources": [{"path": str(rows)}], "validation_fraction": 0.2},
        "training": {"seed": 3},
    }
    config = parse_config(tables)
    run = create_run(tmp_path / "runs", "run", write_config(config))
    found = held_out_prompts(run)
    data = prepare_data(config.data, load_tokenizer(model, ""), "chat", 3)
    numbers = {data.validation[place].number for place in range(len(data.validation))}
    assert {prompt.prompt for prompt in found} == {f"What is {n - 1} plus {n - 1}?" for n in numbers}
    assert all(prompt.answer.startswith("It is ") for prompt in found)


def test_the_questions_have_their_answers() -> None:
    questions = retention_questions()
    assert ("What is 7 times 8?", "56 / fifty-six") in [(one.prompt, one.answer) for one in questions]
