"""The words for stages of a long action and for components of a memory estimate."""

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


def stage_text(stage: str) -> str:
    """Return a stage of `studio.engine.control.Progress` in words."""
    return tr(STAGES[stage]) if stage in STAGES else stage


def component_text(name: str) -> str:
    """Return a component of a memory estimate in words."""
    return tr(COMPONENTS[name]) if name in COMPONENTS else name.replace("_", " ").capitalize()
