"""The numerics of one run, for the loop: look inside now and then, look into failures, say what is the matter."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from typing_extensions import override

from studio.engine.autocast import autocast
from studio.engine.data.batching import MicroBatch, collate
from studio.engine.data.rows import TokenizedRow
from studio.engine.numerics import memory
from studio.engine.numerics.diagnosis import ESTABLISHED, Diagnosis
from studio.engine.numerics.facts import FAR_BELOW, FirstNonFinite, Row, StepFacts, ValidationFacts
from studio.engine.numerics.locate import locate_first
from studio.engine.numerics.lost_updates import LostUpdates
from studio.engine.numerics.recorder import Recorder
from studio.engine.numerics.replay import Replay
from studio.engine.numerics.throttle import CostThrottle
from studio.engine.numerics.verdicts import verdict_words
from studio.engine.precision import PRECISIONS
from studio.engine.precision.choose import has_bf16
from studio.engine.training.state import Emit
from studio.engine.training.trainer import Attempt, StepObserver, Trainer
from studio.events import EvaluationCompleted, NumericsSampled, OverflowDiagnosed, StepCompleted

log = logging.getLogger(__name__)

# A look into a failure costs up to a step, and more where rows are repeated one by one. What a smaller scale mends by
# itself is looked into once in so many steps; any other kind of failure until it is established, and then as rarely.
STEPS_BETWEEN_LOOKS = 100
# Updates that are looked at one by one for what rounding undoes: that costs a copy of a million weights at most.
FIRST_UPDATES = 20
# Samples of skips, and of the steps after them, that are taken whenever they come; then they keep to the cadence.
SAMPLES_OF_SKIPS = 8


class NumericsMonitor(StepObserver):
    """Sees each attempt of a run from inside, and judges it afterwards.

    Attributes:
        verdicts: what was found harmful so far, the newest last; those from before the settings were changed too,
            because their remedies are still on offer.
    """

    def __init__(
        self,
        trainer: Trainer,
        emit: Emit,
        *,
        verdicts: Sequence[OverflowDiagnosed] = (),
        can_restore: Callable[[], bool] = bool,
    ) -> None:
        """`verdicts`: of the run so far. `can_restore` returns whether there is a good checkpoint to go back to."""
        config = trainer.config
        self.verdicts = list(verdicts)
        self._earlier = len(verdicts)
        self._trainer = trainer
        self._model = trainer.model
        self._emit = emit
        self._recorder: Recorder | None = None
        # Where weights are spread, no process sees them alone, or goes through the model without the others.
        self._sees = not trainer.in_step
        if config.numerics.record and self._sees:
            model = trainer.model
            self._recorder = Recorder(model.model, model.base, model.parameters, trainer.precision, config.numerics)
            emit(self._recorder.started())
        self._diagnosis = Diagnosis(
            trainer.precision, config, has_bf16=has_bf16(trainer.device), can_restore=can_restore
        )
        self._pause_after = config.numerics.pause_after
        self._looks = {kind: CostThrottle(ESTABLISHED) for kind in ("gradients", "loss", "rows", "validation")}
        self._looks["mends itself"] = CostThrottle(1)
        self._outliers: set[Row] = set()
        self._applied_row: TokenizedRow | None = None
        self._samples_at, self._samples_after = CostThrottle(SAMPLES_OF_SKIPS), CostThrottle(SAMPLES_OF_SKIPS)
        self._after_skip = False
        self._harmful_at: int | None = None
        self._sample: NumericsSampled | None = None
        self._lost: LostUpdates | None = None
        self._at_the_end: dict[str, Any] | None = None

    def looks_at(self, step: int) -> bool:
        """Return whether an attempt is looked at: at the cadence, and now and then after a step that was skipped."""
        return self._recorder is not None and (self._after_skip or self._recorder.wants(step))

    @override
    def first_micro_batch(self, step: int) -> AbstractContextManager[object]:
        """Look at one micro-batch of the attempts that are looked at: counting numbers costs time and memory."""
        self._sample, self._lost = None, None
        if self._recorder is None or not self.looks_at(step):
            return nullcontext()
        return self._recorder.watching(self._scale)

    @override
    def see_gradients(self, step: int) -> None:
        """Take the sample of an attempt that is looked at: its gradients are unscaled, and not clipped yet."""
        if self._recorder is not None and self.looks_at(step):
            self._tell(self._recorder.sample(step, self._scale, "cadence"))

    @override
    def optimizer_step(self, step: int) -> AbstractContextManager[object]:
        """Count the updates that rounding undoes, where there is no master copy."""
        # Every update at first, so that a short run is looked at often enough; later at the cadence.
        every = max(1, min(self._trainer.config.numerics.every, step // FIRST_UPDATES))
        if not self._trainer.rounds_updates or step % every:
            return nullcontext()
        self._lost = LostUpdates(self._model.parameters)
        return self._lost

    def judge(self, done: StepCompleted, attempt: Attempt) -> None:
        """Draw the conclusions of an attempt, and tell them."""
        self._at_the_end = None
        self._after_skip = done.skipped and self._samples(self._samples_after, done.step)
        facts = StepFacts(
            done=done,
            next_scale=self._scale,
            can_back_off=attempt.could_back_off,
            sample=self._sample,
            lost_updates=self._lost.share if self._lost else None,
            recount=functools.partial(self._recount, attempt),
        )
        if not done.skipped:
            self._applied_row = attempt.batches[-1].rows[0]
        elif facts.finite_loss and (outliers := self._outliers.intersection(_facts_of(attempt.rows))):
            facts = dataclasses.replace(facts, rows=tuple(sorted(outliers)), rows_tried=len(attempt.rows))
        elif self._sees and self._worth_a_look(facts):
            facts = self._look_into(facts, attempt)
        self._announce(self._diagnosis.observe(facts))

    def judge_validation(self, done: EvaluationCompleted, failed: Sequence[MicroBatch], of: int) -> None:
        """Take in a measurement on the held-out rows, of which some of `of` micro-batches failed."""
        facts = ValidationFacts(done=done)
        if failed and self._sees and self._looks["validation"].passes(done.step, STEPS_BETWEEN_LOOKS):
            try:
                facts = self._look_into_validation(facts, failed, of)
            except Exception:
                log.exception("The validation after step %d failed, and so did looking into it", done.step)
        self._diagnosis.validated(facts)

    def finish(self, step: int) -> None:
        """Tell what is only certain once the run has ended."""
        # A run that goes on after this is judged as if it had not ended here.
        self._at_the_end = self.to_json()
        self._announce(self._diagnosis.finish(step))

    def to_json(self) -> dict[str, Any]:
        """Return for a checkpoint what the next attempts are looked at and judged by."""
        if self._at_the_end is not None:
            return self._at_the_end
        row = self._applied_row
        return {
            "earlier": self._earlier,
            "diagnosis": self._diagnosis.to_json(),
            "recorder": self._recorder.to_json() if self._recorder else None,
            "throttles": {name: memory.to_json(throttle) for name, throttle in self._throttles.items()},
            "outliers": memory.value_to_json(self._outliers),
            "applied_row": row
            and {
                "input_ids": row.input_ids.tolist(),
                "labels": row.labels.tolist(),
                "source": row.source,
                "number": row.number,
            },
            "after_skip": self._after_skip,
            "harmful_at": self._harmful_at,
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `to_json` returned."""
        self._earlier = kept["earlier"]
        self._diagnosis.restore(kept["diagnosis"])
        if self._recorder and kept["recorder"]:
            self._recorder.restore(kept["recorder"])
        for name, throttle in self._throttles.items():
            memory.restore(throttle, kept["throttles"][name])
        self._outliers = set(memory.value_from_json(kept["outliers"]))
        if row := kept["applied_row"]:
            ids, labels = (np.array(row[name], dtype=np.int32) for name in ("input_ids", "labels"))
            self._applied_row = TokenizedRow(ids, labels, row["source"], row["number"])
        self._after_skip, self._harmful_at = kept["after_skip"], kept["harmful_at"]

    def mended(self, verdict: OverflowDiagnosed) -> None:
        """Take it that the cause of this verdict is gone: should it be seen again, that is news."""
        self._diagnosis.forget(verdict.verdict)
        self._looks["loss"] = self._looks["validation"] = CostThrottle(ESTABLISHED)

    @property
    def newest(self) -> OverflowDiagnosed | None:
        """The newest harmful verdict on the run as it is set now."""
        return self.verdicts[-1] if len(self.verdicts) > self._earlier else None

    @property
    def calm(self) -> bool:
        """Whether nothing is wrong with the weights, as far as the last attempt shows: they are worth keeping."""
        return self._diagnosis.calm

    @property
    def hopeless(self) -> bool:
        """Whether so many steps failed in a row, beyond the help of a smaller scale, that the run must not go on."""
        return self._diagnosis.should_pause

    def should_ask(self, step: int) -> bool:
        """Whether somebody who watches should be asked: the run is hopeless, or harm was found some steps ago."""
        due = self._harmful_at is not None and step - self._harmful_at >= self._pause_after
        if due or self.hopeless:
            self._harmful_at = None
            return True
        return False

    @property
    def _scale(self) -> float | None:
        return self._trainer.scaler.scale if self._trainer.scaler else None

    @property
    def _throttles(self) -> dict[str, CostThrottle]:
        return {**self._looks, "samples at": self._samples_at, "samples after": self._samples_after}

    def _samples(self, budget: CostThrottle, step: int) -> bool:
        return self._recorder is not None and budget.passes(step, self._recorder.every)

    def _recount(self, attempt: Attempt) -> float | None:
        """Return which share of the gradients fp16 makes zero, on the largest micro-batch. It never ends the run."""
        if not self._sees:
            return None
        try:
            batch = attempt.batches[0].to(self._trainer.device)
            wide = functools.partial(autocast, PRECISIONS.get("bf16-mixed"), self._trainer.device)
            return self._trainer.replay(attempt.batches, attempt.grad_scale).lost_to_fp16(batch, wide)
        except Exception:
            log.exception("The gradients could not be counted again")
            return None

    def _worth_a_look(self, facts: StepFacts) -> bool:
        """A run about to wait or to end is looked into again: something else may have joined what is known."""
        mends_itself = facts.finite_loss and facts.can_back_off
        looks = self._looks["mends itself" if mends_itself else "gradients" if facts.finite_loss else "loss"]
        if mends_itself and self._diagnosis.suspects_rows(facts):
            looks = self._looks["rows"]
        return looks.passes(facts.step, STEPS_BETWEEN_LOOKS) or (not mends_itself and self._diagnosis.next_pauses)

    def _look_into(self, facts: StepFacts, attempt: Attempt) -> StepFacts:
        """Add where the failure begins, as far as that can be found. Nothing that goes wrong here ends the run."""
        try:
            found = self._find(facts, attempt)
        except Exception:
            log.exception("Step %d failed, and so did looking into it", facts.step)
            return facts
        if found.located is None:
            log.warning("Step %d failed, but none of its micro-batches does when repeated alone", facts.step)
            return facts
        if facts.finite_loss and found.rows_tried:
            self._outliers.update(found.rows)
        rows = ", ".join(f"{source}:{number}" for source, number, _ in found.rows)
        log.warning("Step %d: %s, %s", facts.step, found.located, rows)
        return found

    def _find(self, facts: StepFacts, attempt: Attempt) -> StepFacts:
        """Repeat the micro-batches, at the scale that failed, until the one at fault is found."""
        replay = self._trainer.replay(attempt.batches, attempt.grad_scale)
        recorder = self._recorder if self._samples(self._samples_at, facts.step) else None
        for batch in attempt.batches:
            located = locate_first(replay, batch.to(self._trainer.device), recorder=recorder)
            if located is not None:
                if located.direction == "backward" and self._diagnosis.suspects_rows(facts):
                    rows, tried = self._outlier_rows(replay, attempt)
                else:
                    rows, tried = self._at_fault(replay, located, batch.rows)
                if recorder is not None and located.direction != "weights":
                    self._tell(recorder.sample(facts.step, attempt.grad_scale, "skip"))
                return dataclasses.replace(facts, located=located, rows=_facts_of(rows), rows_tried=tried)
        return facts

    def _look_into_validation(self, facts: ValidationFacts, failed: Sequence[MicroBatch], of: int) -> ValidationFacts:
        """Add where the first micro-batch fails, and its rows if not all held-out rows fail."""
        batch = failed[0]
        replay = self._trainer.replay([batch], None)
        with self._model.loss.without_dropout():
            located = locate_first(replay, batch.to(self._trainer.device))
            if located is None:
                return facts
            rows, tried = self._at_fault(replay, located, batch.rows)
        # Where every row fails, the model is to blame and no row.
        if len(failed) == of and len(rows) == len(batch.rows):
            rows, tried = (), 0
        return dataclasses.replace(facts, located=located, rows=_facts_of(rows), rows_tried=tried)

    def _at_fault(
        self, replay: Replay, located: FirstNonFinite, rows: Sequence[TokenizedRow]
    ) -> tuple[Sequence[TokenizedRow], int]:
        """Return the rows whose loss is not finite by itself, and how many were tried: all and 0 if none is."""
        if located.direction not in ("forward", "loss") or len(rows) == 1:
            return rows, 0
        found = [row for row in rows if not replay.is_finite(collate([row], 0).to(self._trainer.device))]
        return (found, len(rows)) if found else (rows, 0)

    def _outlier_rows(self, replay: Replay, attempt: Attempt) -> tuple[Sequence[TokenizedRow], int]:
        """Return the rows of an update whose gradients alone are far too large, and how many were tried.

        Those are to blame that fail at a scale when as many others do not fail at one that is far larger. A row of
        the last update that was applied counts among the others: it tells one bad row, alone in its update, from a
        model on which every row fails. All rows and 0 are returned if none is to blame.
        """
        rows, before = attempt.rows, [self._applied_row] if self._applied_row else []

        def works(row: TokenizedRow, scale: float) -> bool:
            batch = collate([row], 0).to(self._trainer.device)
            return dataclasses.replace(replay, scale=scale).has_finite_gradients(batch)

        scale = replay.scale or 1.0
        for smaller in (scale, scale / FAR_BELOW):
            failing = [row for row in rows if not works(row, smaller)]
            others = [row for row in rows if row not in failing] + before
            if failing and len(failing) <= sum(works(row, smaller * FAR_BELOW) for row in others):
                return failing, len(rows)
        return rows, 0

    def _tell(self, sample: NumericsSampled) -> None:
        self._sample = sample
        self._emit(sample)

    def _announce(self, verdicts: Sequence[OverflowDiagnosed]) -> None:
        for verdict in verdicts:
            self._emit(verdict)
            if verdict.harmful:
                self.verdicts.append(verdict)
                self._harmful_at = verdict.step
                log.warning("%s %s", *verdict_words(verdict))


def _facts_of(rows: Sequence[TokenizedRow]) -> tuple[Row, ...]:
    return tuple((row.source, row.number, len(row.input_ids)) for row in rows)
