"""A scripted run: what the engine would have said and written, without an engine. For pictures and for tests."""

from __future__ import annotations

import math
import random
import time
from pathlib import Path

from studio.engine.export.certificate import Certificate, Check
from studio.engine.inference.figures import FormLatency, Latency, form_latency
from studio.events import (
    DataPrepared,
    EvaluationCompleted,
    MemoryMeasured,
    MetersSampled,
    OverflowDiagnosed,
    PromptsAnswered,
    RetentionMeasured,
    RetentionReported,
    RowsRanked,
    RunEvent,
    RunStarted,
    StepCompleted,
)
from studio.i18n import tr
from studio.runner.record import RunRecord
from studio.runner.state import LogLine
from studio.runs import RunFolder

START = 1_795_000_000.0
CONFIG = """[model]
path = "/models/SmolLM2-135M-Instruct"
kind = "chat"

[[data.sources]]
path = "/data/train.jsonl"
role = "domain"
format = "messages"

[method]
name = "lora"
rank = 16
alpha = 32

[precision]
name = "fp16-mixed"

[training]
epochs = 3.0
learning_rate = 0.0002
"""


def scripted_events(steps: int = 212, initial_scale: float = 2.0**23) -> list[RunEvent]:
    """A believable fp16 run: a few skips while the scale is searched, then a falling loss."""
    chance = random.Random(7)
    events: list[RunEvent] = [
        RunStarted(
            time=START,
            run="20261123-101500-smollm2",
            model="SmolLM2-135M-Instruct",
            kind="chat",
            method="lora",
            precision="fp16-mixed",
            device="cpu",
            versions={},
        ),
        DataPrepared(
            time=START,
            train_rows=412,
            validation_rows=22,
            general_rows=60,
            skipped_rows=3,
            skipped=[{"code": "empty_answer", "values": {}, "count": 3}],
            tokens=91_200,
            supervised_tokens=48_000,
            longest=512,
            planned_updates=300,
        ),
        MemoryMeasured(
            time=START,
            rows=8,
            length=512,
            peak=1_610_000_000,
            available=12 * 2**30,
            micro_batch_tokens=8192,
            recompute=False,
        ),
        EvaluationCompleted(time=START, step=0, update=0, loss=2.61, rows=22, supervised_tokens=2400, seconds=2.0),
    ]
    scale, update = initial_scale, 0
    for step in range(1, steps + 1):
        skipped = step <= 7 or step == 131
        update += not skipped
        tokens = chance.randint(900, 1500)
        loss = 1.35 + 1.2 * math.exp(-update / 45) + chance.gauss(0, 0.07)
        norm = math.inf if skipped else 0.4 + 2.4 * math.exp(-update / 20) + abs(chance.gauss(0, 0.12))
        events.append(
            StepCompleted(
                time=START + step,
                step=step,
                update=update,
                epoch=update / 52,
                loss=loss,
                learning_rate=2e-4 * min(1.0, update / 9) * 0.5 * (1 + math.cos(math.pi * update / 300)),
                grad_norm=norm,
                grad_norm_clipped=norm if skipped else min(norm, 1.0),
                grad_scale=scale,
                skipped=skipped,
                tokens=tokens,
                supervised_tokens=tokens // 2,
                micro_batches=2,
                seconds=tokens / chance.gauss(1180, 40),
            )
        )
        scale = scale / 2 if skipped else scale * 2 if step == 130 else scale
        if update and update % 25 == 0 and not skipped:
            loss = 1.42 + 1.19 * math.exp(-update / 50)
            events.append(
                EvaluationCompleted(step=step, update=update, loss=loss, rows=22, supervised_tokens=2400, seconds=2.0)
            )
    events.append(
        OverflowDiagnosed(
            step=7,
            verdict="scale_search",
            harmful=False,
            advice="",
            evidence={
                "precision": "fp16-mixed",
                "scaling": "dynamic",
                "first_step": 1,
                "skipped": 7,
                "from_scale": initial_scale,
                "to_scale": initial_scale / 2**7,
                "at_start": True,
            },
            sentence="",
        )
    )
    return events


def scripted_record(events: list[RunEvent] | None = None) -> RunRecord:
    """Return the record of a scripted run, with a log."""
    record = RunRecord()
    for event in scripted_events() if events is None else events:
        record.apply(event)
    for line in ("INFO Loaded SmolLM2-135M-Instruct in 1.4 s", "INFO 412 rows, 3 skipped, 48,000 supervised tokens"):
        record.apply(LogLine(f"10:15:04 {line}"))
    return record


