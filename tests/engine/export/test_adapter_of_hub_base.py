"""An adapter says where its base is, so that peft alone finds it, and never names a model of somebody else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM

from studio.engine.export.run import export_run
from studio.engine.hub.folders import ORIGIN, folder_of
from studio.engine.models.files import sha256
from studio.runs import RunFolder
from tests.engine.export.conftest import MakeRun
from tests.engine.export.test_export_targets import base_plus_adapter, logits

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def said(run: RunFolder) -> tuple[str, str | None]:
    """Return the base, and its revision, of which an adapter's configuration tells."""
    config = json.loads((export_run(run, "adapter").path / "adapter_config.json").read_text())
    return config["base_model_name_or_path"], config["revision"]


def test_peft_finds_the_base_of_an_adapter_on_the_hub(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "hub" / "models--owner--tiny"
    base = shutil.copytree(bases["llama-tied"], store / "snapshots" / COMMIT)
    run = make_run(base)
    result = export_run(run, "adapter")
    expected = base_plus_adapter(base, run)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    places = {"cache_dir": tmp_path / "hub", "local_files_only": True}
    model = AutoPeftModelForCausalLM.from_pretrained(result.path, **places).eval()

    assert torch.equal(logits(model), expected)
    assert said(run) == ("owner/tiny", COMMIT)
    card = (result.path / "README.md").read_text()
    assert 'base_model: "owner/tiny"' in card
    assert 'AutoModelForCausalLM.from_pretrained("owner/tiny", dtype="auto")' in card


def test_peft_takes_the_name_of_a_folder_for_no_model_of_the_hub(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It loads the base where that lies beside, and else says what is missing, without asking anybody."""
    base = shutil.copytree(bases["llama-tied"], tmp_path / "models" / "gpt2")
    run = make_run(base)
    path = export_run(run, "adapter").path
    assert said(run) == ("./gpt2", None)

    with pytest.raises(OSError, match=r"'\./gpt2'"):
        AutoPeftModelForCausalLM.from_pretrained(path)
    monkeypatch.chdir(base.parent)
    assert torch.equal(logits(AutoPeftModelForCausalLM.from_pretrained(path).eval()), base_plus_adapter(base, run))


def test_a_download_is_named_as_long_as_its_weights_are_those_of_the_hub(
    make_run: MakeRun, bases: dict[str, Path]
) -> None:
    base = shutil.copytree(bases["llama-tied"], folder_of("owner/tiny"))
    digests = {"model.safetensors": sha256(base / "model.safetensors"), "config.json": "0" * 40}
    (base / ORIGIN).write_text(json.dumps({"id": "owner/tiny", "revision": COMMIT, "files": digests}))
    assert said(make_run(base)) == ("owner/tiny", COMMIT)

    shutil.copyfile(bases["llama-leaning"] / "model.safetensors", base / "model.safetensors")
    place, revision = said(make_run(base))
    assert (place, revision) == ("./tiny", None)
