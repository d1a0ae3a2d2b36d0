"""How much memory training takes, by component, before anything is loaded.

Weights, gradients and optimizer states follow from counts alone (Rajbhandari et al. 2020, ZeRO, section 3: AdamW
keeps two fp32 states a trained parameter; gradients are fp32 too, in every precision); activations from the shapes
(`activations.py`). What is not at its largest at one time is not added up: a run is at its peak at the start of a
backward pass, or, on a processor, while the model is loaded. `tests/benchmarks/memory_estimate.py` measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.config import PrecisionConfig, RunConfig
from studio.engine.device import available_memory, resolve_device
from studio.engine.dtypes import BYTES
from studio.engine.fit import Fit, choose_fit, state_bytes
from studio.engine.methods import METHODS
from studio.engine.methods.base import BytesPerWeight
from studio.engine.models.activations import BytesPerActivation, model_bytes
from studio.engine.models.info import ModelInfo
from studio.engine.models.shapes import ModelShapes
from studio.engine.precision import Precision
from studio.engine.precision.choose import choose_precision, choose_storage

if TYPE_CHECKING:
    import torch

# Of fp32 in work at a time beside the logits: a piece of them, its exponentials, and what is written back.
_LOGITS_PIECE, _PIECES = 1 << 21, 3
_MIB = 1 << 20
# Measured on Linux x86-64: interpreter, torch, transformers, datasets and their buffers; peft with what it imports.
_RUNTIME, _RUNTIME_OF_PEFT = 485 * _MIB, 55 * _MIB
# What activations leave between each other on glibc's heap, as a share of them: measured 0.6 to 1.3 on SmolLM2-135M.
# Without holes, every tensor in pages of its own, an update takes a quarter longer.
_HOLES = 0.95


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a configuration will need. Sizes are in bytes.

    Attributes:
        patch_bytes: size of the file that training will save.
        bytes: memory of training by component (`estimate_components`), and `total_bytes` their sum.
        available_bytes: memory that is free on the device now.
    """

    trainable_parameters: int
    total_parameters: int
    patch_bytes: int
    bytes: dict[str, int]
    total_bytes: int
    available_bytes: int

    @property
    def fits(self) -> bool:
        """Whether the memory that is free now is enough."""
        return self.total_bytes <= self.available_bytes


@dataclass(frozen=True, kw_only=True)
class Work:
    """One micro-batch: `rows` of `length` tokens each; `several` of them make an update."""

    rows: int
    length: int
    several: bool = True


def estimate(info: ModelInfo, config: RunConfig) -> Estimate:
    """Return what training will need, where every row is as long as the configuration allows.

    Memory is that of the process on a processor, and that of the tensors on a GPU.

    Raises:
        TrainingError: this machine has no such device.
        ConfigError: the precision does not work on it, or the method does not fit the model.
    """
    method = METHODS.get(config.method.name)
    method.check(info, config.method)
    trainable = method.trainable_parameters(info.shapes, config.method)
    device = resolve_device(config.training.device)
    precision, _ = choose_precision(config.precision, device, info.dtype)
    available = available_memory(config.training.device)
    fit = plan(info, config, precision, device, available)
    work = micro_batch(config, fit.micro_batch_tokens)
    components = estimate_components(
        info.shapes, config, precision, work, on_cpu=device.type == "cpu", recompute=fit.recompute
    )
    sizes = bytes_per_weight(config.precision, precision)
    return Estimate(
        trainable_parameters=trainable,
        total_parameters=info.parameters + (0 if method.form == "model" else trainable),
        patch_bytes=method.patch_bytes(info.shapes, config.method, sizes),
        bytes=components,
        total_bytes=sum(components.values()),
        available_bytes=available,
    )


def plan(info: ModelInfo, config: RunConfig, precision: Precision, device: torch.device, available: int) -> Fit:
    """Return how training is made to fit into `available` bytes."""

    def needed(recompute: bool, tokens: int) -> int:
        work, on_cpu = micro_batch(config, tokens), device.type == "cpu"
        parts = estimate_components(info.shapes, config, precision, work, on_cpu=on_cpu, recompute=recompute)
        return sum(parts.values())

    return choose_fit(config.training.recompute, device.type, config.data.max_length, available, needed)


def bytes_per_weight(config: PrecisionConfig, precision: Precision) -> BytesPerWeight:
    """Return how wide the weights are in training (`training.model`), and so in what is saved of them."""
    return BytesPerWeight(trained=BYTES[precision.parameters], frozen=BYTES[choose_storage(config, precision)])


