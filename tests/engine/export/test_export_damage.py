"""Whatever goes wrong in an export, while it is written or later, the certificate says so, by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.engine.export import carry, reference, run
from studio.engine.export.certificate import Certificate, Check, fingerprint_files, read_certificate
from studio.engine.export.run import ExportResult, export_run
from studio.engine.export.verify import verify_export
from studio.errors import ExportError
from studio.runs import RunFolder

MakeRun = Callable[..., RunFolder]


def failed(result: Any) -> dict[str, str]:
    return {check.name: check.meaning for check in result.checks if not check.passed}


def flip_bytes(folder: Path) -> None:
    shard = folder / "model.safetensors"
    content = bytearray(shard.read_bytes())
    content[-5] ^= 0x01
    shard.write_bytes(content)


def cut_off(folder: Path) -> None:
    shard = folder / "model.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])


def drop_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def put_nan(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][3] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def drop_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def drop_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def change_template(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("assistant", "bot"))


def drop_generation_config(folder: Path) -> None:
    (folder / "generation_config.json").unlink()


def drop_end(folder: Path) -> None:
    (folder / "generation_config.json").write_text("{}")


def wrong_dtype(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))


DAMAGES = [
    (flip_bytes, "weights_as_written"),
    (cut_off, "loads_completely"),
    (drop_a_weight, "loads_completely"),
    (put_nan, "all_weights_finite"),
    (drop_tokenizer, "tokenizer_carried"),
    (drop_template, "template_carried"),
    (change_template, "template_carried"),
    (drop_generation_config, "generation_config_carried"),
    (drop_end, "eos_carried"),
    (wrong_dtype, "weights_as_written"),
]


@pytest.mark.parametrize(("damage", "check"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_damage_while_writing_is_caught_by_the_check_that_names_it(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], check: str
) -> None:
    def write_and_damage(*arguments: Any) -> None:
        carry.carry_over(*arguments)
        damage(arguments[-1])

    monkeypatch.setattr(run, "carry_over", write_and_damage)

    result = export_run(make_run(), "merged", "fp32")

    assert not result.passed
    assert check in failed(result)
    assert "merge_exact" not in failed(result)  # the merge was right
    assert json.loads(result.certificate.read_text())["passed"] is False
    assert "FAILED" in (result.path / "README.md").read_text()


def test_an_end_that_is_not_carried_over_makes_the_export_talk_on(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_damage(*arguments: Any) -> None:
        carry.carry_over(*arguments)
        drop_end(arguments[-1])

    monkeypatch.setattr(run, "carry_over", write_and_damage)

    result = export_run(make_run("gpt2"), "merged", "fp32")

    assert {"eos_carried", "stops_by_itself"} <= failed(result).keys()


def without_adapter(source: Any, loaded: Any, *_: Any) -> Any:
    return loaded.unload().eval()


def at_twice_the_scale(source: Any, loaded: Any, *_: Any) -> Any:
    for module in loaded.modules():
        if isinstance(getattr(module, "scaling", None), dict):
            module.scaling = {name: 2 * scale for name, scale in module.scaling.items()}
    return loaded.merge_and_unload().eval()


def without_the_last_layer(source: Any, loaded: Any, *_: Any) -> Any:
    for name, parameter in loaded.named_parameters():
        if "layers.1." in name and "lora_B" in name:
            parameter.data.zero_()
    return loaded.merge_and_unload().eval()


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("merge", [without_adapter, at_twice_the_scale, without_the_last_layer])
def test_a_wrong_merge_is_caught_in_every_format(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, merge: Any, dtype: str
) -> None:
    monkeypatch.setattr(reference, "finished_model", merge)

    result = export_run(make_run(), "merged", dtype)

    assert not result.passed
    assert {"merge_exact", "max_logit_difference", "kl_divergence"} <= failed(result).keys()
    assert ("delta_present" in failed(result)) == (merge is without_adapter)


def test_a_wrong_adapter_file_is_caught(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_and_damage(*arguments: Any) -> None:
        carry.carry_over(*arguments)
        path = arguments[-1] / "adapter_model.safetensors"
        weights = load_file(path)
        save_file({name: torch.zeros_like(weight) for name, weight in weights.items()}, path, {"format": "pt"})

    monkeypatch.setattr(run, "carry_over", write_and_damage)

    result = export_run(make_run(), "adapter")

    assert {"weights_as_written", "delta_present", "max_logit_difference"} <= failed(result).keys()


def test_training_that_changed_nothing_is_not_called_exported(make_run: MakeRun) -> None:
    folder = make_run()
    path = folder.adapter / "adapter_model.safetensors"
    save_file({name: torch.zeros_like(weight) for name, weight in load_file(path).items()}, path, {"format": "pt"})

    result = export_run(folder, "merged", "fp32")

    assert list(failed(result)) == ["delta_present"]
    assert "changed nothing" in failed(result)["delta_present"]


@pytest.fixture
def export(make_run: MakeRun) -> ExportResult:
    return export_run(make_run(), "merged", "fp32")


def test_an_untouched_export_verifies(export: ExportResult) -> None:
    again = verify_export(export.path)

    assert failed(again) == {}
    assert {check.name for check in again.checks} >= {"files_unchanged", "kl_divergence", "stops_by_itself"}


def test_an_adapter_export_verifies(make_run: MakeRun) -> None:
    assert verify_export(export_run(make_run(), "adapter").path).passed


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        (flip_bytes, "model.safetensors has changed"),
        (drop_tokenizer, "tokenizer.json is missing"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "adapter_config.json was added"),
        (
            lambda folder: save_file({"a": torch.zeros(1)}, folder / "model-2.safetensors"),
            "model-2.safetensors was added",
        ),
    ],
    ids=["a shard is corrupted", "the tokenizer is gone", "a file was added", "a weight file was added"],
)
def test_later_damage_is_reported_with_the_file(
    export: ExportResult, damage: Callable[[Path], None], file: str
) -> None:
    damage(export.path)

    again = verify_export(export.path)

    assert not again.passed
    assert file in failed(again)["files_unchanged"]
    assert read_certificate(export.path).passed, "the first certificate is evidence and stays"


def test_an_export_away_from_its_run_is_verified_by_its_bytes(export: ExportResult, tmp_path: Path) -> None:
    moved = export.path.rename(tmp_path / "moved")

    assert verify_export(moved).passed
    flip_bytes(moved)
    assert not verify_export(moved).passed


def certify_again(folder: Path) -> None:
    """Write into the certificate, as whoever tampers with an export might, what its files are now."""
    values = json.loads((folder / "certificate.json").read_text())
    values["files"] = fingerprint_files(folder)
    (folder / "certificate.json").write_text(json.dumps(values))


@pytest.mark.parametrize("apart", [False, True], ids=["beside its run", "apart from its run"])
@pytest.mark.parametrize(("damage", "check"), [(put_nan, "all_weights_finite"), (cut_off, "loads_completely")])
def test_damage_whose_hash_was_made_again_is_found_in_the_weights(
    export: ExportResult, tmp_path: Path, damage: Callable[[Path], None], check: str, apart: bool
) -> None:
    damage(export.path)
    certify_again(export.path)

    again = verify_export(export.path.rename(tmp_path / "moved") if apart else export.path)

    assert "files_unchanged" not in failed(again)
    assert check in failed(again)


def test_changed_weights_do_not_pass_for_rounding_where_their_hash_was_made_again(make_run: MakeRun) -> None:
    path = export_run(make_run(), "merged", "bf16").path
    assert verify_export(path).passed
    weights = load_file(path / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"] *= 1.5
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    certify_again(path)

    assert "max_logit_difference" in failed(verify_export(path))


def test_an_export_whose_base_is_gone_is_verified_by_its_bytes(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path
) -> None:
    base = shutil.copytree(bases["llama-tied"], tmp_path / "base")
    export = export_run(make_run(base), "merged", "fp32")
    shutil.rmtree(base)

    again = verify_export(export.path)

    assert again.passed
    (about,) = (check for check in again.checks if check.name == "measured_again")
    assert (about.value, str(base) in about.text) == (False, True)


def test_a_failed_export_does_not_pass_later(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(reference, "finished_model", without_adapter)
        result = export_run(make_run(), "merged", "fp32")

    assert not verify_export(result.path).passed
    assert not verify_export(result.path.rename(tmp_path / "moved")).passed


def test_a_folder_without_certificate_is_not_an_export(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"certificate\.json"):
        verify_export(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda values: "{",
        lambda values: json.dumps([values]),
        lambda values: json.dumps(values | {"checks": [check | {"passed": "no"} for check in values["checks"]]}),
        lambda values: json.dumps(values | {"passed": False}),
        lambda values: json.dumps(values | {"checks": []}),
        lambda values: json.dumps(values | {"files": list(values["files"])}),
        lambda values: json.dumps({key: value for key, value in values.items() if key != "files"}),
    ],
    ids=["cut off", "a list", "checks that say no", "two verdicts", "no checks", "files without prints", "no files"],
)
def test_a_damaged_certificate_is_refused_with_a_sentence(damage: Callable[[Any], str], tmp_path: Path) -> None:
    certificate = Certificate(
        checks=(Check.of("merge_exact", True, 0.0, 1e-3),),
        base={},
        target="merged",
        dtype="fp32",
        prompts=(),
        files={"a": {"bytes": 1, "sha256": ""}},
        run="r",
        versions={},
    )
    path = certificate.write(tmp_path)
    assert read_certificate(tmp_path) == certificate
    path.write_text(damage(json.loads(path.read_text())))

    with pytest.raises(ExportError, match="or it is damaged"):
        verify_export(tmp_path)


def test_weights_too_large_for_fp16_are_told_from_damage(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path
) -> None:
    base = shutil.copytree(bases["llama-untied"], tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    weights["lm_head.weight"][7] *= 1e6
    save_file(weights, base / "model.safetensors", {"format": "pt"})

    result = export_run(make_run(base), "merged", "fp16")

    assert "65504" in failed(result)["all_weights_finite"]
    assert "weights_as_written" not in failed(result)


def test_a_change_too_small_for_the_format_is_told_from_damage(make_run: MakeRun, half: Path) -> None:
    """The base is stored in bf16, so that a small change is rounded back to the base's own weights."""
    folder = make_run(half)
    path = folder.adapter / "adapter_model.safetensors"
    small = {name: 0.003 * weight if "lora_B" in name else weight for name, weight in load_file(path).items()}
    save_file(small, path, {"format": "pt"})

    result = export_run(folder, "merged", "bf16")

    assert list(failed(result)) == ["delta_present"]
    assert "too coarse" in failed(result)["delta_present"]
    assert export_run(folder, "merged", "fp32").passed
