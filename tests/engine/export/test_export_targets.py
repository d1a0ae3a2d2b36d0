"""What comes out of an export is the trained model, as plain transformers and plain peft see it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from studio.engine.export import TARGETS
from studio.engine.export.certificate import read_certificate
from studio.engine.export.run import ExportResult, export_run
from studio.engine.methods import METHODS
from studio.errors import Cancelled
from studio.runs import RunFolder

MakeRun = Callable[..., RunFolder]
CONTRACT = {"passed", "checks", "base", "target", "dtype", "prompts", "files"}
CHECKS = {
    "trained_part_unchanged",
    "base_unchanged",
    "loads_completely",
    "all_weights_finite",
    "weights_as_written",
    "max_logit_difference",
    "kl_divergence",
    "top1_agreement",
    "delta_present",
    "delta_lost_in_dtype",
    "tokenizer_carried",
    "template_carried",
    "eos_carried",
    "generation_config_carried",
    "tokenizer_files",
    "config_carried",
    "weight_files",
    "stops_by_itself",
}
IDS = torch.tensor([[5, 17, 80, 33, 250, 7, 9, 11]])


def plain(folder: Path, **options: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.float()(input_ids=IDS).logits


def test_an_export_keeps_what_transformers_4_reads(make_run: MakeRun, bases: dict[str, Path], tmp_path: Path) -> None:
    base = shutil.copytree(bases["llama-tied"], tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    del config["rope_parameters"], config["dtype"]
    older = {"rope_theta": 50000.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0}, "torch_dtype": "float32"}
    (base / "config.json").write_text(json.dumps(config | older))

    export = export_run(make_run(base), "merged").path

    written = json.loads((export / "config.json").read_text())
    assert {key: written[key] for key in older} == older
    assert written["rope_parameters"] == {"rope_theta": 50000.0, **older["rope_scaling"]}
    tokenizer = json.loads((export / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "extra_special_tokens" not in tokenizer
    assert set(tokenizer["additional_special_tokens"]) >= {"<|im_start|>", "<|im_end|>"}


def base_plus_adapter(base: Path, run: RunFolder) -> torch.Tensor:
    return logits(PeftModel.from_pretrained(plain(base, dtype=torch.float32), str(run.adapter)))


def failed(result: ExportResult) -> list[str]:
    return [f"{check.name}: {check.meaning}" for check in result.checks if not check.passed]


@pytest.mark.parametrize("base", ["llama-tied", "llama-untied", "gpt2"])
@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_a_merged_model_loaded_with_plain_transformers_answers_like_base_and_adapter(
    make_run: MakeRun, bases: dict[str, Path], base: str, dora: bool
) -> None:
    run = make_run(base, method={"dora": dora})

    result = export_run(run, "merged", "fp32")

    assert failed(result) == []
    assert result.passed
    expected = base_plus_adapter(bases[base], run)
    assert (logits(plain(result.path)) - expected).abs().max() < 1e-3
    assert (logits(plain(bases[base])) - expected).abs().max() > 0.1


def test_an_adapter_loads_with_plain_peft_and_answers_like_the_run(make_run: MakeRun, bases: dict[str, Path]) -> None:
    run = make_run("llama-untied")

    result = export_run(run, "adapter")

    assert failed(result) == []
    loaded = PeftModel.from_pretrained(plain(bases["llama-untied"]), str(result.path))
    assert torch.equal(logits(loaded), base_plus_adapter(bases["llama-untied"], run))
    reference = json.loads((result.path / "base_model.json").read_text())
    assert reference["name"] == "llama-untied"
    assert len(reference["files"]["model.safetensors"]["sha256"]) == 64


def test_a_fully_trained_model_is_exported_whole(make_run: MakeRun) -> None:
    run = make_run("llama-tied", method={"name": "full"})

    result = export_run(run, "merged", "fp32")

    assert failed(result) == []
    assert torch.equal(logits(plain(result.path)), logits(plain(run.adapter)))


@pytest.mark.parametrize(("dtype", "stored"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_an_honest_export_in_sixteen_bits_passes_and_loads_in_them(
    make_run: MakeRun, dtype: str, stored: torch.dtype
) -> None:
    result = export_run(make_run(), "merged", dtype)

    assert failed(result) == []
    assert plain(result.path, dtype="auto").dtype == stored
    assert json.loads((result.path / "config.json").read_text())["dtype"] == str(stored).removeprefix("torch.")
    lost = next(check for check in result.checks if check.name == "delta_lost_in_dtype")
    assert lost.value > 0


def test_auto_saves_in_the_format_of_the_base(make_run: MakeRun, half: Path) -> None:
    result = export_run(make_run(half), "merged")

    assert failed(result) == []
    assert read_certificate(result.path).dtype == "bf16"
    assert result.path.name == "merged-bf16"


def test_tied_embeddings_stay_tied(make_run: MakeRun) -> None:
    result = export_run(make_run("llama-tied"), "merged", "fp32")

    model = plain(result.path)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_the_certificate_has_everything_the_contract_names(make_run: MakeRun) -> None:
    result = export_run(make_run(), "merged", "bf16")

    values = json.loads(result.certificate.read_text(encoding="utf-8"))
    assert values.keys() >= CONTRACT
    assert {check["name"] for check in values["checks"]} == CHECKS | {"merge_exact"}
    assert all(
        check.keys() == {"name", "passed", "value", "limit", "meaning", "evidence"} for check in values["checks"]
    )
    assert all(check["meaning"].endswith(".") for check in values["checks"])
    on_disk = {file.name for file in result.path.iterdir()} - {"certificate.json"}
    assert (
        values["files"].keys() == on_disk >= {"model.safetensors", "tokenizer.json", "chat_template.jinja", "README.md"}
    )
    assert values["prompts"][0].keys() == {"source", "row", "tokens", "sha256"}
    assert read_certificate(result.path).checks == result.checks


def test_built_in_prompts_stand_in_for_a_dataset_that_is_gone(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    (tmp_path / "rows.jsonl").unlink()

    result = export_run(run, "merged", "fp32")

    assert result.passed
    assert {prompt["source"] for prompt in read_certificate(result.path).prompts} == {"built-in"}


def test_the_end_of_turn_is_added_to_a_generation_config_that_lacks_it(make_run: MakeRun) -> None:
    """The base ends a text with <|endoftext|>, its template a turn with <|im_end|>."""
    result = export_run(make_run(), "merged", "fp32")

    tokenizer = AutoTokenizer.from_pretrained(result.path)
    config = json.loads((result.path / "generation_config.json").read_text())
    assert tokenizer.convert_ids_to_tokens(config["eos_token_id"]) == ["<|endoftext|>", "<|im_end|>"]
    mended = next(check for check in result.checks if check.name == "generation_config_carried")
    assert mended.passed
    assert "mended" in mended.meaning
    assert "<|im_end|>" in mended.meaning


def test_the_generation_config_of_the_base_is_taken_over_key_by_key(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path
) -> None:
    """Among them values that transformers would refuse to save."""
    base = tmp_path / "base"
    plain(bases["llama-tied"]).save_pretrained(base)
    AutoTokenizer.from_pretrained(bases["llama-tied"]).save_pretrained(base)
    unusual = {"eos_token_id": 0, "temperature": 0.3, "do_sample": False}
    (base / "generation_config.json").write_text(json.dumps(unusual))

    result = export_run(make_run(base, kind="base"), "merged", "fp32")

    assert result.passed
    assert json.loads((result.path / "generation_config.json").read_text()) == unusual


def test_no_path_of_this_machine_stands_in_an_export(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    for target in (target for target in TARGETS if not target.refuse(METHODS.get("lora"))):
        result = export_run(run, target.name)
        for file in result.path.iterdir():
            assert str(tmp_path.parent).encode() not in file.read_bytes(), file.name


@pytest.mark.parametrize(
    ("target", "method", "place"),
    [
        ("merged", {"name": "lora", "rank": 4, "alpha": 8}, "."),
        ("merged", {"name": "full"}, "."),
        ("baked", {"name": "prompt-tuning", "virtual_tokens": 2}, "."),
        ("self-contained", {"name": "bottleneck-adapter"}, "base"),
    ],
)
def test_the_terms_of_the_base_go_wherever_its_weights_go(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path, target: str, method: dict[str, Any], place: str
) -> None:
    base = shutil.copytree(bases["llama-leaning"], tmp_path / "base")
    terms = {"LICENSE", "license-weights.txt", "NOTICE", "USE_POLICY.md"}
    for name in (*terms, "license_check.py", "unlicensed.txt"):
        (base / name).write_text(f"Terms in {name}")

    result = export_run(make_run(base, method=method), target, "fp32")

    assert failed(result) == []
    written = {file.name: file for file in (result.path / place).iterdir() if "licen" in file.name.lower()}
    carried = {name for name in terms if (result.path / place / name).read_text() == f"Terms in {name}"}
    assert carried == terms
    assert written.keys() == {"LICENSE", "license-weights.txt"}
    assert terms <= {name.removeprefix("base/") for name in read_certificate(result.path).files}


def test_the_model_card_names_base_method_and_checks(make_run: MakeRun) -> None:
    result = export_run(make_run(), "merged", "fp32")

    card = (result.path / "README.md").read_text(encoding="utf-8")
    assert "# llama-tied, fine-tuned" in card
    assert "base_model:" not in card, "the hub takes it for an id of its own"
    assert "method.rank | 4" in card
    assert "merge_exact | passed" in card


def test_each_export_gets_a_place_of_its_own(make_run: MakeRun) -> None:
    run = make_run()

    paths = [export_run(run, "adapter").path for _ in range(2)]

    assert [path.name for path in paths] == ["adapter-fp32", "adapter-fp32-2"]
    assert {path.name for path in run.exports.iterdir()} == {"adapter-fp32", "adapter-fp32-2"}


def test_progress_passes_through_loading_merging_writing_and_verifying(make_run: MakeRun) -> None:
    stages: list[str] = []
    export_run(make_run(), "merged", "fp32", progress=lambda stage, done, total: stages.append(stage))

    seen = list(dict.fromkeys(stages))
    assert seen[-3:] == ["merging", "writing", "verifying"]


@pytest.mark.parametrize("stage", ["merging", "writing", "verifying"])
def test_a_cancelled_export_leaves_nothing(make_run: MakeRun, stage: str) -> None:
    run = make_run()

    def cancel(reached: str, done: int, total: int) -> None:
        if reached == stage:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        export_run(run, "merged", "fp32", progress=cancel)
    assert list(run.exports.iterdir()) == []


def test_listing_the_targets_imports_no_torch() -> None:
    code = (
        "import sys; from studio.engine.export import TARGETS; from studio.engine.export.certificate import Check;"
        "assert TARGETS.names()[:3] == ('merged', 'baked', 'adapter'), TARGETS.names();"
        "assert not {'torch', 'transformers', 'peft'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
