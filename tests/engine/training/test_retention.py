"""Retention against plain transformers and peft; what it costs, and that it changes nothing in a run."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from studio.config.retention import RetentionConfig
from studio.engine.control import no_progress
from studio.engine.models.load import load_tokenizer
from studio.engine.training import retention
from studio.engine.training.probes import Probes, Question, load_probes
from studio.engine.training.retention import Plan, RetentionMeter, plan_measurements
from studio.engine.training.state import Position
from studio.errors import DataError
from studio.events import PromptsAnswered, RetentionMeasured, RetentionReported, RowsRanked, StepCompleted
from studio.paths import resource
from studio.text.retention import report_text
from tests import tiny
from tests.engine.training.trained import LORA, Trained

METHODS: list[dict[str, Any]] = [
    LORA,
    LORA | {"init": "pissa"},
    {"name": "full"},
    {"name": "bottleneck-adapter", "bottleneck": 4},
    {"name": "bottleneck-adapter", "bottleneck": 4, "train_layer_norms": True},
    {"name": "prompt-tuning", "virtual_tokens": 3},
    {"name": "p-tuning", "virtual_tokens": 3},
    {"name": "prefix-tuning", "virtual_tokens": 3},
    {"name": "ia3"},
]


def _meter(rows: Sequence[Any], tokens: int = 10_000, questions: Sequence[Question] = ()) -> RetentionMeter:
    return RetentionMeter(Probes(rows, questions, ()), Plan(tokens, 5, len(questions)), tiny.tokenizer())


def _log_probabilities(model: Any, row: Any, virtual_tokens: int = 0) -> tuple[Tensor, Tensor]:
    """Of the predicted tokens of one row, by the model's plain forward: (tokens, vocabulary), and those tokens."""
    ids, labels = torch.tensor(row.input_ids)[None], torch.tensor(row.labels)[1:]
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, virtual_tokens:-1]
    kept = labels != -100
    return logits[kept].double().log_softmax(1), labels[kept].long()


def _expected(base: Any, trained: Any, rows: Sequence[Any], virtual_tokens: int = 0) -> tuple[float, float, float]:
    """Perplexity of the base, that of the trained model, and KL, in fp64."""
    losses, kl, count = [0.0, 0.0], 0.0, 0
    for row in rows:
        before, targets = _log_probabilities(base, row)
        after, _ = _log_probabilities(trained, row, virtual_tokens)
        losses[0] += float(F.nll_loss(before, targets, reduction="sum"))
        losses[1] += float(F.nll_loss(after, targets, reduction="sum"))
        kl += float(F.kl_div(after, before, log_target=True, reduction="sum"))
        count += len(targets)
    return math.exp(losses[0] / count), math.exp(losses[1] / count), kl / count


@pytest.mark.parametrize("method", METHODS, ids=lambda method: "-".join(map(str, method.values())))
def test_perplexity_and_kl_are_those_of_the_plain_models(method: dict[str, Any]) -> None:
    bench = tiny.bench(method)
    rows = tiny.rows(6, seed=5)
    meter = _meter(rows)
    meter.record_base(bench.trainer, no_progress)
    for _ in range(3):
        bench.update(
            tiny.rows(4, seed=1), rate=3e-2 if method["name"] in ("lora", "full", "bottleneck-adapter") else 3.0
        )
    bench.trainer.token_budget = 60  # several micro-batches, grouped otherwise than when the base was recorded
    found = meter.measure(bench.trainer, Position(3, 3, 3), no_progress)
    with bench.loss.without_dropout():
        expected = _expected(tiny.llama(), bench.model, rows, bench.loss.virtual_tokens)
    assert (found.base_perplexity, found.perplexity) == pytest.approx(expected[:2], rel=1e-4)
    assert found.kl == pytest.approx(expected[2], abs=1e-4)
    assert found.kl > 1e-4  # there was something to see
    assert found.retention == pytest.approx(expected[0] / expected[1], rel=1e-4)


def test_recomputed_activations_change_nothing_that_is_measured() -> None:
    found = []
    for recompute in (False, True):
        bench, rows = tiny.bench(recompute=recompute), tiny.rows(4, seed=5)
        meter = _meter(rows)
        meter.record_base(bench.trainer, no_progress)
        bench.update(tiny.rows(4, seed=1), rate=3e-2)
        measured = meter.measure(bench.trainer, Position(), no_progress)
        assert bench.trainer.model.recomputation.on is recompute
        found.append((measured.perplexity, measured.base_perplexity, measured.kl))
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", ["tied", "untied", "gpt2"])
def test_a_trained_output_layer_is_compared_with_what_it_was(kind: str) -> None:
    make = tiny.gpt2 if kind == "gpt2" else lambda: tiny.llama(tied=kind == "tied")
    bench = tiny.bench({"name": "full"}, base=make())
    rows = tiny.rows(4, seed=5)
    meter = _meter(rows)
    meter.record_base(bench.trainer, no_progress)
    bench.update(tiny.rows(4, seed=1), rate=3e-2)
    found = meter.measure(bench.trainer, Position(), no_progress)
    assert found.kl == pytest.approx(_expected(make(), bench.model.eval(), rows)[2], abs=1e-5)