def micro_batch(config: RunConfig, budget: int) -> Work:
    """Return the largest micro-batch: rows of the greatest length, as many as a budget of tokens allows."""
    length = config.data.max_length
    rows = min(config.training.batch_size, max(1, budget // length))
    return Work(rows=rows, length=length, several=rows < config.training.batch_size)


def estimate_components(
    shapes: ModelShapes, config: RunConfig, precision: Precision, work: Work, *, on_cpu: bool, recompute: bool = False
) -> dict[str, int]:
    """Return the memory of training in bytes by component, in the order of the bars; without torch.

    Components: runtime (processor only: the program and its libraries), weights, conversions (16-bit copies of fp32
    weights), loading (processor only: what loading the model needs beyond all else), gradients, optimizer, activations,
    holes (processor only: free memory between activations, where nothing else fits), logits.
    """
    method = METHODS.get(config.method.name)
    trainable = method.trainable_parameters(shapes, config.method)
    weights, conversions = _weights(shapes, config, precision), _conversions(shapes, config, precision)
    gradients, states = trainable * 4, state_bytes(config.training.optimizer, trainable)
    residual, compute = BYTES[precision.parameters], BYTES[precision.autocast or "fp32"]
    # On a processor attention computes in fp32 in a mixed precision (`kernels.attention`).
    sizes = BytesPerActivation(residual=residual, compute=compute, attention=4 if on_cpu else compute)
    activations = _activations(shapes, config, sizes, work)
    if recompute:
        inputs = work.rows * work.length * shapes.hidden_size * int(BYTES[precision.parameters]) * shapes.layers
        activations = min(activations, inputs + activations // max(1, shapes.layers))
    logits = _logits(shapes, config, precision, work)
    if not work.several:
        # Gradients grow where activations go: they do not meet in an update of a single backward pass.
        activations -= min(gradients, activations)
    training = weights + conversions + gradients + states + activations + logits
    holes = int(_HOLES * activations) if on_cpu else 0
    # While the model is loaded, its file is mapped into memory beside the weights as they will be trained.
    return {
        "runtime": (_RUNTIME + (_RUNTIME_OF_PEFT if method.form == "peft" else 0)) if on_cpu else 0,
        "weights": weights,
        "conversions": conversions,
        "loading": max(0, weights + shapes.stored_bytes - training - holes) if on_cpu else 0,
        "gradients": gradients,
        "optimizer": states,
        "activations": activations,
        "holes": holes,
        "logits": logits,
    }


def _weights(shapes: ModelShapes, config: RunConfig, precision: Precision) -> int:
    """Frozen linear weights lie in their storage format; everything else, and what a method adds, as it is trained."""
    own = BYTES[precision.parameters]
    method = METHODS.get(config.method.name)
    linear = sum(layer.inputs * layer.outputs for layer in shapes.linear_layers)
    rest = shapes.parameters - linear
    if method.form == "model":
        return int((linear + rest) * own)
    added = method.trainable_parameters(shapes, config.method)
    return int(linear * BYTES[choose_storage(config.precision, precision)] + (rest + added) * own)


def _conversions(shapes: ModelShapes, config: RunConfig, precision: Precision) -> int:
    """What is kept in fp32 and computes in 16 bits: trained weights, which autocast converts for every micro-batch,
    and the output layer, which is tied to the embedding.
    """
    compute = BYTES[precision.autocast or "fp32"]
    if compute >= BYTES[precision.parameters]:
        return 0
    method = METHODS.get(config.method.name)
    linear = sum(layer.inputs * layer.outputs for layer in shapes.linear_layers)
    trained = linear if method.form == "model" else method.trainable_parameters(shapes, config.method)
    return int((shapes.embedding[0] * shapes.hidden_size + trained) * compute)


def _activations(shapes: ModelShapes, config: RunConfig, sizes: BytesPerActivation, work: Work) -> int:
    method = METHODS.get(config.method.name)
    added = method.activation_bytes(shapes, config.method, sizes)
    virtual = method.virtual_tokens(config.method)
    # A prefix is in the cache, and a mask says who sees it. Padding on the right needs none.
    masked = method.positions(config.method) > virtual
    saved = model_bytes(shapes, sizes, work.length + virtual, masked=masked) + added.per_token
    return int(work.rows * (work.length + virtual) * saved + added.once)


def _logits(shapes: ModelShapes, config: RunConfig, precision: Precision, work: Work) -> int:
    """Logits and their gradient, with every token learnt; or the gradient, and that of the output layer's weights."""
    compute = BYTES[precision.autocast or "fp32"]
    entries = work.rows * work.length * shapes.embedding[0]
    beside = entries * compute + min(entries, _LOGITS_PIECE) * 4 * _PIECES
    if METHODS.get(config.method.name).form == "model" and work.several:
        beside = max(beside, shapes.embedding[0] * shapes.hidden_size * (4 + (compute if compute < 4 else 0)))
    return int(entries * compute + beside)
