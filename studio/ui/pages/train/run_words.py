"""How a run ended, or why it waits, in words."""

from __future__ import annotations

import time

from studio.engine.disk import DISK_FULL
from studio.i18n import sentences, tr, trn
from studio.runner.state import RunState
from studio.runner.verdicts import verdict_title
from studio.text import numbers
from studio.text.numbers import duration_text
from studio.text.retention import VERDICTS
from studio.text.words import measured_rows_text


def checkpoint_text(state: RunState) -> str:
    """Return which is the newest checkpoint of a run, and when it was saved."""
    if state.checkpoint is None:
        return tr("There is no checkpoint yet.")
    words = tr("The newest checkpoint is of update {update}, saved at {time}.")
    when = time.strftime("%H:%M:%S", time.localtime(state.checkpoint.time))
    return words.format(update=f"{state.checkpoint.update:,}", time=when)


def waiting_text(state: RunState) -> str:
    """Return why a run waits for its user."""
    if state.paused_because == DISK_FULL:
        return tr(
            "The disk is full. The run waits after step {step}, and goes on by itself once there is room."
        ).format(step=f"{state.step:,}")
    return tr("Paused after step {step}: {verdict}. The weights are those of the last good update, {update}.").format(
        step=f"{state.step:,}", verdict=tr(verdict_title(state.paused_because)), update=f"{state.update:,}"
    )


def ended_text(state: RunState) -> str:
    """Return how a run ended, and what came of it."""
    if state.status == "failed":
        return state.sentence or tr("The run failed; the log has the details.")
    if state.status == "interrupted":
        cause = state.sentence or tr("The run was cut off: its process is gone, and left no reason.")
        return sentences((cause, checkpoint_text(state)))
    ended = tr("Stopped") if state.status == "stopped" else tr("Finished")
    if not state.update:
        return _nothing_learnt(state, ended)
    words = trn(
        "{ended} after {updates} update in {time}; the result is saved.",
        "{ended} after {updates} updates in {time}; the result is saved.",
        state.update,
    )
    text = words.format(ended=ended, updates=f"{state.update:,}", time=duration_text(state.seconds))
    if state.validation_loss is not None and state.first_validation_loss not in (None, state.validation_loss):
        words = tr("Validation loss went from {first} to {last}")
        first, last = numbers.number(state.first_validation_loss), numbers.number(state.validation_loss)
        measured = measured_rows_text(*state.validation_rows)
        facts = " ".join(filter(None, (words.format(first=first, last=last), measured)))
        text = sentences((text, tr("{facts}.").format(facts=facts)))
    return sentences((text, tr(VERDICTS[state.report.verdict]) if state.report else ""))


def _nothing_learnt(state: RunState, ended: str) -> str:
    """A run without an update leaves the model as it was, whatever was saved."""
    if state.step:
        words = trn(
            "{ended} after {time} without an update: the only step was skipped, and nothing was learnt.",
            "{ended} after {time} without an update: all {steps} steps were skipped, and nothing was learnt.",
            state.step,
        )
    else:
        words = tr("{ended} after {time}, before the first update: nothing was learnt.")
    return words.format(ended=ended, time=duration_text(state.seconds), steps=f"{state.step:,}")
