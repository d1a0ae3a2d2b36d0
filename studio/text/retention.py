"""The words for what a run gained and lost, and for what to try next (`studio.events.RetentionReported`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from studio.i18n import gettext_noop, sentences, tr
from studio.text import numbers

VERDICTS = {
    "gained_and_kept": gettext_noop("It learned the task and kept what it could do before."),
    "gained_and_mostly_kept": gettext_noop("It learned the task and lost a little of what it could do before."),
    "gained_and_lost": gettext_noop("It learned the task and lost much of what it could do before."),
    "lost_for_nothing": gettext_noop("It lost some of what it could do before, and did not learn the task."),
    "nothing_gained": gettext_noop("It kept what it could do before, and hardly learned the task."),
    "unknown": gettext_noop("What it kept could not be measured: the model's numbers are not finite."),
}

# Those that call for another run.
LOSSES = ("gained_and_lost", "lost_for_nothing", "nothing_gained", "unknown")

FEW_TOKENS = 128
"""Predicted tokens below which a perplexity says little."""

REMEDIES = {
    "more_general_rows": gettext_noop(
        "mix in more general rows (data.replay_ratio, 0.1 to 0.3): what is rehearsed is not forgotten"
    ),
    "lower_rate": gettext_noop("lower the learning rate, to a third or less: smaller steps stay closer to the base"),
    "fewer_epochs": gettext_noop("train less: the last passes over the rows teach little and change much"),
    "lora": gettext_noop("take LoRA instead of full fine-tuning: a change of low rank leaves more as it was"),
    "higher_rate": gettext_noop("raise the learning rate to what the method suggests"),
    "longer": gettext_noop("train longer, or on more rows"),
}


def retention_share(retention: float) -> str:
    """Return retention in per cent: 86.4 %."""
    return numbers.in_percent(f"{100 * retention:.1f}") if math.isfinite(retention) else numbers.number(retention)


def retention_text(perplexity: float, base_perplexity: float, kl: float) -> str:
    """Return one measurement in a line."""
    return tr("perplexity on general texts {perplexity} (base {base}), KL {kl}").format(
        perplexity=numbers.number(perplexity), base=numbers.number(base_perplexity), kl=numbers.number(kl, 3)
    )


def report_text(report: Mapping[str, Any]) -> str:
    """Return what was gained and lost, and what to try, in a few sentences; `report` is the event as a dict."""
    return sentences((outcome_text(report), remedies_text(report["remedies"])))


def outcome_text(report: Mapping[str, Any]) -> str:
    """Return what was gained and lost."""
    return sentences((tr(VERDICTS[report["verdict"]]), *_facts(report)))


def remedies_text(remedies: Sequence[str]) -> str:
    """Return what to try next; empty where there is nothing to be mended."""
    if not remedies:
        return ""
    return tr("To try: {remedies}.").format(remedies=tr("; ").join(tr(REMEDIES[name]) for name in remedies))


def answers_text(answers: Sequence[Mapping[str, Any]]) -> str:
    """Return how many of the general questions were answered rightly; empty where none was asked."""
    judged = [answer["right"] for answer in answers if answer["right"] is not None]
    if not judged:
        return ""
    return tr("{right} of {count} general questions answered rightly").format(right=sum(judged), count=len(judged))


def _facts(report: Mapping[str, Any]) -> list[str]:
    facts = []
    if report["loss_before"] is not None and report["loss_after"] is not None:
        facts.append(
            tr("Validation loss went from {before} to {after}.").format(
                before=numbers.number(report["loss_before"]), after=numbers.number(report["loss_after"])
            )
        )
    if math.isfinite(report["retention"]):
        facts.append(
            tr(
                "On general texts its perplexity is {change} the base's, and its predictions are {kl} nats away."
            ).format(change=_change(report["retention"]), kl=numbers.number(report["kl"], 2))
        )
        if 0 < report.get("tokens", 0) < FEW_TOKENS:
            words = tr("That was measured on {tokens} tokens only, which says little: give more texts to measure on.")
            facts.append(words.format(tokens=report["tokens"]))
    if report["questions"]:
        facts.append(
            tr("General questions answered rightly: {before} of {count} before, {after} after.").format(
                before=report["right_before"], after=report["right_after"], count=report["questions"]
            )
        )
    if report["stopped_early"]:
        facts.append(
            tr("The run ended early, below the bound; its result is the model after update {update}.").format(
                update=f"{report['result_update']:,}"
            )
        )
    elif report["result_update"] != report["update"]:
        facts.append(
            tr("Its result is the model after update {update}, the best above the bound.").format(
                update=f"{report['result_update']:,}"
            )
        )
    return facts


def _change(retention: float) -> str:
    """Perplexity beside that of the base, as a factor."""
    factor = 1.0 / retention if retention else math.inf
    return tr("{factor} times").format(factor=numbers.number(factor, 3))
