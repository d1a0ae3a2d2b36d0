"""What `auto` becomes so that training fits: whether activations are recomputed, and how large micro-batches are; and
what an optimizer keeps. Without torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

# Padded tokens of a micro-batch. On a processor larger ones are hardly faster and only cost memory (SmolLM2-135M, LoRA:
# 294 tokens/s in 2.2 GB at 256, 304 in 2.6 GB at 512); a GPU needs more to be kept busy.
LARGEST = {"cpu": 256}
LARGEST_ON_GPU = 8192
# A GPU is busy with so many tokens: smaller micro-batches are slower than computing activations twice.
ENOUGH = 2048


# Of each trained parameter: two averages in fp32; in 8 bits, with an fp32 factor for every 256 of them; none.
STATE_BYTES = {"adamw": 8.0, "adamw-8bit": 2.0 + 2 * 4 / 256, "adafactor": 0.0}


@dataclass(frozen=True, kw_only=True)
class Fit:
    """`recompute`: whether activations are computed again; `micro_batch_tokens`: padded tokens of a micro-batch."""

    recompute: bool
    micro_batch_tokens: int


def choose_fit(
    recompute: Literal["auto", "on", "off"],
    device: str,
    length: int,
    available: float,
    needed: Callable[[bool, int], float],
) -> Fit:
    """Return the quickest way to train that fits, or the one that needs least memory where none does.

    Args:
        recompute: what the configuration says.
        device: its type: cpu, cuda or mps.
        length: tokens of the longest row.
        available: bytes that training may take.
        needed: returns the bytes it takes, with recomputation or without, at so many tokens in a micro-batch.
    """
    largest = LARGEST.get(device, LARGEST_ON_GPU)
    budgets = [largest]
    while budgets[-1] >= 2 * length:
        budgets.append(budgets[-1] // 2)
    enough = min(largest, max(ENOUGH, length))
    for again in {"auto": (False, True), "on": (True,), "off": (False,)}[recompute]:
        for tokens in budgets:
            if needed(again, tokens) <= available and (tokens >= enough or again or recompute == "off"):
                return Fit(recompute=again, micro_batch_tokens=tokens)
    return Fit(recompute=recompute != "off", micro_batch_tokens=budgets[-1])


def state_bytes(name: str, parameters: int) -> int:
    """Return what an optimizer keeps of so many trained parameters, in bytes.

    Adafactor keeps a number for each row and column. That is next to nothing of a weight matrix, and up to a fourth of
    a byte for each number of a LoRA matrix of rank 16.
    """
    return int(STATE_BYTES[name] * parameters)
