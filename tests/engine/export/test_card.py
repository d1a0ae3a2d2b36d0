"""The model card tells what a stranger needs to judge a model by, and nothing of the machine or the rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio import i18n
from studio.config import parse_config, read_config, write_config
from studio.engine.control import no_progress
from studio.engine.export import TARGETS
from studio.engine.export.card import write_card
from studio.engine.export.run import export_run
from studio.engine.export.source import open_source
from studio.engine.hub.folders import Origin
from studio.events import (
    DataPrepared,
    OverflowDiagnosed,
    RetentionMeasured,
    RetentionReported,
    RunFinished,
    StepCompleted,
    to_json,
)
from studio.runs import Journal, RunFolder
from tests.screenshots.scripted import scripted_events, with_retention

MakeRun = Callable[..., RunFolder]


SKIPPED = [
    {"code": "empty_answer", "values": {}, "count": 1},
    {"code": "unknown_mark", "values": {"field": "weight", "value": "two plus two"}, "count": 2},
]


def prepared(**changes: Any) -> DataPrepared:
    values = {"train_rows": 36, "validation_rows": 4, "general_rows": 12, "skipped_rows": 3, "tokens": 900}
    values |= {"supervised_tokens": 300, "longest": 40, "planned_updates": 3, "skipped": SKIPPED}
    return DataPrepared(**(values | changes))


def step(number: int, *, skipped: bool = False, grad_scale: float | None = 1024.0) -> StepCompleted:
    return StepCompleted(
        step=number,
        update=number,
        epoch=0.1,
        loss=2.0,
        learning_rate=1e-4,
        grad_norm=1.0,
        grad_scale=grad_scale,
        skipped=skipped,
        tokens=100,
        supervised_tokens=40,
        micro_batches=1,
        seconds=0.1,
    )


def finished() -> RunFinished:
    return RunFinished(
        status="finished",
        step=3,
        update=2,
        trainable_parameters=4672,
        total_parameters=40000,
        adapter_bytes=20000,
        peak_memory=10**6,
        seconds=1.0,
    )


@pytest.fixture
def card(make_run: MakeRun) -> str:
    run = make_run()
    verdict = OverflowDiagnosed(
        step=2, verdict="chronic_overflow", harmful=True, sentence="It overflows.", advice="Wait.", evidence={}
    )
    with Journal(run.journal) as journal:
        for event in (prepared(), step(1), step(2, skipped=True), verdict, step(3, grad_scale=512.0), finished()):
            journal.append(event)
    run.write_state("finished", validation_loss={"first": 3.25, "last": 1.5, "best": 1.5}, precision="fp16-mixed")
    return (export_run(run, "merged", "fp32").path / "README.md").read_text(encoding="utf-8")


def test_the_card_tells_base_data_method_precision_figures_and_checks(card: str) -> None:
    expected = [
        "# llama-tied, fine-tuned",
        "| rows.jsonl | domain |",
        "36 for training, 12 of them general, 4 held out, 3 skipped",
        "900 tokens, 300 of them learnt",
        "| 1 | the answer is empty |",
        '| 2 | the mark "weight" of a message says "…", which is not understood',
        "| method.name | lora |",
        "| method.rank | 4 |",
        "| precision | fp16-mixed |",
        "| updates | 3 |",
        "| trainable_parameters | 4672 |",
        "| validation_loss.first | 3.25 |",
        "| validation_loss.last | 1.5 |",
        "| steps | 3 |",
        "| skipped | 1 |",
        "| loss_scale.last | 512 |",
        "| verdict.chronic_overflow | once |",
        "SHA-256 of the base's files, by which to know it, stand in certificate.json",
        "| merge_exact | passed |",
    ]
    assert [told for told in expected if told not in card] == []


def test_the_card_quotes_no_row_and_names_no_folder(card: str, tmp_path: Path) -> None:
    assert "plus" not in card
    assert str(tmp_path) not in card


def data_section(run: RunFolder, event: DataPrepared) -> str:
    run.journal.write_text(to_json(event) + "\n", encoding="utf-8")
    text = write_card(open_source(run, no_progress), TARGETS.get("merged"), "fp32", ())
    return text.partition("## Data")[2].partition("\n## ")[0]


def test_the_card_tells_what_was_found_in_the_rows_and_what_was_done_about_it(make_run: MakeRun) -> None:
    run = make_run()
    found = [{"name": "contradictions", "count": 4, "values": {}}]
    told = data_section(run, prepared(findings=found, left_out={"duplicates": 7, "leaked": 2}))
    assert "| Contradictory answers | 4 |" in told
    assert "| Repeated rows | 7 | Keep one of each |" in told
    assert "| Validation rows in training | 2 | Move them to the training rows |" in told
    assert "Nothing was found" in data_section(run, prepared(left_out={}))


def test_the_card_of_an_earlier_run_claims_no_search_of_its_rows(make_run: MakeRun) -> None:
    told = data_section(make_run(), prepared(skipped={"a sentence of that version": 3}))
    assert "3 skipped" in told
    assert "ound in the rows" not in told


def test_a_run_without_journal_still_gets_a_card(make_run: MakeRun) -> None:
    text = (export_run(make_run(), "adapter").path / "README.md").read_text(encoding="utf-8")

    assert "| rows.jsonl | domain |" in text
    assert "Numerics" not in text


def test_a_file_on_another_system_is_named_without_its_folder(make_run: MakeRun) -> None:
    run = make_run()
    config = parse_config(
        {
            "model": {"path": str(run.read_state()["model"]["path"])},
            "data": {"sources": [{"path": "C:\\Users\\Li\\rows.jsonl", "role": "general"}]},
            "method": {"name": "lora", "rank": 4, "alpha": 8},
        }
    )
    run.config.write_text(write_config(config), encoding="utf-8")

    text = (export_run(run, "adapter").path / "README.md").read_text(encoding="utf-8")
    assert "| rows.jsonl | general |" in text
    assert "Users" not in text


@pytest.mark.parametrize("name", ["my model: v2", "[x] model", "llama #3 test", "7", "yes", '5" "wide"', "千问-7B"])
def test_the_front_matter_gives_back_every_name_of_a_base(make_run: MakeRun, name: str) -> None:
    source = dataclasses.replace(open_source(make_run(), no_progress), hub=Origin(name, "main", {}))

    _, front_matter, _ = write_card(source, TARGETS.get("adapter"), "fp32", ()).split("---\n", 2)
    assert yaml.safe_load(front_matter) == {
        "base_model": name,
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["finetune-studio", "lora"],
    }


@pytest.mark.parametrize(
    ("options", "told", "untold"),
    [
        ({"bottleneck": 4}, "| method.bottleneck | 4 |", "method.reduction_factor"),
        ({"reduction_factor": 8}, "| method.reduction_factor | 8 |", "method.bottleneck"),
    ],
)
def test_the_card_lists_only_the_options_in_force(
    make_run: MakeRun, options: dict[str, int], told: str, untold: str
) -> None:
    source = open_source(make_run(method={"name": "bottleneck-adapter"} | options), no_progress)

    card = write_card(source, TARGETS.get("bundle"), "fp32", ())
    assert told in card
    assert untold not in card


@pytest.mark.usefixtures("marked_chinese")
def test_card_and_certificate_of_a_session_in_chinese_are_in_english(make_run: MakeRun) -> None:
    i18n.set_language("zh_CN")
    result = export_run(make_run("llama-leaning", method={"name": "prompt-tuning", "virtual_tokens": 2}), "baked")

    assert all(check.text.startswith("译") for check in result.checks)
    for file in (result.certificate, result.path / "README.md"):
        assert "译" not in file.read_text(encoding="utf-8")


def test_a_prompt_template_stands_in_the_card_as_code_that_fills_it(make_run: MakeRun) -> None:
    template = '### Rules:\n{system}\n\n### "Question":\t{question}\r\n→ {answer}'
    run = make_run(kind="base")
    config = read_config(run.config)
    data = config.data.model_copy(update={"prompt_template": template})
    run.config.write_text(write_config(config.model_copy(update={"data": data})), encoding="utf-8")
    source = open_source(run, no_progress)
    text = write_card(source, TARGETS.get("merged"), "fp32", ())
    code = text.partition("```python\nprompt")[2].partition("```")[0]
    names = {"system": "Be brief.", "question": "1+1?"}
    exec(f"prompt{code}", names)
    assert names["prompt"] == '### Rules:\nBe brief.\n\n### "Question":\t1+1?\r\n→ '


def test_the_card_tells_where_the_system_text_stood(make_run: MakeRun) -> None:
    run = make_run()
    card = write_card(open_source(run, no_progress), TARGETS.get("merged"), "fp32", ())
    assert "System text" not in card
    config = read_config(run.config)
    data = config.data.model_copy(update={"system_turns": "question"})
    run.config.write_text(write_config(config.model_copy(update={"data": data})), encoding="utf-8")
    card = write_card(open_source(run, no_progress), TARGETS.get("merged"), "fp32", ())
    assert "it stood before the question" in card


def test_the_card_tells_what_was_kept_of_the_base_in_words_and_figures(make_run: MakeRun) -> None:
    run = make_run()
    events = [event for event in with_retention(scripted_events()) if isinstance(event, RetentionMeasured)]
    report = next(event for event in with_retention(scripted_events()) if isinstance(event, RetentionReported))
    run.journal.write_text("".join(to_json(event) + "\n" for event in (*events, report)), encoding="utf-8")
    text = write_card(open_source(run, no_progress), TARGETS.get("merged"), "fp32", ())
    told = text.partition("## What the base could do")[2].partition("\n## ")[0]
    assert "lost a little of what it could do before" in told
    assert "| retention | 0.864 |" in told
    assert "| perplexity.base | 21.4 |" in told
    assert "| right.base | 6 |" in told
