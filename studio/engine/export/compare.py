"""Comparing what two models say: logits over the same tokens, difference by difference."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.engine.control import Progress

# Logits kept of a row. Beyond it, positions are thinned evenly; comparing needs two or three such sets at a time.
KEPT_BYTES = 16 * 2**20
# Logits compared at a time, in double precision: they stay in the processor's cache.
_CHUNK = 2**17


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How far one model's outputs are from the reference's.

    Attributes:
        max_logit_difference: largest |Δlogit|.
        kl_divergence: mean KL(reference ‖ other) in nats per token.
        top1_agreement: share of positions where both find the same token the likeliest.
    """

    max_logit_difference: float
    kl_divergence: float
    top1_agreement: float


EQUAL = Comparison(max_logit_difference=0.0, kl_divergence=0.0, top1_agreement=1.0)


@dataclass(frozen=True)
class Outputs:
    """Logits of one model, fp32.

    Attributes:
        rows: for each row of tokens, (positions, vocabulary).
        stray: the largest probability that all tokens left out of the comparison had together, at any position.
        at_ends: at the positions that were asked for, (asked, vocabulary), with the tokens left out of `rows`.
    """

    rows: tuple[Tensor, ...]
    stray: float = 0.0
    at_ends: Tensor | None = None

    def over(self, few: Outputs) -> Outputs:
        """Return the logits at the positions, the first ones, that outputs over the beginnings of the rows have."""
        return Outputs(tuple(row[: len(beginning)] for row, beginning in zip(self.rows, few.rows, strict=False)))

    def chunks(self) -> Iterator[Tensor]:
        """Yield the logits a few positions at a time, in double precision."""
        for row in self.rows:
            for chunk in torch.split(row, max(1, _CHUNK // row.shape[-1])):
                yield chunk.double()


@dataclass(frozen=True, kw_only=True)
class Extra:
    """What an export has more than its base: tokens in front of every row, and tokens whose logits are left out."""

    opening: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()


NOTHING_EXTRA = Extra()


def kept_positions(row: Sequence[int], vocabulary: int, run: int | None = None) -> range:
    """Return the positions of a row whose fp32 logits are kept, among the first `run` of them or all."""
    return range(0, len(row) if run is None else run, math.ceil(len(row) * vocabulary * 4 / KEPT_BYTES))


def beginnings(rows: Sequence[Sequence[int]], tokens: int | None) -> list[int]:
    """Return how long each row is within so many tokens of them all. Rows beyond are left out; None takes all."""
    starts = itertools.accumulate(map(len, rows), initial=0)
    ends = (
        len(row) if tokens is None else min(len(row), tokens - start) for row, start in zip(rows, starts, strict=False)
    )
    return [end for end in ends if end > 0]


def record(
    model: nn.Module,
    rows: Sequence[Sequence[int]],
    progress: Progress,
    stage: str,
    extra: Extra = NOTHING_EXTRA,
    asked: Sequence[tuple[int, int]] = (),
    tokens: int | None = None,
) -> Outputs:
    """Run the model over rows of token ids, one at a time and so without padding.

    Args:
        asked: pairs of a row and a position in it, for `Outputs.at_ends`.
        tokens: how many of the first tokens are run; by default all.

    Raises:
        Cancelled: through `progress`.
    """
    kept: list[Tensor] = []
    strays: list[Tensor] = []
    at_ends: list[Tensor] = []
    runs = beginnings(rows, tokens)
    for number, (row, run) in enumerate(zip(rows, runs, strict=False)):
        progress(stage, number, len(runs))
        logits = _logits(model, row[:run], extra.opening)
        at_ends += [logits[place].clone() for asked_row, place in asked if asked_row == number]
        if extra.left_out:
            left_out = list(extra.left_out)
            # The largest probability that they have together, at any position.
            strays.append((logits[:, left_out].logsumexp(-1) - logits.logsumexp(-1)).max().double().exp())
            kept_columns = torch.ones(logits.shape[-1], dtype=torch.bool)
            kept_columns[left_out] = False
            logits = logits[:, kept_columns]
        kept.append(logits[list(kept_positions(row, logits.shape[-1], run))])
    # torch's max() returns a NaN where there is one; Python's may pass over it.
    stray = float(torch.stack(strays).max()) if strays else 0.0
    return Outputs(tuple(kept), stray, torch.stack(at_ends) if at_ends else None)


@torch.no_grad()
def _logits(model: nn.Module, row: Sequence[int], opening: Sequence[int]) -> Tensor:
    """Return the fp32 logits at each token of the row, (tokens of the row, vocabulary)."""
    ids = torch.tensor([[*opening, *row]])
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    # Methods with virtual tokens answer for those too, in front.
    return logits[0, -len(row) :].float()


def compare(reference: Outputs, other: Outputs) -> Comparison:
    """Return how far `other` is from `reference`; a NaN anywhere shows in the differences."""
    largest, divergence, agreed, positions = [], 0.0, 0, 0
    for a, b in zip(reference.chunks(), other.chunks(), strict=True):
        largest.append((a - b).abs().max())
        p, q = F.log_softmax(a, dim=-1), F.log_softmax(b, dim=-1)
        divergence += float((p.exp() * (p - q)).sum())  # KL(p ‖ q) = Σ p·(log p − log q), summed over positions
        agreed += int((a.argmax(-1) == b.argmax(-1)).sum())
        positions += len(a)
    return Comparison(
        max_logit_difference=float(torch.stack(largest).max()),
        kl_divergence=divergence / positions,
        top1_agreement=agreed / positions,
    )


def largest_logit(outputs: Outputs) -> float:
    """Return the largest |logit|; NaN where there is one."""
    return float(torch.stack([row.abs().max() for row in outputs.rows]).max())


def share_carried(base: Outputs, trained: Outputs, other: Outputs) -> float:
    """Return how much of the way from `base` to `trained` the outputs of `other` have gone.

    The projection ⟨other − base, trained − base⟩ / ‖trained − base‖² over logits without their mean, which no
    probability depends on: 1 where the whole effect of training is there, 0 where there is none of it, 2 where it is
    applied twice. Rounding noise points anywhere and so hardly counts. 0 when training changed nothing.
    """
    effect = carried = 0.0
    for b, t, o in zip(base.chunks(), trained.chunks(), other.chunks(), strict=True):
        wanted = _centred(t - b)
        effect += float((wanted * wanted).sum())
        carried += float((wanted * _centred(o - b)).sum())
    return carried / effect if effect else 0.0


def relative_difference(reference: Outputs, other: Outputs) -> float:
    """Return ‖other − reference‖ / ‖reference‖ over logits without their mean, which no probability depends on."""
    size = apart = 0.0
    for a, b in zip(reference.chunks(), other.chunks(), strict=True):
        size += float(_centred(a).square().sum())
        apart += float(_centred(b - a).square().sum())
    return math.sqrt(apart / size) if size else math.inf


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(dim=-1, keepdim=True)
