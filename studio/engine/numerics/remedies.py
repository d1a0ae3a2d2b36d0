"""What can be done about a verdict: each remedy is a button. Importable by runner and commands; without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from studio.config import RunConfig
from studio.config.precision import FP32_MAX
from studio.config.run import override_config
from studio.engine.numerics.verdict import Evidence, Options
from studio.i18n import gettext_noop

# The ladder on which learning rates are tried is in tens; a smaller step seldom cures what has exploded.
LOWER_RATE = 0.1
# torch's GradScaler, whose settings are customary.
CUSTOMARY_SCALING = {
    "precision.loss_scaling": "dynamic",
    "precision.growth_interval": 2000,
    "precision.growth_factor": 2.0,
    "precision.backoff_factor": 0.5,
}

# Below a scale of 1 the loss would be made smaller, not larger: scaling is there for the opposite.
CUSTOMARY_FLOOR = 1.0

Overrides: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """One thing that a button can do.

    Attributes:
        title, explanation: for the button; through `tr` where they are shown.
        instead: what to do once the run has ended, where the remedy acts on the run itself.
        overrides: `(config, evidence)` returns the settings to change, by dotted key, for a run from the last good
            weights; None where the remedy acts on the run itself and changes no setting.
    """

    name: str
    title: str
    explanation: str
    instead: str = ""
    overrides: Callable[[RunConfig, Evidence], Overrides] | None = None

    @property
    def acts_on_run(self) -> bool:
        return self.overrides is None


def changed(config: RunConfig, remedy: str, evidence: Evidence) -> RunConfig:
    """Return the configuration as a remedy changes it; as it is where the remedy acts on the run itself.

    Raises:
        ConfigError: a value that the remedy sets is not possible here.
    """
    overrides = REMEDIES[remedy].overrides
    return override_config(config, overrides(config, evidence) if overrides else {})


def widest_formats(options: Options) -> tuple[str, ...]:
    """Return the precisions with the range of fp32 that there are here."""
    return ("use_bf16", "use_fp32") if options.has_bf16 else ("use_fp32",)


def wider_formats(evidence: Evidence, options: Options) -> tuple[str, ...]:
    """Return the precisions with the range of fp32, without the one in use."""
    return tuple(name for name in widest_formats(options) if name.removeprefix("use_") not in evidence["precision"])


def _use(precision: str, config: RunConfig) -> Overrides:
    """Take with it what belongs to the old precision: a storage of frozen weights with other limits, its rounding."""
    overrides: Overrides = {"precision.name": precision}
    if config.precision.base_dtype in ("fp16", "bf16"):
        overrides["precision.base_dtype"] = "auto"
    if config.precision.stochastic_rounding:
        overrides["precision.stochastic_rounding"] = False
    return overrides


def _use_dynamic_scaling(config: RunConfig, evidence: Evidence) -> Overrides:
    """The present scale is where the search begins, so the floor must not be above it."""
    floor = min(config.precision.minimum_scale, config.precision.initial_scale)
    pure = {"precision.name": "fp16-mixed"} if evidence["precision"] == "fp16-pure" else {}
    return {**CUSTOMARY_SCALING, "precision.minimum_scale": floor, **pure}


REMEDIES = {
    remedy.name: remedy
    for remedy in (
        Remedy(
            name="lower_learning_rate",
            title=gettext_noop("Lower the learning rate"),
            explanation=gettext_noop("Go on with a tenth of the learning rate."),
            overrides=lambda config, _: {"training.learning_rate": config.training.learning_rate * LOWER_RATE},
        ),
        Remedy(
            name="use_bf16",
            title=gettext_noop("Use bf16"),
            explanation=gettext_noop(
                "Go on in bf16 mixed: 16 bits as well, but with the range of fp32, so nothing overflows."
            ),
            overrides=lambda config, _: _use("bf16-mixed", config),
        ),
        Remedy(
            name="use_fp32",
            title=gettext_noop("Use fp32"),
            explanation=gettext_noop("Go on in fp32: the full range and detail, at about twice the memory and time."),
            overrides=lambda config, _: _use("fp32", config),
        ),
        Remedy(
            name="use_dynamic_scaling",
            title=gettext_noop("Use dynamic loss scaling"),
            explanation=gettext_noop(
                "Go on with loss scaling that finds the scale by itself: halved when a step overflows, doubled after "
                "2000 good updates."
            ),
            overrides=_use_dynamic_scaling,
        ),
        Remedy(
            name="raise_scale",
            title=gettext_noop("Raise the loss scale"),
            explanation=gettext_noop("Go on with a loss scale that lifts the small gradients into the range of fp16."),
            overrides=lambda _, evidence: {
                "precision.initial_scale": min(float(evidence["suggested_scale"]), FP32_MAX)
            },
        ),
        Remedy(
            name="lower_floor",
            title=gettext_noop("Lower the floor of the loss scale"),
            explanation=gettext_noop("Go on with a loss scale that may fall to 1, where it was kept above that."),
            overrides=lambda config, _: {
                "precision.minimum_scale": min(config.precision.minimum_scale, CUSTOMARY_FLOOR)
            },
        ),
        Remedy(
            name="use_automatic_storage",
            title=gettext_noop("Store the weights in the compute format"),
            explanation=gettext_noop(
                "Go on with frozen weights in the format that the run computes in, which has the range of fp32."
            ),
            overrides=lambda config, evidence: {"precision.base_dtype": "auto"},
        ),
        Remedy(
            name="skip_rows",
            title=gettext_noop("Leave these rows out"),
            explanation=gettext_noop("Go on without the rows that led to this; the data file stays as it is."),
            instead=gettext_noop("Take these rows out of the data file, and start a new run."),
        ),
        Remedy(
            name="restore_checkpoint",
            title=gettext_noop("Back to the last good checkpoint"),
            explanation=gettext_noop("Go on from the last checkpoint that proved good, and forget what came after it."),
            instead=gettext_noop(
                "Start a new run at a lower learning rate; the checkpoints of this one stay in its folder."
            ),
        ),
        Remedy(
            name="stochastic_rounding",
            title=gettext_noop("Round by chance"),
            explanation=gettext_noop(
                "Go on with stochastic rounding: an update too small for bf16 is rounded up as often as its size "
                "deserves, so that on average none is lost."
            ),
            overrides=lambda config, evidence: {"precision.stochastic_rounding": True},
        ),
    )
}
