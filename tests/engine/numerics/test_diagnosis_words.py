"""What verdicts say and offer: the evidence is in the sentence, terms are explained, and every remedy fits."""

from __future__ import annotations

import dataclasses
import json
import math
import string
import subprocess
import sys
from typing import Any

import pytest

from studio import i18n
from studio.config.precision import check_precision
from studio.engine.numerics.facts import FirstNonFinite
from studio.engine.numerics.remedies import REMEDIES, changed
from studio.engine.numerics.verdict import Options
from studio.engine.numerics.verdicts import VERDICTS as KINDS
from studio.engine.numerics.verdicts import verdict_words
from studio.events import OverflowDiagnosed, from_json, to_json
from tests.engine.numerics.diagnosis_streams import DAMAGED, Step, play, run_config, validate

ROWS = tuple((f"/data/train {place}.jsonl", 10 + place, 100 * place) for place in range(1, 6))
FORWARD = FirstNonFinite(module="model.layers.5.mlp", direction="forward", largest_before=41216.0)
BACKWARD = FirstNonFinite(module="model.layers.2.q_proj", direction="backward", largest_before=3.0)
IN_LOSS = FirstNonFinite(module="", direction="loss", largest_before=9.0)

# A word that not everybody knows, and what in the same words says what it means.
EXPLAINED = {
    "loss scale": ["factor that"],
    "nan": ["not a number", "not numbers", "no longer numbers"],
    "infinity": ["not numbers", "no longer numbers"],
    "clipped": ["shortened"],
    "norm": ["length"],
    "diverges": ["make the model worse"],
    "stochastic rounding": ["small updates count by chance"],
}
OUTLIERS = Step(largest=1e9, rows=ROWS[:2], rows_tried=8, located=BACKWARD)


def streams() -> dict[str, OverflowDiagnosed]:
    """One verdict of each class and variant, each from a run that ends in it."""
    bad_loss = Step(loss=math.nan, located=IN_LOSS, rows=ROWS)
    runs: dict[str, Any] = {
        "search": play(run_config(), lambda batch: Step(largest=5.0), 50),
        "later search": play(run_config(), lambda batch: Step(largest=80.0 if batch == 60 else 0.1), 200),
        "probe": play(run_config(growth_interval=40, initial_scale=1024.0), lambda batch: Step(largest=60.0), 50),
        "chronic": play(run_config(growth_interval=3), lambda batch: Step(largest=3.0, located=BACKWARD), 90),
        "static": play(run_config(loss_scaling="static", initial_scale=1e6), lambda batch: Step(largest=3.0), 90),
        "off": play(run_config(loss_scaling="off"), lambda batch: Step(largest=1e6), 90),
        "collapse": play(run_config(), lambda batch: Step(largest=1e9, located=BACKWARD), 90),
        "outliers": play(run_config(), lambda batch: OUTLIERS if batch == 9 else Step(), 90),
        "fixed outliers": play(run_config(loss_scaling="off"), lambda batch: OUTLIERS if batch == 9 else Step(), 90),
        "undefined outliers": play(
            run_config("bf16-mixed"),
            lambda batch: dataclasses.replace(OUTLIERS, largest=math.inf) if batch == 9 else Step(),
            90,
        ),
        "forward": play(run_config(), lambda batch: Step(loss=math.inf, located=FORWARD, rows=ROWS[:1]), 90),
        "no bf16": play(run_config(), lambda batch: Step(loss=math.inf, located=FORWARD), 90, has_bf16=False),
        "underflow": play(run_config(loss_scaling="off"), lambda batch: Step(grad_norm=0.0), 9),
        "dynamic underflow": play(run_config(initial_scale=8.0), lambda batch: Step(grad_norm=0.0), 9),
        "static underflow": play(
            run_config(loss_scaling="static", initial_scale=8.0), lambda batch: Step(grad_norm=0.0), 9
        ),
        "stall": play(run_config("bf16-pure"), lambda batch: Step(lost_updates=0.83), 9),
        "fp16 stall": play(run_config("fp16-pure"), lambda batch: Step(lost_updates=0.83), 9),
        "came damaged": play(run_config(), lambda batch: Step(loss=math.nan, located=DAMAGED), 9),
        "damaged": play(run_config(), lambda batch: Step(loss=math.nan if batch else 2.0, located=DAMAGED), 9),
        "loss": play(run_config("fp32"), lambda batch: bad_loss, 9),
        "loss forward": play(run_config("fp32"), lambda batch: Step(loss=math.nan, located=FORWARD, rows=ROWS), 9),
        "loss unknown": play(run_config("fp32"), lambda batch: Step(loss=math.nan), 9),
        "explosion": play(run_config("fp32"), lambda batch: Step(grad_norm=5e3 if batch > 9 else 0.5), 50),
        "unclipped": play(
            run_config("fp32", training={"max_grad_norm": 0.0}),
            lambda batch: Step(grad_norm=5e3 if batch > 9 else 0.5),
            50,
        ),
        "validation": validate(run_config(), located=FORWARD, rows=ROWS[:2], rows_tried=6),
        "validation forward": validate(run_config("fp32"), located=FORWARD),
        "validation unknown": validate(run_config("fp32")),
        "risen": play(run_config("fp32"), lambda batch: Step(loss=9.5 if batch > 1 else 2.25), 50),
        "undefined": play(run_config("fp32"), lambda batch: Step(largest=math.inf, located=BACKWARD), 50),
    }
    assert {name: len(run.verdicts) for name, run in runs.items()} == dict.fromkeys(runs, 1)
    return {name: run.verdicts[0] for name, run in runs.items()}


