"""What the precision probe found, a row per precision, and which one it advises. Without torch.

A precision must be finite and follow fp32. Of those that do, the advice is what `auto` takes on this hardware
(`engine.precision.choose`). Only a speed that is clearly different, beyond what noise does to a few updates, speaks
for another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from studio.engine.precision import PRECISIONS
from studio.engine.precision.choose import reason_text
from studio.i18n import sentences, tr
from studio.text.numbers import share_text, size_text

Status: TypeAlias = Literal["measured", "not_finite", "unavailable", "failed"]

REFERENCE = "fp32"
# fp16 with loss scaling is held to 2 % of fp32's loss in whole runs too.
LOSS_FOLLOWS = 0.02
# An angle of 8 degrees: mini-batches scatter gradients far more than that.
GRADIENT_FOLLOWS = 0.99
# Of the entries that are not zero in fp32; the alarm of a run stands at a fifth.
GRADIENTS_LOST = 0.05
# Of the weights that an update was meant to move; the alarm of a run stands at half.
UPDATES_LOST = 0.1
# On a machine that does other work too, the speed of a few updates scatters by a third.
CLEARLY_FASTER = 1.5


@dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """What a few updates in one precision were like. None is what was not measured.

    Attributes:
        status: measured; or why not: the numbers were not finite, the device or the settings do not allow the
            precision, or its process failed.
        sentence: why it was not measured or where it was not finite; for a measured one, how it compares.
        remark: what there is to say against it on this device and for this model, whatever was measured: a code of
            `studio.engine.precision.choose.REASONS`.
        losses: mean per supervised token of every applied update; `attempts` counts the skipped steps too.
        loss_differences: relative to fp32's loss, per update.
        gradient_cosine: between the gradients of the first update and fp32's, over the trained parameters.
        gradients_lost: share (0 to 1) of the entries not zero in fp32 that are zero here, in the first update.
        gradients_subnormal: share of the same entries that are subnormal in fp16 at the loss scale; fp16 alone.
        updates_lost: share of the weights that the last update was meant to move and that rounding left as they
            were; precisions without a master copy alone.
        grad_scale: the loss scale of the last attempt.
        tokens_per_second: of applied updates, the first left out where there are more.
        peak_memory: bytes, of the process on a processor, of the tensors on a GPU.
        module, direction, largest_before: where the first non-finite value appeared, as `FirstNonFinite` says it.
        native: the device itself computes products in this format.
    """

    precision: str
    status: Status
    sentence: str = ""
    remark: str = ""
    device: str = ""
    losses: tuple[float, ...] = ()
    attempts: int = 0
    loss_differences: tuple[float, ...] | None = None
    gradient_cosine: float | None = None
    gradients_lost: float | None = None
    gradients_subnormal: float | None = None
    updates_lost: float | None = None
    grad_scale: float | None = None
    tokens_per_second: float | None = None
    peak_memory: int | None = None
    module: str = ""
    direction: str = ""
    largest_before: float | None = None
    native: bool = False

    @property
    def finite(self) -> bool | None:
        """Whether all was finite; None where nothing was computed."""
        return {"measured": True, "not_finite": False}.get(self.status)

    @property
    def loss_difference(self) -> float | None:
        """The largest relative difference to fp32's loss."""
        return max(self.loss_differences) if self.loss_differences else None

    @property
    def title(self) -> str:
        return tr(PRECISIONS.get(self.precision).title)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ProbeRow:
        """Read what `dataclasses.asdict` and JSON made of a row."""
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**fields)


def objection(row: ProbeRow) -> str:
    """Return what speaks against training in the precision of a measured row, one sentence, or nothing."""
    if row.loss_difference is not None and not row.loss_difference <= LOSS_FOLLOWS:
        return tr("The loss differs from that of fp32 by {share}.").format(share=share_text(row.loss_difference, 1.0))
    if row.gradients_lost is not None and row.gradients_lost > GRADIENTS_LOST:
        return tr("Of the gradients {share} are lost to zero.").format(share=share_text(row.gradients_lost, 1.0))
    if row.gradient_cosine is not None and not row.gradient_cosine >= GRADIENT_FOLLOWS:
        return tr("The gradients point elsewhere than those of fp32 (cosine {cosine}).").format(
            cosine=f"{row.gradient_cosine:.3f}"
        )
    if row.updates_lost is not None and row.updates_lost > UPDATES_LOST:
        return tr("Rounding loses the update of {share} of the weights.").format(
            share=share_text(row.updates_lost, 1.0)
        )
    if PRECISIONS.get(row.precision).for_study:
        return tr("For study: such few updates do not show what it loses in the long run.")
    return reason_text([row.remark], row.precision) if row.remark else ""


