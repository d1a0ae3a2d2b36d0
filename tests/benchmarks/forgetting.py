"""The four runs that people argue about: what does each learn, and what does it forget?

    python -m tests.benchmarks.forgetting [MODEL] [--epochs 2] [--rows 60] [--batch-size 8] [--out FILE]

SmolLM2-135M-Instruct is trained on a narrow set, the questions and answers about fine-tuning that ship with the app:
with all weights at a large rate, the same with 20 % general rows, with LoRA, and with all weights at a small rate. The
table has the loss on held-out rows of the set, and perplexity and KL on the general texts that ship with the app. So
short runs would be measured on a few texts alone; here they are measured on more. `--default-cost` leaves that as it
is, and trains with LoRA on all rows: the share of the time that measuring takes is then that of an ordinary run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from studio.config import parse_config, write_config
from studio.engine.control import Control
from studio.engine.training import retention
from studio.engine.training.run import train
from studio.events import (
    PromptsAnswered,
    RetentionMeasured,
    RetentionReported,
    RunEvent,
    RunFinished,
    StepCompleted,
)
from studio.paths import home, resource
from studio.runs import create_run

SAMPLES = resource("samples")
FULL, LORA = {"name": "full"}, {"name": "lora", "rank": 16, "alpha": 32}
RUNS: dict[str, tuple[dict[str, Any], float, float]] = {
    "full, large rate": (FULL, 2e-4, 0.0),
    "full, large rate, 20 % general rows": (FULL, 2e-4, 0.2),
    "LoRA": (LORA, 2e-4, 0.0),
    "full, small rate": (FULL, 1e-5, 0.0),
}
HEAD = (
    "run",
    "rate",
    "domain loss before",
    "after",
    "perplexity before",
    "after",
    "retention",
    "KL",
    "questions right before",
    "after",
    "seconds",
    "of them measuring",
)


def main() -> None:
    """Train the four runs, and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=home() / "models" / "SmolLM2-135M-Instruct")
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--rows", type=int, default=60, help="of the narrow set")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--out", type=Path, help="a file for the table")
    parser.add_argument("--only", help="part of the name of the runs to do")
    parser.add_argument("--default-cost", action="store_true", help="measure as a run does by default, with LoRA alone")
    args = parser.parse_args()
    if args.default_cost:
        args.rows, args.only = None, "LoRA"
    else:
        retention.SHARE_OF_TOKENS, retention.SHARE_OF_QUESTIONS = 0.5, 0.4
    lines = [_row(HEAD), _row(["---"] * len(HEAD))]
    with tempfile.TemporaryDirectory() as place:
        narrow = Path(place) / "narrow.jsonl"
        rows = (SAMPLES / "fine-tuning-en.jsonl").read_text(encoding="utf-8").splitlines()[: args.rows]
        narrow.write_text("\n".join(rows) + "\n", encoding="utf-8")
        for name, (method, rate, replay) in RUNS.items():
            if args.only and args.only not in name:
                continue
            lines.append(_row(_trained(name, args, narrow, method, rate, replay)))
            print(lines[-1], flush=True)
            if args.out:
                args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _trained(
    name: str, args: argparse.Namespace, narrow: Path, method: dict[str, Any], rate: float, replay: float
) -> list[str]:
    general = SAMPLES / "general-en.jsonl"
    config = parse_config(
        {
            "model": {"path": str(args.model)},
            "data": {
                "sources": [{"path": str(narrow)}, {"path": str(general), "role": "general"}],
                "replay_ratio": replay,
                "validation_fraction": 0.05 if args.default_cost else 0.15,
                "max_length": args.max_length,
            },
            "method": method,
            "precision": {"name": args.precision},
            "training": {"epochs": args.epochs, "learning_rate": rate, "batch_size": args.batch_size, "device": "cpu"}
            | ({} if args.default_cost else {"evaluate_every": 1000}),  # before and after
        }
    )
    folder = create_run(narrow.parent / "runs", name, write_config(config))
    told: list[RunEvent] = []
    started = time.monotonic()
    train(config, folder, Control(), lambda event: told.append(event) if not _passes_by(event) else None)
    kept = [event for event in told if isinstance(event, RetentionMeasured)]
    (report,) = [event for event in told if isinstance(event, RetentionReported)]
    (finished,) = [event for event in told if isinstance(event, RunFinished)]
    measuring = sum(event.seconds for event in told if isinstance(event, RetentionMeasured | PromptsAnswered))
    steps = sum(event.seconds for event in told if isinstance(event, StepCompleted))
    print(
        f"# {name}: {finished.update} updates, steps {steps:.0f} s, measuring {measuring:.0f} s, "
        f"{len(kept)} measurements of {kept[0].tokens} tokens, {time.monotonic() - started:.0f} s in all",
        flush=True,
    )
    return [
        name,
        f"{rate:g}",
        f"{report.loss_before:.3f}",
        f"{report.loss_after:.3f}",
        f"{kept[0].base_perplexity:.2f}",
        f"{kept[-1].perplexity:.2f}",
        f"{kept[-1].retention:.3f}",
        f"{kept[-1].kl:.4f}",
        f"{report.right_before} of {report.questions}",
        f"{report.right_after}",
        f"{finished.seconds:.0f}",
        f"{100 * measuring / finished.seconds:.1f} %",
    ]


def _passes_by(event: object) -> bool:
    return not hasattr(event, "type")


def _row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
