"""What autograd keeps of each token from the forward to the backward pass, from the shapes of the weights alone.

The closed forms follow the graph that torch builds (in the manner of Korthikanti et al. 2022, arXiv 2205.05198, who
count for one layout); the tests hold them against what autograd really saves, on tiny models of many layouts:

    a norm keeps its input; with trained gains, RMSNorm keeps the normalised input too
    attention keeps q, k, v and its output, and no scores (sdpa)
    a gated MLP keeps gate, f(gate) and up; a plain one keeps what f needs
    an expert keeps the same, and its output, which the router weighs
    a linear layer whose own weights learn, or beside which something learns, keeps its input

Symbols: d hidden size, a width of attention (heads · head size), k that of keys, m inner width of the MLP.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from studio.engine.models.shapes import LinearShape, ModelShapes, is_attention, layer_number

# Functions that transformers writes out in single operations; the others keep their input or output alone.
_KEPT_BY_FUNCTION = {"gelu_new": 4, "gelu_fast": 6, "quick_gelu": 2}


@dataclass(frozen=True)
class BytesPerActivation:
    """Bytes of one number: in the residual stream, in the matrix products, and inside attention."""

    residual: float
    compute: float
    attention: float


@dataclass(frozen=True)
class ActivationBytes:
    """What a method adds, in bytes.

    Attributes:
        per_token: what autograd keeps for each token.
        of_weights: what autograd keeps however many tokens there are: copies of weights.
        in_work: what one layer at a time needs in work.
    """

    per_token: float = 0.0
    of_weights: float = 0.0
    in_work: float = 0.0


def model_bytes(shapes: ModelShapes, sizes: BytesPerActivation, length: int, *, masked: bool = False) -> float:
    """Return the bytes kept for each token of a frozen model that gradients pass through, all layers together.

    Args:
        length: tokens of a row; it matters where attention is masked, or drops out and therefore keeps scores.
        masked: rows are padded to one length, or stand behind a prefix.
    """
    attention = _attention(shapes, sizes)
    if masked and not _is_capped(shapes):
        # Each layer turns the mask into numbers, and repeats keys and values for the heads that share them.
        attention += length + 2 * (shapes.attention_width - shapes.key_width)
    return (
        _norm_inputs(shapes, sizes)
        + sizes.attention * shapes.layers * attention
        + sizes.compute * (_mlp(shapes) + _dropped(shapes) + _experts(shapes))
        + shapes.layers * _scores(shapes, sizes, length)
    )


def mask_bytes(shapes: ModelShapes, rows: int, length: int) -> int:
    """Return the bytes of the masks that all layers share: two, with and without a window, where scores are capped."""
    return 2 * 4 * rows * length * length if _is_capped(shapes) else 0


def trained_norm_bytes(shapes: ModelShapes, sizes: BytesPerActivation) -> float:
    """Return the further bytes a token where the gains of the norms are trained."""
    return sizes.residual * sum(width for width, is_rms in _norms(shapes) if is_rms)


def trained_expert_bytes(shapes: ModelShapes, sizes: BytesPerActivation) -> float:
    """Return the further bytes a token where the experts are trained, and so multiply in the format of the stream."""
    inputs = shapes.experts_per_token * sum(sum(sides) - outputs for sides, outputs in _expert_sides(shapes))
    return sizes.residual * inputs + (sizes.residual - sizes.compute) * _experts(shapes)


def input_bytes(
    shapes: ModelShapes,
    layers: Collection[LinearShape],
    sizes: BytesPerActivation,
    *,
    shared: bool,
    dropped: bool = False,
) -> float:
    """Return the bytes a token that these linear layers keep of their inputs.

    With `shared`, layers that read the same input keep one copy of it in 16 bits, as `kernels.lora` does; autocast by
    itself makes each its own. In fp32 there is nothing to convert, so they share it either way. What is `dropped` from
    is a copy, whatever is kept of the input itself.
    """
    converts = sizes.compute < sizes.residual
    kept: Iterable[LinearShape] = layers if converts and not shared else _one_per_input(layers)
    # What leaves attention is kept by attention already, unless it has to be converted.
    free = sizes.attention == sizes.compute
    return sizes.compute * sum(t.inputs for t in kept if dropped or not _kept_before(shapes, t, free))


def _norms(shapes: ModelShapes) -> list[tuple[int, bool]]:
    """The width that each norm is applied to, and whether it is an RMSNorm: those have no bias.

    Norms of single heads (Qwen3, Gemma3) have the width of one head but see all of them.
    """
    queries = (_ending(shapes, "q_norm", "q_layernorm"), shapes.attention_width)
    keys = (_ending(shapes, "k_norm", "k_layernorm"), shapes.key_width)
    found = []
    for name, shape in shapes.tensors.items():
        if len(shape) == 1 and name.endswith(".weight"):
            width = next((width for names, width in (queries, keys) if name in names), shape[0])
            found.append((width, name.removesuffix("weight") + "bias" not in shapes.tensors))
    return found


def _ending(shapes: ModelShapes, *modules: str) -> set[str]:
    ends = tuple(f".{module}.weight" for module in modules)
    return {name for name in shapes.tensors if name.endswith(ends)}


def _norm_inputs(shapes: ModelShapes, sizes: BytesPerActivation) -> float:
    """RMSNorm computes on an fp32 copy; norms that read the same stream side by side keep one input."""
    total = sum(width * (4 if is_rms else sizes.residual) for width, is_rms in _norms(shapes))
    parallel = shapes.config.get("use_parallel_residual") is True
    return total - sizes.residual * shapes.hidden_size * shapes.layers if parallel else total


def _attention(shapes: ModelShapes, sizes: BytesPerActivation) -> int:
    """Numbers that attention of one layer keeps: q, k, v and its output.

    Where one layer makes q, k and v, a view of v holds on to all three, unless it has to be converted; rotary
    positions make new q and k in any case.
    """
    a, k = shapes.attention_width, shapes.key_width
    fused = any(t.outputs == a + 2 * k and is_attention(t.name) for t in shapes.linear_layers)
    if not fused or sizes.attention != sizes.compute:
        return 2 * a + 2 * k
    return a + (a + 2 * k) + (0 if shapes.learnt_positions else a + k)


def _mlp(shapes: ModelShapes) -> int:
    """Numbers that the MLPs of all layers keep, but for the input of their last layer."""
    layers = [t for t in shapes.linear_layers if not is_attention(t.name) and layer_number(t.name) is not None]
    d = shapes.hidden_size
    entering = sum(t.outputs for t in layers if t.inputs == d)
    inner = sum(t.inputs for t in layers if t.inputs != d)
    if entering > inner:  # gate and up
        return entering + inner
    return entering * _KEPT_BY_FUNCTION.get(_function(shapes), 1)


def _experts(shapes: ModelShapes) -> float:
    """Numbers that the experts of a token keep: gate, f(gate) and up, and the output of the last layer."""
    d = shapes.hidden_size
    kept = sum(outputs if outputs == d else 1.5 * outputs for _, outputs in _expert_sides(shapes))
    return shapes.experts_per_token * kept


def _expert_sides(shapes: ModelShapes) -> list[tuple[tuple[int, int], int]]:
    """Of the stacked weights of experts both sides of one, and its number of outputs: some families store (in, out)."""
    found = []
    for weight in shapes.experts:
        sides = weight.rows, weight.columns
        returns = weight.name.endswith("down_proj")
        inner = sides[0] if sides[1] == shapes.hidden_size else sides[1]
        found.append((sides, shapes.hidden_size if returns else inner))
    return found


def _dropped(shapes: ModelShapes) -> int:
    """Numbers of the masks with which the model itself drops what attention and MLP put out."""
    rates = (shapes.config.get(name) for name in ("resid_pdrop", "dropout", "hidden_dropout"))
    return 2 * shapes.hidden_size * shapes.layers if any(isinstance(rate, float) and rate > 0 for rate in rates) else 0


def _scores(shapes: ModelShapes, sizes: BytesPerActivation, length: int) -> float:
    """Bytes of the scores of one layer, where attention needs what torch's kernels without scores do not have.

    Where it drops out: scores, mask and their product. Where it caps the scores (Gemma2): tanh and softmax, eight bytes
    in every precision, because softmax computes in fp32.
    """
    scores = length * shapes.heads
    rates = (shapes.config.get(name) for name in ("attn_pdrop", "attention_dropout"))
    dropped = any(isinstance(rate, float) and rate > 0 for rate in rates)
    return scores * (8 * _is_capped(shapes) + 3 * sizes.attention * dropped)


def _is_capped(shapes: ModelShapes) -> bool:
    return shapes.config.get("attn_logit_softcapping") is not None


def _one_per_input(layers: Iterable[LinearShape]) -> list[LinearShape]:
    """Layers of one block that stand side by side, q, k and v or gate and up, read the same input."""
    return list({(layer_number(t.name), is_attention(t.name), t.inputs, _returns(t)): t for t in layers}.values())


def _returns(layer: LinearShape) -> bool:
    """Whether a layer leads back to the stream, for those as wide as high."""
    return re.search(r"(^|\.)(o_proj|out_proj|c_proj|dense|wo)$", layer.name) is not None


def _kept_before(shapes: ModelShapes, layer: LinearShape, attention_is_free: bool) -> bool:
    """Whether an input is kept as the output of what made it: by attention, or by ReLU, which needs nothing else."""
    made_by_relu = _function(shapes) == "relu" and not is_attention(layer.name) and layer.inputs != shapes.hidden_size
    return made_by_relu or (attention_is_free and _leaves_attention(shapes, layer))


def _function(shapes: ModelShapes) -> str:
    return str(shapes.config.get("activation_function") or shapes.config.get("hidden_act"))


def _leaves_attention(shapes: ModelShapes, layer: LinearShape) -> bool:
    if not is_attention(layer.name) or layer.inputs != shapes.attention_width:
        return False
    return layer.inputs != shapes.hidden_size or _returns(layer)
