"""The words for the place where a run was continued from a checkpoint."""

from __future__ import annotations

import time

from studio.events import RunResumed
from studio.i18n import tr
from studio.text.numbers import brief


def seam_text(event: RunResumed) -> str:
    """Return when a run was continued and from where, and what differs from before."""
    if event.step:
        words = tr("Continued on {time} from the checkpoint after step {step}, update {update}.")
    else:
        words = tr("Begun again on {time}: there was no checkpoint.")
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(event.time))
    text = words.format(time=when, step=f"{event.step:,}", update=f"{event.update:,}")
    if event.changes:
        changed = (
            f"{key}: {brief(value) if isinstance(value, float) else value}" for key, value in event.changes.items()
        )
        text = f"{text}\n{tr('Different from before: {changes}').format(changes=', '.join(changed))}"
    if event.skipped:
        names = ", ".join(str(one.get("name", "")) for one in event.skipped)
        text = f"{text}\n{tr('Newer checkpoints that could not be used: {names}').format(names=names)}"
    return text
