"""Items 62 to 78, 82 and 83 of what users bring: the answer is one sentence, and the process lives."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from studio.engine.models import template
from studio.engine.models.info import ModelInfo
from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_model, load_tokenizer
from studio.errors import ModelError
from tests.engine.models.editing import (
    INDEX,
    WEIGHTS,
    edit_header,
    edit_json,
    edit_weights,
    set_template,
    shard,
    split,
    write_raw,
)

QUERY = "model.layers.0.self_attn.q_proj.weight"
NORM = "model.norm.weight"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4917148\n"
Damage = Callable[[Path], object]


def open_all(folder: Path) -> ModelInfo:
    """What a run does before it trains."""
    info = inspect_model(folder)
    load_tokenizer(folder)
    load_model(folder)
    return info


def set_config(**changes: object) -> Damage:
    return lambda folder: edit_json(folder / "config.json", **changes)


def set_weight(name: str, value: torch.Tensor) -> Damage:
    return lambda folder: edit_weights(folder, lambda tensors: tensors.update({name: value}))


def fill_one(value: float) -> Damage:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[QUERY][3, 5] = value

    return lambda folder: edit_weights(folder, change)


def set_header(name: str, **changes: object) -> Damage:
    return lambda folder: edit_header(folder, lambda header: header[name].update(changes))


def write(name: str, text: str) -> Damage:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def remove(*names: str) -> Damage:
    return lambda folder: [(folder / name).unlink() for name in names]


def cut_weights(keep: float) -> Damage:
    def cut(folder: Path) -> None:
        size = (folder / WEIGHTS).stat().st_size
        os.truncate(folder / WEIGHTS, int(size * keep))

    return cut


def overlap(folder: Path) -> None:
    header, _ = split(folder)
    set_header(NORM, data_offsets=header["model.layers.0.input_layernorm.weight"]["data_offsets"])(folder)


def append_byte(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"\0")


def name_a_tensor_twice(folder: Path) -> None:
    header, data = split(folder)
    text = json.dumps(header)
    write_raw(folder, (text[:-1] + f', "{NORM}": {json.dumps(header[NORM])}}}').encode(), data)


def only_pickles(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def pickle_in_index(folder: Path) -> None:
    shard(folder, **{NORM: "pytorch_model.bin"})
    (folder / "pytorch_model.bin").write_bytes(b"x")


def same_tensor_in_both_shards(folder: Path) -> None:
    shard(folder)
    (folder / "two.safetensors").write_bytes((folder / "one.safetensors").read_bytes())


def lose_a_shard(folder: Path) -> None:
    shard(folder)
    (folder / "two.safetensors").unlink()


def outside_by_index(folder: Path) -> None:
    shard(folder, **{NORM: "../secret.safetensors"})
    (folder.parent / "secret.safetensors").write_bytes((folder / "one.safetensors").read_bytes())


def outside_by_link(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent / "secret.safetensors")
    (folder / WEIGHTS).symlink_to(folder.parent / "secret.safetensors")


def list_twice_in_index(folder: Path) -> None:
    shard(folder)
    text = (folder / INDEX).read_text(encoding="utf-8")
    entry = f'"{NORM}": "one.safetensors", "{NORM}": "two.safetensors", '
    (folder / INDEX).write_text(text.replace('"weight_map": {', '"weight_map": {' + entry), encoding="utf-8")


def own_code(folder: Path) -> None:
    (folder / "modeling_own.py").write_text("raise SystemExit('stranger code ran')", encoding="utf-8")
    set_config(
        model_type="own", architectures=["OwnForCausalLM"], auto_map={"AutoModelForCausalLM": "modeling_own.Own"}
    )(folder)


def own_tokenizer_code(folder: Path) -> None:
    (folder / "tokenization_own.py").write_text("raise SystemExit('stranger code ran')", encoding="utf-8")
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    own = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["tokenization_own.Own", None]}}
    edit_json(folder / "tokenizer_config.json", **own)


def add_token_beyond(folder: Path) -> None:
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["model"]["vocab"]["beyond"] = 300
    path.write_text(json.dumps(values), encoding="utf-8")


def become_gguf(folder: Path) -> None:
    remove("config.json", WEIGHTS)(folder)
    write("model.gguf", "GGUF")(folder)


def a_run(folder: Path) -> None:
    remove("config.json")(folder)
    for name in ("config.toml", "state.json"):
        write(name, "")(folder)


def pointer_of_sentencepiece(folder: Path) -> None:
    remove("tokenizer.json")(folder)
    write("tokenizer.model", POINTER)(folder)


REFUSED: list[tuple[str, Damage, str]] = [
    ("62 no config.json", remove("config.json"), "has no config.json"),
    ("62 broken JSON", write("config.json", '{"model_type": '), "config.json"),
    ("62 not an object", write("config.json", "[]"), "config.json"),
    ("62 absurdly nested", write("config.json", "[" * 100_000), "config.json"),
    ("62 not UTF-8", lambda f: (f / "config.json").write_bytes(b'{"a": "\xff"}'), "config.json"),
    ("62 unknown architecture", set_config(architectures=["LaterForCausalLM"]), "update Finetune Studio"),
    ("62 old name", set_config(architectures=["RWForCausalLM"], model_type="RefinedWebModel"), "FalconForCausalLM"),
    (
        "62 old spelling of another format",
        set_config(architectures=["OLMoForCausalLM"], model_type="hf_olmo"),
        "old name",
    ),
    ("62 given up by transformers", set_config(architectures=["OpenLlamaForCausalLM"]), "given up"),
    ("62 a pointer of Git LFS", write("config.json", POINTER), "git lfs pull"),
    ("62 a run", a_run, "is a run, not a model"),
    ("62 unknown model type", set_config(model_type="later"), "update Finetune Studio"),
    ("62 nonsense values", set_config(num_attention_heads="many"), "config.json"),
    (
        "63 encoder only",
        set_config(architectures=["BertForMaskedLM"], model_type="bert"),
        "not a causal language model",
    ),
    (
        "63 sequence to sequence",
        set_config(architectures=["T5ForConditionalGeneration"]),
        "not a causal language model",
    ),
    ("63 no architecture", set_config(architectures=None), "not a causal language model"),
    ("64 no weights", remove(WEIGHTS), "has no weights"),
    ("64 only pickles", only_pickles, "never loaded"),
    ("64 a pickle as shard", pickle_in_index, "never loaded"),
    ("65 cut off", cut_weights(0.9), f"{WEIGHTS} in"),
    ("65 cut off in the header", cut_weights(0.001), f"{WEIGHTS} in"),
    ("65 no byte", cut_weights(0.0), "it is empty"),
    (
        "64 an index without",
        lambda f: (f / WEIGHTS).rename(f / "model-00001-of-00002.safetensors"),
        "index of its shards",
    ),
    ("64 only GGUF", lambda f: (f / WEIGHTS).rename(f / "model-Q4_K_M.gguf"), "GGUF"),
    ("64 only ONNX", lambda f: (f / WEIGHTS).rename(f / "model.onnx"), "another library"),
    ("64 only pickles, no config.json", lambda f: (only_pickles(f), remove("config.json")(f)), "never loaded"),
    ("65 a pointer of Git LFS", write(WEIGHTS, POINTER), "git lfs pull"),
    ("65 header of 2^60 bytes", lambda f: write_raw(f, b"{}", length=2**60), "absurdly long"),
    ("65 header is no JSON", lambda f: write_raw(f, b"{" * 5000), "not valid JSON"),
    ("65 header is a list", lambda f: write_raw(f, b"[]"), "not valid JSON"),
    ("65 header describes nothing", lambda f: write_raw(f, b'{"a": 1}'), "does not describe"),
    ("65 no tensors", lambda f: write_raw(f, b"{}"), "are empty"),
    ("65 something behind", append_byte, "behind its last weight"),
    ("65 shape overflows", set_header(NORM, shape=[2**62, 2**62]), "another size than its shape"),
    ("65 shape beyond 64 bits", set_header(NORM, shape=[2**64]), "does not describe"),
    ("65 negative shape", set_header(NORM, shape=[-32]), "does not describe"),
    ("65 unknown format", set_header(NORM, dtype="F99"), "does not describe"),
    ("65 overlapping", overlap, "is not where it should be"),
    ("65 a tensor named twice", name_a_tensor_twice, "not valid JSON"),
    ("66 missing tensor", lambda f: edit_weights(f, lambda t: t.pop(QUERY)), QUERY),
    (
        "66 missing layer",
        lambda f: edit_weights(f, lambda t: [t.pop(n) for n in list(t) if ".1." in n]),
        "2 against 1 layers",
    ),
    ("68 wrong shape", set_weight(QUERY, torch.zeros(31, 32)), "should be (32, 32) but is (31, 32)"),
    ("68 absurd vocabulary", set_config(vocab_size=10**12), "do not fit together"),
    ("68 absurd inner size", set_config(intermediate_size=10**12), "do not fit together"),
    ("68 absurd number of layers", set_config(num_hidden_layers=10**9), "absurdly large"),
    ("68 a size beyond numbers", set_config(intermediate_size=10**40), "config.json"),
    ("69 NaN", fill_one(float("nan")), f"{QUERY} holds values that are not numbers"),
    ("69 infinity", fill_one(float("-inf")), f"{QUERY} holds values that are not numbers"),
    ("70 tensor in two shards", same_tensor_in_both_shards, "is also in one.safetensors"),
    ("70 tensor twice in the index", list_twice_in_index, "stands in it twice"),
    ("70 shard missing", lose_a_shard, "two.safetensors is missing"),
    ("70 shard without its tensor", lambda f: shard(f, other="one.safetensors"), "other is missing from it"),
    ("70 index leads out", outside_by_index, "outside itself"),
    ("70 link leads out", outside_by_link, "outside itself"),
    ("70 index lists nothing", lambda f: (shard(f), write(INDEX, "{}")(f)), "lists no shards"),
    ("71 own code", own_code, "never run here"),
    ("71 own code of the tokenizer", own_tokenizer_code, "cannot be loaded"),
    ("77 tokenizer larger than the model", add_token_beyond, "301 tokens but the model only 300"),
    ("77 no tokenizer", remove("tokenizer.json"), "has no tokenizer"),
    ("77 a pointer of Git LFS", write("tokenizer.json", POINTER), "git lfs pull"),
    ("77 another tokenizer, a pointer", pointer_of_sentencepiece, "git lfs pull"),
    ("77 broken tokenizer", write("tokenizer.json", "{}"), "it is not a tokenizer"),
    ("77 quantised weights", set_weight("extra.qweight", torch.zeros(4, 4, dtype=torch.int32)), "quantised"),
    ("82 adapter", write("adapter_config.json", '{"base_model_name_or_path": "the/base"}'), "the/base"),
    ("83 GGUF", become_gguf, "GGUF"),
]


@pytest.mark.parametrize(("damage", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_used_is_refused_in_one_sentence(folder: Path, damage: Damage, words: str) -> None:
    damage(folder)
    with pytest.raises(ModelError) as caught:
        open_all(folder)
    sentence = str(caught.value)
    assert words in sentence
    assert str(folder) in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert "trust_remote_code" not in sentence


def test_67_a_weight_that_the_model_does_not_use_is_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    set_weight("spare.weight", torch.zeros(3, 3))(folder)
    with caplog.at_level(logging.WARNING, logger="studio"):
        load_model(folder)
    assert "spare.weight" in caplog.text


def test_71_own_code_beside_a_known_architecture_is_not_run(folder: Path) -> None:
    (folder / "modeling_own.py").write_text("raise SystemExit('stranger code ran')", encoding="utf-8")
    set_config(auto_map={"AutoModelForCausalLM": "modeling_own.Own", "AutoConfig": "modeling_own.Own"})(folder)
    info = open_all(folder)
    assert "it is not run" in info.problems[0]


def test_71_kernels_named_in_the_config_are_not_obeyed(folder: Path) -> None:
    kernel = "stranger/kernel"
    set_config(_attn_implementation=kernel, attn_implementation=kernel, _attn_implementation_internal=kernel)(folder)
    assert load_model(folder).config._attn_implementation == "sdpa"


def test_72_without_a_padding_token_the_end_of_text_pads(folder: Path) -> None:
    edit_json(folder / "tokenizer_config.json", pad_token=None)
    assert load_tokenizer(folder).pad_token == "<|im_end|>"


def test_72_without_padding_or_end_of_text_the_unknown_token_pads(folder: Path) -> None:
    edit_json(folder / "tokenizer_config.json", pad_token=None, eos_token=None, unk_token="<|endoftext|>")
    for name in ("config.json", "generation_config.json"):
        edit_json(folder / name, eos_token_id=None)
    assert load_tokenizer(folder).pad_token == "<|endoftext|>"


def test_73_a_model_without_an_end_of_text_token_is_warned_of(folder: Path) -> None:
    edit_json(folder / "tokenizer_config.json", eos_token=None)
    edit_json(folder / "config.json", eos_token_id=None)
    edit_json(folder / "generation_config.json", eos_token_id=None)
    info = inspect_model(folder)
    assert info.eos_token is None
    assert "cannot learn to stop" in info.problems[0]


def test_74_padding_with_the_end_of_text_leaves_the_end_of_text_in_the_row(folder: Path) -> None:
    edit_json(folder / "tokenizer_config.json", pad_token="<|im_end|>")
    tokenizer = load_tokenizer(folder)
    short, long = tokenizer(["a<|im_end|>", "abcd<|im_end|>"], padding=True)["attention_mask"]
    assert (sum(short), sum(long)) == (2, 5)
    assert inspect_model(folder).problems == ()


def test_75_a_model_without_a_template_is_a_base_model(folder: Path) -> None:
    set_template(folder, None)
    info = inspect_model(folder)
    assert (info.kind, info.has_template) == ("base", False)
    assert info.reasons[0] == "It has no chat template."


BROKEN_TEMPLATES = [
    ("syntax error", "first\n{% for m in messages %}{{ m.content }", "line 2"),
    ("undefined", "{{ nobody.knows.this }}", "undefined"),
    ("refuses", "{{ raise_exception('roles must alternate') }}", "roles must alternate"),
    ("reaches for Python", "{{ ''.__class__.__mro__ }}", "unsafe"),
    ("leaves the answer out", "{{ messages[0].content }}", "leaves out what the assistant says"),
    ("writes without end", "{% set n = namespace(t='aaaaaaaaaa') %}{% for i in range(60) %}{% set n.t = n.t ~ n.t %}{% endfor %}", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "words"), [row[1:] for row in BROKEN_TEMPLATES], ids=[row[0] for row in BROKEN_TEMPLATES]
)
def test_76_a_template_that_does_not_work_leaves_a_base_model(folder: Path, source: str, words: str) -> None:
    set_template(folder, source)
    info = inspect_model(folder)
    assert (info.kind, info.has_template) == ("base", False)
    assert words in info.problems[0]
    assert info.problems[0].endswith("can be trained as a Base model only.")
    assert "\n" not in info.problems[0]


def test_76_a_template_that_never_ends_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "SECONDS", 2)
    loops = "".join(f"{{% for i{n} in range(99999) %}}" for n in range(4))
    set_template(folder, loops + "{% endfor %}" * 4)
    assert "does not come to an end" in inspect_model(folder).problems[0]


def test_77_a_tokenizer_smaller_than_the_model_is_fine(folder: Path) -> None:
    info = open_all(folder)
    assert info.shapes.embedding == (300, 32)
    assert len(load_tokenizer(folder)) == 259


def test_78_a_template_works_with_and_without_generation_tags(folder: Path) -> None:
    source = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    assert "{% generation %}" not in source
    assert inspect_model(folder).has_template
    body = "{{ message['content'] }}"
    set_template(folder, source.replace(body, "{% generation %}" + body + "{% endgeneration %}"))
    assert inspect_model(folder).has_template
