"""How many gradients fp16 flushed to zero, told from the ones that it kept.

Zeros alone prove nothing: embedding rows whose token did not occur, and LoRA's A while B is still zero, have
gradients that are exactly zero at any scale (67 % of all entries in figure 3 of Micikevicius et al. 2018, arXiv
1710.03740, in fp32). But gradients do not end at fp16's edge by chance: their exponents are spread over a smooth
hill, so what stands just above the edge tells what must have stood below it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from studio.events import NumericsSampled
from studio.exponents import FP16, Histogram

# Exponents of gradients within one model spread by 2 to 4 powers of two (standard deviation). No hill is taken to be
# wider than this, so that a slope which few numbers give does not invent a mountain below the edge.
WIDEST_HILL = 6.0
# When so many of the kept numbers crowd into the lowest four powers of two, the hill's top lies at or below the edge.
CROWDED = 0.9
# Fewer than this near the edge are the foot of the hill, whose slope is chance.
FOOT = 0.01
# A slope steeper than this (in e per octave) is the outer end of a bell curve, which is round, and soon turns.
STEEP = 1.5
# In the paper's SSD network (Micikevicius et al. 2018, figure 3) the three powers of two below fp16's edge decide
# between divergence and full accuracy; at some 2 % of all values a power of two, of the third of them that is not
# zero, that is a fifth.
UNDERFLOW_SHARE = 0.2
# What a raised scale may leave lost: so little that no longer matters.
TOLERATED = 0.01
# The static scale of the paper (1024), for when nothing is left to measure the need by.
BLIND_RAISE = 10
# From the middle of the lowest bin, [0.5, 1.5) of the smallest number, to the edge.
TO_EDGE = math.log2(3.0) / 2
OCTAVES = 40


@dataclass(frozen=True, kw_only=True)
class Flushed:
    """What fp16 lost of the gradients that are not zero by nature.

    Attributes:
        share: lost of all that are not structurally zero, 0 to 1.
        octaves: by how many powers of two a scale must grow so that next to nothing is lost.
    """

    share: float
    octaves: int


def lost_gradients(sample: NumericsSampled) -> Flushed | None:
    """Estimate what fp16 lost of the trained parameters' gradients in a step; None where it recorded none of them.

    It is lost in two places. The gradient of a parameter may itself be too small; then others of its size stand just
    above the edge. Or what flows to it through the layers was flushed on the way; then it is zero, and those of other
    parameters may be of any size.
    """
    parameters, scale = Histogram.from_dict(sample.parameters), sample.grad_scale or 1.0
    if not parameters.total:
        return None
    here = flushed(parameters, scale)
    before = flushed(Histogram.from_dict(sample.gradients), scale)
    in_modules = flushed_in_modules(sample.gradient_zeros, sample.gradient_subnormal)
    if in_modules > before.share:
        before = Flushed(share=in_modules, octaves=max(before.octaves, BLIND_RAISE))
    # A zero on the way explains zeros among the parameters, but no more of them than there are.
    explained = min(parameters.zeros / parameters.total, before.share) if before.share >= UNDERFLOW_SHARE else 0.0
    return Flushed(share=max(here.share, explained), octaves=max(here.octaves, before.octaves))


def flushed(histogram: Histogram, scale: float) -> Flushed:
    """Estimate what was flushed to zero when gradients were computed in fp16.

    Args:
        histogram: of the gradients divided by the loss scale.
        scale: the loss scale at which they were computed.
    """
    kept = sum(histogram.counts)
    if not histogram.zeros or not kept:
        lost = [float(histogram.zeros)] if histogram.zeros else []
        return Flushed(share=1.0 if lost else 0.0, octaves=BLIND_RAISE if lost else 0)
    below = _below_the_edge(histogram, scale, kept)
    total = min(float(histogram.zeros), sum(below))  # what was lost is among the zeros
    remaining, octaves = total, 0
    while remaining > TOLERATED * (total + kept) and octaves < len(below):
        remaining -= below[octaves]
        octaves += 1
    return Flushed(share=total / (total + kept), octaves=octaves)


def flushed_in_modules(zeros: Sequence[float], subnormal: Sequence[float]) -> float:
    """Return what share of the gradients that flow through the modules was flushed, judged module by module.

    Behind a module whose gradients fall below the edge all is zero, and a hill of others that are well would hide it.
    Where nearly all that was kept is subnormal, the zeros beside it are no zeros by nature; these (padding) are as
    many in every module.

    Args:
        zeros, subnormal: shares of all entries as computed, one a module; nan where no gradient flows.
    """
    seen = [(zero, small) for zero, small in zip(zeros, subnormal, strict=True) if not math.isnan(zero)]
    crowded = [zero for zero, small in seen if small > 0.0 and small >= CROWDED * (1.0 - zero)]
    if not crowded:
        return 0.0
    by_nature = min(zero for zero, _ in seen)
    silent = [zero for zero, _ in seen if zero == 1.0]
    return sum(zero - by_nature for zero in (*crowded, *silent)) / (len(seen) * max(1.0 - by_nature, 1e-9))


def _below_the_edge(histogram: Histogram, scale: float, kept: int) -> list[float]:
    """Estimate how many numbers were in each power of two below the edge of fp16, from the edge down.

    The logarithm of a bell curve is a parabola. Its value, slope and bend at the edge are measured on what was kept
    in the octaves above the edge; below it, the parabola goes on. Where too few numbers are there to measure a slope,
    or where the top of the hill must lie below the edge, no parabola can be had, and a rough answer is given.
    """
    # A smaller scale would have lost the numbers that now stand just above the edge. The edge is that of a whole bin:
    # bins are powers of two, which a scale need not be.
    whole = 2.0 ** math.ceil(math.log2(scale))
    zero = [histogram.shares(whole / 2.0**octaves, FP16).zero * histogram.total for octaves in (0, 2, 3, 4, 8)]
    lost = [flushed_too - histogram.zeros for flushed_too in zero]  # what is not zero so far
    bins = [more - less for less, more in itertools.pairwise(lost[:4])]
    low, high = sum(bins), lost[4] - lost[3]
    # `bins`: of the octaves 0 to 2, 2 to 3 and 3 to 4 above the edge; `low`: of 0 to 4; `high`: of 4 to 8.
    if min(bins[:2]) < 1 and low > CROWDED * kept:
        return [float(histogram.zeros) / BLIND_RAISE] * BLIND_RAISE
    if min(bins[:2]) < 1 or low < FOOT * kept:
        return [bins[0] / 2]
    # Powers of two between which numbers are rounded into the lowest three bins, counted in the smallest number, which
    # is 1 to 2 times the lower end of its bin. At 1 the bins hold 1, then 2 and 3, then 4 to 7 times the smallest
    # number, to which [0.5, 1.5), [1.5, 3.5) and [3.5, 7.5) are rounded.
    smallest = whole / scale
    edges = [math.log2(math.ceil(2.0**octave / smallest) - 0.5) for octave in range(4)]
    densities = [
        max(count, 1.0) / (up - down) for count, (down, up) in zip(bins, itertools.pairwise(edges), strict=True)
    ]
    middles = [(down + up) / 2 for down, up in itertools.pairwise(edges)]
    # Slope (per octave) and bend (per octave squared) of the hill's logarithm, both towards zero.
    slope = math.log(densities[0] / densities[1]) / (middles[1] - middles[0])
    if low > CROWDED * kept and slope > 0:
        return [float(histogram.zeros) / BLIND_RAISE] * BLIND_RAISE
    # The slope from `high` to `low`, whose middles are 4 octaves apart, is the one half way between these, which is 2.5
    # octaves above the place where `slope` is measured.
    bend = (slope - math.log(max(low, 1.0) / max(high, 1.0)) / 4) / 2.5
    if bend > -1.0 / WIDEST_HILL**2:  # two hills: look at the nearer one alone
        farther = math.log(densities[1] / densities[2]) / (middles[2] - middles[1])
        bend = 2 * (slope - farther) / (middles[2] - middles[0])
    bend = min(bend, -slope if slope > STEEP else 0.0, -1.0 / WIDEST_HILL**2)
    distances = [TO_EDGE + octave + 0.5 for octave in range(OCTAVES)]
    masses = [densities[0] * math.exp(slope * x + bend * x * x / 2) for x in distances]
    # Values lie the denser the nearer to zero, so half a step holds at least half of what a whole one holds.
    masses[0] = max(masses[0], bins[0] / 2)
    return masses
