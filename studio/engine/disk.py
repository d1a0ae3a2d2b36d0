"""A disk that is full: known as such, and waited for. Without torch, without Qt."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from typing import TypeVar

from studio.engine.control import Control
from studio.events import RunEvent, RunPaused, RunResumed

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_SECONDS = 1.0
DISK_FULL = "disk_full"  # why a run waits, in the event `run_paused`


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed for want of room. The error of safetensors says so only in its words."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    words = str(error).lower()
    return any(sign in words for sign in ("no space left", "quota exceeded", f"os error {errno.ENOSPC})"))


def why_not_written(error: BaseException) -> str:
    """Return why a file could not be written, for a sentence; "" for an error about something else.

    On a full disk, tokenizers raise a bare `Exception`.
    """
    if is_disk_full(error):
        return os.strerror(errno.ENOSPC)
    return error.strerror or str(error) if isinstance(error, OSError) else ""


def with_room(
    write: Callable[[], T], control: Control, emit: Callable[[RunEvent], None], step: int, *, until_stop: bool = False
) -> T:
    """Call `write`, on a full disk again and again until there is room. Meanwhile the run is paused.

    Nobody waits where nobody can see it: a run that is asked to stop and that no user attends gives up at once.

    Args:
        until_stop: whether a request to stop ends the waiting in any case.

    Raises:
        Exception: what `write` raised, for another reason than a full disk, or because the user gave up.
    """
    paused = False
    while True:
        try:
            result = write()
        except Exception as error:
            stopped = control.stop_requested and (until_stop or not control.attended)
            if not is_disk_full(error) or stopped or control.discard_requested:
                raise
            if not paused:
                paused = True
                log.warning("The disk is full; the run waits for room: %s", error)
                emit(RunPaused(step=step, because=DISK_FULL))
            control.wait_for_news(RETRY_SECONDS)
            continue
        if paused:
            emit(RunResumed(step=step))
        return result
