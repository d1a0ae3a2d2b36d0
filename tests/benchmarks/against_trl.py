"""Training speed and peak memory beside TRL's SFTTrainer: same rows, model, LoRA, precision and machine, in one run.

    python tests/benchmarks/against_trl.py [--steps 6] [--rounds 2] [--model DIR]

Needs the `bench` extra and the starter model. Every measurement is a process of its own; the rounds alternate, so
that a drifting machine meets all alike. TRL is measured as it comes (with gradient checkpointing, which saves memory
and costs time) and without. Speed is counted from the second step on; peak memory is that of the tensors on a GPU,
where there is one, and otherwise that of the whole process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "resources" / "samples" / "fine-tuning-en.jsonl"
SIDES = {
    "ours": "Finetune Studio",
    "trl": "TRL, as it comes",
    "trl-plain": "TRL, no gradient checkpointing",
}
BATCH, RATE, RANK, ALPHA, DROPOUT, LENGTH = 8, 2e-4, 16, 32, 0.05, 1024


def main() -> None:
    arguments = _arguments()
    if arguments.side:
        print(json.dumps(_measure(arguments.side, arguments.model, arguments.steps)))
        return
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(arguments.rounds):
        for side in SIDES:
            results[side].append(_in_process(side, arguments))
    _report(results)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default="", help="default: the starter model")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.model = arguments.model or _starter()
    return arguments


def _starter() -> str:
    from studio.runner.actions import starter_folder

    folder = starter_folder()
    if folder is None:
        sys.exit("Fetch the starter model first: finetune-studio starter")
    return str(folder)


def _in_process(side: str, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", side, "--steps", str(arguments.steps), "--model", arguments.model]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{SIDES[side]:32} {result['tokens_per_second']:8.1f} tokens/s {result['peak'] / 2**30:6.2f} GiB", flush=True)
    return result


def _report(results: dict[str, list[dict[str, Any]]]) -> None:
    ours = results["ours"]
    print(f"\n{len(ours)} rounds, medians; first and last loss beside them to show that the same was learnt")
    for side, title in SIDES.items():
        speed = statistics.median(r["tokens_per_second"] for r in results[side])
        peak = statistics.median(r["peak"] for r in results[side])
        faster, lighter = (_ratio(ours, results[side], figure) for figure in ("tokens_per_second", "peak"))
        losses = results[side][0]["losses"]
        print(
            f"{title:32} {speed:8.1f} tokens/s {peak / 2**30:6.2f} GiB   ours/this: speed {faster:.2f}, "
            f"memory {lighter:.2f}   loss {losses[0]:.3f} to {losses[-1]:.3f}"
        )


def _ratio(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], figure: str) -> float:
    """Median over the rounds of ours / theirs."""
    return statistics.median(a[figure] / b[figure] for a, b in zip(ours, theirs, strict=True))


def _measure(side: str, model: str, steps: int) -> dict[str, Any]:
    measure = _ours if side == "ours" else _trl
    speed, losses = measure(model, steps, side)
    return {"tokens_per_second": speed, "losses": losses, "peak": _peak()}


def _peak() -> int:
    import psutil
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    info = psutil.Process().memory_info()
    if hasattr(info, "peak_wset"):
        return int(info.peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _config(model: str, steps: int) -> Any:
    from studio.config import parse_config

    return parse_config(
        {
            "model": {"path": model, "kind": "chat"},
            "data": {"sources": [{"path": str(SAMPLE)}], "validation_fraction": 0.0, "max_length": LENGTH},
            "method": {"name": "lora", "rank": RANK, "alpha": ALPHA, "dropout": DROPOUT},
            "precision": {"name": "bf16-mixed"},
            "training": {"max_steps": steps, "batch_size": BATCH, "learning_rate": RATE, "schedule": "constant"},
        }
    )


def _ours(model: str, steps: int, _: str) -> tuple[float, list[float]]:
    from studio.engine.control import Control
    from studio.engine.training.run import train
    from studio.events import StepCompleted
    from studio.runs import create_run

    done: list[StepCompleted] = []
    with tempfile.TemporaryDirectory() as root:
        folder = create_run(Path(root), "benchmark", "")
        train(
            _config(model, steps), folder, Control(), lambda e: done.append(e) if isinstance(e, StepCompleted) else None
        )
    counted = done[1:]
    return sum(s.tokens for s in counted) / sum(s.seconds for s in counted), [s.loss for s in done]


def _trl(model: str, steps: int, side: str) -> tuple[float, list[float]]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    rows = _rows(model, steps)
    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.monotonic())

    with tempfile.TemporaryDirectory() as out:
        extra = {"gradient_checkpointing": False} if side == "trl-plain" else {}
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
            args=SFTConfig(
                output_dir=out,
                per_device_train_batch_size=BATCH,
                max_steps=steps,
                learning_rate=RATE,
                lr_scheduler_type="constant",
                bf16=True,
                use_cpu=not torch.cuda.is_available(),
                max_length=LENGTH,
                completion_only_loss=True,  # as ours; of rows that come tokenised it would else learn every token
                report_to=[],
                save_strategy="no",
                logging_steps=1,
                disable_tqdm=True,
                train_sampling_strategy="sequential",
                **extra,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(model),
            peft_config=LoraConfig(
                r=RANK, lora_alpha=ALPHA, lora_dropout=DROPOUT, target_modules="all-linear", task_type="CAUSAL_LM"
            ),
            callbacks=[Clock()],
        )
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    tokens = sum(len(row["input_ids"]) for row in rows[BATCH:])
    return tokens / (ends[-1] - ends[0]), [float(loss) for loss in losses]


def _rows(model: str, steps: int) -> list[dict[str, list[int]]]:
    """The very rows, in the very order, that our loop trains on."""
    from studio.engine.data.prepare import prepare_data
    from studio.engine.models.load import load_tokenizer

    config = _config(model, steps)
    data = prepare_data(config.data, load_tokenizer(Path(model)), "chat", config.training.seed)
    order = [int(index) for index in data.order.epoch(0)][: steps * BATCH]
    chosen = [data.train[index] for index in order]
    return [
        {"input_ids": row.input_ids.tolist(), "completion_mask": [int(label != -100) for label in row.labels]}
        for row in chosen
    ]


if __name__ == "__main__":
    main()
