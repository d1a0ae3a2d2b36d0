"""Whatever a user must never meet: what the log would hold at WARNING or above, and a window that does not answer."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
import traceback
import warnings
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

from PySide6.QtCore import QTimer

RECENT = 2 * 30  # an action has two lines: what begins, and what it was
WAITING = 12
GIVEN_UP = 300.0
# Refusals of damaged files and of impossible wishes, which the user has been told in the window too: logger, beginning.
EXPECTED: tuple[tuple[str, str], ...] = (
    ("qt", "This plugin does not support"),  # the offscreen platform, about itself
    ("studio.engine.training.prepared", ""),  # rows that were left out, and why
    ("bitsandbytes.backends.cpu.ops", "Failed to load CPU gemm_4bit_forward"),  # it computes without
)

# What libraries say about each other, as in pyproject.toml.
LIBRARIES: tuple[tuple[type[Warning], str], ...] = (
    (FutureWarning, "`is_gradient_checkpointing` is deprecated"),
    (DeprecationWarning, r"`torch\.jit\."),
)


class Watch(logging.Handler):
    """Keeps every finding once, with the actions before it.

    The window's own hooks send exceptions, Qt's messages and warnings to the log (`studio.ui.app`), and so to this.

    Args:
        patience: seconds that the window's thread may compute without answering; it may wait twelve times as long, for
            others may use the processor meanwhile.
    """

    def __init__(self, seed: int, patience: float, diary: Path) -> None:
        super().__init__(logging.WARNING)
        self.findings: dict[str, str] = {}
        self.expected = 0
        self.actions = 0
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._seed, self._patience = seed, patience
        self._diary = diary.open("w", encoding="utf-8", errors="backslashreplace", buffering=1)
        self._clock = time.pthread_getcpuclockid(threading.main_thread().ident or 0)
        self._answered, self._computed = time.monotonic(), time.clock_gettime(self._clock)
        self._over = threading.Event()
        self._pulse = QTimer(interval=50)
        self._pulse.timeout.connect(self._note_answer)

    def begin(self) -> None:
        """Listen to everything, and see that the window answers."""
        if not faulthandler.is_enabled():
            faulthandler.enable()
        warnings.simplefilter("default")
        for category, words in LIBRARIES:
            warnings.filterwarnings("ignore", words, category)
        logging.captureWarnings(capture=True)
        logging.getLogger().addHandler(self)
        sys.excepthook = self._note_exception
        sys.unraisablehook = self._note_unraisable
        self._pulse.start()
        threading.Thread(target=self._look, name="watch", daemon=True).start()

    def end(self) -> None:
        """Listen no longer."""
        self._over.set()
        self._pulse.stop()
        logging.getLogger().removeHandler(self)
        logging.captureWarnings(capture=False)
        sys.excepthook, sys.unraisablehook = sys.__excepthook__, sys.__unraisablehook__
        self._diary.close()

    def note_action(self, words: str) -> None:
        """Keep what begins now; in a file, too, which survives a crash of the process."""
        self.actions += 1
        self.note_words(words)

    def note_words(self, words: str) -> None:
        """Keep what the action was, in full."""
        self._recent.append(words)
        self._diary.write(f"{self.actions} {words}\n")

    def find(self, title: str, words: str) -> None:
        """Keep a finding, once a title."""
        if title not in self.findings:
            before = "\n".join(f"    {action}" for action in self._recent)
            self.findings[title] = f"{words}\n  after action {self.actions} of seed {self._seed}:\n{before}"
            print(f"FOUND {title}\n  {self.findings[title]}", flush=True)

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage()
        if record.exc_info is None and any(record.name == name and words.startswith(begin) for name, begin in EXPECTED):
            self.expected += 1
            return
        place = ""
        if record.exc_info and record.exc_info[2] is not None:
            last = traceback.extract_tb(record.exc_info[2])[-1]
            place = f" at {Path(last.filename).name}:{last.lineno}"
        self.find(f"{record.levelname} {record.name}: {str(record.msg)[:120]}{place}", self.format(record)[:4000])

    def _note_exception(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self.find(f"outside of a session: {kind.__name__}", "".join(traceback.format_exception(kind, error, trace)))

    def _note_unraisable(self, found: Any) -> None:
        words = "".join(traceback.format_exception(found.exc_type, found.exc_value, found.exc_traceback))
        self.find(f"unraisable {found.exc_type.__name__}: {found.err_msg}", f"{found.object!r}\n{words}")

    def _note_answer(self) -> None:
        self._answered, self._computed = time.monotonic(), time.clock_gettime(self._clock)

    def _look(self) -> None:
        """Tell where the window's thread is when it has not answered for too long; end a process that hangs."""
        told = 0.0
        while not self._over.wait(0.25):
            since = self._answered
            silent, computed = time.monotonic() - since, time.clock_gettime(self._clock) - self._computed
            if (computed > self._patience or silent > WAITING * self._patience) and since != told:
                told = since
                stack = traceback.extract_stack(sys._current_frames()[threading.main_thread().ident or 0])
                ours = next((one for one in reversed(stack) if "/studio/" in one.filename), stack[-1])
                words = "".join(traceback.format_list(stack))
                self.find(
                    f"no answer: {Path(ours.filename).name}, {ours.name}", f"{computed:.1f} s of {silent:.1f}\n{words}"
                )
            if silent > GIVEN_UP:
                os._exit(3)
