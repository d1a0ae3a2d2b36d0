"""Training speed and peak memory beside TRL's SFTTrainer: same rows, model, LoRA, precision and machine, in one run.

    python tests/benchmarks/against_trl.py [--steps 6] [--rounds 2] [--device cpu | cuda] [--shape 135m | 1b | 7b]
        [--model DIR]

Needs the `bench` extra and the starter model. With `--shape`, random weights in bf16 take its place, a Llama of that
size with its tokenizer. Every measurement is a process of its own; the rounds alternate, so that a drifting machine
meets all alike. TRL is measured as it comes (with gradient checkpointing, which saves memory and costs time), without,
and on a GPU, where liger-kernel is installed, with Liger's kernels and packed rows: one row of 1024 tokens for eight
rows of the others. TRL keeps the weights in fp32, those of 1b and 7b in bf16. Speed is counted from the second step on;
peak memory is that of the tensors on a GPU, and on a processor that of the whole process.
"""

from __future__ import annotations

import argparse
import importlib.util
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
    "trl-liger": "TRL + Liger + packing",
}
SHAPES: dict[str, dict[str, Any]] = {
    "135m": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
    },
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "tie_word_embeddings": False,
    },
}
BATCH, RATE, RANK, ALPHA, DROPOUT, LENGTH = 8, 2e-4, 16, 32, 0.05, 1024


