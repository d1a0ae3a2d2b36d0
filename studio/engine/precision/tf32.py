"""TF32: fp32 products on NVIDIA's tensor cores, with 10 bits of detail in place of 23 (Ampere and later)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in the matrix products of NVIDIA GPUs for a while; other devices do not notice."""
    import torch

    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32 = before
