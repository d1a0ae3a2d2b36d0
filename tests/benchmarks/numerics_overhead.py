"""What looking inside the model costs the training: recording the numerics at the default cadence, against off.

    python tests/benchmarks/numerics_overhead.py [--pairs 5] [--steps 41] [--precision fp16-mixed] [--model DIR]

Needs the starter model. LoRA on the English sample, by the public `train()`. Every run is a process of its own, with
the same configuration and seed; the two sides of a pair follow each other, and the pairs take turns in their order, so
that a drifting machine meets both alike. A pair's ratio is that of the time from the end of the first step to the end
of the last; 41 steps hold two looks in these 40 (steps 21 and 41), as many as a long run has. Target: below 1.02.

It also says whether both sides computed the same losses, how many samples there were, and what they weigh.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "resources" / "samples" / "fine-tuning-en.jsonl"
SIDES = ("off", "on")
TARGET = 1.02


def main() -> None:
    arguments = _arguments()
    if arguments.side:
        print(json.dumps(_measure(arguments)))
        return
    pairs = [_pair(arguments, number) for number in range(arguments.pairs)]
    _report(pairs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=41)
    parser.add_argument("--precision", default="fp16-mixed")
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


def _pair(arguments: argparse.Namespace, number: int) -> dict[str, dict[str, Any]]:
    order = SIDES if number % 2 == 0 else SIDES[::-1]
    pair = {side: _in_process(side, arguments) for side in order}
    off, on = pair["off"]["step_seconds"], pair["on"]["step_seconds"]
    print(f"off {off:.4f} s a step, on {on:.4f} s a step, ratio {on / off:.4f}; {order[0]} first", flush=True)
    return pair


def _in_process(side: str, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", side, "--steps", str(arguments.steps), "--model", arguments.model]
    command += ["--precision", arguments.precision]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _report(pairs: list[dict[str, dict[str, Any]]]) -> None:
    ratios = [pair["on"]["step_seconds"] / pair["off"]["step_seconds"] for pair in pairs]
    median = statistics.median(ratios)
    verdict = "below" if median < TARGET else "not below"
    print(
        f"on / off: median {median:.4f} of {len(ratios)} pairs ({min(ratios):.4f} to {max(ratios):.4f}), "
        f"{verdict} the target of {TARGET:.2f}"
    )
    same = all(pair["on"]["losses"] == pair["off"]["losses"] for pair in pairs)
    print(f"The same losses on both sides, bit for bit: {'yes' if same else 'no'}")
    samples, size = (pairs[0]["on"][figure] for figure in ("samples", "sample_bytes"))
    print(f"Samples in a run: {samples} (off: {pairs[0]['off']['samples']}), {size / 1000:.1f} kB each in the journal")


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    from studio.config import parse_config
    from studio.engine.control import Control
    from studio.engine.training.run import train
    from studio.events import NumericsSampled, StepCompleted, to_json
    from studio.runs import create_run

    config = parse_config(
        {
            "model": {"path": arguments.model, "kind": "chat"},
            "data": {"sources": [{"path": str(SAMPLE)}], "validation_fraction": 0.0},
            "method": {"name": "lora"},
            "precision": {"name": arguments.precision, "initial_scale": 1024.0},  # no step is skipped at the start
            "training": {"max_steps": arguments.steps},
            "numerics": {"record": arguments.side == "on"},
        }
    )
    events: list[Any] = []
    with tempfile.TemporaryDirectory() as root:
        train(config, create_run(Path(root), "benchmark", ""), Control(), events.append)
    steps = [event for event in events if isinstance(event, StepCompleted)]
    samples = [to_json(event) for event in events if isinstance(event, NumericsSampled)]
    return {
        "step_seconds": (steps[-1].time - steps[0].time) / (len(steps) - 1),
        "losses": [step.loss for step in steps],
        "samples": len(samples),
        "sample_bytes": statistics.mean(map(len, samples)) if samples else 0.0,
    }


if __name__ == "__main__":
    main()
