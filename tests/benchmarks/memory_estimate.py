"""The memory estimate beside the measured peak, by size of the model, method, precision and length of the rows.

    python tests/benchmarks/memory_estimate.py [--device cpu] [--precision fp32 bf16-mixed] [--lengths 128 512]
        [--methods full lora …] [--size 135m 0.4b 1b] [--base-dtype nf4] [--export] [--model DIR]

Needs the starter model, or with `--size` nothing: models of these sizes with random weights are then made, because
memory depends on shapes alone. Every measurement trains by the public `train()`, on a processor in a process
of its own: rows hardly shorter than the configuration allows, every token learnt, eight to an update. The measured
peak is what the process held at most on a processor (its code and libraries are the estimate's part "runtime"), and
what tensors held at most on a GPU. Each moment of the run is measured apart, so that it shows where the peak was:
loading, the trial, training. With `--export` the merged export of the run follows, in a process of its own, and its
peak is printed beside the estimate: of whole models, or part by part where they take more than half of the memory that
is free. Target: within 15 %; part by part is a bound.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
METHODS = {
    "full": {"name": "full"},
    "lora": {"name": "lora"},
    "bottleneck-adapter": {"name": "bottleneck-adapter"},
    "prompt-tuning": {"name": "prompt-tuning"},
}
# Shapes of SmolLM2-135M (134,515,008 parameters), of a model of 0.41 billion, and of Llama-3.2-1B (1.24 billion).
_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)
SHAPES = {
    "135m": dict(zip(_SIZES, (49152, 576, 1536, 30, 9, 3), strict=True)),
    "0.4b": dict(zip(_SIZES, (49152, 1024, 4096, 24, 16, 4), strict=True)),
    "1b": dict(zip(_SIZES, (128256, 2048, 8192, 16, 32, 8), strict=True)),
}
BATCH, ROWS, UPDATES = 8, 32, 3
TARGET = 0.15
MIB = 2**20


def main() -> None:
    arguments = _arguments()
    if arguments.one:
        case = json.loads(arguments.one)
        print(json.dumps(_peak_of_export(case["run"]) if "run" in case else _measure(arguments.model, case)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.size:
            models = [str(_random_model(Path(temporary, size), SHAPES[size])) for size in arguments.size]
        else:
            models = [arguments.model or _starter()]
        ratios = [_compare(model, case) for model in models for case in _cases(arguments)]
    if not ratios:
        sys.exit("None of these methods is there.")
    worst = max(ratios, key=lambda ratio: abs(ratio - 1.0))
    verdict = "within" if abs(worst - 1.0) <= TARGET else "NOT within"
    print(f"\n{len(ratios)} cases, the worst at {worst:.3f} of the measured peak: {verdict} {TARGET:.0%}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16-mixed"])
    parser.add_argument("--lengths", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--size", nargs="+", choices=SHAPES, default=[], help="models of these sizes, random weights")
    parser.add_argument("--base-dtype", default="auto")
    parser.add_argument("--export", action="store_true", help="merge and export each run as well")
    parser.add_argument("--model", default="", help="default: the starter model")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def _starter() -> str:
    from studio.runner.actions import starter_folder

    folder = starter_folder()
    if folder is None:
        sys.exit("Fetch the starter model first: finetune-studio starter; or take --size 135m")
    return str(folder)


def _random_model(folder: Path, shape: dict[str, int]) -> Path:
    """Write a Llama of this shape in bf16, as models are published. The tokenizer is that of the tests, a token a byte."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sys.path.insert(0, str(ROOT))
    from tests.tiny import tokenizer

    config = LlamaConfig(max_position_embeddings=8192, tie_word_embeddings=True, eos_token_id=2, **shape)
    torch.set_default_dtype(torch.bfloat16)
    LlamaForCausalLM(config).save_pretrained(folder)
    torch.set_default_dtype(torch.float32)
    tokenizer().save_pretrained(folder)
    return folder


