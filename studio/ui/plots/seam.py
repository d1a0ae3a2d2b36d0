"""The words for the place where a run was continued from a checkpoint."""

from __future__ import annotations

import time

from studio.events import RunResumed
from studio.i18n import tr
from studio.text.resume import resumed_text


def seam_text(event: RunResumed) -> str:
    """Return when a run was continued and from where, and what differs from before."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(event.time))
    how = resumed_text(event.step, event.update, event.changes, event.skipped)
    return tr("Continued on {time}. {how}").format(time=when, how=how)
