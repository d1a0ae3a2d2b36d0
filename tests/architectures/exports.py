"""Try every export of every architecture: python -m tests.architectures.exports [--processes N] [--rows FILE] [NAME ...]

Each cell exports a tiny trained model and asks transformers and peft, without this program, whether the files compute
what was trained. The certificate has to say the same. "yes": both agree. A number stands for the reason that the app
gives before anything is written. "fails wrongly" and "passes wrongly" are defects of the certificate, "wrong export" one
of the export; the exit status then is 1. It takes some forty minutes of one process; rows are kept in FILE as they are
found, so that a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from studio.config import parse_config, write_config
from studio.engine.export import stopping
from studio.engine.export.run import ExportResult, export_run
from studio.engine.methods import METHODS
from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_model
from studio.engine.precision import PRECISIONS
from studio.engine.training.model import make_trainable
from studio.errors import ConfigError, StudioError
from studio.runs import RunFolder, create_run
from tests.architectures.measure import without_names
from tests.architectures.models import ALL, PACKAGED, save
from tests.architectures.table import UNEXPECTED, find_rows
from tests.tiny import CPU

LORA: dict[str, Any] = {"name": "lora", "rank": 4, "dropout": 0.0}
METHODS_TRIED: dict[str, dict[str, Any]] = {
    "LoRA": LORA,
    "DoRA": LORA | {"dora": True},
    "full": {"name": "full"},
    "IA3": {"name": "ia3"},
    "prompt": {"name": "prompt-tuning", "virtual_tokens": 4},
    "prefix": {"name": "prefix-tuning", "virtual_tokens": 4},
    "bottleneck": {"name": "bottleneck-adapter", "bottleneck": 8},
}
# Of each method, what its result is exported as.
CELLS: tuple[tuple[str, str, str], ...] = (
    *(("LoRA", "merged", dtype) for dtype in ("fp32", "fp16", "bf16")),
    ("LoRA", "adapter", "fp32"),
    ("DoRA", "merged", "fp32"),
    *(("full", "merged", dtype) for dtype in ("fp32", "fp16", "bf16")),
    ("IA3", "merged", "bf16"),
    *(("prompt", "baked", dtype) for dtype in ("fp32", "bf16")),
    ("prompt", "adapter", "fp32"),
    ("prefix", "adapter", "fp32"),
    ("bottleneck", "bundle", "fp32"),
    ("bottleneck", "self-contained", "fp32"),
)
COLUMNS = tuple(" ".join(cell) for cell in CELLS)
_ROWS = [{"prompt": f"What is {number} plus {number}?", "completion": f"It is {2 * number}."} for number in range(12)]
# Different words of one answer that are no longer than a random model's patience.
_IDS = torch.tensor([[*b"What is 7 plus 7?"]])
# Of the random changes that stand in for training, where few numbers have to have an effect.
_SIZES = {"prompt-tuning": 0.3, "prefix-tuning": 0.3, "ia3": 0.1}
# In 16 bits: nats per token that rounding may cost, and the share of training's effect that has to be there.
_WORST_KL, _PRESENT = 0.05, 0.5
# A random model has no direction that tells words from new tokens.
_MAY_BE_SAID = "The export may say virtual tokens."


def measure(name: str) -> dict[str, str]:
    """Return for each column "yes", why it is refused, or what is wrong."""
    # A random model never ends its answer.
    with patch.object(stopping, "LIMIT", 8), tempfile.TemporaryDirectory() as place:
        base = save(name, Path(place) / "base")
        trained = functools.cache(lambda method: _train(base, Path(place) / "runs", METHODS_TRIED[method]))
        return {column: _try(name, base, trained, cell) for column, cell in zip(COLUMNS, CELLS, strict=True)}


def _try(name: str, base: Path, trained: Any, cell: tuple[str, str, str]) -> str:
    try:
        return _cell(name, base, trained, *cell)
    except Exception:  # noqa: BLE001  # whatever is raised is a finding
        traceback.print_exc()
        return UNEXPECTED


def _train(base: Path, runs: Path, table: dict[str, Any]) -> RunFolder | str:
    """Return a finished run whose trained part was changed at random, or why there can be none."""
    rows = runs.with_name("rows.jsonl")
    rows.write_text("".join(json.dumps(row) + "\n" for row in _ROWS), encoding="utf-8")
    values = {
        "model": {"path": str(base), "kind": "chat"},
        "data": {"sources": [{"path": str(rows)}], "max_length": 128},
        "method": table,
        "precision": {"name": "fp32"},
    }
    config = parse_config(values)
    method = METHODS.get(config.method.name)
    try:
        method.check(inspect_model(base), config.method)
    except ConfigError as error:
        return without_names(str(error))
    model = make_trainable(load_model(base), config, PRECISIONS.get("fp32"), CPU)
    torch.manual_seed(1)
    size = _SIZES.get(table["name"], 0.02)
    with torch.no_grad():
        for parameter in model.parameters:
            parameter += size * torch.randn_like(parameter)
    folder = create_run(runs, "tiny", write_config(config))
    folder.adapter.mkdir()
    method.save(model.model, folder.adapter)
    folder.write_state("finished", model={"path": str(base), "name": "tiny", "kind": "chat"}, updates=1)
    return folder


def _cell(name: str, base: Path, trained: Any, method: str, target: str, dtype: str) -> str:
    run = trained(method)
    if isinstance(run, str):
        return run
    try:
        result = export_run(run, target, dtype)
    except StudioError as error:
        return without_names(str(error))
    wrong = [check.name for check in result.checks if not check.passed]
    if method == "bottleneck":  # no other library has it
        return f"fails: {', '.join(wrong)}" if wrong else "yes"
    right = _agrees(name, base, run, result, target, dtype)
    if right and wrong == ["virtual_tokens_never_generated"]:
        return _MAY_BE_SAID
    if result.passed == right:
        return "yes" if right else f"wrong export: {', '.join(wrong)}"
    return "passes wrongly" if result.passed else f"fails wrongly: {', '.join(wrong)}"


def _agrees(name: str, base: Path, run: RunFolder, result: ExportResult, target: str, dtype: str) -> bool:
    """Return whether what transformers and peft make of the export answers like what training saved."""
    load = AutoModelForImageTextToText if name in PACKAGED else AutoModelForCausalLM

    def plain(folder: Path) -> nn.Module:
        model: nn.Module = load.from_pretrained(folder, dtype="auto").eval()
        return model.float()

    def on_base(adapter: Path) -> nn.Module:
        return PeftModel.from_pretrained(plain(base), str(adapter)).eval()

    has_adapter = (run.adapter / "adapter_config.json").exists()
    opening = _new_tokens(base, result.path) if target == "baked" else []
    before, wanted = _logits(plain(base)), _logits(on_base(run.adapter) if has_adapter else plain(run.adapter))
    found = _logits(on_base(result.path) if target == "adapter" else plain(result.path), opening)
    known = [token for token in range(before.shape[-1]) if token not in opening]
    before, wanted, found = (logits[:, known] for logits in (before, wanted, found))
    if dtype == "fp32":
        return bool((wanted - found).abs().max() <= max(1e-3, 1e-5 * float(wanted.abs().max())))
    divergence = nn.functional.kl_div(found.log_softmax(-1), wanted.log_softmax(-1), log_target=True, reduction="sum")
    effect, arrived = wanted - before, found - before
    share = float((effect * arrived).sum() / effect.square().sum())
    return float(divergence) / len(found) <= _WORST_KL and share >= _PRESENT


def _new_tokens(base: Path, export: Path) -> list[int]:
    states = (json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")) for folder in (base, export))
    before, after = ({token["id"] for token in state["added_tokens"]} for state in states)
    return sorted(after - before)


@torch.no_grad()
def _logits(model: nn.Module, opening: list[int] | None = None) -> Tensor:
    ids = torch.cat([torch.tensor([opening or []], dtype=torch.long), _IDS], dim=1)
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits[0, -_IDS.shape[1] :].float()  # methods put positions in front


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rows", type=Path, metavar="FILE")
    args = parser.parse_args()
    rows = find_rows(tuple(args.names) or ALL, args.processes, args.rows, measure, COLUMNS)
    counts = Counter(_outcome(found) for row in rows.values() for found in row.values())
    for outcome, count in counts.most_common():
        print(f"{count:5} {outcome}")
    return int(bool(counts.keys() - {"yes", "refused"}))


def _outcome(found: str) -> str:
    return "refused" if found.endswith(".") else found.partition(":")[0]


if __name__ == "__main__":
    sys.exit(main())
