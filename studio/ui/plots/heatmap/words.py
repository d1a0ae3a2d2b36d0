"""The cells of the heat map in words and numbers."""

from __future__ import annotations

import math

from studio.events import NumericsSampled
from studio.i18n import sentences, tr, trn
from studio.runner.numerics import Direction
from studio.text import numbers
from studio.text.numbers import share_text


def cell_text(sample: NumericsSampled, name: str, module: int, direction: Direction) -> str:
    """Return what is known of one module in one sample."""
    largest = getattr(sample, f"{direction}_largest")[module]
    shares = [getattr(sample, f"{direction}_{key}")[module] for key in ("zeros", "subnormal", "non_finite")]
    parts = [tr("step {step}").format(step=f"{sample.step:,}"), name]
    if math.isnan(shares[-1]) or (math.isnan(largest) and not shares[-1] > 0):
        return "   ".join([*parts, tr("nothing flowed here")])
    parts.append(_largest_text(largest, sample.grad_scale, direction))
    words = (tr("zero {share}"), tr("subnormal {share}"), tr("not finite {share}"))
    kept = zip(words, shares, (True, True, shares[-1] > 0), strict=True)
    return "   ".join([*parts, *(word.format(share=share_text(share, 1)) for word, share, shown in kept if shown)])


def hottest(sample: NumericsSampled, direction: Direction) -> int | None:
    """Return the first module that is not finite (backwards for gradients), else the one with the largest value."""
    bad = [m for m, share in enumerate(getattr(sample, f"{direction}_non_finite")) if share > 0]
    if bad:
        return bad[-1] if direction == "gradient" else bad[0]
    values = [(value, m) for m, value in enumerate(getattr(sample, f"{direction}_largest")) if not math.isnan(value)]
    return max(values)[1] if values else None


def summary_text(sample: NumericsSampled, names: list[str], direction: Direction, samples: int) -> str:
    """Return the whole picture in a sentence or two."""
    found = hottest(sample, direction)
    words = trn("{samples} sample of {modules} modules.", "{samples} samples of {modules} modules.", samples)
    counts = words.format(samples=f"{samples:,}", modules=len(names))
    if found is None:
        return counts
    bad = sum(share > 0 for share in getattr(sample, f"{direction}_non_finite"))
    if bad:
        words = trn(
            "Step {step}: not finite in {count} module, {name}.",
            "Step {step}: not finite in {count} modules, first in {name}.",
            bad,
        )
        return sentences((counts, words.format(step=f"{sample.step:,}", count=bad, name=names[found])))
    largest = getattr(sample, f"{direction}_largest")[found]
    words = tr("Step {step}: the {largest}, in {name}.")
    text = _largest_text(largest, sample.grad_scale, direction)
    return sentences((counts, words.format(step=f"{sample.step:,}", largest=text, name=names[found])))


def _largest_text(largest: float, scale: float | None, direction: Direction) -> str:
    if math.isnan(largest):
        return tr("nothing finite")
    if direction == "activation":
        return tr("largest activation {value}").format(value=exponent_text(largest))
    if scale is None:
        return tr("largest gradient {value}").format(value=exponent_text(largest))
    return tr("largest gradient {value}, times the scale {scaled}").format(
        value=numbers.number(largest, 3), scaled=exponent_text(largest * scale)
    )


def exponent_text(value: float) -> str:
    """Return a value with the nearest power of two: 21.3 (≈ 2⁴)."""
    if not math.isfinite(value) or value <= 0:
        return numbers.number(value, 3)
    return f"{numbers.number(value, 3)} (≈ {numbers.power_of_two(round(math.log2(value)))})"
