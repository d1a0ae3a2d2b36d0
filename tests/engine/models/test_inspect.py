from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_model
from studio.errors import Cancelled
from tests.engine.models.architectures import make
from tests.engine.models.editing import edit_json, edit_weights, set_template, shard
from tests.tiny import CHAT_TEMPLATE, gpt2, tokenizer

ENDINGS = ("config.json", "generation_config.json")


def stop_at(folder: Path, token: str | None, number: int | None) -> None:
    """Let generation end at a token, in every file that says so."""
    edit_json(folder / "tokenizer_config.json", eos_token=token)
    for name in ENDINGS:
        edit_json(folder / name, eos_token_id=number)


def test_a_chat_model_is_described(folder: Path) -> None:
    info = inspect_model(folder)
    stored = load_file(folder / "model.safetensors")
    assert (info.kind, info.architecture, info.dtype) == ("chat", "LlamaForCausalLM", "fp32")
    assert info.parameters == sum(tensor.numel() for tensor in stored.values())
    assert info.bytes == 4 * info.parameters
    assert (info.context_length, info.has_template, info.eos_token) == (256, True, "<|im_end|>")
    assert info.problems == ()
    assert info.reasons == (
        "It has a chat template.",
        "The template ends each answer with <|im_end|>, and there the model stops.",
    )


def test_a_base_model_that_carries_the_chat_template_is_told_by_where_it_stops(folder: Path) -> None:
    stop_at(folder, "<|endoftext|>", 0)
    info = inspect_model(folder)
    assert info.kind == "base"
    assert info.reasons[0] == "The model stops at <|endoftext|>, which the template never writes after an answer."
    assert info.has_template


def test_a_second_end_of_text_in_the_generation_config_counts(folder: Path) -> None:
    stop_at(folder, "<|endoftext|>", 0)
    edit_json(folder / "generation_config.json", eos_token_id=[0, 2])
    assert inspect_model(folder).kind == "chat"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Own-7B-Instruct", "chat"),
        ("own-2b-it", "chat"),
        ("Own-Chat", "chat"),
        ("Own-7B-Base", "base"),
        ("italic", "base"),
    ],
)
def test_a_name_decides_where_the_rest_is_divided(folder: Path, name: str, kind: str) -> None:
    stop_at(folder, "<|endoftext|>", 0)
    assert inspect_model(folder.rename(folder.parent / name)).kind == kind


def test_a_name_alone_makes_no_chat_model(folder: Path) -> None:
    set_template(folder, None)
    info = inspect_model(folder.rename(folder.parent / "Own-Instruct"))
    assert info.kind == "base"
    assert "Its tokenizer knows <|im_start|>, but no template uses them." in info.reasons


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer_config.json", CHAT_TEMPLATE),
        ("tokenizer_config.json", [{"name": "tool", "template": "x"}, {"name": "default", "template": CHAT_TEMPLATE}]),
        ("chat_template.json", CHAT_TEMPLATE),
    ],
)
def test_a_template_is_found_wherever_it_may_stand(folder: Path, file: str, content: object) -> None:
    set_template(folder, None)
    edit_json(folder / file, chat_template=content)
    assert inspect_model(folder).has_template


def test_shards_are_one_model(folder: Path) -> None:
    whole = inspect_model(folder)
    shard(folder)
    assert inspect_model(folder).shapes == whole.shapes


def test_files_in_the_hubs_cache_are_links_and_fine(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "models--own--Model-Instruct"
    snapshot = store / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (store / "blobs").mkdir()
    for file in folder.iterdir():
        file.rename(store / "blobs" / file.name)
        (snapshot / file.name).symlink_to(store / "blobs" / file.name)
    assert "Its name says Instruct." in inspect_model(snapshot).reasons


def test_a_shared_output_layer_is_counted_once(folder: Path) -> None:
    whole = inspect_model(folder)

    def add_output(tensors: dict[str, torch.Tensor]) -> None:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    edit_weights(folder, add_output)
    assert inspect_model(folder).parameters == whole.parameters
    edit_json(folder / "config.json", tie_word_embeddings=False)
    assert inspect_model(folder).parameters == whole.parameters + 300 * 32


def test_the_mask_tables_of_an_old_gpt2_are_no_parameters(tmp_path: Path) -> None:
    model = gpt2()
    model.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    edit_weights(tmp_path, lambda tensors: tensors.update({"transformer.h.0.attn.bias": torch.ones(1, 1, 128, 128)}))
    info = inspect_model(tmp_path)
    assert info.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (info.shapes.layers, info.shapes.embedding, info.context_length) == (2, (300, 32), 128)


def test_the_most_common_storage_format_is_named(folder: Path) -> None:
    def halve(tensors: dict[str, torch.Tensor]) -> None:
        tensors.update({name: t.bfloat16() for name, t in tensors.items() if t.dim() == 2})

    edit_weights(folder, halve)
    assert inspect_model(folder).dtype == "bf16"


def test_looking_can_be_cancelled(folder: Path) -> None:
    def cancel(*_: object) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        inspect_model(folder, cancel)


def test_looking_takes_no_memory_for_weights_and_loads_no_method(folder: Path) -> None:
    skeleton = inspect_model(folder).skeleton
    assert skeleton is not None
    assert {parameter.device.type for parameter in skeleton.parameters()} == {"meta"}
    code = (
        "import sys, json; from pathlib import Path; from studio.engine.models.inspect import inspect_model\n"
        "import studio.engine.models.starter, studio.engine.estimate, studio.engine.device\n"
        "assert 'torch' not in sys.modules\n"
        "inspect_model(Path(sys.argv[1])); print(json.dumps([n for n in ('peft', 'datasets') if n in sys.modules]))"
    )
    root = str(Path(__file__).parents[3])
    done = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=root, capture_output=True, check=True)
    assert json.loads(done.stdout) == []


def test_an_embedding_narrower_than_the_hidden_size_is_inspected_and_loaded(folder: Path) -> None:
    """OPT-350m's shape."""
    make("opt", vocab_size=300).save_pretrained(folder)
    assert inspect_model(folder).shapes.embedding == (300, 16)
    assert load_model(folder).config.hidden_size == 32


def test_an_infinite_number_of_a_config_is_read_as_transformers_writes_it(folder: Path) -> None:
    edit_json(folder / "config.json", rms_norm_eps={"__float__": "Infinity"})
    assert inspect_model(folder).shapes.config["rms_norm_eps"] == math.inf
    assert load_model(folder).config.rms_norm_eps == math.inf