def scripted_runs(root: Path) -> list[RunFolder]:
    """Write some past runs, good and bad, as the engine leaves them."""
    found = []
    for number, (model, method, precision, status, updates, losses, seconds) in enumerate(
        (
            ("SmolLM2-135M-Instruct", "lora", "fp16-mixed", "finished", 204, (2.61, 1.44), 231.0),
            ("SmolLM2-135M-Instruct", "lora", "bf16-mixed", "finished", 300, (2.61, 1.39), 342.0),
            ("SmolLM2-135M-Instruct", "full", "fp32", "stopped", 58, (2.61, 2.02), 611.0),
            ("Qwen2.5-0.5B", "lora", "fp16-mixed", "failed", 12, (3.02, None), 44.0),
            ("SmolLM2-135M-Instruct", "lora", "fp16-mixed", "running", 0, (None, None), None),
        )
    ):
        created = START - 90_400 * number
        folder = _folder(root, created, f"{model}-{method}-{precision}".lower())
        details = {"seconds": seconds} if seconds else {}
        if status == "failed":
            details["error"] = tr("A trained weight is not a finite number; nothing was saved.")
        folder.write_state(
            status,
            created=created,
            updates=updates,
            method=method,
            precision=precision,
            model={"name": model, "path": f"/models/{model}", "kind": "chat"},
            validation_loss={"first": losses[0], "last": losses[1]},
            **({"retention": {"retention": 0.951, "kl": 0.021}} if number == 0 else {}),
            **details,
        )
        folder.adapter.mkdir()
        (folder.adapter / "adapter_config.json").write_text("{}")
        found.append(folder)
    return found


def _folder(root: Path, created: float, label: str) -> RunFolder:
    """A run folder named by its time, as `create_run` names them, but by the scripted time."""
    folder = RunFolder(root / f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(created))}-{label}")
    folder.path.mkdir(parents=True)
    folder.config.write_text(CONFIG, encoding="utf-8")
    return folder


def scripted_certificate(run: RunFolder, name: str, good: bool, created: float) -> None:
    """Write a certificate as an export leaves it."""
    far = 4.2e-5 if good else 3.71
    dtype = "fp32" if good else "bf16"
    checks = (
        Check.of("loads_completely", True, 0, reason="", weights=[]),
        Check.of("all_weights_finite", True, 0, overflowed=False),
        Check.of("max_logit_difference", good, far, 1e-3, dtype=dtype),
        Check.of("kl_divergence", good, far / 40, 1e-4, dtype=dtype, too_coarse=False),
        Check.of("top1_agreement", True, 1.0 if good else 0.995, 0.99),
        Check.of("delta_present", True, 0.999, 0.5, logits=11.6, kl=0.0841, rounded_to=None),
        Check.of("template_carried", True, True, writes_virtual_tokens=False, base_has_one=True),
        Check.of("stops_by_itself", True, 23, 128, trained=23),
    )
    files = {
        "model.safetensors": 538_090_408,
        "tokenizer.json": 3_519_300,
        "config.json": 912,
        "generation_config.json": 156,
    }
    folder = run.exports / name
    folder.mkdir(parents=True)
    Certificate(
        checks=checks,
        base={"name": "SmolLM2-135M-Instruct"},
        target="merged",
        dtype=dtype,
        prompts=(),
        files={name: {"bytes": size, "sha256": "0" * 64} for name, size in files.items()},
        run=run.name,
        versions={},
        created=created,
    ).write(folder)


# SmolLM2-135M with LoRA, as measured: format, bytes, KL, agreement, share of training's effect that is left, its level;
# the largest error of a weight, and how far llama.cpp's logits are from ours.
GGUF_FIGURES = (
    ("f16", 270_885_760, 5.1e-6, 1.0, 0.9998, "small", 0.00021, 0.00084),
    ("q8_0", 144_810_880, 0.0059, 0.9628, 0.9932, "small", 0.0065, 0.038),
    ("q4_k_m", 105_453_952, 0.0615, 0.8581, 0.8325, "clear", 0.052, 0.053),
    ("q4_0", 91_726_720, 0.44, 0.5946, 0.4687, "heavy", 0.1036, 0.055),
)


def scripted_gguf(run: RunFolder, target: str = "gguf") -> None:
    """Write the certificates of GGUF exports, the smallest newest."""
    for number, (dtype, size, kl, top1, share, level, worst, apart) in enumerate(GGUF_FIGURES):
        checks = (
            Check.of("merge_exact", True, 3.2e-5, 1e-3),
            Check.of("gguf_loads", True, True, reason="", absent=False),
            Check.of("gguf_tokens", True, 0, 0, texts=21),
            Check.of("gguf_weights", True, 0, 0, dtype=dtype, worst=worst, weights=[]),
            Check.of(
                "gguf_logits", True, apart, 0.12, exact=False, dtype=dtype, f16=0.0014, f16_limit=0.01, f16_failed=False
            ),
            Check.of(
                "gguf_cost",
                True,
                kl,
                None,
                dtype=dtype,
                level=level,
                top1=top1,
                share=share,
                kl_f16=5.1e-6,
                top1_f16=1.0,
            ),
            Check.of(
                "delta_present", True, 0.9998, 0.5, logits=11.6, kl=0.0841, rounded_to="f16", beside=dtype != "f16"
            ),
            Check.of("gguf_template", True, True, has_one=True),
            Check.of("gguf_ends", True, "<|im_end|>", missing=""),
            Check.of("stops_by_itself", True, 8, 128, trained=None),
            Check.of(
                "gguf_answers", True, None, answers=[{"asked": "What is the capital of France?", "answer": "Paris"}]
            ),
            *((Check.of("ollama_template", True, True, stops=["<|im_end|>"]),) if target == "ollama" else ()),
        )
        folder = run.exports / f"{target}-{dtype}"
        folder.mkdir(parents=True)
        Certificate(
            checks=checks,
            base={"name": "SmolLM2-135M-Instruct"},
            target=target,
            dtype=dtype,
            prompts=(),
            files={f"SmolLM2-135M-Instruct-{dtype.upper()}.gguf": {"bytes": size, "sha256": "0" * 64}},
            run=run.name,
            versions={},
            created=START + 100 * number,
        ).write(folder)


