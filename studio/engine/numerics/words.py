"""Words that several verdicts share. Whoever reads them may never have heard of loss scaling."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from studio.engine.numerics.facts import StepFacts, ValidationFacts
from studio.engine.numerics.verdict import Evidence, Remedies
from studio.i18n import tr

SHOWN_ROWS = 3


def wider_format(remedies: Remedies, otherwise: str = "") -> str:
    """Advise a run in fp16 on the precision with more range that there is here."""
    advice = (
        tr("Use bf16, which has the range of fp32")
        if "use_bf16" in remedies
        else tr("Use fp32 (this device has no bf16)")
    )
    if otherwise:
        advice = tr("{first}, {second}").format(first=advice, second=otherwise)
    return tr("{facts}.").format(facts=advice)


def begins_in(evidence: Evidence) -> str:
    """Name the module in which it begins, where that is known."""
    module = evidence.get("module")
    return " " + tr("It begins in {module}.").format(module=module) if module else ""


def rows_evidence(facts: StepFacts | ValidationFacts) -> dict[str, Any]:
    """Return the rows of what failed, as evidence."""
    rows = [{"source": source, "number": number, "tokens": tokens} for source, number, tokens in facts.rows]
    return {"rows": rows, "rows_tried": facts.rows_tried}


def on_rows(evidence: Evidence) -> str:
    """Name the rows, the first few of them."""
    rows = evidence["rows"]
    if not rows:
        return ""
    named = [
        tr("{file} row {number} ({tokens} tokens)").format(
            file=PurePath(row["source"]).name, number=row["number"], tokens=row["tokens"]
        )
        for row in rows[:SHOWN_ROWS]
    ]
    more = tr(" and {count} more").format(count=len(rows) - SHOWN_ROWS) if len(rows) > SHOWN_ROWS else ""
    shown = tr(", ").join(named) + more
    tried = evidence.get("rows_tried", 0)
    if not tried:
        return " " + tr("Rows: {rows}.").format(rows=shown)
    sentence = tr("Repeated one at a time, {count} of {tried} rows lead to this: {rows}.")
    return " " + sentence.format(count=len(rows), tried=tried, rows=shown)


def number(value: float, *, exact: bool = True) -> str:
    """Return a number as people read it: scales exactly while they are short, measured values to three digits."""
    shown = float(value)  # in a journal, one that is not finite is spelled
    shown = shown if exact else float(f"{shown:.3g}")
    return f"{shown:,.0f}" if abs(shown) < 1e9 and shown == int(shown) else f"{shown:.3g}"