VERDICTS = streams()
every_verdict = pytest.mark.parametrize("name", VERDICTS)

NAMED: dict[str, list[str]] = {
    "search": ["65,536", "8,192", "3"],
    "later search": ["65,536", "512", "7", "step 61"],
    "probe": ["1,024", "2,048", "40"],
    "chronic": ["7 of the last 22 steps were skipped (32 %)", "steps", "q_proj", "3 good updates"],
    "static": ["100 %", "1,000,000", "65,504"],
    "off": ["100 %", "65,504", "without loss scaling"],
    "collapse": ["lowest, 1", "3", "q_proj"],
    "outliers": ["64", "scale 65,536", "65,504", "q_proj", "2 of 8 rows", "row 12"],
    "fixed outliers": ["scale 1 ", "2 of 8 rows", "every update"],
    "undefined outliers": ["infinite", "q_proj", "2 of 8 rows", "every update"],
    "forward": ["model.layers.5.mlp", "65,504", "train 1.jsonl row 11 (100 tokens)"],
    "no bf16": ["fp32", "no bf16"],
    "underflow": ["100 %", "off"],
    "dynamic underflow": ["100 %", "scale 8 ", "8,192"],
    "static underflow": ["100 %", "scale 8 ", "8,192", "dynamic"],
    "stall": ["83 %", "bf16", "0.0001"],
    "fp16 stall": ["83 %", "fp16", "0.0001"],
    "came damaged": ["came with", "another copy"],
    "damaged": ["update 1", "checkpoint"],
    "loss": ["nan", "train 1.jsonl row 11", "and 2 more"],
    "loss forward": ["nan", "model.layers.5.mlp", "row 12"],
    "loss unknown": ["nan", "not known"],
    "explosion": ["5,000", "20 steps", "clipped", "to 1,"],
    "unclipped": ["5,000", "20 steps"],
    "validation": ["nan", "model.layers.5.mlp", "65,504", "train 1.jsonl row 11", "2 of 6"],
    "validation forward": ["nan", "model.layers.5.mlp"],
    "validation unknown": ["nan", "training are in order"],
    "risen": ["9.14", "2.25", "0.0001", "checkpoint"],
    "undefined": ["3", "q_proj"],
}


# There is nothing that a button could do about these.
WITHOUT_REMEDY = ("came damaged", "loss unknown", "validation forward", "validation unknown")


def test_every_class_is_among_them() -> None:
    assert {verdict.verdict for verdict in VERDICTS.values()} == set(KINDS.names())


@every_verdict
def test_the_words_name_the_evidence_and_what_to_do(name: str) -> None:
    verdict = VERDICTS[name]
    words = f"{verdict.sentence} {verdict.advice}"
    assert [part for part in NAMED[name] if part not in words] == []


@every_verdict
def test_the_words_are_whole_sentences_of_readable_length(name: str) -> None:
    verdict = VERDICTS[name]
    for text in (verdict.sentence, verdict.advice):
        assert not text[0].islower()
        assert text.endswith(".")
        assert not set(text) & set("{}")
    assert len(verdict.sentence) <= 330
    assert len(verdict.advice) <= 170


@every_verdict
def test_no_term_is_left_unexplained(name: str) -> None:
    words = f"{VERDICTS[name].sentence} {VERDICTS[name].advice}"
    plain = words.lower().translate(str.maketrans(dict.fromkeys(string.punctuation, " ")))
    used = [term for term in EXPLAINED if f" {term} " in plain]
    assert [term for term in used if not any(meaning in words for meaning in EXPLAINED[term])] == []


@every_verdict
def test_a_benign_verdict_says_that_there_is_nothing_to_do_and_a_harmful_one_does_not(name: str) -> None:
    verdict = VERDICTS[name]
    assert verdict.advice.startswith("Nothing to do") != verdict.harmful
    assert verdict.harmful == KINDS.get(verdict.verdict).harmful
    assert bool(verdict.remedies) == (verdict.harmful and name not in WITHOUT_REMEDY)


@every_verdict
def test_a_verdict_travels_as_an_event_and_can_be_worded_again_from_the_journal(name: str) -> None:
    verdict = VERDICTS[name]
    event = from_json(to_json(verdict))
    assert event == verdict
    json.dumps(verdict.evidence, allow_nan=False)
    assert verdict_words(event) == (verdict.sentence, verdict.advice)  # type: ignore[arg-type]


