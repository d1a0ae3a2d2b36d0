"""The number formats of a GGUF file, and which tensor is stored in which.

Importing this loads neither torch nor gguf. What a format does to tensors follows llama.cpp (its converter, and
`llama_model_quantize`): one-dimensional tensors, norms and the weights that choose among experts stay in F32; a row
that does not divide into blocks takes the next finer format that it divides into.
"""

from __future__ import annotations

from dataclasses import dataclass

from studio.i18n import gettext_noop

# Weights in a block, and bytes that the block takes (ggml's block structures).
_BLOCK = {
    "F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "Q8_0": (32, 34), "Q5_1": (32, 24), "Q5_0": (32, 22),
    "Q4_1": (32, 20), "Q4_0": (32, 18), "Q6_K": (256, 210), "Q5_K": (256, 176), "Q4_K": (256, 144),
}  # fmt: skip
# What stands in for a format where a row of a weight is no multiple of its block.
_FINER = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
_ALWAYS_F32 = ("ffn_gate_inp", "ffn_gate_inp_shexp", "position_embd")
_ENDS = ("token_embd", "output")


@dataclass(frozen=True, kw_only=True)
class Format:
    """What a file may be saved as.

    Attributes:
        name: what `export --dtype` says.
        weights: the type of most tensors.
        ends: the type of the embedding and of the output layer, to which errors matter most.
        sensitive: the type of those value and down projections that llama.cpp keeps finer.
        file_type: `general.file_type` (llama.h, `llama_ftype`).
        about: what it costs, for the window.
    """

    name: str
    weights: str
    ends: str
    sensitive: str = ""
    file_type: int
    about: str

    @property
    def k_quant(self) -> bool:
        """Whether llama.cpp's own code is needed to write it."""
        return self.weights.endswith("_K")

    @property
    def quantised(self) -> bool:
        """Whether it has blocks of integers with a common scale."""
        return self.weights.startswith("Q")

    def type_of(self, name: str, shape: tuple[int, ...], layers: int) -> str:
        """Return the type of a tensor, by its name in the file.

        Args:
            shape: in the order of torch, rows before columns.
            layers: how many blocks the model has.
        """
        parts = name.split(".")
        kind = parts[-2] if parts[0] == "blk" else parts[0]
        if len(shape) < 2 or kind.endswith("_norm") or kind in _ALWAYS_F32 or not name.endswith(".weight"):
            return "F32"
        wanted = self.weights
        if kind in _ENDS:
            wanted = self.ends
        elif self.sensitive and kind in ("attn_v", "ffn_down", "ffn_down_exps") and _kept_finer(int(parts[1]), layers):
            wanted = self.sensitive
        if shape[-1] % _BLOCK[wanted][0]:
            wanted = _FINER.get(wanted, "F16")
        return wanted if shape[-1] % _BLOCK[wanted][0] == 0 else "F16"


def tensor_bytes(shape: tuple[int, ...], type_: str) -> int:
    """Return how many bytes a tensor takes."""
    weights, size = _BLOCK[type_]
    count = 1
    for length in shape:
        count *= length
    return count // weights * size


def _kept_finer(layer: int, layers: int) -> bool:
    """The first and last eighth of the layers, and every third between (llama.cpp, `use_more_bits`)."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


FORMATS = {
    entry.name: entry
    for entry in (
        Format(
            name="f16", weights="F16", ends="F16", file_type=1,
            about=gettext_noop("Two bytes a weight, practically without loss. Others are measured against it."),
        ),
        Format(
            name="bf16", weights="BF16", ends="BF16", file_type=32,
            about=gettext_noop("Two bytes a weight, the range of fp32 but two significant digits."),
        ),
        Format(
            name="f32", weights="F32", ends="F32", file_type=0,
            about=gettext_noop("Four bytes a weight, exact. For comparing and for converting further."),
        ),
        Format(
            name="q8_0", weights="Q8_0", ends="Q8_0", file_type=7,
            about=gettext_noop("About one byte a weight; the loss is hard to find. Take it where the memory suffices."),
        ),
        Format(
            name="q6_k", weights="Q6_K", ends="Q6_K", file_type=18,
            about=gettext_noop("About 6.6 bits a weight; nearly as good as q8_0."),
        ),
        Format(
            name="q5_k_m", weights="Q5_K", ends="Q6_K", sensitive="Q6_K", file_type=17,
            about=gettext_noop("About 5.7 bits a weight; a small loss."),
        ),
        Format(
            name="q5_1", weights="Q5_1", ends="Q8_0", file_type=9,
            about=gettext_noop("6 bits a weight; a small loss. The older form, which every program reads."),
        ),
        Format(
            name="q5_0", weights="Q5_0", ends="Q8_0", file_type=8,
            about=gettext_noop("5.5 bits a weight; a small loss. The older form, which every program reads."),
        ),
        Format(
            name="q4_k_m", weights="Q4_K", ends="Q6_K", sensitive="Q6_K", file_type=15,
            about=gettext_noop("About 4.8 bits a weight; the usual choice for large models and little memory."),
        ),
        Format(
            name="q4_1", weights="Q4_1", ends="Q8_0", file_type=3,
            about=gettext_noop("5 bits a weight; a loss that small models show."),
        ),
        Format(
            name="q4_0", weights="Q4_0", ends="Q8_0", file_type=2,
            about=gettext_noop("4.5 bits a weight, the smallest here; a loss that small models show plainly."),
        ),
    )
}  # fmt: skip
