"""Keeping libraries from writing things of their own into the output of the command line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Switch transformers' progress bars off for a while."""
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if before:
            logging.enable_progress_bar()


def ignore_positions() -> None:
    """peft leaves out the positions that `generate` gives it for virtual tokens, as it must, and would say so."""
    warnings.filterwarnings("ignore", message="Position ids are not supported for parameter efficient tuning")
