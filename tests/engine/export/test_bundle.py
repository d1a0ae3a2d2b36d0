"""Bundles: a run with bottleneck adapters, exported with a loader of its own, used without the app, and damaged."""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from studio.config.method import read_method
from studio.engine.adapters.files import load_bottleneck_adapter
from studio.engine.export import run
from studio.engine.export.reload import import_file
from studio.engine.export.run import ExportResult, export_run
from studio.engine.export.targets import bundle
from studio.engine.export.verify import verify_export
from studio.engine.methods import METHODS
from studio.errors import ExportError
from studio.runs import RunFolder
from tests.engine.methods import layouts

MakeRun = Callable[..., RunFolder]
METHOD = {"name": "bottleneck-adapter", "bottleneck": 4}
TARGETS = ("bundle", "self-contained")
IDS = [[5, 40, 7, 88, 3, 120, 9]]
BUNDLE_FILES = {
    "README.md",
    "base_model.json",
    "bottleneck_adapter.json",
    "bottleneck_adapter.safetensors",
    "certificate.json",
    "chat_template.jinja",
    "generation_config.json",
    "load.py",
    "tokenizer.json",
    "tokenizer_config.json",
}


def failed(result: Any) -> dict[str, str]:
    return {check.name: check.meaning for check in result.checks if not check.passed}


def expected(base: Path, folder: RunFolder) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        logits: torch.Tensor = load_bottleneck_adapter(model, folder.adapter)(input_ids=torch.tensor(IDS)).logits
    return logits