def main() -> None:
    arguments = _arguments()
    if arguments.side:
        print(json.dumps(_measure(arguments)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        arguments.model = arguments.model or _starter()
        if arguments.shape:
            arguments.model = _random_model(Path(temporary), arguments.shape, arguments.model)
        results: dict[str, list[dict[str, Any]]] = {side: [] for side in _sides(arguments.device)}
        for _ in range(arguments.rounds):
            for side in results:
                results[side].append(_in_process(side, arguments))
    _report(results)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="", help="default: the GPU where there is one")
    parser.add_argument("--shape", choices=SHAPES, default="", help="random weights of this size")
    parser.add_argument(
        "--model", default="", help="default: the starter model; with --shape, whose tokenizer is taken"
    )
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.device:
        import torch

        arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
    return arguments


def _sides(device: str) -> list[str]:
    """Return what is measured; what cannot be is named with the reason."""
    if device == "cuda" and importlib.util.find_spec("liger_kernel"):
        return list(SIDES)
    reason = "liger-kernel is not installed" if device == "cuda" else "Liger needs a GPU"
    print(f"{SIDES['trl-liger']:32} skipped: {reason}")
    return [side for side in SIDES if side != "trl-liger"]


def _random_model(folder: Path, shape: str, tokenizer: str) -> str:
    """Write a Llama of this shape with random weights in bf16, and the tokenizer of another model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    words = AutoTokenizer.from_pretrained(tokenizer)
    config = LlamaConfig(
        vocab_size=len(words), max_position_embeddings=8192, eos_token_id=words.eos_token_id, **SHAPES[shape]
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    words.save_pretrained(folder)
    return str(folder)


def _starter() -> str:
    from studio.runner.actions import starter_folder

    folder = starter_folder()
    if folder is None:
        sys.exit("Fetch the starter model first: finetune-studio starter")
    return str(folder)


def _in_process(side: str, arguments: argparse.Namespace) -> dict[str, Any]:
    options = {name: str(getattr(arguments, name)) for name in ("steps", "device", "shape", "model")} | {"side": side}
    command = [sys.executable, __file__, *(f"--{name}={value}" for name, value in options.items() if value)]
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
    for side in results:
        speed = statistics.median(r["tokens_per_second"] for r in results[side])
        peak = statistics.median(r["peak"] for r in results[side])
        faster, lighter = (_ratio(ours, results[side], figure) for figure in ("tokens_per_second", "peak"))
        losses = results[side][0]["losses"]
        print(
            f"{SIDES[side]:32} {speed:8.1f} tokens/s {peak / 2**30:6.2f} GiB   ours/this: speed {faster:.2f}, "
            f"memory {lighter:.2f}   loss {losses[0]:.3f} to {losses[-1]:.3f}"
        )


def _ratio(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], figure: str) -> float:
    """Median over the rounds of ours / theirs."""
    return statistics.median(a[figure] / b[figure] for a, b in zip(ours, theirs, strict=True))


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    import torch

    from studio.engine.device import peak_memory

    measure = _ours if arguments.side == "ours" else _trl
    speed, losses = measure(arguments)
    return {"tokens_per_second": speed, "losses": losses, "peak": peak_memory(torch.device(arguments.device))}


def _config(arguments: argparse.Namespace) -> Any:
    from studio.config import parse_config

    return parse_config(
        {
            "model": {"path": arguments.model, "kind": "chat"},
            "data": {"sources": [{"path": str(SAMPLE)}], "validation_fraction": 0.0, "max_length": LENGTH},
            "method": {"name": "lora", "rank": RANK, "alpha": ALPHA, "dropout": DROPOUT},
            "precision": {"name": "bf16-mixed"},
            "training": {
                "max_steps": arguments.steps,
                "batch_size": BATCH,
                "learning_rate": RATE,
                "schedule": "constant",
                "device": arguments.device,
            },
        }
    )


def _ours(arguments: argparse.Namespace) -> tuple[float, list[float]]:
    from studio.engine.control import Control
    from studio.engine.training.run import train
    from studio.events import StepCompleted
    from studio.runs import create_run

    done: list[StepCompleted] = []
    with tempfile.TemporaryDirectory() as root:
        folder = create_run(Path(root), "benchmark", "")
        config = _config(arguments)
        train(config, folder, Control(), lambda e: done.append(e) if isinstance(e, StepCompleted) else None)
    counted = done[1:]
    return sum(s.tokens for s in counted) / sum(s.seconds for s in counted), [s.loss for s in done]


def _trl(arguments: argparse.Namespace) -> tuple[float, list[float]]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if arguments.device == "cuda":
                torch.cuda.synchronize()
            ends.append(time.monotonic())

    packed = arguments.side == "trl-liger"
    extra = {
        "trl": {},
        "trl-plain": {"gradient_checkpointing": False},
        "trl-liger": {"use_liger_kernel": True, "packing": True},
    }[arguments.side]
    dtype = torch.bfloat16 if arguments.shape in ("1b", "7b") else torch.float32
    with tempfile.TemporaryDirectory() as out:
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(arguments.model, dtype=dtype),
            args=SFTConfig(
                output_dir=out,
                per_device_train_batch_size=1 if packed else BATCH,
                max_steps=arguments.steps,
                learning_rate=RATE,
                lr_scheduler_type="constant",
                bf16=True,
                use_cpu=arguments.device == "cpu",
                max_length=LENGTH,
                completion_only_loss=True,  # as ours; of rows that come tokenised it would else learn every token
                report_to=[],
                save_strategy="no",
                logging_steps=1,
                disable_tqdm=True,
                train_sampling_strategy="sequential",
                **extra,
            ),
            train_dataset=Dataset.from_list(_rows(arguments)),
            processing_class=AutoTokenizer.from_pretrained(arguments.model),
            peft_config=LoraConfig(
                r=RANK, lora_alpha=ALPHA, lora_dropout=DROPOUT, target_modules="all-linear", task_type="CAUSAL_LM"
            ),
            callbacks=[Clock()],
        )
        trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    tokens = logged[-1]["num_tokens"] - logged[0]["num_tokens"]
    return tokens / (ends[-1] - ends[0]), [float(entry["loss"]) for entry in logged]


def _rows(arguments: argparse.Namespace) -> list[dict[str, list[int]]]:
    """The very rows, in the very order, that our loop trains on."""
    from studio.engine.data.prepare import prepare_data
    from studio.engine.models.load import load_tokenizer

    config = _config(arguments)
    data = prepare_data(config.data, load_tokenizer(Path(arguments.model)), "chat", config.training.seed)
    order = [int(index) for index in data.order.epoch(0)][: arguments.steps * BATCH]
    chosen = [data.train[index] for index in order]
    return [
        {"input_ids": row.input_ids.tolist(), "completion_mask": [int(label != -100) for label in row.labels]}
        for row in chosen
    ]


if __name__ == "__main__":
    main()
