"""What `auto` becomes so that training fits: whether activations are recomputed, and how large micro-batches are; and
what an optimizer keeps. Without torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

# Padded tokens of a micro-batch. On a processor each operation costs the same time again, however small: SmolLM2-135M
# with LoRA takes 1.3 times as long at 256 as at 512, and at 1024 it only takes more memory. Where that is short, 512
# tokens whose activations are computed again are as fast as 256 whose activations are kept, and take less.
LARGEST = {"cpu": 512}
LARGEST_ON_GPU = 8192
# Where activations are computed again, memory is short, and so many tokens are hardly slower than twice as many.
LARGEST_RECOMPUTED = 4096
# Beyond this share of the free memory of a processor activations are computed again: the formula is right within 15 %,
# and beyond what is free the system moves pages to disk or ends the process, while an update takes a third longer. It
# has to spare this share.
_COMFORTABLE, _WORTH_IT = 0.75, 0.03
# A GPU is busy with so many tokens. Below that, copies of block inputs to the host and back cost less.
ENOUGH = 2048
# Parameters whose weights and states are copied while the optimizer's step is applied: 192 MB for AdamW's.
PORTION = 1 << 24
# Logits that are computed together: enough of them to keep matrix products busy, 32 MB in 16 bits.
PIECE = 1 << 24

# Of each trained parameter: two averages in fp32; in 8 bits, with an fp32 factor for every 256 of them; none.
STATE_BYTES = {"adamw": 8.0, "adamw-8bit": 2.0 + 2 * 4 / 256, "adafactor": 0.0}


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How training is made to fit.

    Attributes:
        recompute: whether activations are computed again in the backward pass.
        on_host: whether what recomputation keeps, the inputs of the blocks, waits in the memory of the processor.
        words_on_host: whether the input embedding stays in the memory of the processor, and is looked up there.
        micro_batch_tokens: the most tokens of a micro-batch, padding included.
        cards: the number of the GPU of each layer, where one process spreads them over several; else empty.
    """

    recompute: bool
    micro_batch_tokens: int
    on_host: bool = False
    words_on_host: bool = False
    cards: tuple[int, ...] = ()


def choose_fit(
    recompute: Literal["auto", "on", "off"],
    device: str,
    length: int,
    available: float,
    needed: Callable[[Fit], float],
    *,
    words: bool = False,
) -> Fit:
    """Return the quickest way to train that fits, or the one that needs least memory where none does.

    Args:
        recompute: what the configuration says. `auto`: off where the largest micro-batch fits so; on a processor, where
            it fits well.
        device: its type: cpu, cuda or mps.
        length: tokens of the longest row.
        available: bytes that training may take.
        needed: returns the bytes that a way takes.
        words: whether the input embedding may stay in the memory of the processor. That hardly takes time, so it comes
            before anything else that saves memory.
    """
    largest = LARGEST.get(device, LARGEST_ON_GPU)
    ways = []
    if recompute != "on":
        ways += [Fit(recompute=False, micro_batch_tokens=tokens) for tokens in _halves(largest, length)]
        if recompute == "auto":
            del ways[1:]
    if recompute != "off":
        again = _halves(min(largest, max(LARGEST_RECOMPUTED, length)), length)
        on_host = device == "cuda"
        enough = max(ENOUGH, length) if on_host else length
        ways += [Fit(recompute=True, micro_batch_tokens=tokens) for tokens in again if tokens >= enough or not on_host]
        ways += [Fit(recompute=True, micro_batch_tokens=tokens, on_host=True) for tokens in again if on_host]
    if recompute == "auto" and device == "cpu" and _is_tight(needed(ways[0]), needed(ways[1]), available):
        del ways[0]
    if words:
        ways = [either for way in ways for either in (way, replace(way, words_on_host=True))]
    return next((way for way in ways if needed(way) <= available), ways[-1])


def _is_tight(plain: float, recomputed: float, available: float) -> bool:
    """Return whether so many bytes come near the memory that other programs share, and recomputing spares some."""
    return plain > _COMFORTABLE * available and plain - recomputed > _WORTH_IT * available


def _halves(largest: int, length: int) -> list[int]:
    """Return a budget of tokens, its half, and so on while a row of `length` tokens fits in."""
    budgets = [largest]
    while budgets[-1] >= 2 * length:
        budgets.append(budgets[-1] // 2)
    return budgets


def in_fp32(device: str) -> int:
    """Return how many logits of a piece are in fp32 at a time: a processor stays in its cache, a GPU is kept busy."""
    return 1 << 21 if device == "cpu" else PIECE


def state_bytes(name: str, parameters: int) -> int:
    """Return what an optimizer keeps of so many trained parameters, in bytes.

    Adafactor keeps a number for each row and column. That is next to nothing of a weight matrix, and up to a fourth of
    a byte for each number of a LoRA matrix of rank 16.
    """
    return int(STATE_BYTES[name] * parameters)