def judgement(row: ProbeRow) -> str:
    """Return a measured row in one sentence."""
    if row.precision == REFERENCE:
        return tr("What the others are measured against.")
    if row.loss_difference is None:
        return objection(row) or tr("Finite; without fp32 there is nothing to compare it with.")
    return objection(row) or tr("Follows fp32.")


def recommend(rows: Sequence[ProbeRow]) -> tuple[str | None, str]:
    """Return the name of the precision to take, None when none works, and the reason in a few sentences."""
    measured = [row for row in rows if row.status == "measured"]
    if not measured:
        return None, tr("No precision works here: {why}").format(why=rows[0].sentence if rows else "")
    sound = [row for row in measured if not objection(row)]
    if not sound:
        best = min(measured, key=_distance)
        words = tr("{title} is the nearest to fp32 that works here, but: {objection}")
        return best.precision, words.format(title=best.title, objection=objection(best))
    best = _best(sound)
    return best.precision, sentences(_reasons(best, sound, _named(REFERENCE, measured)))


def _distance(row: ProbeRow) -> float:
    cosine = 1.0 if row.gradient_cosine is None else row.gradient_cosine
    return (row.loss_difference or 0.0) + (1.0 - cosine) + (row.gradients_lost or 0.0) + (row.updates_lost or 0.0)


def _best(sound: Sequence[ProbeRow]) -> ProbeRow:
    fp32, bf16, fp16 = (_named(name, sound) for name in (REFERENCE, "bf16-mixed", "fp16-mixed"))
    # It saves memory too, so it need not be faster.
    if bf16 is not None and bf16.native and not _clearly_faster(fp32, bf16):
        return bf16
    # fp32 is the most stable, so that only speed speaks against it; and bf16 has its range, which fp16 has not.
    for row in (bf16, fp16):
        if row is not None and (fp32 is None or _clearly_faster(row, fp32)):
            return row
    return fp32 or sound[0]


def _named(name: str, rows: Sequence[ProbeRow]) -> ProbeRow | None:
    return next((row for row in rows if row.precision == name), None)


def _clearly_faster(row: ProbeRow | None, than: ProbeRow) -> bool:
    if row is None or row.tokens_per_second is None or not than.tokens_per_second:
        return False
    return row.tokens_per_second >= CLEARLY_FASTER * than.tokens_per_second


def _reasons(best: ProbeRow, sound: Sequence[ProbeRow], reference: ProbeRow | None) -> list[str]:
    if best.precision == REFERENCE:
        if len(sound) == 1:
            return [tr("Of what works here nothing else follows fp32 closely enough.")]
        return [tr("The other precisions that follow it are not clearly faster here, and fp32 is the most stable.")]
    if best.loss_difference is None or best.gradient_cosine is None:
        words = tr("{title} stays finite; fp32 could not be measured to compare with.")
        reasons = [words.format(title=best.title)]
    else:
        words = tr("{title} follows fp32: the loss differs by at most {share}, the gradients agree (cosine {cosine}).")
        share = share_text(best.loss_difference, 1.0)
        reasons = [words.format(title=best.title, share=share, cosine=f"{best.gradient_cosine:.4f}")]
    if best.precision == "bf16-mixed" and best.native:
        reasons.append(tr("This device computes bf16 itself, and with the range of fp32 no loss scaling is needed."))
    if reference is not None and best.tokens_per_second and reference.tokens_per_second:
        words = tr("Measured here: {times} times the speed of fp32, {memory} in place of {reference}.")
        gain = words.format(
            times=f"{best.tokens_per_second / reference.tokens_per_second:.2g}",
            memory=size_text(best.peak_memory or 0),
            reference=size_text(reference.peak_memory or 0),
        )
        reasons.append(gain)
    return reasons
