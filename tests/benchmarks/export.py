"""Time and peak memory of a certified export, beside merging and saving with plain peft, which checks nothing.

    python tests/benchmarks/export.py [--rounds 3] [--model DIR]

Needs the starter model. A short LoRA run of it is exported as `merged` in its own format. The peer loads the base in
fp32, merges with `merge_and_unload`, casts and saves. The goal is three times what the peer takes, and one forward pass
over the rows that the checks use.
Every export is a process of its own, libraries are imported before the clock starts, and the sides take turns.
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

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "resources" / "samples" / "fine-tuning-en.jsonl"
SIDES = ("peft", "ours")
TIMES = 3


def main() -> None:
    arguments = _arguments()
    if arguments.side:
        print(json.dumps((_peft if arguments.side == "peft" else _ours)(Path(arguments.run))))
        return
    with tempfile.TemporaryDirectory() as folder:
        run = _train(arguments.model or _starter(), Path(folder))
        found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
        for number in range(arguments.rounds):
            for side in SIDES if number % 2 == 0 else SIDES[::-1]:
                one = _in_process(side, run)
                found[side].append(one)
                times = f"{one['seconds']:6.1f} s, {one['processor']:.1f} s of processors"
                print(f"{side:5} {times}, peak {_mib(one['peak'])}{_beside(one)}", flush=True)
    print()
    median = {
        side: {key: statistics.median(one[key] for one in found[side]) for key in found[side][0]} for side in SIDES
    }
    peft, ours = median["peft"], median["ours"]
    _judge("time", peft["seconds"], ours["seconds"], ours["forward_seconds"])
    _judge("processor time", peft["processor"], ours["processor"], ours["forward_processor"])


def _judge(name: str, peft: float, ours: float, forward: float) -> None:
    """Print medians of one clock beside both goals."""
    goal = TIMES * peft + forward
    print(f"{name}: plain {peft:.2f} s, certified {ours:.2f} s, one forward pass of the checks {forward:.2f} s")
    print(f"  {ours / peft:.2f} times plain (goal: {TIMES})")
    print(f"  {ours / goal:.2f} of {TIMES} times plain and one forward pass, {goal:.2f} s (goal: 1)")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="", help="default: the starter model")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    return parser.parse_args()


def _starter() -> str:
    from studio.runner.actions import starter_folder

    folder = starter_folder()
    if not folder.is_dir():
        sys.exit("Fetch the starter model first: finetune-studio starter")
    return str(folder)


def _train(model: str, folder: Path) -> Path:
    """Return the folder of a run of two updates."""
    from studio.config import parse_config, write_config
    from studio.engine.control import Control
    from studio.engine.training.run import train
    from studio.runs import create_run

    config = parse_config(
        {
            "model": {"path": model},
            "data": {"sources": [{"path": str(SAMPLE)}], "max_length": 256},
            "method": {"name": "lora", "rank": 16},
            "training": {"max_steps": 2, "batch_size": 4, "device": "cpu"},
        }
    )
    run = create_run(folder, "benchmark", write_config(config))
    train(config, run, Control(), lambda event: None)
    return run.path


def _in_process(side: str, run: Path) -> dict[str, float]:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    command = [sys.executable, __file__, "--side", side, "--run", str(run)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _mib(size: float) -> str:
    return f"{size / 2**20:.0f} MiB"


def _beside(found: dict[str, float]) -> str:
    """Return what the export took beyond the program, beside what it was said to take."""
    if "estimated" not in found:
        return ""
    taken = found["peak"] - found["before"]
    return f"; {_mib(taken)} beyond the program, estimated {_mib(found['estimated'])}, {found['estimated'] / taken:.3f}"


def _peak() -> int:
    """Return the most that this process held at once, in bytes."""
    import torch

    from studio.engine.device import peak_memory

    return peak_memory(torch.device("cpu"))


def _peft(run: Path) -> dict[str, float]:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from studio.config import read_config

    base = read_config(run / "config.toml").model.path
    with tempfile.TemporaryDirectory() as out:
        began, spent = time.perf_counter(), time.process_time()
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        stored = AutoModelForCausalLM.from_pretrained(base).dtype
        merged = PeftModel.from_pretrained(model, str(run / "adapter")).merge_and_unload()
        merged.to(stored).save_pretrained(out)
        AutoTokenizer.from_pretrained(base).save_pretrained(out)
        took = time.perf_counter() - began
    return {"seconds": took, "processor": time.process_time() - spent, "peak": _peak()}


def _ours(run: Path) -> dict[str, float]:
    import datasets  # noqa: F401
    import peft  # noqa: F401  imported before the clock starts, as by the peer
    import transformers  # noqa: F401

    from studio.config import read_config
    from studio.engine.export.memory import whole_bytes
    from studio.engine.export.run import export_run
    from studio.engine.models.inspect import inspect_model
    from studio.runs import open_run

    before = _peak()
    with tempfile.TemporaryDirectory() as folder:
        began, spent = time.perf_counter(), time.process_time()
        result = export_run(open_run(run), "merged", out=Path(folder, "export"))
        took, spent = time.perf_counter() - began, time.process_time() - spent
        peak = _peak()
        forward = _forward(run, result.path)
    if not result.passed:
        sys.exit("The export did not pass its own checks.")
    info = inspect_model(Path(read_config(run / "config.toml").model.path))
    return {
        "seconds": took,
        "processor": spent,
        "peak": peak,
        "before": before,
        **forward,
        "estimated": whole_bytes(info, merged=True),
    }


def _forward(run: Path, export: Path) -> dict[str, float]:
    """Return what one forward pass over the rows of the checks takes."""
    from studio.engine.control import no_progress
    from studio.engine.export.compare import record
    from studio.engine.export.prompts import choose_prompts
    from studio.engine.export.reload import reload_model
    from studio.engine.export.source import open_source
    from studio.engine.models.load import load_tokenizer
    from studio.runs import open_run

    source = open_source(open_run(run), no_progress)
    prompts = choose_prompts(source, load_tokenizer(source.base, source.config.model.chat_template), no_progress)
    model = reload_model(export).model.float()
    began, spent = time.perf_counter(), time.process_time()
    record(model, [prompt.ids for prompt in prompts], no_progress, "verifying")
    return {"forward_seconds": time.perf_counter() - began, "forward_processor": time.process_time() - spent}


if __name__ == "__main__":
    main()
