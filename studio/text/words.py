"""The words for stages of a long action, components of a memory estimate, refused remedies and chosen kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studio.i18n import gettext_noop, sentences, tr
from studio.text.numbers import share_text

STAGES = {
    "starting": gettext_noop("Starting"),
    "reading_model": gettext_noop("Reading the model"),
    "checking_model": gettext_noop("Checking the model"),
    "loading_model": gettext_noop("Loading the model"),
    "asking_hub": gettext_noop("Asking the hub"),
    "waiting": gettext_noop("Waiting for another download of the same model"),
    "downloading": gettext_noop("Downloading"),
    "reading_run": gettext_noop("Reading the run"),
    "reading_runs": gettext_noop("Reading the runs"),
    "uploading": gettext_noop("Sending the files to the hub"),
    "reading_data": gettext_noop("Reading the data"),
    "comparing_rows": gettext_noop("Comparing the rows"),
    "tokenising": gettext_noop("Splitting the text into tokens"),
    "searching": gettext_noop("Searching the rows"),
    "evaluating": gettext_noop("Measuring the validation loss"),
    "measuring_retention": gettext_noop("Measuring what the model has kept"),
    "asking": gettext_noop("Asking the model"),
    "comparing_answers": gettext_noop("Comparing the answers"),
    "training": gettext_noop("Training"),
    "saving": gettext_noop("Saving"),
    "merging": gettext_noop("Merging"),
    "loading_patches": gettext_noop("Loading adapters"),
    "measuring": gettext_noop("Measuring"),
    "writing": gettext_noop("Writing files"),
    "converting": gettext_noop("Writing the GGUF file"),
    "verifying": gettext_noop("Verifying"),
    "trying": gettext_noop("Trying how the model behaves"),
}
# Those whose progress is counted in bytes.
STAGES_IN_BYTES = frozenset({"downloading", "loading_model", "converting"})

# Of a memory estimate.
COMPONENTS = {
    "runtime": gettext_noop("Program"),
    "weights": gettext_noop("Weights"),
    "gathered": gettext_noop("Gathered layers"),
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

# Why the process of a run is gone.
INTERRUPTIONS = {
    "out_of_memory": gettext_noop("The computer ran out of memory, and the system ended the process of the run."),
    "killed": gettext_noop(
        "The process of the run was ended from outside. Most often the system does that when memory runs out; a "
        "person or a job scheduler can do it too."
    ),
    "crashed": gettext_noop("The process of the run crashed inside a library: a driver or a compiled package failed."),
    "lost_gpu": gettext_noop("The process of the run lost the GPU: its driver failed or was restarted."),
    "not_started": gettext_noop("The process of the run could not start."),
    "unknown": gettext_noop("The process of the run ended, and left no reason."),
}

# What a GPU computes with.
KERNELS = {
    "liger": gettext_noop("The kernels of Liger are used; they agreed with the plain ones on this GPU."),
    "torch": gettext_noop("The fused kernels of torch are used; they agreed with the plain ones on this GPU."),
    "plain": gettext_noop("The plain kernels are used."),
}

# Why other kernels are not used; those that are just not there are not worth a word.
KERNELS_REFUSED = {
    "disagreed": gettext_noop("Those of {name} gave other numbers on this GPU, and are left alone."),
    "failed": gettext_noop("Those of {name} failed on this GPU, and are left alone."),
}


# How far a run has come, as its folder says it.
STATUSES = {
    "created": gettext_noop("Getting ready"),
    "running": gettext_noop("Running"),
    "paused": gettext_noop("Paused"),
    "interrupted": gettext_noop("Interrupted"),
    "stopped": gettext_noop("Stopped"),
    "finished": gettext_noop("Finished"),
    "failed": gettext_noop("Failed"),
    "damaged": gettext_noop("Damaged"),
}
# Where a run lives (`studio.runner.controller.Where`).
PLACES = {
    "thread": gettext_noop("In the window"),
    "process": gettext_noop("Own process"),
    "gpus": gettext_noop("All GPUs"),
}


def status_text(status: str) -> str:
    """Return the status of a run in words; one of a later version stays as it is."""
    return tr(STATUSES.get(status, status))


def stage_text(stage: str) -> str:
    """Return a stage of `studio.engine.control.Progress` in words."""
    return tr(STAGES[stage]) if stage in STAGES else stage


def progress_text(stage: str, done: int, total: int) -> str:
    """Return a stage and how much of it is done; `total` is 0 where that is not known."""
    words = stage_text(stage)
    return f"{words} · {share_text(done, total)}" if total else f"{words} …"


def refusal_text(reason: str) -> str:
    """Return why a remedy was not applied in words; an error's sentence, or an earlier version's, is one already."""
    return tr(REFUSALS[reason]) if reason in REFUSALS else reason


def interruption_text(cause: str, code: int | None = None) -> str:
    """Return why the process of a run is gone, with its exit status (minus the signal) where that is known."""
    sentence = tr(INTERRUPTIONS[cause])
    if code is None:
        return sentence
    ended = tr("signal {number}").format(number=-code) if code < 0 else tr("exit status {number}").format(number=code)
    return tr("{facts} ({detail}).").format(facts=sentence[:-1], detail=ended)  # in front of the full stop


def kernels_text(kernels: str, tried: Sequence[Mapping[str, Any]]) -> str:
    """Return what an event `KernelsChosen` says, in words."""
    refused = [
        tr(KERNELS_REFUSED[one["outcome"]]).format(name=str(one["kernels"]).capitalize())
        for one in tried
        if one["outcome"] in KERNELS_REFUSED
    ]
    return sentences((tr(KERNELS[kernels]), *refused))


def component_text(name: str) -> str:
    """Return a component of a memory estimate in words."""
    return tr(COMPONENTS[name]) if name in COMPONENTS else name.replace("_", " ").capitalize()


def measured_rows_text(rows: int, held_out: int) -> str:
    """Return on how many of the held-out rows a validation loss was measured; empty where it was on all of them."""
    if not held_out or rows == held_out:
        return ""
    return tr("on {rows} of {held_out} held-out rows").format(rows=f"{rows:,}", held_out=f"{held_out:,}")
