"""Watches over what a run unlearns: when it is measured, when it is too much, and what is said about it at the end."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from studio.config import RunConfig
from studio.config.retention import KEPT, MOSTLY_KEPT
from studio.engine.control import Progress
from studio.engine.methods import METHODS
from studio.engine.sharding import spread, trained_parameters, whole
from studio.engine.training.evaluate import Evaluation, RowLoss
from studio.engine.training.retention import RetentionMeter
from studio.engine.training.state import Emit, Position
from studio.engine.training.trainer import Trainer
from studio.events import (
    PromptsAnswered,
    RetentionMeasured,
    RetentionReported,
    RowsRanked,
    from_json,
    spell_non_finite,
    to_json,
)
from studio.runs.files import inside

log = logging.getLogger(__name__)

# Rows that are listed at either end.
RANKED = 10
# A fall of the validation loss that is a gain.
GAIN = 0.01
# The customary share of general rows. Beyond it there is little more to be kept.
ENOUGH_GENERAL_ROWS = 0.3


@dataclass(frozen=True)
class _Look:
    """One measurement of both: the loss of the domain, None without validation, and what was kept."""

    loss: float | None
    kept: RetentionMeasured


class RetentionWatch:
    """Of one run, from its first loop to its last.

    Attributes:
        below_bound: whether retention fell below `retention.stop_below`, so that the run is to end.
    """

    def __init__(
        self,
        config: RunConfig,
        meter: RetentionMeter,
        evaluations: int,
        emit: Emit,
        folder: Path,
        *,
        writes: bool = True,
    ) -> None:
        """`evaluations`: how many the run has after the first step. The best weights are kept in `folder` meanwhile.

        `writes`: whether this process does that, among those that measure together.
        """
        self._writes = writes
        self.below_bound = False
        self._config = config
        self._meter = meter
        # A bound is watched at every evaluation, whatever that costs.
        bounded = config.retention.stop_below > 0
        self._stride = 1 if bounded else max(1, math.ceil(evaluations / meter.plan.measurements))
        self._emit = emit
        self._best_file = folder / "best.safetensors"
        self._first: _Look | None = None
        self._newest: _Look | None = None
        self._best: _Look | None = None
        self._right: list[int] = []
        self._count = -1  # evaluations after the first step
        self._looked_at = -1
        self._ended = False
        self._seconds = 0.0
        self._complete = self._to_json()

    def record_base(self, trainer: Trainer, progress: Progress) -> None:
        """Record what is compared with: the model with its trained part off, or before its first step."""
        self._meter.record_base(trainer, progress)

    def look(
        self, trainer: Trainer, position: Position, domain: Evaluation | None, progress: Progress, *, last: bool
    ) -> None:
        """Measure where it is time to, and tell; called with each measurement of the domain's loss.

        Raises `Cancelled`, and `TrainingError` where memory is short of what a single row takes.
        """
        if position.update == self._looked_at and (self._ended or not last):
            return
        first = self._first is None
        if not self._meter.recorded:
            self.record_base(trainer, progress)
        if position.update != self._looked_at:
            self._count += 1
        self._looked_at, self._ended = position.update, last
        measured = self._newest is not None and self._newest.kept.update == position.update
        if not measured and (first or last or self._count % self._stride == 0):
            self._measure(trainer, position, domain, progress)
        self._ask(trainer, position, progress, known=first or last, base=first)
        if last and domain:
            self._emit(_ranked(domain.each, position))
        self._complete = self._to_json()

    def to_json(self) -> dict[str, Any]:
        """Return for a checkpoint what was measured, up to the last time that all of it was."""
        return self._complete

    def restore(self, kept: Mapping[str, Any], best: Path | None) -> None:
        """Go on from what `to_json` returned, and from the best weights so far, where there are any."""
        self._complete = dict(kept)
        self._first, self._newest, self._best = (_read_look(kept[key]) for key in ("first", "newest", "best"))
        self._right = [int(count) for count in kept["right"]]
        self._count, self._looked_at, self._ended = kept["count"], kept["looked_at"], kept["ended"]
        self._seconds = kept["seconds"]
        bound = self._config.retention.stop_below
        if self._newest:
            self.below_bound = self._newest.kept.update > 0 and self._newest.kept.retention < bound
        if not bound or best is None:
            self._best = None
        elif self._best and self._writes:
            shutil.copyfile(best, self._best_file)

    @property
    def best_file(self) -> Path | None:
        """The best weights so far, where they are kept."""
        return self._best_file if self._best else None

    def _to_json(self) -> dict[str, Any]:
        return {
            "plan": dataclasses.asdict(self._meter.plan),
            "first": _look_to_json(self._first),
            "newest": _look_to_json(self._newest),
            "best": _look_to_json(self._best),
            "right": list(self._right),
            "count": self._count,
            "looked_at": self._looked_at,
            "ended": self._ended,
            "seconds": self._seconds,
        }

    def conclude(self, trainer: Trainer, position: Position) -> None:
        """Give the run the best weights above the bound, where there is one, and say how it went."""
        first, result, update = self._first, self._newest, position.update
        if first is None or result is None or update == 0:
            return
        if self._best is not None:
            result, update = self._best, self._best.kept.update
            if update != position.update:
                self._restore(trainer)
        self._best_file.unlink(missing_ok=True)
        before, after = (self._right[0], self._right[-1]) if len(self._right) > 1 else (0, 0)
        kept = result.kept.retention
        verdict = _verdict(first, result)
        self._emit(
            RetentionReported(
                step=position.step,
                update=position.update,
                verdict=verdict,
                remedies=_remedies(self._config, verdict),
                loss_before=first.loss,
                loss_after=result.loss,
                retention=kept,
                kl=result.kept.kl,
                questions=self._meter.questions if len(self._right) > 1 else 0,
                right_before=before,
                right_after=after,
                result_update=update,
                stopped_early=self.below_bound,
                tokens=result.kept.tokens,
            )
        )
        log.info("Retention %.3f, KL %.4f; measuring took %.1f s", kept, result.kept.kl, self._seconds)

    def _measure(self, trainer: Trainer, position: Position, domain: Evaluation | None, progress: Progress) -> None:
        kept = self._meter.measure(trainer, position, progress)
        self._seconds += kept.seconds
        self._emit(kept)
        now = _Look(domain.loss if domain else None, kept)
        self._first = self._first or now
        self._newest = now
        bound = self._config.retention.stop_below
        if not bound:
            return
        if kept.retention < bound:
            self.below_bound = position.update > 0
        elif self._best is None or _is_better(now, self._best):
            self._keep(trainer, now)

    def _ask(self, trainer: Trainer, position: Position, progress: Progress, *, known: bool, base: bool) -> None:
        answered = self._meter.answer(trainer, position, progress, known=known, base=base)
        if answered is None:
            return
        self._seconds += answered.seconds
        self._emit(answered)
        if known and self._meter.questions:
            self._right.append(_count_right(answered))

    def _keep(self, trainer: Trainer, now: _Look) -> None:
        """Write the trained weights down: they are the best so far. Where that fails, the best ones before stay."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        draft = self._best_file.with_suffix(".tmp")
        trained = trained_parameters(trainer.model.model)
        weights = {name: whole(p.detach()).cpu().contiguous() for name, p in trained.items()}
        kept = self._writes
        if kept:
            try:
                folder = self._best_file.parent
                inside(folder.parent, folder).mkdir(parents=True, exist_ok=True)
                draft.unlink(missing_ok=True)
                save_file(weights, draft)
                draft.replace(self._best_file)
            except (OSError, SafetensorError) as error:
                log.warning("The best weights so far cannot be kept in %s: %s", self._best_file, error)
                draft.unlink(missing_ok=True)
                kept = False
        if trainer.in_step:
            [kept] = trainer.ranks.main_says(kept)
        if kept:
            self._best = now

    def _restore(self, trainer: Trainer) -> None:
        from safetensors.torch import load_file

        parameters = trained_parameters(trainer.model.model)
        if self._writes:
            best = load_file(self._best_file)
        else:
            best = {name: torch.empty(p.shape, dtype=p.dtype, device="meta") for name, p in parameters.items()}
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(spread(best[name], parameter))


