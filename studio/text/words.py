"""The words for stages of a long action, for components of a memory estimate and for refused remedies."""

from __future__ import annotations

from studio.i18n import gettext_noop, tr

STAGES = {
    "starting": gettext_noop("Starting"),
    "reading_model": gettext_noop("Reading the model"),
    "checking_model": gettext_noop("Checking the model"),
    "loading_model": gettext_noop("Loading the model"),
    "downloading": gettext_noop("Downloading"),
    "reading_data": gettext_noop("Reading the data"),
    "tokenising": gettext_noop("Splitting the text into tokens"),
    "evaluating": gettext_noop("Measuring the validation loss"),
    "training": gettext_noop("Training"),
    "saving": gettext_noop("Saving"),
    "merging": gettext_noop("Merging"),
    "loading_patches": gettext_noop("Loading adapters"),
    "measuring": gettext_noop("Measuring"),
    "writing": gettext_noop("Writing files"),
    "verifying": gettext_noop("Verifying"),
}

# Of a memory estimate.
COMPONENTS = {
    "runtime": gettext_noop("Program"),
    "weights": gettext_noop("Weights"),
    "conversions": gettext_noop("16-bit copies"),
    "loading": gettext_noop("Loading"),
    "gradients": gettext_noop("Gradients"),
    "optimizer": gettext_noop("Optimizer"),
    "activations": gettext_noop("Activations"),
    "holes": gettext_noop("Gaps between activations"),
    "logits": gettext_noop("Logits"),
}

# Why a remedy was not applied.
REFUSALS = {
    "not_asked_for": gettext_noop("Nothing that was found asks for this remedy; the run goes on as it is."),
    "left_out_already": gettext_noop("These rows have been left out already; the run goes on as it is."),
}


def stage_text(stage: str) -> str:
    """Return a stage of `studio.engine.control.Progress` in words."""
    return tr(STAGES[stage]) if stage in STAGES else stage


def refusal_text(reason: str) -> str:
    """Return why a remedy was not applied in words; an error's sentence, or an earlier version's, is one already."""
    return tr(REFUSALS[reason]) if reason in REFUSALS else reason


def component_text(name: str) -> str:
    """Return a component of a memory estimate in words."""
    return tr(COMPONENTS[name]) if name in COMPONENTS else name.replace("_", " ").capitalize()