def test_logits_are_never_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, rows = tiny.bench(), tiny.rows(6, seed=5)
    meter = _meter(rows)
    meter.record_base(bench.trainer, no_progress)
    bench.update(tiny.rows(4, seed=1), rate=3e-2)
    whole = meter.measure(bench.trainer, Position(), no_progress)
    largest = 0
    plain = bench.loss.logits

    def counted(*args: Any) -> Tensor:
        nonlocal largest
        logits = plain(*args)
        largest = max(largest, len(logits))
        return logits

    monkeypatch.setattr(bench.loss, "logits", counted)
    monkeypatch.setattr(retention, "PIECE", 5 * tiny.VOCABULARY)
    monkeypatch.setattr(retention, "in_fp32", lambda device: 2 * tiny.VOCABULARY)
    pieces = meter.measure(bench.trainer, Position(), no_progress)
    assert largest == 5
    assert (pieces.perplexity, pieces.kl) == pytest.approx((whole.perplexity, whole.kl), rel=1e-6)


@pytest.mark.parametrize("base_dtype", ["nf4", "int8"])
def test_the_base_of_a_quantised_run_is_the_quantised_one(base_dtype: str) -> None:
    """Before the first step nothing was unlearnt, whatever rounding did to the base."""
    bench = tiny.bench(precision={"base_dtype": base_dtype})
    meter = _meter(tiny.rows(4, seed=5))
    meter.record_base(bench.trainer, no_progress)
    assert meter.measure(bench.trainer, Position(), no_progress).kl == pytest.approx(0.0, abs=1e-6)
    bench.update(tiny.rows(4, seed=1), rate=3e-2)
    assert meter.measure(bench.trainer, Position(), no_progress).kl > 1e-3


def test_measuring_leaves_no_trace() -> None:
    bench = tiny.bench({"name": "prompt-tuning", "virtual_tokens": 3})
    question = Question("?", (3, 4, 5), ("x",))
    meter = _meter(tiny.rows(4, seed=5), questions=[question])
    bench.update(tiny.rows(4, seed=1))
    gradients = [parameter.grad.clone() for parameter in bench.parameters if parameter.grad is not None]
    before = {name: value.clone() for name, value in bench.model.state_dict().items()}
    hooks = [(dict(m._forward_hooks), dict(m._forward_pre_hooks)) for m in bench.model.modules()]
    trains = [p.requires_grad for p in bench.model.parameters()]
    random = torch.get_rng_state()
    meter.record_base(bench.trainer, no_progress)
    meter.measure(bench.trainer, Position(), no_progress)
    meter.answer(bench.trainer, Position(), no_progress, known=True, base=True)
    meter.answer(bench.trainer, Position(), no_progress, known=True)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in bench.model.modules())
    assert [p.requires_grad for p in bench.model.parameters()] == trains
    assert [(dict(m._forward_hooks), dict(m._forward_pre_hooks)) for m in bench.model.modules()] == hooks
    assert all(torch.equal(value, before[name]) for name, value in bench.model.state_dict().items())
    kept = [parameter.grad for parameter in bench.parameters if parameter.grad is not None]
    assert all(map(torch.equal, kept, gradients))


@pytest.mark.parametrize("method", [LORA, {"name": "full"}, {"name": "prompt-tuning", "virtual_tokens": 3}])
def test_losses_are_the_same_bit_for_bit_whether_it_is_measured_or_not(tmp_path: Path, method: dict[str, Any]) -> None:
    sections = {"method": method | ({"dropout": 0.1} if method is LORA else {})}
    on, off = (
        Trained(tmp_path, sections | {"retention": {"measure": measure, "prompts": ["Hello"] if measure else []}}).go()
        for measure in (True, False)
    )
    assert on.of(RetentionMeasured)
    assert not off.of(RetentionMeasured)
    assert not off.of(PromptsAnswered)
    assert [step.loss for step in on.steps] == [step.loss for step in off.steps]
    assert [step.grad_norm for step in on.steps] == [step.grad_norm for step in off.steps]


