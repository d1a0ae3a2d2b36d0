"""What one kind of verdict is: how it is found, what it says and what helps against it. Without torch.

`studio.engine.numerics.verdicts` has one file for each. `OverflowDiagnosed` is a verdict on a run: the event that
travels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from studio.config import RunConfig
from studio.engine.numerics.facts import StepFacts, ValidationFacts
from studio.engine.numerics.loss_history import LossHistory
from studio.engine.numerics.loss_scale import WINDOW, LossScaleHistory
from studio.engine.numerics.throttle import NewsThrottle
from studio.engine.precision import Precision

# The numbers that a verdict rests on, as JSON values; the sentence is made of them alone.
Evidence: TypeAlias = Mapping[str, Any]
Remedies: TypeAlias = Collection[str]
# Sentence and advice.
Words: TypeAlias = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The run that is watched.

    Attributes:
        precision: what `config.precision` became.
        established: so many times something without a certain sign must happen to be no chance.
        loss_scale, losses: the history of the loss scale and of the losses; they are up to date when a
            verdict observes a step.
    """

    config: RunConfig
    precision: Precision
    established: int
    loss_scale: LossScaleHistory
    losses: LossHistory = field(default_factory=LossHistory)

    @property
    def fp16(self) -> bool:
        """Whether the products are computed in fp16, where values overflow and gradients are flushed to zero."""
        return self.precision.autocast == "fp16"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be done here: `has_bf16`, the device computes in bf16; `can_restore`, there is a good checkpoint."""

    has_bf16: bool
    can_restore: bool


class Verdict(ABC):
    """One kind of verdict. An instance looks for it in the steps of one run; work and memory per step are constant.

    Attributes:
        title: a few words, to be translated where they are shown.
        harmful: it alarms, and counts towards the pause of a run; one that is not only explains.
        order: of two that a step may be told with, the one with the lower number goes first.
        quiet: after so many steps (or observations) without it, another one is news.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    harmful: ClassVar[bool] = True
    order: ClassVar[int] = 100
    quiet: ClassVar[int] = WINDOW

    def __init__(self, run: Watched) -> None:
        self._run = run
        self._news = NewsThrottle(self.quiet)

    @staticmethod
    def can_happen(run: Watched) -> bool:
        """Return whether it can happen at all with the settings of this run."""
        return True

    @staticmethod
    @abstractmethod
    def words(evidence: Evidence, remedies: Remedies) -> Words:
        """Return the sentence and the advice, in the language of the session."""

    @staticmethod
    def remedies(evidence: Evidence, options: Options) -> tuple[str, ...]:
        """Return the names of what helps, the best first; `precision` and `scaling` are in all evidence."""
        return ()

    @property
    def suspects(self) -> bool:
        """Whether the last step may be one of harm that is not established yet: its weights are not worth keeping."""
        return False

    def observe(self, facts: StepFacts) -> Evidence | None:
        """Take in the next attempted step; return the evidence where the verdict is to be told now."""
        return None

    def validated(self, facts: ValidationFacts) -> None:  # noqa: B027 - most kinds do not look at it
        """Take in a measurement on the held-out rows. What follows from it is told with a step, or at the end."""

    def finish(self, step: int) -> Evidence | None:
        """Return the evidence where it is to be told now that the run has ended after `step`."""
        return None
