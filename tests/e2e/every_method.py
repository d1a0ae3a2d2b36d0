"""Every method on the real model: it learns, every form of export passes, and others can use what came out.

    pytest tests/e2e/every_method.py -s -o faulthandler_timeout=0

Run by name, not with the suite: it takes three minutes and more for each method on a small processor. The starter model
is trained for a few updates, exported in every form that the method has, and each export is opened by a process that
does not import the studio: by transformers, by peft, or by the loader that lies in the export. Its logits must be
those of base + trained part.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.config import parse_config, write_config
from studio.engine.control import Control, no_progress
from studio.engine.export import TARGETS
from studio.engine.export.rounded_base import load_base
from studio.engine.export.run import export_run
from studio.engine.export.source import Source, open_source
from studio.engine.methods import METHODS
from studio.engine.training.run import train
from studio.events import RunFinished
from studio.runs import RunFolder, create_run

ROOT = Path(__file__).resolve().parents[2]
UPDATES = 12
# Where the suggested learning rate is meant for longer runs than this.
CASES: dict[str, dict[str, Any]] = {
    "full": {"method": {"name": "full"}},
    "lora": {"method": {"name": "lora"}, "training": {"learning_rate": 1e-3}},
    "lora, DoRA": {"method": {"name": "lora", "dora": True}, "training": {"learning_rate": 1e-3}},
    "lora, rsLoRA": {"method": {"name": "lora", "rslora": True}, "training": {"learning_rate": 5e-4}},
    "lora, PiSSA": {"method": {"name": "lora", "init": "pissa"}},
    "QLoRA": {"method": {"name": "lora"}, "precision": {"base_dtype": "nf4"}, "training": {"learning_rate": 1e-3}},
    "bottleneck-adapter": {"method": {"name": "bottleneck-adapter"}, "training": {"learning_rate": 1e-3}},
    "ia3": {"method": {"name": "ia3"}},
    "prompt-tuning": {"method": {"name": "prompt-tuning"}},
    "p-tuning": {"method": {"name": "p-tuning"}},
    "prefix-tuning": {"method": {"name": "prefix-tuning"}},
}
TOLERANCE = 1e-3

# Run by a python that must not find the studio. Arguments: export, target, base, token ids, where to save logits.
READER = """
import json, sys, torch
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoTokenizer
export, target, base, ids, out = sys.argv[1:]
ids, opening = json.loads(ids), []
if target in ("merged", "baked"):
    model = AutoModelForCausalLM.from_pretrained(export, dtype=torch.float32)
elif target == "adapter":
    from peft import PeftModel
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), export)
else:
    sys.path.insert(0, export)
    from load import load
    model = load(*([base] if target == "bundle" else []), dtype=torch.float32)
if target == "baked":
    tokenizer = AutoTokenizer.from_pretrained(export)
    turn = [{"role": "user", "content": "Hello"}]
    opening = tokenizer.apply_chat_template(turn, tokenize=True, return_dict=True)["input_ids"]
    plain = AutoTokenizer.from_pretrained(base).apply_chat_template(turn, tokenize=True, return_dict=True)["input_ids"]
    opening = opening[: len(opening) - len(plain)]
    assert opening and min(opening) >= len(AutoTokenizer.from_pretrained(base))
with torch.no_grad():
    logits = model.eval()(input_ids=torch.tensor([opening + ids])).logits[0, -len(ids):]
torch.save(logits, out)
assert not [name for name in sys.modules if name.split(".")[0] == "studio"]
"""


@pytest.mark.parametrize("case", CASES)
def test_a_method_learns_and_everything_it_exports_is_right(case: str, starter: Path, tmp_path: Path) -> None:
    folder = _train(CASES[case], starter, tmp_path)
    losses = folder.read_state()["validation_loss"]
    print(f"\n{case}: validation loss {losses['first']:.4f} to {losses['last']:.4f} in {UPDATES} updates")
    assert losses["last"] < losses["first"]

    source = open_source(folder, no_progress)
    ids = list(range(40, 90))
    expected = _live_logits(source, ids)
    spec = METHODS.get(CASES[case]["method"]["name"])
    targets = [target for target in TARGETS if not target.refuse(spec)]
    assert targets
    for target in targets:
        result = export_run(folder, target.name, "fp32", tmp_path / target.name)
        assert result.passed, [check for check in result.checks if not check.passed]
        size = sum(file.stat().st_size for file in result.path.rglob("*.safetensors"))
        if case == "QLoRA" and target.name == "adapter":  # it belongs on the rounded base, as the certificate had it
            print(f"  {target.name}: passed, {size / 1e6:.2f} MB")
            continue
        found = _logits_without_the_studio(result.path, target.name, starter, ids, tmp_path / "logits.pt")
        difference = float((found[:, : expected.shape[1]] - expected).abs().max())
        print(f"  {target.name}: passed, {size / 1e6:.2f} MB, max |logit difference| elsewhere {difference:.1e}")
        assert difference <= TOLERANCE


def _train(case: dict[str, Any], base: Path, tmp_path: Path) -> RunFolder:
    spec = METHODS.get(case["method"]["name"])
    tables: dict[str, Any] = {
        "model": {"path": str(base), "kind": "chat"},
        "data": {
            "sources": [{"path": str(ROOT / "resources" / "samples" / "fine-tuning-en.jsonl")}],
            "max_length": 96,
            "validation_fraction": 0.06,
        },
        "method": case["method"],
        "precision": {"name": "bf16-mixed"} | case.get("precision", {}),
        "training": {
            "batch_size": 4,
            "max_steps": UPDATES,
            "evaluate_every": UPDATES,
            "learning_rate": spec.suggested_learning_rate,
            "device": "cpu",
        }
        | case.get("training", {}),
    }
    config = parse_config(tables)
    folder = create_run(tmp_path / "runs", "run", write_config(config))
    events: list[Any] = []
    train(config, folder, Control(), events.append)
    assert [event.status for event in events if isinstance(event, RunFinished)] == ["finished"]
    return folder


def _live_logits(source: Source, ids: list[int]) -> torch.Tensor:
    live = source.method.load(load_base(source), source.folder.adapter).eval()
    with torch.no_grad():
        logits: torch.Tensor = live(input_ids=torch.tensor([ids]), use_cache=False).logits
    return logits[0, -len(ids) :]


def _logits_without_the_studio(export: Path, target: str, base: Path, ids: list[int], out: Path) -> torch.Tensor:
    command = [sys.executable, "-I", "-W", "ignore", "-c", READER, str(export), target, str(base), json.dumps(ids)]
    subprocess.run([*command, str(out)], check=True, cwd=export.parent)
    found: torch.Tensor = torch.load(out)
    return found