@pytest.mark.parametrize("replay", [0.0, 0.5])
def test_a_run_measures_what_plain_libraries_find_in_its_result(tmp_path: Path, replay: float) -> None:
    general = tiny.save_rows(tmp_path / "general.jsonl", 8)
    rows = tmp_path / "rows.jsonl"
    data = {
        "sources": [{"path": str(rows)}, {"path": str(general), "role": "general"}],
        "replay_ratio": replay,
    }
    done = Trained(tmp_path, {"data": data}).go()
    measured = done.of(RetentionMeasured)
    assert [measured[0].update, measured[-1].update] == [0, 6]
    assert measured[0].kl == pytest.approx(0.0, abs=1e-9)
    base = AutoModelForCausalLM.from_pretrained(done.model)
    trained = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(done.model), str(done.folder.adapter))
    probes = load_probes(done.config.retention, load_tokenizer(done.model), "chat", 256, 0, no_progress)
    taken = retention._take(probes.rows, retention.LEAST_TOKENS)
    expected = _expected(base, trained.eval(), taken)
    last = measured[-1]
    assert (last.base_perplexity, last.perplexity) == pytest.approx(expected[:2], rel=1e-4)
    assert last.kl == pytest.approx(expected[2], abs=1e-4)
    state = done.folder.read_state()["retention"]
    assert state == {"retention": pytest.approx(last.retention), "kl": pytest.approx(last.kl)}


def test_a_run_below_the_bound_ends_with_the_best_weights_above_it(tmp_path: Path) -> None:
    sections = {
        "method": {"name": "full"},
        "retention": {"stop_below": 0.9},
        "training": {"learning_rate": 3e-2, "max_steps": 20, "evaluate_every": 1, "warmup_ratio": 0.5},
        "data": {"validation_fraction": 0.2},
    }
    done = Trained(tmp_path, sections).go()
    measured = done.of(RetentionMeasured)
    assert measured[-1].retention < 0.9 <= min(one.retention for one in measured[:-1])
    (report,) = done.of(RetentionReported)
    assert report.stopped_early
    assert report.retention >= 0.9
    assert report.update == done.steps[-1].update < 20
    chosen = next(one for one in measured if one.update == report.result_update)
    base, trained = (AutoModelForCausalLM.from_pretrained(folder) for folder in (done.model, done.folder.adapter))
    probes = load_probes(done.config.retention, load_tokenizer(done.model), "chat", 256, 0, no_progress)
    expected = _expected(base, trained, retention._take(probes.rows, retention.LEAST_TOKENS))
    assert chosen.perplexity == pytest.approx(expected[1], rel=1e-4)
    assert not list(done.folder.checkpoints.glob("best*"))


@pytest.mark.parametrize(("template", "asked"), [("", "2+2"), ("{system}Q: {question}\nA:{answer}", "Q: 2+2\nA:")])
def test_a_base_model_is_asked_the_user_s_prompts_as_it_is_taught(template: str, asked: str) -> None:
    words = tiny.tokenizer()
    config = RetentionConfig(prompts=("2+2",))
    probes = load_probes(config, words, "base", 256, 0, no_progress, template)
    assert words.decode(list(probes.prompts[0].ids)) == asked


def test_a_run_says_at_its_end_what_it_gained_and_which_rows_stand_out(tmp_path: Path) -> None:
    done = Trained(tmp_path, {"data": {"validation_fraction": 0.3}}).go()
    (report,) = done.of(RetentionReported)
    assert report.result_update == 6
    assert not report.stopped_early
    assert report.loss_after is not None
    assert report.loss_before is not None
    assert report.loss_after < report.loss_before
    (ranked,) = done.of(RowsRanked)
    assert ranked.highest[0]["loss"] >= ranked.highest[-1]["loss"] >= ranked.lowest[-1]["loss"]
    assert ranked.lowest[0]["loss"] <= ranked.lowest[-1]["loss"]
    assert Path(ranked.highest[0]["source"]).name == "rows.jsonl"


def test_prompts_of_the_user_are_answered_at_every_evaluation(tmp_path: Path) -> None:
    done = Trained(tmp_path, {"retention": {"prompts": ["Hello"]}, "training": {"evaluate_every": 2}}).go()
    answered = done.of(PromptsAnswered)
    assert [event.update for event in answered] == [0, 2, 4, 6]
    assert all(event.answers[0]["prompt"] == "Hello" and event.answers[0]["own"] for event in answered)
    assert answered[0].answers[0]["answer"] != answered[-1].answers[0]["answer"]