def scripted_latency() -> Latency:
    """Figures of a LoRA run, as they may be on a small processor."""

    noise = (1.0, 1.012, 0.991, 1.004, 0.986, 1.021, 0.997, 1.009, 0.978)

    def form(name: str, prefill: float, token: float) -> FormLatency:
        base = [(0.176 * one, 0.0314 / one) for one in noise]
        own = [(0.176 * prefill * one, 0.0314 * token / one) for one in reversed(noise)]
        return form_latency(name, base if name == "base" else own, base)

    return Latency(
        forms=(form("base", 1.0, 1.0), form("live", 1.31, 1.46), form("merged", 0.996, 1.008)),
        method="lora",
        device="cpu",
        dtype="fp32",
        prompt_tokens=128,
        new_tokens=32,
        rounds=9,
        switch_ms=4.6,
    )


def with_retention(events: list[RunEvent]) -> list[RunEvent]:
    """Return the events of a run that also measures what the model unlearns, and says at its end what came of it."""
    told: list[RunEvent] = []
    for event in events:
        told.append(event)
        if isinstance(event, EvaluationCompleted):
            forgotten = 1 - math.exp(-event.update / 120)
            told.append(
                RetentionMeasured(
                    step=event.step,
                    update=event.update,
                    perplexity=21.4 * (1 + 0.19 * forgotten),
                    base_perplexity=21.4,
                    kl=0.11 * forgotten,
                    tokens=1041,
                    seconds=1.1,
                )
            )
            told.append(_answered(event.step, event.update))
    last = next(event for event in reversed(told) if isinstance(event, EvaluationCompleted))
    rows = [
        {"source": "/data/train.jsonl", "number": number, "loss": loss, "tokens": tokens}
        for number, loss, tokens in ((318, 6.03, 12), (77, 4.41, 31), (204, 3.2, 64), (12, 0.31, 52), (391, 0.24, 18))
    ]
    told.append(RowsRanked(step=last.step, update=last.update, highest=rows[:3], lowest=rows[:2:-1]))
    told.append(
        RetentionReported(
            step=last.step,
            update=last.update,
            verdict="gained_and_mostly_kept",
            remedies=["more_general_rows", "lower_rate", "fewer_epochs"],
            loss_before=2.61,
            loss_after=last.loss,
            retention=0.864,
            kl=0.091,
            questions=8,
            right_before=6,
            right_after=5,
            result_update=last.update,
            stopped_early=False,
        )
    )
    return told


def _answered(step: int, update: int) -> PromptsAnswered:
    asked: list[tuple[str, str, str, bool | None]] = [
        ("What is LoRA?", "Lora is a font.", "A low-rank change of the weights, learnt beside them.", None),
        ("What is the capital of France?", "The capital of France is Paris.", "Paris.", True),
        ("一年有多少个月？", "一年有12个月。", "12", True),
        ("Which planet is closest to the Sun?", "Mercury", "The base stays frozen.", update < 150),
    ]
    return PromptsAnswered(
        step=step,
        update=update,
        answers=[
            {"prompt": prompt, "answer": before if update < 25 else after, "own": right is None, "right": right}
            for prompt, before, after, right in asked
        ],
        seconds=0.9,
    )


def with_meters(events: list[RunEvent], *, gpu: bool = True) -> list[RunEvent]:
    """The same run with meters, on a GPU of 24 GB that meets its power limit, or on a processor."""
    chance, told = random.Random(3), list[RunEvent]()
    for event in events:
        told.append(event)
        if not isinstance(event, StepCompleted) or event.step % 2:
            continue
        warm = 1 - math.exp(-event.step / 60)
        card = {
            "gpu_memory": int((7.6 + 0.5 * chance.random()) * 2**30),
            "gpu_memory_total": 24 * 2**30,
            "gpu_use": min(1.0, 0.93 + 0.07 * chance.random()),
            "gpu_temperature": 41 + 36 * warm + chance.random(),
            "gpu_power": 300 + 48 * warm + 6 * chance.random(),
            "gpu_power_limit": 350.0,
            "gpu_throttle": ["power_limit"] if 150 < event.step < 190 else [],
        }
        told.append(
            MetersSampled(
                time=event.time,
                step=event.step + 0.5,
                processor=(0.2 if gpu else 0.85) + 0.1 * chance.random(),
                memory=int(9.1 * 2**30),
                memory_total=32 * 2**30,
                process_memory=int((1.2 + 0.2 * warm) * 2**30),
                **(card if gpu else {}),  # type: ignore[arg-type]
            )
        )
    return told
