"""What the window and the terminal say of memory: how a run is made to fit, what it measured, and that it ran out."""

from __future__ import annotations

from studio.events import MemoryMeasured, MicroBatchShrunk
from studio.i18n import gettext_noop, sentences, tr, trn
from studio.runner.actions import Estimate, Remedy
from studio.runner.state import RunState
from studio.text.numbers import size_text

# What a remedy for memory does, by the option that it sets, as a button and a line say it.
_REMEDIES = {
    "precision.base_dtype": gettext_noop("Store the base in 4 bits (nf4)"),
    "training.recompute": gettext_noop("Recompute activations"),
    "training.shard": gettext_noop("Spread the weights over the GPUs"),
    "method.rank": gettext_noop("Rank {value}"),
    "data.max_length": gettext_noop("Rows of {value} tokens at most"),
    "method.name": gettext_noop("Train with LoRA"),
}
_OPTIMIZERS = {
    "adamw-8bit": gettext_noop("Optimizer states in 8 bits"),
    "adafactor": gettext_noop("Adafactor, which keeps next to no states"),
}
# Memory that other programs hold is worth a word from this share of the device on.
_TAKEN = 0.1
_DURING = {
    "trial": gettext_noop("Memory ran out in the trial of the longest rows."),
    "training": gettext_noop("Memory ran out in a training step."),
    "optimizer": gettext_noop("Memory ran out while weights were updated."),
    "evaluation": gettext_noop("Memory ran out while the validation loss was measured."),
}


def choices_text(needs: Estimate) -> str:
    """Say how training is made to fit, such as "recomputes activations; 4 rows at a time; base in nf4"."""
    choices = needs.choices
    parts = [tr("recomputes activations")] if choices["recompute"] else []
    if choices["shards"] > 1:
        parts.insert(0, tr("spreads the weights over {count} GPUs").format(count=choices["shards"]))
    if gpus := len(set(choices["cards"])):
        parts.insert(0, tr("spreads the layers over {count} GPUs, in one process").format(count=gpus))
    if choices["on_host"] and choices["words_on_host"]:
        parts.append(tr("keeps the inputs of the layers and the embedding in the computer's memory"))
    elif choices["on_host"]:
        parts.append(tr("keeps the inputs of the layers in the computer's memory"))
    elif choices["words_on_host"]:
        parts.append(tr("keeps the embedding in the computer's memory"))
    parts.append(trn("{count} row at a time", "{count} rows at a time", needs.rows).format(count=needs.rows))
    if choices["base_dtype"] in ("nf4", "int8"):
        words = tr("base stored in {format}")
        if needs.expert_bytes:
            words = tr("base stored in {format}, but for its experts, which are not rounded and take {size}")
        parts.append(words.format(format=choices["base_dtype"], size=size_text(needs.expert_bytes)))
    return tr("; ").join(parts)


def taken_text(needs: Estimate) -> str:
    """Say how much of the memory other programs hold; empty where that is little."""
    taken = needs.device_bytes - needs.available_bytes
    if needs.available_bytes <= 0 or taken < _TAKEN * needs.device_bytes:
        return ""
    words = (
        tr("Other programs hold {taken} of the {total} of this computer's memory.")
        if needs.device == "cpu"
        else tr("Other programs hold {taken} of the GPU's {total}; closing them makes room.")
    )
    return words.format(taken=size_text(taken), total=size_text(needs.device_bytes))


def row_length_text(needs: Estimate) -> str:
    """Say what rows an estimate that does not fit is for; empty where it fits."""
    if needs.fits:
        return ""
    return tr(
        "This is for rows of {length} tokens, the longest that are allowed. Training looks at the rows that are there, "
        "and needs less where all are shorter."
    ).format(length=needs.row_tokens)


def remedy_text(remedy: Remedy) -> str:
    """Return what a remedy does, and what training takes then: "Rank 8: 6.2 GB"."""
    what = " + ".join(
        tr(_OPTIMIZERS[value] if key == "training.optimizer" else _REMEDIES[key]).format(value=value)
        for key, value in remedy.overrides.items()
    )
    figure = ("{size}" if remedy.fits else tr("{size}, not enough")).format(size=size_text(remedy.total_bytes))
    return tr("{what}: {size}").format(what=what, size=figure)


def measured_text(event: MemoryMeasured) -> str:
    """Return what the trial of the longest rows has shown."""
    words = tr("The longest rows were tried first: {rows} of {length} tokens; the peak was {peak}.").format(
        rows=event.rows, length=event.length, peak=size_text(event.peak)
    )
    spread = tr("The layers are spread over {count} GPUs.").format(count=event.gpus) if event.gpus > 1 else ""
    return sentences(filter(None, (words, spread, tr("Activations are recomputed.") if event.recompute else "")))


def shrunk_text(event: MicroBatchShrunk) -> str:
    """Return what happened, and how the run goes on."""
    words = tr(_DURING[event.during])
    if event.tokens < event.tokens_before:
        goes_on = tr("The same rows go on in micro-batches of {tokens} tokens, with the same result.")
    else:
        goes_on = tr("The run goes on, and computes activations again in the backward pass, with the same result.")
    return sentences((words, goes_on.format(tokens=event.tokens)))


def memory_text(state: RunState) -> str:
    """Return what a run has measured of its memory, and how it goes on where it ran out; empty before the trial."""
    measured = [measured_text(state.memory)] if state.memory else []
    return sentences([*measured, shrunk_text(state.shrunk)] if state.shrunk else measured)