def _cases(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from studio.engine.methods import METHODS as PRESENT

    return [
        {
            "method": METHODS[method],
            "precision": precision,
            "length": length,
            "device": arguments.device,
            "base_dtype": arguments.base_dtype if method != "full" else "auto",
            "export": arguments.export,
        }
        for method in arguments.methods
        if method in PRESENT.names()
        for precision in arguments.precision
        for length in arguments.lengths
    ]


def _compare(model: str, case: dict[str, Any]) -> float:
    """Print one case; return estimated / measured."""
    result = _in_process(model, case) if case["device"] == "cpu" else _measure(model, case)
    if exported := result["export"]:
        foreseen = exported["estimated"] + result["estimated"].get("runtime", 0)
        print(
            f"{Path(model).name:6} merged export {'part by part' if exported['by_parts'] else 'of whole models'}: estimated "
            f"{foreseen / MIB:7.0f} MiB, measured {exported['peak'] / MIB:7.0f} MiB, ratio {foreseen / exported['peak']:.3f}"
        )
    estimated, measured = sum(result["estimated"].values()), max(result["moments"].values())
    print(
        f"{Path(model).name:6} {case['method']['name']:20} {case['precision']:10} {case['length']:5} tokens   estimated "
        f"{estimated / MIB:7.0f} MiB, measured {measured / MIB:7.0f} MiB, ratio {estimated / measured:.3f}\n"
        f"    estimated: {_sizes(result['estimated'])}\n    measured:  {_sizes(result['moments'])}",
        flush=True,
    )
    return float(estimated / measured)


def _in_process(model: str, case: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--model", model, "--one", json.dumps(case)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _sizes(parts: dict[str, int]) -> str:
    return ", ".join(f"{name} {size / MIB:.0f}" for name, size in parts.items())


def _measure(model: str, case: dict[str, Any]) -> dict[str, Any]:
    """Train and return the estimate's parts and the peak of each moment, in bytes."""
    from studio.config import parse_config, write_config
    from studio.engine.control import Control
    from studio.engine.device import resolve_device
    from studio.engine.estimate import estimate
    from studio.engine.models.inspect import inspect_model
    from studio.engine.training.run import train
    from studio.runs import create_run

    exported: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as temporary:
        rows = Path(temporary, "rows.jsonl")
        rows.write_text("".join(json.dumps({"text": _text(n, case["length"])}) + "\n" for n in range(ROWS)))
        config = parse_config(
            {
                "model": {"path": model, "kind": "base"},
                "data": {"sources": [{"path": str(rows)}], "max_length": case["length"], "validation_fraction": 0.1},
                "method": case["method"],
                "precision": {"name": case["precision"], "base_dtype": case["base_dtype"]},
                "training": {"max_steps": UPDATES, "batch_size": BATCH, "device": case["device"]},
            }
        )
        peaks = _Peaks(resolve_device(case["device"]))
        folder = create_run(Path(temporary), "benchmark", write_config(config))
        train(config, folder, Control(), peaks.note)
        if case["export"]:
            exported = _in_process(model, {"run": str(folder.path)})
        info = inspect_model(Path(model))
        parts = estimate(info, config).bytes
    gc.collect()  # on a GPU, the next case begins with nothing held
    return {"estimated": parts, "moments": peaks.moments, "export": exported}


def _peak_of_export(run: str) -> dict[str, int]:
    """Merge and export a run; return the most bytes that this process has held, and what was estimated."""
    import torch

    from studio.engine.control import no_progress
    from studio.engine.device import peak_memory
    from studio.engine.export import TARGETS
    from studio.engine.export.memory import needs_parts, part_bytes, whole_bytes
    from studio.engine.export.run import export_run
    from studio.engine.export.source import open_source
    from studio.runs import open_run

    folder = open_run(Path(run))
    source = open_source(folder, no_progress)
    by_parts = needs_parts(source, TARGETS.get("merged"))
    estimated = part_bytes(source.info.shapes) if by_parts else whole_bytes(source.info, merged=True)
    export_run(folder, "merged")
    return {"peak": peak_memory(torch.device("cpu")), "estimated": estimated, "by_parts": by_parts}


def _text(number: int, length: int) -> str:
    """A row of about `length` tokens, one a digit: uneven, as real rows are, by a few tokens, so that some are padded."""
    digits = "".join(str(number * 1_000_003 + step * 7) for step in range(length))
    return digits[: length - number % 4]


class _Peaks:
    """The most memory held up to each kind of event since the event before it."""

    def __init__(self, device: Any) -> None:
        self.moments: dict[str, int] = {}
        self._device = device
        if device.type == "cuda":
            import torch

            torch.cuda.init()
        self._start_anew()

    def note(self, event: Any) -> None:
        from studio.engine.device import peak_memory

        name = getattr(event, "stage", None) or type(event).__name__
        self.moments[name] = max(self.moments.get(name, 0), peak_memory(self._device))
        self._start_anew()

    def _start_anew(self) -> None:
        if self._device.type == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
        elif Path("/proc/self/clear_refs").exists():
            Path("/proc/self/clear_refs").write_text("5")  # proc(5): reset the peak resident set


if __name__ == "__main__":
    main()
