"""What cannot be exported is refused with one sentence, before anything is written."""

from __future__ import annotations

import json
import os
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from studio.engine.control import no_progress
from studio.engine.export.run import export_run
from studio.engine.export.source import open_source
from studio.engine.models.files import belongings, fingerprint, sha256
from studio.errors import ConfigError, ExportError, StudioError
from studio.runs import RunFolder

MakeRun = Callable[..., RunFolder]


def test_a_run_without_trained_weights(make_run: MakeRun) -> None:
    run = make_run()
    shutil.rmtree(run.adapter)
    run.write_state("failed")

    with pytest.raises(ExportError, match="failed"):
        export_run(run, "merged")


def test_a_base_that_changed_since_training(make_run: MakeRun, bases: dict[str, Path], tmp_path: Path) -> None:
    base = shutil.copytree(bases["llama-tied"], tmp_path / "base")
    run = make_run(base)
    prints = fingerprint(base)
    (run.path / "base.json").write_text(json.dumps({"path": str(base), "base_files": prints}))
    assert export_run(run, "adapter").passed

    shutil.copyfile(bases["llama-untied"] / "model.safetensors", base / "model.safetensors")
    shutil.copyfile(bases["llama-untied"] / "config.json", base / "config.json")

    with pytest.raises(ExportError, match=r"changed since .*config\.json, model\.safetensors"):
        export_run(run, "adapter")


def test_a_base_whose_tokenizer_or_template_changed_since_training(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path
) -> None:
    base = shutil.copytree(bases["llama-tied"], tmp_path / "base")
    run = make_run(base)
    record = {"path": str(base), "base_files": fingerprint(base), "other_files": belongings(base)}
    (run.path / "base.json").write_text(json.dumps(record))
    assert {check.name: check.value for check in open_source(run, no_progress).origin}["base_unchanged"] == "all"

    (base / "chat_template.jinja").write_text("{{ messages[0].content }}")

    with pytest.raises(ExportError, match=r"changed since .*chat_template\.jinja"):
        export_run(run, "adapter")


def lose_a_layer(adapter: Path) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if ".1." not in name}, adapter / "adapter_model.safetensors"
    )


def scale(adapter: Path) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({name: 2 * value for name, value in weights.items()}, adapter / "adapter_model.safetensors")


def add_a_layer(adapter: Path) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    name = next(iter(weights))
    save_file(weights | {name.replace(".0.", ".7."): weights[name].clone()}, adapter / "adapter_model.safetensors")


def change_alpha(adapter: Path) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 16}))


def change_a_flag(adapter: Path) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"use_rslora": True}))


def lose_the_config(adapter: Path) -> None:
    (adapter / "adapter_config.json").unlink()


def add_weights(adapter: Path) -> None:
    shutil.copyfile(adapter / "adapter_model.safetensors", adapter / "model-00002-of-00002.safetensors")


def forget_a_file(adapter: Path) -> None:
    record = json.loads((adapter / "adapter.json").read_text())
    del record["files"]["adapter_config.json"]
    (adapter / "adapter.json").write_text(json.dumps(record))


def damage_the_record(adapter: Path) -> None:
    (adapter / "adapter.json").write_text('{"files": {"adapter_model.safetensors": 3}}')


@pytest.mark.parametrize(
    "damage",
    [
        lose_a_layer,
        scale,
        add_a_layer,
        change_alpha,
        change_a_flag,
        lose_the_config,
        add_weights,
        forget_a_file,
        damage_the_record,
    ],
)
def test_a_trained_part_that_is_not_what_training_saved(make_run: MakeRun, damage: Callable[[Path], None]) -> None:
    run = make_run()
    files = {file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)} for file in run.adapter.iterdir()}
    (run.adapter / "adapter.json").write_text(json.dumps({"step": 3, "update": 3, "files": files}))
    assert {check.name: check.value for check in open_source(run, no_progress).origin}["trained_part_unchanged"] is True

    damage(run.adapter)

    with pytest.raises(StudioError, match=r"not what training saved|adapter\.json .*is damaged"):
        export_run(run, "merged")
    assert not run.exports.exists()


def test_a_base_that_is_gone(make_run: MakeRun, bases: dict[str, Path], tmp_path: Path) -> None:
    base = shutil.copytree(bases["llama-tied"], tmp_path / "base")
    run = make_run(base)
    shutil.rmtree(base)

    with pytest.raises(StudioError):
        export_run(run, "merged")


def test_an_unknown_target_names_the_known_ones(make_run: MakeRun) -> None:
    with pytest.raises(ConfigError, match="merged, baked, adapter"):
        export_run(make_run(), "mergd")


@pytest.mark.parametrize(("target", "dtype"), [("merged", "fp8"), ("adapter", "bf16")])
def test_a_format_the_target_does_not_have(make_run: MakeRun, target: str, dtype: str) -> None:
    with pytest.raises(ConfigError, match=dtype):
        export_run(make_run(), target, dtype)


def test_an_adapter_of_a_fully_trained_model(make_run: MakeRun) -> None:
    with pytest.raises(ExportError, match="merged"):
        export_run(make_run(method={"name": "full"}), "adapter")


def test_a_full_disk(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 2**40, 5 * 2**20))
    run = make_run()

    with pytest.raises(ExportError, match=r"needs 6\d MB and .* has 5 MB free"):
        export_run(run, "merged")
    assert list(run.exports.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written(make_run: MakeRun, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)

    with pytest.raises(ExportError, match="locked"):
        export_run(make_run(), "adapter", out=locked / "export")


def test_a_place_below_a_file(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ExportError, match="cannot be written"):
        export_run(make_run(), "adapter", out=tmp_path / "file" / "export")


def test_a_folder_with_files_of_others(make_run: MakeRun, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")

    with pytest.raises(ExportError, match="not an earlier export"):
        export_run(make_run(), "adapter", out=out)
    assert (out / "thesis.txt").read_text() == "years of work"


def test_an_earlier_export_is_replaced_unless_something_was_put_into_it(make_run: MakeRun, tmp_path: Path) -> None:
    run, out = make_run(), tmp_path / "out"
    first = export_run(run, "merged", "fp32", out)
    assert first.path == out

    assert export_run(run, "adapter", out=out).passed
    assert not (out / "model.safetensors").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "rows.jsonl", "runs"]

    (out / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"changed since: notes\.txt;"):
        export_run(run, "adapter", out=out)
