"""The serial bottleneck adapter, on every layout, against the paper written down a second time (paper.py)."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from studio.config.method import read_method
from studio.engine.adapters.files import INFO, WEIGHTS, load_bottleneck_adapter, unload_bottleneck_adapter
from studio.engine.export.rounded_base import round_base
from studio.engine.methods import METHODS
from studio.engine.models.structure import model_shapes
from studio.engine.numerics.modules import in_forward_order, watched_modules
from studio.engine.numerics.trace import Trace
from studio.errors import ModelError
from tests.engine.methods import layouts, paper
from tests.tiny import bench, gpt2, llama, rows

METHOD = METHODS.get("bottleneck-adapter")
PLACEMENTS = ("houlsby", "pfeiffer")
# What the layouts' own settings turn them into, besides.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((layout, {}) for layout in layouts.LAYOUTS),
    ("gpt-neox", {"use_parallel_residual": False}),
    ("opt", {"do_layer_norm_before": False}),
]


def _config(**options: Any) -> Any:
    return read_method({"name": "bottleneck-adapter", "bottleneck": 3} | options)


def _attached(model: PreTrainedModel, *, moved: float = 0.0, **options: Any) -> PreTrainedModel:
    """A model with adapters; `moved` says how far each trained number is from its start."""
    trained: Any = METHOD.attach(model, _config(**options))
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in trained.parameters():
            if parameter.requires_grad:
                parameter += moved * torch.randn_like(parameter)
    return trained  # type: ignore[no-any-return]


def _saved(trained: nn.Module, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    METHOD.save(trained, folder)
    return folder


@torch.no_grad()
def _logits(model: nn.Module, ids: Tensor | None = None) -> Tensor:
    logits: Tensor = model(input_ids=layouts.ids() if ids is None else ids).logits
    return logits


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_training_starts_at_the_base_bit_for_bit(layout: str, placement: str) -> None:
    base = _logits(layouts.make(layout))
    assert torch.equal(_logits(_attached(layouts.make(layout), placement=placement)), base)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(("layout", "settings"), VARIANTS)
def test_a_model_with_adapters_computes_what_the_paper_says(
    layout: str, settings: dict[str, Any], placement: str, tmp_path: Path
) -> None:
    activation = {"llama": "relu", "gpt2": "silu"}.get(layout, "gelu")
    trained = _attached(layouts.make(layout, **settings), moved=0.2, placement=placement, activation=activation)
    tensors = load_file(_saved(trained, tmp_path) / WEIGHTS)
    plain = layouts.make(layout, **settings)
    base = _logits(plain)
    paper.adapt_layers(plain, tensors, activation, after_attention=placement == "houlsby")
    expected = _logits(plain)
    assert (expected - base).abs().max() > 0.1
    torch.testing.assert_close(_logits(trained), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_the_trained_numbers_are_as_many_as_the_closed_form_says(
    layout: str, placement: str, norms: bool, tmp_path: Path
) -> None:
    model = layouts.make(layout)
    own = sum(p.numel() for m in model.modules() if "Norm" in type(m).__name__ for p in m.parameters())
    m, d = 3, layouts.HIDDEN
    expected = layouts.LAYERS * (2 if placement == "houlsby" else 1) * (2 * m * d + d + m) + (own if norms else 0)
    trained = _attached(model, placement=placement, train_layer_norms=norms)
    assert sum(p.numel() for p in trained.parameters() if p.requires_grad) == expected
    config = _config(placement=placement, train_layer_norms=norms)
    assert METHOD.trainable_parameters(layouts.shapes_of(layout, tmp_path), config) == expected
    saved = load_file(_saved(trained, tmp_path / "adapter") / WEIGHTS)
    assert sum(tensor.numel() for tensor in saved.values()) == expected


def test_the_numbers_of_smollm2_are_those_of_the_formula() -> None:
    config = transformers.LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    shapes = model_shapes(model, config.to_dict(), 0)
    assert shapes.parameters == 134_515_008
    houlsby = read_method({"name": "bottleneck-adapter"})
    assert METHOD.trainable_parameters(shapes, houlsby) == 60 * (2 * 36 * 576 + 576 + 36) == 2_525_040
    trained = METHOD.attach(model, houlsby)
    assert sum(p.numel() for p in trained.parameters() if p.requires_grad) == 2_525_040
    pfeiffer = read_method({"name": "bottleneck-adapter", "placement": "pfeiffer", "train_layer_norms": True})
    assert METHOD.trainable_parameters(shapes, pfeiffer) == 30 * 42_084 + 61 * 576


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_a_saved_adapter_gives_the_same_logits_on_a_fresh_base(layout: str, norms: bool, tmp_path: Path) -> None:
    trained = _attached(layouts.make(layout), moved=0.1, train_layer_norms=norms)
    loaded = METHOD.load(layouts.make(layout), _saved(trained, tmp_path))
    assert torch.equal(_logits(loaded), _logits(trained))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_files_hold_the_trained_part_alone_and_say_what_it_is(tmp_path: Path) -> None:
    trained = _attached(layouts.make("llama"), placement="pfeiffer", activation="relu")
    assert {file.name for file in _saved(trained, tmp_path).iterdir()} == {INFO, WEIGHTS}
    tensors = load_file(tmp_path / WEIGHTS)
    place = "model.layers.1.mlp.down_proj.adapter"
    shapes = {"down.weight": (3, 32), "down.bias": (3,), "up.weight": (32, 3), "up.bias": (32,)}
    assert {name: tuple(t.shape) for name, t in tensors.items() if name.startswith(place)} == {
        f"{place}.{key}": shape for key, shape in shapes.items()
    }
    assert all(".mlp.down_proj.adapter." in name and t.dtype == torch.float32 for name, t in tensors.items())
    assert json.loads((tmp_path / INFO).read_text(encoding="utf-8")) == {
        "format_version": 1,
        "placement": "pfeiffer",
        "places": ["model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"],
        "hidden_size": 32,
        "bottleneck": 3,
        "activation": "relu",
        "train_layer_norms": False,
        "model_type": "llama",
    }


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_generation_with_a_cache_says_what_it_says_without(layout: str) -> None:
    model = _attached(layouts.make(layout), moved=0.1).eval()
    prompt = layouts.ids(1, 9)
    options: dict[str, Any] = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}
    with_cache = model.generate(prompt, use_cache=True, **options)  # type: ignore[operator]
    assert torch.equal(with_cache, model.generate(prompt, use_cache=False, **options))  # type: ignore[operator]


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_gradients_reach_the_adapters_and_nothing_frozen(layout: str, norms: bool) -> None:
    model = _attached(layouts.make(layout), moved=0.1, train_layer_norms=norms)
    model(input_ids=layouts.ids(), labels=layouts.ids()).loss.backward()
    for name, parameter in model.named_parameters():
        trained = ".adapter." in name or (norms and "norm" in name) or (norms and ".ln_" in name)
        assert parameter.requires_grad == trained, name
        assert (parameter.grad is not None and bool(parameter.grad.any())) == trained, name


@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("base_dtype", ["nf4", "int8"])
def test_on_a_quantised_base_it_trains_as_on_the_rounded_weights(base_dtype: str, make: Any) -> None:
    rounded = make()
    round_base(rounded, base_dtype)
    method: dict[str, object] = {"name": "bottleneck-adapter", "bottleneck": 4}
    quantised = bench(method, {"name": "fp32", "base_dtype": base_dtype}, base=make())
    plain = bench(method, base=rounded)
    for tiny in (quantised, plain):
        tiny.base.eval()  # GPT-2 has dropout of its own
    for seed in (0, 0, 1):
        ours, theirs = (tiny.update(rows(8, seed=seed)) for tiny in (quantised, plain))
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
        assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-4)


@pytest.mark.parametrize("precision", ["bf16-mixed", "fp16-mixed", "bf16-pure", "fp16-pure"])
def test_training_starts_at_the_base_in_16_bits_too(precision: str) -> None:
    tiny = bench({"name": "bottleneck-adapter", "bottleneck": 4}, {"name": precision})
    with tiny.trainer.autocast():
        adapted = _logits(tiny.model)
        unload_bottleneck_adapter(tiny.base)
        assert torch.equal(_logits(tiny.base), adapted)


def test_a_change_that_bf16_would_round_away_arrives_under_autocast() -> None:
    model = _attached(layouts.make("llama"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("adapter.up.bias"):
                parameter += 1e-4
    place = model.get_submodule("model.layers.0.self_attn.o_proj")
    x = torch.full((1, 32), 4.0)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        before = nn.functional.linear(x, place.weight)  # type: ignore[arg-type]
        assert torch.allclose(place(x) - before.float(), torch.tensor(1e-4), rtol=1e-2)


def test_a_base_in_16_bits_stays_in_16_bits(tmp_path: Path) -> None:
    trained = _attached(layouts.make("llama"), moved=0.1)
    loaded = METHOD.load(layouts.make("llama").to(torch.bfloat16), _saved(trained, tmp_path))
    logits = _logits(loaded)
    assert logits.dtype == torch.bfloat16
    assert (logits.float() - _logits(trained)).abs().max() < 0.1


def test_a_copy_of_a_model_has_adapters_of_its_own() -> None:
    model = _attached(layouts.make("llama"), moved=0.1)
    before = _logits(model)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".adapter." in name:
                parameter.zero_()
    assert torch.equal(_logits(copied), before)


def test_loading_another_adapter_replaces_the_first_and_unloading_gives_the_base_back(tmp_path: Path) -> None:
    first = _saved(_attached(layouts.make("llama"), moved=0.1, train_layer_norms=True), tmp_path / "first")
    second = _attached(layouts.make("llama"), moved=0.3, placement="pfeiffer", bottleneck=5)
    model = load_bottleneck_adapter(layouts.make("llama"), first)
    base = _logits(layouts.make("llama"))
    assert not torch.equal(_logits(model), base)
    load_bottleneck_adapter(model, _saved(second, tmp_path / "second"))
    assert torch.equal(_logits(model), _logits(second))
    unload_bottleneck_adapter(model)
    assert torch.equal(_logits(model), base)
    assert model.state_dict().keys() == layouts.make("llama").state_dict().keys()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (("mistral", {}), "type llama, hidden size 32"),
        (("llama", {"hidden_size": 64}), r"type llama, hidden size 64"),
        (("llama", {"num_hidden_layers": 1}), r"has no model\.layers\.1\.self_attn\.o_proj"),
    ],
)
def test_another_base_is_refused_and_left_as_it_is(other: Any, said: str, tmp_path: Path) -> None:
    folder = _saved(_attached(layouts.make("llama"), moved=0.1), tmp_path)
    model = layouts.make(other[0], **other[1])
    before = _logits(model)
    with pytest.raises(ModelError, match=said):
        load_bottleneck_adapter(model, folder)
    assert torch.equal(_logits(model), before)


def _cut_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])


def _drop_weight(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors["model.layers.0.mlp.down_proj.adapter.up.bias"]
    save_file(tensors, folder / WEIGHTS)


def _edit(folder: Path, **values: Any) -> None:
    info = json.loads((folder / INFO).read_text(encoding="utf-8"))
    (folder / INFO).write_text(json.dumps(info | values), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / INFO).unlink(), f"{INFO} is missing or damaged"),
        (lambda folder: (folder / INFO).write_text("{"), f"{INFO} is missing or damaged"),
        (lambda folder: _edit(folder, format_version=2), f"{INFO} is missing or damaged"),
        (lambda folder: _edit(folder, activation="exec"), f"{INFO} is missing or damaged"),
        (lambda folder: _edit(folder, bottleneck=10**12), "does not fit this model"),
        (lambda folder: _edit(folder, train_layer_norms=True), "does not fit this model"),
        (lambda folder: (folder / WEIGHTS).unlink(), f"{WEIGHTS} is missing or damaged"),
        (_cut_weights, f"{WEIGHTS} is missing or damaged"),
        (_drop_weight, r"does not fit this model: model\.layers\.0\.mlp\.down_proj\.adapter\.up\.bias"),
    ],
)
def test_a_damaged_adapter_is_refused_with_a_sentence(damage: Any, said: str, tmp_path: Path) -> None:
    folder = _saved(_attached(layouts.make("llama"), moved=0.1), tmp_path)
    damage(folder)
    with pytest.raises(ModelError, match=said):
        load_bottleneck_adapter(layouts.make("llama"), folder)


@pytest.mark.parametrize(
    ("options", "hidden", "inner"),
    [
        ({}, 576, 36),
        ({"reduction_factor": 4}, 576, 144),
        ({"reduction_factor": 64}, 32, 1),
        ({"bottleneck": 7}, 576, 7),
        ({"bottleneck": 7, "reduction_factor": 2}, 576, 7),
    ],
)
def test_the_bottleneck_is_given_or_follows_from_the_reduction_factor(
    options: dict[str, Any], hidden: int, inner: int
) -> None:
    config: Any = read_method({"name": "bottleneck-adapter"} | options)
    assert config.inner_size(hidden) == inner


@pytest.mark.parametrize("wrong", [{"bottleneck": 0}, {"reduction_factor": 0}, {"placement": "parallel"}])
def test_a_config_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        read_method({"name": "bottleneck-adapter"} | wrong)


def test_layers_without_attention_are_refused_before_anything_changes() -> None:
    config = transformers.MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=4)
    model = transformers.MambaForCausalLM(config)
    with pytest.raises(ModelError, match=r"backbone\.layers\.0 \(MambaBlock\) of this model is not made of one each"):
        METHOD.attach(model, _config())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_mixture_of_experts_is_adapted_behind_the_sum_of_its_experts() -> None:
    config = transformers.Qwen3MoeConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        decoder_sparse_step=1,
    )
    torch.manual_seed(0)
    model = transformers.Qwen3MoeForCausalLM(config).eval()
    ids = layouts.ids() % 100
    base = _logits(model, ids)
    assert torch.equal(_logits(_attached(model), ids), base)
    moved: Any = model.get_submodule("model.layers.1.mlp.adapter")
    constant = torch.linspace(-1, 1, 32)
    moved.up.bias.data.copy_(constant)
    seen: list[Tensor] = []
    model.model.layers[1].register_forward_hook(lambda layer, inputs, output: seen.append(output))
    _logits(model, ids)
    moved.up.bias.data.zero_()
    _logits(model, ids)
    torch.testing.assert_close(seen[0] - seen[1], constant.expand_as(seen[0]))


def test_the_heat_map_shows_the_adapters_layers_in_the_order_of_the_computation() -> None:
    model = _attached(layouts.make("llama"))
    names = list(in_forward_order(watched_modules(model), lambda: _logits(model)))
    o_proj = "model.layers.0.self_attn.o_proj"
    at = names.index(f"{o_proj}.adapter.down")
    assert names[at : at + 3] == [f"{o_proj}.adapter.down", f"{o_proj}.adapter.up", o_proj]


@pytest.mark.parametrize(
    ("weights", "blamed"),
    [
        ("model.layers.1.mlp.down_proj.adapter.up", "model.layers.1.mlp.down_proj.adapter.up"),
        ("model.layers.1.mlp.down_proj", "model.layers.1.mlp.down_proj"),
    ],
)
def test_the_first_infinity_is_found_in_the_adapter_or_before_it(weights: str, blamed: str) -> None:
    model = _attached(layouts.make("llama"), moved=0.1)
    model.get_submodule(weights).weight.data[0, 0] = torch.inf  # type: ignore[union-attr, index]
    trace = Trace(model, 1.0)
    with trace.watching():
        trace.see_loss(model(input_ids=layouts.ids()).logits.sum())  # an infinity that reaches no loss does no harm
    assert trace.first is not None
    assert (trace.first.module, trace.first.direction) == (blamed, "forward")
