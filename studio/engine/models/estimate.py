"""How much memory training takes, by component, before anything is loaded.

Weights, gradients and optimizer states follow from counts alone (Rajbhandari et al. 2020, ZeRO, section 3: AdamW
keeps two fp32 states a trained parameter; gradients are fp32 too, in every precision). Activations follow
Korthikanti et al. 2022 (arXiv 2205.05198): what the backward pass needs is a fixed number of bytes per token and per
input or output of a linear layer, when attention keeps no scores (sdpa). The numbers are measured on SmolLM2-135M by
counting what autograd saves: 4.4 to 4.8 bytes in fp32 and 3.2 to 3.6 in 16 bits, half as much again with an adapter
and its dropout beside every layer. The sum is an upper bound: not everything is at its largest at one time.
"""

from __future__ import annotations

from dataclasses import dataclass

from studio.config import RunConfig
from studio.engine.methods import METHODS
from studio.engine.models.info import ModelInfo
from studio.engine.models.shapes import ModelShapes
from studio.engine.precision import Precision
from studio.engine.precision.choose import choose_storage

# nf4: half a byte, and for every 64 weights a scale of one byte (QLoRA, section 3).
BYTES: dict[str, float] = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1, "nf4": 0.5 + 1 / 64}
_SAVED_BYTES: dict[float, float] = {4: 4.8, 2: 3.4}
_ADAPTER_FACTOR = 1.45
_ADAMW_STATES = 2
# Logits in the format of the computation, twice; then fp32: themselves, their softmax, and its gradient.
_LOGITS_COPIES, _LOGITS_FP32 = 2, 3


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes by component: weights, gradients, optimizer, activations, logits."""

    components: dict[str, int]

    @property
    def total(self) -> int:
        """Sum of the components."""
        return sum(self.components.values())


def estimate_memory(info: ModelInfo, config: RunConfig) -> MemoryEstimate:
    """Return what training will take on its device, at the longest rows that the configuration allows.

    Raises:
        TrainingError, ConfigError: the device or the precision is not to be had here.
    """
    from studio.engine.device import default_token_budget, resolve_device
    from studio.engine.precision.choose import choose_precision

    device = resolve_device(config.training.device)
    precision, _ = choose_precision(config.precision, device, info.dtype)
    tokens = micro_batch_tokens(config, default_token_budget(device))
    return estimate_components(info.shapes, config, precision, tokens)


def estimate_components(shapes: ModelShapes, config: RunConfig, precision: Precision, tokens: int) -> MemoryEstimate:
    """The formula alone, without torch; `tokens` are those of one micro-batch, padding counted."""
    trainable = METHODS.get(config.method.name).trainable_parameters(shapes, config.method)
    compute = BYTES[precision.autocast or "fp32"]
    is_full = METHODS.get(config.method.name).form == "model"
    widths = sum(layer.inputs + layer.outputs for layer in shapes.linear())
    saved = widths * _SAVED_BYTES[compute] * (1.0 if is_full else _ADAPTER_FACTOR)
    vocabulary = shapes.embedding[0] if shapes.embedding else 0
    return MemoryEstimate(
        components={
            "weights": _weights(shapes, config, precision, 0 if is_full else trainable),
            "gradients": trainable * 4,
            "optimizer": trainable * 4 * _ADAMW_STATES,
            "activations": int(tokens * saved),
            "logits": int(tokens * vocabulary * (compute * _LOGITS_COPIES + 4 * _LOGITS_FP32)),
        }
    )


def micro_batch_tokens(config: RunConfig, budget: int) -> int:
    """Return the most tokens of one micro-batch: the budget, unless one row is longer or all rows are shorter."""
    longest = config.data.max_length
    return min(config.training.batch_size * longest, max(budget, longest))


def _weights(shapes: ModelShapes, config: RunConfig, precision: Precision, added: int) -> int:
    """Frozen linear weights lie in their storage format; everything else, and what a method adds, as it is trained.

    Weights that are trained in a mixed precision have their 16-bit copy, which autocast keeps for the update.
    """
    compute, own = BYTES[precision.autocast or "fp32"], BYTES[precision.parameters]
    linear = sum(layer.inputs * layer.outputs for layer in shapes.linear())
    rest = shapes.parameters - linear
    if METHODS.get(config.method.name).form == "model":
        stored = linear * (own + (compute if compute < own else 0))
    else:
        stored = linear * BYTES[choose_storage(config.precision, precision)]
    return int(stored + (rest + added) * own)