def without_the_app(folder: Path, arguments: str, *, place: Path) -> dict[str, Any]:
    """What another program makes of an export: a process that cannot import the app, and says so."""
    program = f"""
import json, sys, torch
sys.modules["studio"] = sys.modules["peft"] = None
from load import load, differing_files
model = load({arguments})
with torch.no_grad():
    logits = model(input_ids=torch.tensor({IDS})).logits
answer = model.generate(torch.tensor({IDS}), max_new_tokens=4, do_sample=False)
print(json.dumps({{"logits": logits.tolist(), "ends": model.generation_config.eos_token_id, "answer": answer.tolist()}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=place,
        env={"PYTHONPATH": str(folder), "PATH": "", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("base", ["llama-tied", "llama-untied", "gpt2"])
def test_a_bundle_is_certified_by_its_own_loader(
    target: str, base: str, make_run: MakeRun, bases: dict[str, Path]
) -> None:
    result = export_run(make_run(base, method=METHOD), target)
    assert not failed(result)
    inside = {"base"} if target == "self-contained" else set()
    assert {file.name for file in result.path.iterdir()} == BUNDLE_FILES | inside
    checks = {check.name: check for check in result.checks}
    assert checks["max_logit_difference"].value == pytest.approx(0.0, abs=1e-5)
    assert checks["weights_as_written"].passed


def test_a_bundle_is_used_without_the_app_and_answers_like_the_run(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path
) -> None:
    folder = make_run("llama-tied", method=METHOD | {"train_layer_norms": True, "activation": "silu"})
    path = export_run(folder, "bundle").path
    used = without_the_app(path, f"{str(bases['llama-tied'])!r}, dtype=torch.float32", place=tmp_path)
    torch.testing.assert_close(torch.tensor(used["logits"]), expected(bases["llama-tied"], folder), rtol=0, atol=1e-4)
    assert used["ends"] == json.loads((path / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    assert len(used["answer"][0]) > len(IDS[0])


def test_a_self_contained_folder_needs_no_other(make_run: MakeRun, bases: dict[str, Path], tmp_path: Path) -> None:
    folder = make_run("llama-tied", method=METHOD)
    moved = shutil.move(export_run(folder, "self-contained").path, tmp_path / "elsewhere")
    used = without_the_app(moved, "dtype=torch.float32", place=tmp_path)
    torch.testing.assert_close(torch.tensor(used["logits"]), expected(bases["llama-tied"], folder), rtol=0, atol=1e-4)
    for name in ("config.json", "model.safetensors"):
        assert (moved / "base" / name).read_bytes() == (bases["llama-tied"] / name).read_bytes()


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_the_loader_computes_what_the_app_computes_on_every_layout(layout: str, placement: str, tmp_path: Path) -> None:

    method = METHODS.get("bottleneck-adapter")
    trained = method.attach(layouts.make(layout), read_method(METHOD | {"placement": placement}))
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in trained.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn_like(parameter)
    method.save(trained, tmp_path)
    (tmp_path / "load.py").write_text(bundle.loader_text(), encoding="utf-8")
    (tmp_path / "generation_config.json").write_text("{}", encoding="utf-8")
    loaded = import_file(tmp_path / "load.py").attach(layouts.make(layout))
    with torch.no_grad():
        ours, theirs = (model(input_ids=layouts.ids()).logits for model in (trained, loaded))
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-4)
    assert {file.name for file in tmp_path.iterdir()} == {
        "load.py",
        "generation_config.json",
        "bottleneck_adapter.json",
        "bottleneck_adapter.safetensors",
    }


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("base_dtype", ["nf4", "int8"])
def test_a_run_on_a_quantised_base_is_tried_on_the_rounded_weights(
    target: str, base_dtype: str, make_run: MakeRun
) -> None:
    result = export_run(make_run("llama-untied", method=METHOD, base_dtype=base_dtype), target)
    assert not failed(result)
    card = (result.path / "README.md").read_text(encoding="utf-8")
    assert f"The base was rounded to {base_dtype}" in card


def test_a_bundle_names_its_base_by_hash_and_no_path(make_run: MakeRun, bases: dict[str, Path], tmp_path: Path) -> None:
    path = export_run(make_run("llama-tied", method=METHOD), "bundle").path
    reference = json.loads((path / "base_model.json").read_text(encoding="utf-8"))
    assert reference["name"] == "llama-tied"
    assert set(reference["files"]) == {"config.json", "model.safetensors"}
    for file in path.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes(), file.name


def test_the_loader_tells_another_base_by_its_bytes(make_run: MakeRun, bases: dict[str, Path], tmp_path: Path) -> None:

    loader = import_file(export_run(make_run("llama-tied", method=METHOD), "bundle").path / "load.py")
    other = shutil.copytree(bases["llama-tied"], tmp_path / "other")
    assert loader.differing_files(other) == []
    weights = load_file(other / "model.safetensors")
    weights["model.norm.weight"][0] += 1
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    assert loader.differing_files(other) == ["model.safetensors"]
    (other / "model.safetensors").unlink()
    assert loader.differing_files(str(other)) == ["model.safetensors"]


def test_the_loader_warns_of_a_base_with_other_weights_and_of_no_other(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path
) -> None:
    base = shutil.copytree(bases["llama-tied"], tmp_path / "base")
    (base / "consolidated.safetensors").write_bytes((base / "model.safetensors").read_bytes())
    run_folder = make_run(base, method=METHOD)
    loader = import_file(export_run(run_folder, "bundle").path / "load.py")
    with pytest.warns(UserWarning, match=r"trained on another base: model\.safetensors in .*llama-leaning differ"):
        loader.load(bases["llama-leaning"])
    (base / "consolidated.safetensors").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loader.load(str(base))


def test_the_model_inside_a_bundle_is_the_one_that_it_names(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path
) -> None:
    base = shutil.copytree(bases["llama-tied"], tmp_path / "base")
    (base / "consolidated.safetensors").write_bytes((base / "model.safetensors").read_bytes())
    result = export_run(make_run(base, method=METHOD), "self-contained")
    assert not failed(result)
    assert import_file(result.path / "load.py").differing_files(result.path / "base") == []


@pytest.mark.parametrize("target", TARGETS)
def test_the_card_says_where_the_hashes_of_the_base_stand(target: str, make_run: MakeRun) -> None:
    card = (export_run(make_run(method=METHOD), target).path / "README.md").read_text(encoding="utf-8")
    assert "SHA-256 of the base's files, by which to know it, stand in base_model.json" in card
    assert ("warns if the folder's files are not those in base_model.json" in card) == (target == "bundle")


def test_the_loader_refuses_a_base_of_another_kind(make_run: MakeRun, bases: dict[str, Path]) -> None:

    path = export_run(make_run("llama-tied", method=METHOD), "bundle").path
    loader = import_file(path / "load.py")
    with pytest.warns(UserWarning, match="trained on another base"), pytest.raises(AttributeError, match="model"):
        loader.load(bases["gpt2"])
    config = json.loads((path / "bottleneck_adapter.json").read_text(encoding="utf-8"))
    (path / "bottleneck_adapter.json").write_text(json.dumps(config | {"model_type": "mistral"}))
    with pytest.raises(ValueError, match="belongs to another base model"):
        loader.load(bases["llama-tied"])


def flip_bytes(folder: Path) -> None:
    file = folder / "bottleneck_adapter.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 0x10
    file.write_bytes(content)


def drop_config(folder: Path) -> None:
    (folder / "bottleneck_adapter.json").unlink()


def drop_an_adapter(folder: Path) -> None:
    tensors = load_file(folder / "bottleneck_adapter.safetensors")
    del tensors["model.layers.1.mlp.down_proj.adapter.up.weight"]
    save_file(tensors, folder / "bottleneck_adapter.safetensors")


def move_an_adapter(folder: Path) -> None:
    path = folder / "bottleneck_adapter.json"
    path.write_text(path.read_text().replace("layers.1.mlp.down_proj", "layers.1.self_attn.q_proj"))


def other_activation(folder: Path) -> None:
    path = folder / "bottleneck_adapter.json"
    path.write_text(path.read_text().replace('"gelu"', '"relu"'))


def edit_loader(folder: Path) -> None:
    path = folder / "load.py"
    path.write_text(path.read_text().replace("y = x + up", "y = x - up"))


def drop_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def flip_base(folder: Path) -> None:
    file = folder / "base" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 0x10
    file.write_bytes(content)


def drop_base_config(folder: Path) -> None:
    (folder / "base" / "config.json").unlink()


DAMAGES = [
    ("bundle", flip_bytes, "weights_as_written"),
    ("bundle", drop_config, "loads_completely"),
    ("bundle", drop_an_adapter, "loads_completely"),
    ("bundle", move_an_adapter, "loads_completely"),
    ("bundle", other_activation, "max_logit_difference"),
    ("bundle", edit_loader, "loads_completely"),
    ("bundle", drop_tokenizer, "tokenizer_carried"),
    ("self-contained", flip_bytes, "weights_as_written"),
    ("self-contained", flip_base, "loads_completely"),
    ("self-contained", drop_base_config, "loads_completely"),
]


@pytest.mark.parametrize(("target", "damage", "check"), DAMAGES)
def test_damage_done_while_it_is_written_fails_the_certificate(
    target: str, damage: Callable[[Path], None], check: str, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    examine = run.examine

    def damaged(*args: Any) -> Any:
        damage(next(arg for arg in args if isinstance(arg, Path)))
        return examine(*args)

    monkeypatch.setattr(run, "examine", damaged)
    result = export_run(make_run("llama-tied", method=METHOD), target)
    assert not result.passed
    assert check in failed(result)


@pytest.mark.parametrize("target", TARGETS)
def test_verifying_passes_and_tells_later_damage_before_anything_is_run(
    target: str, make_run: MakeRun, tmp_path: Path
) -> None:
    result: ExportResult = export_run(make_run("llama-tied", method=METHOD), target)
    assert verify_export(result.path).passed
    for number, (_, damage, _) in enumerate(case for case in DAMAGES if case[0] == target):
        damaged = shutil.copytree(result.path, tmp_path / str(number))
        damage(damaged)
        assert list(failed(verify_export(damaged))) == ["files_unchanged"]


def test_no_compiled_copy_that_lies_beside_a_loader_is_run(tmp_path: Path) -> None:
    file = tmp_path / "load.py"
    file.write_text("VALUE = 1\n")
    os.utime(file, (1e9, 1e9))
    py_compile.compile(str(file), doraise=True)
    file.write_text("VALUE = 2\n")
    os.utime(file, (1e9, 1e9))
    usual = SourceFileLoader("load", str(file)).get_code("load")
    assert usual is not None
    assert 1 in usual.co_consts
    assert import_file(file).VALUE == 2


def test_a_run_that_peft_can_open_gets_no_loader(make_run: MakeRun) -> None:
    with pytest.raises(ExportError, match=r"leaves nothing that needs a loader of its own\. Export the run as"):
        export_run(make_run("llama-tied"), "bundle")


def test_a_run_with_bottleneck_adapters_is_refused_as_a_merged_model_with_the_way_out(make_run: MakeRun) -> None:
    with pytest.raises(ExportError, match=r"cannot be folded.*Export the run as bundle or self-contained"):
        export_run(make_run("llama-tied", method=METHOD), "merged")
