"""Trained parts that are switched on one base answer as if each had been loaded alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from studio.engine.control import no_progress
from studio.engine.export.rounded_base import load_base
from studio.engine.export.source import open_source
from studio.engine.inference.patches import Patches
from studio.engine.models.quiet import ignore_positions
from studio.errors import ExportError
from studio.runs import RunFolder

METHODS: dict[str, dict[str, Any]] = {
    "lora": {},
    "dora": {"dora": True},
    "ia3": {"name": "ia3"},
    "bottleneck": {"name": "bottleneck-adapter"},
    "bottleneck with norms": {"name": "bottleneck-adapter", "train_layer_norms": True, "placement": "pfeiffer"},
    "prompt": {"name": "prompt-tuning", "virtual_tokens": 4},
    "p-tuning": {"name": "p-tuning", "virtual_tokens": 3},
    "prefix": {"name": "prefix-tuning", "virtual_tokens": 5},
}


def _logits(model: nn.Module) -> Tensor:
    ids = torch.arange(3, 40, 2)[None]
    with torch.no_grad():
        logits: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return logits[:, -ids.shape[1] :]


def _open(runs: dict[str, RunFolder]) -> Patches:
    sources = {name: open_source(folder, no_progress) for name, folder in runs.items()}
    patches = Patches(load_base(next(iter(sources.values()))))
    for name, source in sources.items():
        patches.add(name, source)
    return patches


@pytest.fixture(params=["llama-tied", "gpt2"])
def runs(request: pytest.FixtureRequest, make_run: Any) -> dict[str, RunFolder]:
    return {name: make_run(request.param, method=method) for name, method in METHODS.items()}


def test_every_patch_answers_as_if_it_were_alone_whatever_came_before(runs: dict[str, RunFolder]) -> None:
    alone = {}
    for name, folder in runs.items():
        source = open_source(folder, no_progress)
        alone[name] = _logits(source.method.load(load_base(source), folder.adapter).eval())
        base = _logits(load_base(source))
    patches = _open(runs)
    assert torch.equal(_logits(patches.model), base)
    orders = [*runs, *reversed(list(runs)), *list(runs)[::3]]
    for name in orders:
        assert patches.switch(name) > 0
        assert torch.equal(_logits(patches.model), alone[name]), name
    patches.switch(None)
    assert torch.equal(_logits(patches.model), base)


def test_a_patch_generates_after_others_were_in_place(runs: dict[str, RunFolder]) -> None:
    patches = _open(runs)
    ignore_positions()
    prompt = torch.arange(3, 20, 2)[None]
    answers = {}
    for name in (*runs, *runs):
        patches.switch(name)
        made = patches.model.generate(  # type: ignore[operator]
            input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=6, do_sample=False, pad_token_id=0
        ).tolist()
        assert answers.setdefault(name, made) == made


def test_a_fully_trained_model_is_no_patch(make_run: Any) -> None:
    with pytest.raises(ExportError, match="no patch"):
        _open({"full": make_run(method={"name": "full"})})


def test_a_patch_that_cannot_be_loaded_leaves_the_base_as_it_was(make_run: Any, tmp_path: Path) -> None:
    good, bad = make_run(), make_run(method={"name": "bottleneck-adapter"})
    patches = _open({"good": good})
    before = _logits(patches.model)
    info = bad.adapter / "bottleneck_adapter.json"
    info.write_text(json.dumps(json.loads(info.read_text(encoding="utf-8")) | {"bottleneck": 3}), encoding="utf-8")
    source = open_source(bad, no_progress)
    with pytest.raises(Exception, match="does not fit"):
        patches.add("bad", source)
    assert torch.equal(_logits(patches.model), before)
    with pytest.raises(KeyError):
        patches.switch("bad")