def _look_to_json(look: _Look | None) -> dict[str, Any] | None:
    if look is None:
        return None
    return {"loss": spell_non_finite(look.loss), "kept": json.loads(to_json(look.kept))}


def _read_look(kept: Mapping[str, Any] | None) -> _Look | None:
    if kept is None:
        return None
    measured = from_json(json.dumps(kept["kept"]))
    assert isinstance(measured, RetentionMeasured)
    return _Look(None if kept["loss"] is None else float(kept["loss"]), measured)


def _is_better(now: _Look, best: _Look) -> bool:
    """Whether the domain's loss is lower; without validation, later is better. Any training is better than none."""
    if now.loss is None or best.loss is None or best.kept.update == 0:
        return True
    return now.loss < best.loss


def _count_right(answered: PromptsAnswered) -> int:
    return sum(answer["right"] is True for answer in answered.answers)


def _ranked(each: Sequence[RowLoss], position: Position) -> RowsRanked:
    """A loss that is no number stands with the highest ones."""
    worst_first = sorted(each, key=lambda row: row.loss if math.isfinite(row.loss) else math.inf, reverse=True)
    count = min(RANKED, len(worst_first) // 2) or len(worst_first)
    listed = [
        {"source": row.source, "number": row.number, "loss": row.loss, "tokens": row.tokens} for row in worst_first
    ]
    return RowsRanked(step=position.step, update=position.update, highest=listed[:count], lowest=listed[::-1][:count])


def _verdict(first: _Look, result: _Look) -> str:
    """What became of both, as a code of `studio.text.retention`."""
    kept = result.kept.retention
    if math.isnan(kept):
        return "unknown"
    gained = first.loss is None or result.loss is None or result.loss < first.loss - GAIN
    if kept >= KEPT:
        return "gained_and_kept" if gained else "nothing_gained"
    if not gained:
        return "lost_for_nothing"
    return "gained_and_mostly_kept" if kept >= MOSTLY_KEPT else "gained_and_lost"


def _remedies(config: RunConfig, verdict: str) -> list[str]:
    """What to try next, the most effective first, as codes of `studio.text.retention`."""
    training, suggested = config.training, METHODS.get(config.method.name).suggested_learning_rate
    if verdict in ("gained_and_kept", "unknown"):
        return []
    if verdict == "nothing_gained":
        return ["longer" if training.learning_rate >= suggested else "higher_rate"]
    found = []
    if config.method.name == "full":
        found.append("lora")
    if config.data.replay_ratio < ENOUGH_GENERAL_ROWS:
        found.append("more_general_rows")
    found.append("lower_rate")
    if training.epochs > 1 or training.max_steps is not None:
        found.append("fewer_epochs")
    return found
