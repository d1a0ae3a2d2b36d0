"""What looking inside the model costs the training: recording the numerics at the default cadence.

    python tests/benchmarks/numerics_overhead.py [--steps 40] [--precision fp16-mixed] [--device auto] [--model DIR]

Needs the starter model, unless another is named. One run of the public `train()`, LoRA on eight rows of the English
sample, all of them in every step, so that all steps compute alike. Every other step is looked at, and each is
compared with the mean of its two neighbours that are not: a machine that drifts meets both. The cost of a look,
divided by the default cadence, is what a run with the default settings pays. Target: below 2 %.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "resources" / "samples" / "fine-tuning-en.jsonl"
ROWS = 8
WARM_UP = 3  # steps in which libraries still choose and compile
TARGET = 0.02


def main() -> None:
    sys.path.insert(0, str(ROOT))
    arguments = _arguments()
    seconds, samples = _train(arguments)
    _report(seconds, samples)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--precision", default="fp16-mixed")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", default="", help="default: the starter model")
    arguments = parser.parse_args()
    arguments.model = arguments.model or _starter()
    return arguments


def _starter() -> str:
    from studio.runner.actions import starter_folder

    folder = starter_folder()
    if folder is None:
        sys.exit("Fetch the starter model first: finetune-studio starter")
    return str(folder)


def _train(arguments: argparse.Namespace) -> tuple[dict[int, float], list[str]]:
    """Return the seconds of each step, from the end of the one before to its own, and the samples as text."""
    from studio.config import parse_config
    from studio.engine.control import Control
    from studio.engine.training.run import train
    from studio.events import NumericsSampled, StepCompleted, to_json
    from studio.runs import create_run

    events: list[Any] = []
    with tempfile.TemporaryDirectory() as root:
        rows = Path(root) / "rows.jsonl"
        rows.write_text("".join(SAMPLE.read_text(encoding="utf-8").splitlines(keepends=True)[:ROWS]), encoding="utf-8")
        config = parse_config(
            {
                "model": {"path": arguments.model, "kind": "chat"},
                "data": {"sources": [{"path": str(rows)}], "validation_fraction": 0.0},
                "method": {"name": "lora"},
                "precision": {"name": arguments.precision},
                "training": {"max_steps": arguments.steps, "batch_size": ROWS, "device": arguments.device},
                "numerics": {"every": 2},  # steps 1, 3, 5, … are looked at
            }
        )
        if arguments.precision.startswith("fp16"):  # no step is skipped, and so looked at, at the start
            config = config.model_copy(
                update={"precision": config.precision.model_copy(update={"initial_scale": 1024.0})}
            )
        train(config, create_run(Path(root), "benchmark", ""), Control(), events.append)
    ends = {event.step: event.time for event in events if isinstance(event, StepCompleted)}
    samples = [to_json(event) for event in events if isinstance(event, NumericsSampled)]
    return {step: ends[step] - ends[step - 1] for step in ends if step - 1 in ends}, samples


def _report(seconds: dict[int, float], samples: list[str]) -> None:
    from studio.config.numerics import NumericsConfig

    every = NumericsConfig().every
    looked_at = [step for step in seconds if step % 2 and step > WARM_UP and step + 1 in seconds]
    extra = [seconds[step] - (seconds[step - 1] + seconds[step + 1]) / 2 for step in looked_at]
    plain = statistics.median(seconds[step] for step in seconds if not step % 2 and step > WARM_UP)
    look, low, high = statistics.median(extra), *_quartiles(extra)
    share = look / (every * plain)
    print(
        f"A step takes {plain:.4f} s; a look {look:.4f} s more (quartiles {low:.4f} to {high:.4f}, {len(extra)} looks)"
    )
    print(
        f"With a look every {every} steps: {100 * share:.2f} % of the time "
        f"({100 * low / (every * plain):.2f} to {100 * high / (every * plain):.2f} %), "
        f"{'below' if share < TARGET else 'not below'} the target of {100 * TARGET:.0f} %"
    )
    print(f"{statistics.mean(map(len, samples)) / 1000:.1f} kB in the journal for each look")


def _quartiles(values: list[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


if __name__ == "__main__":
    main()