@every_verdict
def test_a_journal_with_other_evidence_or_of_another_version_keeps_its_own_words(name: str) -> None:
    verdict = VERDICTS[name]
    bare = {"precision": verdict.evidence["precision"]}
    for other in (dataclasses.replace(verdict, evidence=bare), dataclasses.replace(verdict, verdict="of_next_year")):
        assert verdict_words(other) == (verdict.sentence, verdict.advice)


@every_verdict
def test_the_journal_speaks_english_and_the_window_its_own_language(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(i18n._translations, "gettext", lambda text: f"<{text}>", raising=False)
    kind = VERDICTS[name].verdict
    spoken = next(verdict for verdict in streams().values() if verdict.verdict == kind)
    assert "<" not in spoken.sentence + spoken.advice
    assert verdict_words(spoken)[0].startswith("<")


def test_what_is_translated_are_templates_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue is asked for whole templates, before any value is put in."""
    asked = []
    monkeypatch.setattr(i18n._translations, "gettext", lambda text: asked.append(text) or text, raising=False)
    for verdict in VERDICTS.values():
        verdict_words(verdict)
    assert asked
    assert not [text for text in asked if "65,5" in text or "mlp" in text or "jsonl" in text]


# --- remedies -------------------------------------------------------------------------------------------------------


@every_verdict
def test_every_remedy_that_is_offered_gives_a_valid_configuration_or_acts_on_the_run(name: str) -> None:
    verdict = VERDICTS[name]
    config = run_config(
        verdict.evidence["precision"], loss_scaling=verdict.evidence["scaling"], growth_interval=3, initial_scale=8.0
    )
    for remedy in verdict.remedies:
        after = changed(config, remedy, verdict.evidence)
        assert (after == config) == REMEDIES[remedy].acts_on_run


def test_only_skipping_rows_and_restoring_a_checkpoint_act_on_the_run_itself() -> None:
    assert {name for name, remedy in REMEDIES.items() if remedy.acts_on_run} == {"skip_rows", "restore_checkpoint"}
    assert set(REMEDIES) == {
        "lower_learning_rate",
        "use_bf16",
        "use_fp32",
        "use_dynamic_scaling",
        "raise_scale",
        "skip_rows",
        "restore_checkpoint",
        "stochastic_rounding",
        "lower_floor",
        "use_automatic_storage",
    }


@every_verdict
def test_bf16_is_offered_only_where_there_is_bf16_and_never_the_precision_in_use(name: str) -> None:
    verdict = VERDICTS[name]
    kind = KINDS.get(verdict.verdict)
    without = kind.remedies(verdict.evidence, Options(has_bf16=False, can_restore=True))
    assert "use_bf16" not in without
    assert set(without) <= set(kind.remedies(verdict.evidence, Options(has_bf16=True, can_restore=True)))
    assert not (verdict.evidence["precision"] == "fp32" and "use_fp32" in verdict.remedies)


def test_what_the_buttons_change() -> None:
    config = run_config(loss_scaling="static", initial_scale=64.0, base_dtype="fp16", growth_interval=3)
    evidence = {"precision": "fp16-mixed", "scaling": "static", "suggested_scale": 2048.0}
    assert changed(config, "use_bf16", evidence).precision.name == "bf16-mixed"
    assert changed(config, "use_bf16", evidence).precision.base_dtype == "auto"
    assert changed(config, "use_fp32", evidence).precision.name == "fp32"
    assert changed(config, "raise_scale", evidence).precision.initial_scale == 2048.0
    assert changed(config, "use_dynamic_scaling", evidence).precision.loss_scaling == "dynamic"
    assert changed(config, "use_dynamic_scaling", evidence).precision.growth_interval == 2000
    assert changed(config, "lower_learning_rate", evidence).training.learning_rate == pytest.approx(1e-5)
    assert changed(config, "skip_rows", evidence) == config


def test_a_changed_configuration_does_not_contradict_itself() -> None:
    pure = run_config("bf16-pure", base_dtype="bf16", stochastic_rounding=True)
    stall = {"precision": "bf16-pure", "scaling": "off"}
    check_precision(changed(pure, "use_bf16", stall).precision, "bf16-mixed")
    check_precision(changed(pure, "use_fp32", stall).precision, "fp32")
    plain = changed(run_config("bf16-pure"), "stochastic_rounding", stall)
    assert plain.precision.stochastic_rounding
    check_precision(plain.precision, "bf16-pure")
    static = run_config("fp16-pure", loss_scaling="static", initial_scale=8.0, minimum_scale=64.0)
    dynamic = changed(static, "use_dynamic_scaling", {"precision": "fp16-pure", "scaling": "static"}).precision
    assert dynamic.name == "fp16-mixed"
    check_precision(dynamic, dynamic.name)


def test_the_diagnosis_and_its_remedies_load_no_torch() -> None:
    code = "import sys, studio.engine.numerics.diagnosis, studio.engine.numerics.remedies; "
    code += "print(*[name for name in ('torch', 'transformers', 'peft', 'numpy') if name in sys.modules])"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout.strip()) == (0, ""), finished.stderr
