"""Damages to a finished export: each is refused by `verify`, which names what is not as it was.

An export is compared with its certificate byte by byte, so each is found there. Here whoever damaged it has also made
the hashes in the certificate again; then what the files say has to give it away.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.engine.export import stopping
from studio.engine.export.run import export_run
from studio.engine.export.targets import merged
from studio.engine.export.verify import verify_export
from tests.engine.export.conftest import finished_run
from tests.engine.export.test_export_damage import certify_again, failed

Damage: TypeAlias = Callable[[Path], object]
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
ADAPTER = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def exports(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exports by target; the merged one has two shards, and all the files that older tokenizers have."""
    place = tmp_path_factory.mktemp("sabotage")
    base = shutil.copytree(bases["llama-tied"], place / "base")
    model = json.loads((base / "tokenizer.json").read_text())["model"]
    (base / "vocab.json").write_text(json.dumps(model["vocab"]))
    (base / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{one} {other}\n" for one, other in model["merges"]))
    (base / "special_tokens_map.json").write_text(json.dumps({"pad_token": "<|endoftext|>"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopping, "LIMIT", 12)
        patch.setattr(merged, "SHARD", "100KB")
        run = finished_run(place, base)
        made = {target: export_run(run, target) for target in ("merged", "adapter")}
    assert not [failed(result) for result in made.values() if not result.passed]
    return {target: result.path for target, result in made.items()}


def in_json(name: str, change: Callable[[dict[str, Any]], object]) -> Damage:
    """Return a damage to one JSON file of an export."""

    def damage(folder: Path) -> None:
        values = json.loads((folder / name).read_text(encoding="utf-8"))
        change(values)
        (folder / name).write_text(json.dumps(values), encoding="utf-8")

    return damage


def put(name: str, **values: Any) -> Damage:
    return in_json(name, lambda table: table.update(values))


def drop(name: str, key: str) -> Damage:
    return in_json(name, lambda table: table.pop(key))


def in_text(name: str, before: str, after: str) -> Damage:
    def damage(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert before in text
        (folder / name).write_text(text.replace(before, after, 1), encoding="utf-8")

    return damage


def in_weights(change: Callable[[dict[str, torch.Tensor]], object], name: str = SECOND) -> Damage:
    def damage(folder: Path) -> None:
        weights = load_file(folder / name)
        change(weights)
        save_file(weights, folder / name, {"format": "pt"})

    return damage


def swap_shards(folder: Path) -> None:
    (folder / FIRST).rename(folder / "other")
    (folder / SECOND).rename(folder / FIRST)
    (folder / "other").rename(folder / SECOND)


def negate_a_row(weights: dict[str, torch.Tensor]) -> None:
    weights["model.layers.1.mlp.up_proj.weight"][5] *= -1


def swap_layers(weights: dict[str, torch.Tensor]) -> None:
    names = [name for name in weights if "layers.1.self_attn.q_proj" in name or "layers.1.self_attn.o_proj" in name]
    weights[names[0]], weights[names[1]] = weights[names[1]], weights[names[0]]


def rename(end: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(weights: dict[str, torch.Tensor]) -> None:
        name = next(name for name in weights if name.endswith(end))
        weights[name.replace("layers.1", "layers.3")] = weights.pop(name)

    return change


def weaken(weights: dict[str, torch.Tensor]) -> None:
    """By far less than any output shows."""
    name = next(name for name in weights if "lora_B" in name)
    weights[name] *= 1 + 1e-6


def cut_shard(folder: Path) -> None:
    (folder / SECOND).write_bytes((folder / SECOND).read_bytes()[:-100])


def point_elsewhere(index: dict[str, Any]) -> None:
    index["weight_map"]["model.norm.weight"] = FIRST


def add_token(tokenizer: dict[str, Any]) -> None:
    token = tokenizer["added_tokens"][-1]
    tokenizer["added_tokens"].append(token | {"id": 299, "content": "<|tool|>"})


def other_hash(note: dict[str, Any]) -> None:
    note["files"]["model.safetensors"]["sha256"] = "0" * 64


OF_MERGED: dict[str, tuple[Damage, str, str]] = {
    "the sign of a row": (in_weights(negate_a_row), "max_logit_difference", "differ"),
    "two projections swapped": (in_weights(swap_layers), "max_logit_difference", "differ"),
    "a weight renamed": (in_weights(rename("up_proj.weight")), "loads_completely", "layers.1.mlp.up_proj"),
    "shards swapped": (swap_shards, "weight_files", f"{FIRST}: "),
    "a shard cut off": (cut_shard, "weight_files", SECOND),
    "an index that points elsewhere": (
        in_json("model.safetensors.index.json", point_elsewhere),
        "weight_files",
        "model.norm.weight",
    ),
    "other weights beside": (
        lambda folder: shutil.copyfile(folder / FIRST, folder / "adapter_model.safetensors"),
        "weight_files",
        "adapter_model.safetensors",
    ),
    "pickled weights beside": (
        lambda folder: (folder / "pytorch_model.bin").write_bytes(b"weights"),
        "weight_files",
        "pytorch_model.bin",
    ),
    "tied weights no longer tied": (put("config.json", tie_word_embeddings=False), "config_carried", "tie_word"),
    "another rotary base": (
        in_json("config.json", lambda config: config["rope_parameters"].update(rope_theta=9e5)),
        "config_carried",
        "rope_parameters",
    ),
    "another rotary base for version 4": (put("config.json", rope_theta=9e5), "config_carried", "rope_theta"),
    "no rotary base for version 4": (drop("config.json", "rope_theta"), "config_carried", "rope_theta"),
    "another format": (put("config.json", dtype="float16"), "config_carried", "dtype"),
    "another format for version 4": (put("config.json", torch_dtype="float16"), "config_carried", "torch_dtype"),
    "fewer layers": (put("config.json", num_hidden_layers=1), "config_carried", "num_hidden_layers"),
    "another class": (put("config.json", architectures=["MistralForCausalLM"]), "config_carried", "architectures"),
    "another end in the configuration": (put("config.json", eos_token_id=7), "config_carried", "eos_token_id"),
    "code to run": (put("config.json", auto_map={"AutoModel": "a.B"}), "config_carried", "auto_map"),
    "another activation": (put("config.json", hidden_act="gelu"), "config_carried", "hidden_act"),
    "a shorter context": (put("config.json", max_position_embeddings=64), "config_carried", "max_position"),
    "a line of merges.txt gone": (
        lambda folder: (folder / "merges.txt").write_text(
            "\n".join((folder / "merges.txt").read_text().split("\n")[:-2])
        ),
        "tokenizer_files",
        "merges.txt",
    ),
    "vocab.json gone": (lambda folder: (folder / "vocab.json").unlink(), "tokenizer_files", "vocab.json"),
    "a merge fewer": (
        in_json("tokenizer.json", lambda tokenizer: tokenizer["model"]["merges"].pop()),
        "tokenizer_files",
        "tokenizer.json: model",
    ),
    "no decoder": (put("tokenizer.json", decoder=None), "tokenizer_files", "tokenizer.json: decoder"),
    "a special token that is none": (
        in_json("tokenizer.json", lambda tokenizer: tokenizer["added_tokens"][-1].update(special=False)),
        "tokenizer_files",
        "tokenizer.json: added_tokens",
    ),
    "one token more": (in_json("tokenizer.json", add_token), "tokenizer_files", "tokenizer.json: added_tokens"),
    "a shorter longest text": (
        put("tokenizer_config.json", model_max_length=64),
        "tokenizer_files",
        "tokenizer_config.json: model_max_length",
    ),
    "padding on the left": (
        put("tokenizer_config.json", padding_side="left"),
        "tokenizer_files",
        "tokenizer_config.json: padding_side",
    ),
    "another padding token": (
        put("special_tokens_map.json", pad_token="a"),
        "tokenizer_files",
        "special_tokens_map.json: pad_token",
    ),
    "a letter of the template": (
        in_text("chat_template.jinja", "assistant", "assistent"),
        "template_carried",
        "template",
    ),
    "another end": (put("generation_config.json", eos_token_id=7), "eos_carried", "<|endoftext|>"),
    "another temperature": (
        put("generation_config.json", temperature=0.1),
        "generation_config_carried",
        "not the base",
    ),
}
OF_ADAPTER: dict[str, tuple[Damage, str, str]] = {
    "another alpha": (
        put("adapter_config.json", lora_alpha=9),
        "trained_part_carried",
        "adapter_config.json: lora_alpha",
    ),
    "another scaling": (put("adapter_config.json", use_rslora=True), "trained_part_carried", "use_rslora"),
    "another base": (
        put("adapter_config.json", base_model_name_or_path="gpt2"),
        "trained_part_carried",
        "base_model_name_or_path",
    ),
    "a tensor renamed": (
        in_weights(rename("layers.1.mlp.up_proj.lora_A.weight"), ADAPTER),
        "trained_part_carried",
        ADAPTER,
    ),
    "a tensor gone": (
        in_weights(lambda weights: weights.pop(next(name for name in weights if "lora_B" in name)), ADAPTER),
        "loads_completely",
        "lora_B",
    ),
    "a tensor a little weaker": (in_weights(weaken, ADAPTER), "trained_part_carried", ADAPTER),
    "no note of the base": (
        lambda folder: (folder / "base_model.json").unlink(),
        "trained_part_carried",
        "base_model.json",
    ),
    "a note of another base": (
        in_json("base_model.json", other_hash),
        "trained_part_carried",
        "base_model.json: files",
    ),
    "pickled weights beside": (
        lambda folder: (folder / "adapter_model.bin").write_bytes(b"weights"),
        "trained_part_carried",
        "adapter_model.bin",
    ),
}
CASES = [
    *(pytest.param("merged", *case, id=name) for name, case in OF_MERGED.items()),
    *(pytest.param("adapter", *case, id=f"adapter: {name}") for name, case in OF_ADAPTER.items()),
]


@pytest.mark.parametrize(("target", "damage", "check", "words"), CASES)
def test_a_damaged_export_is_refused_though_its_hashes_were_made_again(
    exports: dict[str, Path], target: str, damage: Damage, check: str, words: str
) -> None:
    folder = exports[target].with_name("damaged")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(exports[target], folder)
    damage(folder)
    assert list(failed(verify_export(folder))) == ["files_unchanged"]
    certify_again(folder)

    found = failed(verify_export(folder))

    assert words in found[check]
