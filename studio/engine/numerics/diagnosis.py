"""From the facts of each attempted step to verdicts: what the matter is, why, and what to do. Without torch.

Each step has at most one cause of failure, looked for from the certain to the likely: weights that are not numbers, a
loss that is none, gradients that are none. The verdicts of `studio.engine.numerics.verdicts` go by that cause, and
watch what can go wrong in steps that succeed. The work and the memory per step are constant.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from studio.config import RunConfig
from studio.engine.numerics import memory
from studio.engine.numerics.facts import FAR_BELOW, Cause, FirstNonFinite, StepFacts, ValidationFacts
from studio.engine.numerics.loss_scale import WINDOW, LossScaleHistory
from studio.engine.numerics.verdict import Evidence, Options, Verdict, Watched
from studio.engine.numerics.verdicts import VERDICTS
from studio.engine.precision import Precision
from studio.events import OverflowDiagnosed
from studio.i18n import untranslated

# What has no certain sign is established by the third time: twice may be the same strange batch, tried again.
ESTABLISHED = 3


class Diagnosis:
    """Reads the steps of one run and says what is the matter with its numbers."""

    def __init__(
        self, precision: Precision, config: RunConfig, *, has_bf16: bool, can_restore: Callable[[], bool] = bool
    ) -> None:
        """`precision` is what `config.precision` became; `has_bf16`: whether the device computes in bf16.

        `can_restore` returns whether there is a good checkpoint to go back to; it is asked when that matters. By
        default there is none: `bool()` is False.
        """
        self._precision = precision
        self._has_bf16 = has_bf16
        self._can_restore = can_restore
        self._pause_after = config.numerics.pause_after
        self._bad_in_a_row = 0  # steps, up to the last one, that failed and that no smaller loss scale can help
        self._located: tuple[int, FirstNonFinite] | None = None
        # A verdict comes before the pause that it explains.
        established = max(2, min(ESTABLISHED, self._pause_after))
        scaling = config.precision.loss_scaling if precision.loss_scaling else "off"
        history = LossScaleHistory(config.precision, scaling, established)
        self._run = Watched(config=config, precision=precision, established=established, loss_scale=history)
        self._verdicts: dict[str, Verdict] = {}
        for verdict in VERDICTS:
            self.forget(verdict.name)

    @property
    def should_pause(self) -> bool:
        """Whether the run has to wait for its user now: after every `numerics.pause_after` bad steps in a row."""
        return self._bad_in_a_row > 0 and self._bad_in_a_row % self._pause_after == 0

    @property
    def next_pauses(self) -> bool:
        """Whether one more bad step makes the run wait."""
        return (self._bad_in_a_row + 1) % self._pause_after == 0

    @property
    def calm(self) -> bool:
        """Whether the last step did not fail beyond the help of a smaller loss scale, nor seems to be an explosion."""
        return self._bad_in_a_row == 0 and not any(verdict.suspects for verdict in self._verdicts.values())

    def suspects_rows(self, facts: StepFacts) -> bool:
        """Whether single rows may be why the gradients of a skipped step are not finite.

        That is so where a smaller loss scale cannot help, or where it would be far below one that worked just before.
        An ordinary search for the scale ends long before.
        """
        too_small = facts.scale * FAR_BELOW <= (self._run.loss_scale.last_good or 0.0)
        return facts.finite_loss and (too_small or not facts.can_back_off)

    def forget(self, name: str) -> None:
        """Take a kind of verdict for one that was never seen."""
        kind = VERDICTS.get(name)
        if kind.can_happen(self._run):
            self._verdicts[name] = kind(self._run)

    def observe(self, facts: StepFacts) -> list[OverflowDiagnosed]:
        """Take in the next attempted step; return what has become known by it, mostly nothing."""
        helpless = facts.done.skipped and not (facts.finite_loss and facts.can_back_off)
        self._bad_in_a_row = self._bad_in_a_row + 1 if helpless else 0
        facts = self._with_cause(facts)
        if self._run.fp16 and facts.cause in (None, "gradients"):
            self._run.loss_scale.update(facts)
        elif facts.cause == "rows":
            self._run.loss_scale.forget_descent()
        if not facts.done.skipped:
            self._run.losses.add(facts.done.loss)
        return self._events(facts.step, lambda verdict: verdict.observe(facts))

    def validated(self, facts: ValidationFacts) -> None:
        """Take in a measurement on the held-out rows."""
        for verdict in self._verdicts.values():
            verdict.validated(facts)

    def finish(self, step: int) -> list[OverflowDiagnosed]:
        """Return what is still to be told when the run has ended after `step`."""
        return self._events(step, lambda verdict: verdict.finish(step))

    def to_json(self) -> dict[str, Any]:
        """Return for a checkpoint all that the next steps are judged by."""
        return {
            "bad_in_a_row": self._bad_in_a_row,
            "located": memory.value_to_json(self._located),
            "loss_scale": memory.to_json(self._run.loss_scale),
            "losses": memory.to_json(self._run.losses),
            "verdicts": {name: memory.to_json(verdict) for name, verdict in self._verdicts.items()},
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `to_json` returned."""
        self._bad_in_a_row = kept["bad_in_a_row"]
        self._located = memory.value_from_json(kept["located"])
        memory.restore(self._run.loss_scale, kept["loss_scale"])
        memory.restore(self._run.losses, kept["losses"])
        for name in self._verdicts.keys() & kept["verdicts"].keys():
            memory.restore(self._verdicts[name], kept["verdicts"][name])

    def _with_cause(self, facts: StepFacts) -> StepFacts:
        if not facts.done.skipped:
            return facts
        located = facts.located
        if located is not None:
            self._located = (facts.step, located)
        # Not every failure is looked into. Then it is taken to begin where the last one of the same kind began.
        elif self._located is not None and facts.step - self._located[0] <= WINDOW:
            lately = self._located[1]
            located = lately if (lately.direction == "backward") == facts.finite_loss else None
        return dataclasses.replace(facts, located=located, cause=self._cause(facts, located))

    def _cause(self, facts: StepFacts, located: FirstNonFinite | None) -> Cause:
        if located and located.direction == "weights":
            return "range" if located.exceeds_fp16 else "weights"
        if located and located.direction == "forward" and self._run.fp16 and located.exceeds_fp16 is not False:
            return "range"
        if not facts.finite_loss:
            return "loss"
        return "rows" if facts.rows_tried else "gradients"

    def _events(self, step: int, ask: Callable[[Verdict], Evidence | None]) -> list[OverflowDiagnosed]:
        found = [(verdict, ask(verdict)) for verdict in self._verdicts.values()]
        return [self._event(step, verdict, evidence) for verdict, evidence in found if evidence is not None]

    def _event(self, step: int, verdict: Verdict, evidence: Evidence) -> OverflowDiagnosed:
        evidence = {"precision": self._precision.name, "scaling": self._run.loss_scale.scaling, **evidence}
        options = Options(has_bf16=self._has_bf16, can_restore=self._can_restore())
        remedies = verdict.remedies(evidence, options)
        # In English, for readers without this program; it makes words of its own from the code and the evidence.
        with untranslated():
            sentence, advice = verdict.words(evidence, remedies)
        return OverflowDiagnosed(
            step=step,
            verdict=verdict.name,
            harmful=verdict.harmful,
            sentence=sentence,
            advice=advice,
            evidence=evidence,
            remedies=list(remedies),
        )
