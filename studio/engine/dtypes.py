"""Number formats: their names here, in torch and in safetensors, and how many bytes a number takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import torch

DType = Literal["fp32", "fp16", "bf16"]
"""The formats that a model is computed and saved in."""
DTYPES: tuple[DType, ...] = get_args(DType)

# nf4: half a byte, and for every 64 weights a scale of one byte (Dettmers et al. 2023, QLoRA, section 3).
BYTES: dict[str, float] = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1, "nf4": 0.5 + 1 / 64}

# What the weights of a model file may be stored in, by the name in its header.
SAFETENSORS_NAMES = {"F32": "fp32", "F16": "fp16", "BF16": "bf16", "F64": "fp64"}


def torch_dtype(name: str) -> torch.dtype:
    """Return torch's dtype for one of `DTYPES`."""
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[name]
