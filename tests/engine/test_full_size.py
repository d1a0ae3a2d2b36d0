"""The formula of memory beside a step of training at full size: every tensor is counted while it lives, none is made.

torch's fake tensors have shapes, formats and devices, and no numbers. A step of ours on a GPU that is not there then
takes seconds, and the memory that its tensors would take is known to the byte.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary
from transformers import PreTrainedModel

from studio.config import RunConfig, parse_config
from studio.engine import recompute
from studio.engine.autocast import autocast
from studio.engine.data.batching import MicroBatch
from studio.engine.estimate import estimate
from studio.engine.estimate.formula import Formula, Work, storage_for
from studio.engine.estimate.plan import gpu_of, plan
from studio.engine.fit import Fit, in_fp32, state_bytes
from studio.engine.kernels import cross_entropy, lora
from studio.engine.models.info import ModelInfo
from studio.engine.models.quantise import place_quantised
from studio.engine.models.quiet import import_bitsandbytes
from studio.engine.models.shapes import ModelShapes
from studio.engine.models.structure import model_shapes
from studio.engine.precision import PRECISIONS
from studio.engine.training import loss, model
from studio.engine.training.model import TrainableModel, make_trainable
from studio.runner.memory_words import choices_text
from tests.tiny import CPU

PRECISION = PRECISIONS.get("bf16-mixed")
SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
)
MODELS = {
    "7.6B": ("Qwen2", (3584, 18944, 28, 28, 4, 152064)),
    "Llama-2-7B": ("Llama", (4096, 11008, 32, 32, 32, 32000)),
    "14B": ("Qwen2", (5120, 13824, 48, 40, 8, 152064)),
}
# 4 rows of 1024 tokens at a time, of several micro-batches.
WORK = Work(rows=4, length=1024)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors while they live, each storage once: `now`, and `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.untyped_storage() not in self._seen:
                self._count(value.untyped_storage(), value.untyped_storage().nbytes())
        return result

    def leave_out(self, tensor: Tensor) -> None:
        """Do not count a tensor that is in the memory of the processor."""
        self.now -= self._seen[tensor.untyped_storage()].release()

    def _count(self, storage: torch.UntypedStorage, size: int) -> None:
        self._seen[storage] = entry = _Entry(size)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, entry)

    def _drop(self, entry: _Entry) -> None:
        self.now -= entry.release()


class _Entry:
    """The bytes that a storage counts for; once they are given back, none."""

    def __init__(self, size: int) -> None:
        self._size = size

    def release(self) -> int:
        size, self._size = self._size, 0
        return size


def empty(name: str) -> PreTrainedModel:
    family, sizes = MODELS[name]
    settings = dict(zip(SIZES, sizes, strict=True))
    config = getattr(transformers, f"{family}Config")(tie_word_embeddings=False, **settings)
    config._attn_implementation = "sdpa"
    with torch.device("meta"):
        made: PreTrainedModel = getattr(transformers, f"{family}ForCausalLM")(config)
    return made


@functools.cache
def shapes(name: str) -> ModelShapes:
    made = empty(name)
    return model_shapes(made, made.config.to_dict(), 0, "bf16")


def run_config(**tables: dict[str, Any]) -> RunConfig:
    return parse_config({"model": {"path": "m"}, "data": {"sources": [{"path": "d.jsonl"}]}} | tables)


LORA = run_config(method={"name": "lora", "rank": 16}, precision={"base_dtype": "nf4"})


def fill(name: str, made: PreTrainedModel, config: RunConfig, live: LiveBytes, *, words_on_host: bool) -> None:
    """Give an empty model fake weights in the formats and places that a run loads them to."""
    storage = storage_for(config, PRECISION)
    linear = {f"{layer.name}.weight" for layer in shapes(name).linear_layers}
    layers = dict(made.named_modules())
    staying = storage.looked_up(shapes(name)) if words_on_host else []
    for path, module in made.named_modules():
        for leaf, parameter in list(module._parameters.items()):
            if parameter is None:
                continue
            full_name = f"{path}.{leaf}"
            if full_name in linear:
                module._parameters[leaf] = nf4(layers[path])
                continue
            vocabulary = module in (made.get_input_embeddings(), made.get_output_embeddings())
            kept = storage.format(full_name, parameter.shape, "bf16", linear=False, vocabulary=vocabulary)
            dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[kept]
            module._parameters[leaf] = nn.Parameter(torch.empty(parameter.shape, dtype=dtype), False)
            if full_name in staying:
                live.leave_out(module._parameters[leaf])
        for leaf, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[leaf] = torch.empty(buffer.shape, dtype=buffer.dtype)


def nf4(layer: Any) -> nn.Parameter:
    """Fake weights of a layer in nf4, with their scales in 8 bits, in place of bitsandbytes' own class."""
    bnb = import_bitsandbytes()
    numbers = layer.out_features * layer.in_features

    def tensor(size: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(size, dtype=dtype)

    scales = numbers // 64
    of_scales = bnb.functional.QuantState(
        tensor(-(-scales // 256)), code=tensor(256), blocksize=256, dtype=torch.float32
    )
    weight: Any = nn.Parameter(torch.empty((numbers // 2, 1), dtype=torch.uint8), False)
    weight.quant_state = bnb.functional.QuantState(
        tensor(scales, torch.uint8),
        shape=torch.Size((layer.out_features, layer.in_features)),
        code=tensor(16),
        blocksize=64,
        quant_type="nf4",
        dtype=torch.bfloat16,
        offset=torch.empty(()),
        state2=of_scales,
    )
    weight.quant_type, weight.compress_statistics = "nf4", True
    return weight  # type: ignore[no-any-return]


@contextmanager
def like_a_gpu(patch: pytest.MonkeyPatch) -> Iterator[LiveBytes]:
    """Compute without numbers, and in the ways of a GPU where they differ from those of a processor; count the memory."""
    patch.setattr(nn.Module, "to", lambda module, *args, **kwargs: module)  # all is where it belongs
    patch.setattr(loss.SupervisedLoss, "_learn", lambda self: None)  # looks at numbers
    patch.setattr(model, "widen_attention", lambda base: None)
    patch.setattr(lora, "_draw_kept", lambda values, rate, dtype: torch.empty_like(values, dtype=torch.bool).to(dtype))
    patch.setattr(cross_entropy, "in_fp32", lambda device: in_fp32("cuda"))
    with FakeTensorMode(allow_non_fake_inputs=True), LiveBytes() as live:

        def to_host(tensor: Tensor) -> tuple[Tensor, torch.device | None]:
            kept, device = original(tensor)
            if device is not None:
                live.leave_out(kept)
            return kept, device

        def from_host(packed: tuple[Tensor, torch.device | None]) -> Tensor:
            return packed[0] if packed[1] is None else packed[0].clone()

        original = recompute._to_host
        patch.setattr(recompute, "_to_host", to_host)
        patch.setattr(recompute, "_from_host", from_host)
        yield live


def trainable(made: PreTrainedModel, config: RunConfig, fit: Fit) -> TrainableModel:
    ready = make_trainable(made, config, PRECISION, CPU, recompute=fit.recompute, on_host=fit.on_host)
    ready.loss._head, ready.loss._after_head = made.get_output_embeddings(), lambda logits: logits
    ready.loss.vocabulary, ready.loss._needs_mask = made.config.vocab_size, False
    return ready


def batch(rows: int, length: int) -> MicroBatch:
    ids = torch.zeros((rows, length), dtype=torch.int64)
    return MicroBatch(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        targets=ids,
        learnt=torch.arange(rows * length),
        tokens=rows * length,
        supervised=rows * length,
    )


def measured(name: str, fit: Fit, patch: pytest.MonkeyPatch) -> int:
    """Return the most bytes that tensors take on the GPU in a second micro-batch, states of the optimizer included."""
    made = empty(name)
    place_quantised(made, "nf4", torch.bfloat16)
    with like_a_gpu(patch) as live:
        fill(name, made, LORA, live, words_on_host=fit.words_on_host)
        ready = trainable(made, LORA, fit)
        states = torch.empty(state_bytes(LORA.training.optimizer, ready.trainable_parameters), dtype=torch.uint8)
        for parameter in ready.parameters:
            parameter.grad = torch.empty_like(parameter)
        with autocast(PRECISION, CPU), torch.no_grad():
            ready.loss(batch(1, 8))  # LoRA finds out which layers read the same input
        given = batch(WORK.rows, WORK.length)
        live.peak = 0
        with autocast(PRECISION, CPU):
            summed = ready.loss(given)
        summed.backward()
        del states
        return live.peak


def info_of(name: str) -> ModelInfo:
    return ModelInfo(
        path=Path(name),
        kind="base",
        reasons=(),
        problems=(),
        architecture=f"{MODELS[name][0]}ForCausalLM",
        parameters=shapes(name).parameters,
        bytes=2 * shapes(name).parameters,
        dtype="bf16",
        context_length=None,
        has_template=False,
        eos_token=None,
        shapes=shapes(name),
    )


def said(name: str, fit: Fit) -> int:
    return sum(Formula(shapes(name), LORA, PRECISION, "cuda").components(fit, WORK).values())


@pytest.mark.parametrize(
    ("name", "on_host", "words_on_host"),
    [("7.6B", False, False), ("7.6B", False, True), ("Llama-2-7B", True, False), ("14B", True, True)],
)
def test_a_step_at_full_size_takes_what_the_formula_says(
    name: str, on_host: bool, words_on_host: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = Fit(recompute=True, micro_batch_tokens=4096, on_host=on_host, words_on_host=words_on_host)
    found = measured(name, fit, monkeypatch)
    print(f"{name}: formula {said(name, fit) / 1e9:.2f} GB, tensors {found / 1e9:.2f} GB")
    assert said(name, fit) == pytest.approx(found, rel=0.1)


@pytest.mark.parametrize(("name", "limit"), [("7.6B", 8.5e9), ("Llama-2-7B", 7.0e9)])
def test_four_rows_at_a_time_fit_into_little_memory(name: str, limit: float) -> None:
    assert said(name, Fit(recompute=True, micro_batch_tokens=4096, on_host=True)) < limit


@pytest.mark.parametrize(("name", "gigabytes", "limit"), [("7.6B", 24, 12e9), ("7.6B", 8, 8e9), ("14B", 12, 11.5e9)])
def test_a_large_model_fits_a_common_gpu_at_the_defaults(name: str, gigabytes: int, limit: float) -> None:
    needs = estimate(info_of(name), run_config(), gpu_of(gigabytes))
    assert needs.fits
    assert needs.total_bytes < limit
    assert (needs.choices["recompute"], needs.choices["base_dtype"]) == (True, "nf4")


BF16 = {"precision": {"base_dtype": "bf16"}}


def test_layers_are_spread_over_as_few_gpus_as_it_takes() -> None:
    info = info_of("14B")
    for gpus in (2, 4):
        found = plan(info, run_config(**BF16), gpu_of(24, gpus))
        assert found.fits
        assert (set(found.fit.cards), sorted(found.fit.cards)) == ({0, 1}, list(found.fit.cards))
        assert len(found.fit.cards) == info.shapes.layers
    assert plan(info, run_config(**BF16), gpu_of(24)).fit.cards == ()
    assert plan(info, run_config(), gpu_of(24, 2)).fit.cards == ()  # nf4 fits one
    assert not plan(info, run_config(**BF16), gpu_of(12, 2)).fits
    assert "spreads the layers over 2 GPUs" in choices_text(estimate(info, run_config(**BF16), gpu_of(24, 2)))


@pytest.mark.parametrize(
    "tables",
    [
        {"method": {"name": "prompt-tuning"}},
        {"training": {"optimizer": "adafactor"}},
        {"precision": {"name": "bf16-pure"}},
    ],
    ids=["method", "optimizer", "precision"],
)
def test_what_is_trained_outside_of_the_layers_or_without_their_optimizer_stays_on_one_gpu(
    tables: dict[str, Any],
) -> None:
    assert plan(info_of("14B"), run_config(**{**BF16, **tables}), gpu_of(16, 2)).fit.cards == ()


def test_gpus_together_hold_no_less_than_one_would() -> None:
    formula = Formula(shapes("7.6B"), LORA, PRECISION, "cuda")
    fit = Fit(recompute=True, micro_batch_tokens=4096)
    layers = range(shapes("7.6B").layers)
    one = formula.components(fit)
    spread = [formula.of_card(fit, held, main=main) for held, main in ((layers[:12], True), (layers[12:], False))]
    for component in ("weights", "gradients", "optimizer"):
        assert sum(card[component] for card in spread) == pytest.approx(one[component], rel=1e-6)
    assert sum(sum(card.values()) for card in spread) > sum(one.values())
    alone = formula.of_card(fit, layers, main=True)
    assert sum(alone.values()) >= sum(one.values())
    added = sum(sum(formula.of_card(fit, [layer], main=False).values()) for layer in layers[:2])
    nothing = sum(formula.of_card(fit, (), main=False).values())
    assert added - 2 * nothing == pytest.approx(sum(formula.of_layers(fit)[:2]), rel=1e-6)