def test_the_greedy_answer_is_that_of_transformers() -> None:
    bench = tiny.bench()
    questions = [Question("a", (5, 6, 7), ("x",)), Question("b", (9, 10), ("x",)), Question("c", (8, 6, 7), ("x",))]
    meter = _meter(tiny.rows(2), questions=questions)
    for _ in range(3):
        bench.update(tiny.rows(4, seed=1), rate=3e-2)
    told = meter.answer(bench.trainer, Position(), no_progress, known=True)
    before = meter.answer(bench.trainer, Position(), no_progress, known=True, base=True)
    assert told is not None
    assert before is not None
    for found, model in ((told, bench.model), (before, tiny.llama())):
        for question, answer in zip(questions, found.answers, strict=True):
            ids = torch.tensor([question.ids])
            with bench.loss.without_dropout():
                output = model.generate(  # type: ignore[operator]
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=retention.SHORT,
                    do_sample=False,
                    eos_token_id=2,
                    pad_token_id=0,
                )[0, ids.shape[1] :].tolist()
            end = output.index(2) if 2 in output else len(output)
            assert answer["answer"] == tiny.tokenizer().decode(output[:end], skip_special_tokens=True).strip()


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("The answer is 12.", True),
        ("120", False),
        ("一年有12个月。", True),
        ("ＰＡＲＩＳ！", True),
        ("十二个", True),
        ("Parisian", False),
        ("", False),
    ],
)
def test_answers_are_judged_by_words_and_not_by_letters(answer: str, right: bool) -> None:
    assert Question("?", (1,), ("12", "十二", "Paris")).judge(answer) is right


def test_the_shipped_set_is_what_it_says() -> None:
    texts, questions = (
        [json.loads(line) for line in resource("retention", name).read_text(encoding="utf-8").splitlines()]
        for name in ("texts.jsonl", "questions.jsonl")
    )
    for rows, count, key in ((texts, 100, "text"), (questions, 30, "question")):
        assert len(rows) == count == len({row[key] for row in rows})
        assert sum(row["language"] == "zh" for row in rows) == count / 2
    assert len({row["subject"] for row in texts[:24]}) >= 8
    assert all(row["answers"] for row in questions)


@pytest.mark.parametrize("trained_on", [500, 20_000, 100_000, 10_000_000])
def test_reading_the_probes_stays_within_its_share_of_the_run(trained_on: int) -> None:
    plan = plan_measurements(trained_on)
    read = plan.tokens * (plan.measurements + 2)
    assert read <= max(retention.SHARE_OF_TOKENS * trained_on * 1.01, 3 * retention.LEAST_TOKENS)
    assert plan.tokens >= retention.LEAST_TOKENS


def test_any_file_that_can_be_trained_on_can_be_measured_on(tmp_path: Path) -> None:
    own = tiny.save_rows(tmp_path / "own.jsonl", 30)
    done = Trained(tmp_path, {"retention": {"probes": str(own)}}).go()
    assert done.of(RetentionMeasured)[-1].tokens >= 100
    assert not done.of(PromptsAnswered)


def test_a_file_with_hardly_a_token_is_measured_on_and_said_to_tell_little(tmp_path: Path) -> None:
    own = tmp_path / "one.jsonl"
    own.write_text(json.dumps({"prompt": "a", "completion": "b"}), encoding="utf-8")
    (report,) = Trained(tmp_path, {"retention": {"probes": str(own)}}).go().of(RetentionReported)
    assert f"measured on {report.tokens} tokens only" in report_text(dataclasses.asdict(report))
    enough = report_text(dataclasses.asdict(report) | {"tokens": retention.LEAST_TOKENS})
    assert "tokens only" not in enough


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "has no rows"),
        ([{"a": "x", "b": "y"}], "fit no known format"),
        ([{"prompt": "a", "completion": ""}], "No row of"),
    ],
)
def test_a_file_that_cannot_be_measured_on_is_told_apart_from_the_data(
    rows: list[dict[str, str]], reason: str, tmp_path: Path
) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text("".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DataError, match=rf"on retention\.probes\. .*{reason}"):
        load_probes(RetentionConfig(probes=str(own)), tiny.tokenizer(), "base", 256, 0, no_progress)


def test_a_stop_before_the_end_reports_what_is_known(tmp_path: Path) -> None:
    done = Trained(tmp_path, {"training": {"evaluate_every": 2}})
    plain = done.emit

    def stop_after_three(event: Any) -> None:
        plain(event)
        if isinstance(event, StepCompleted) and event.update == 3:
            done.control.stop()

    done.emit = stop_after_three  # type: ignore[method-assign]
    done.go()
    assert done.of(RetentionMeasured)
    (report,) = done.of(RetentionReported)
    assert report.result_update == 3
