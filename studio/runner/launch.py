"""This program as one of the processes that `torchrun` started together.

Process 0 is the run, with its folder and its words. The others train beside it, and leave nothing behind. Where one of
them dies or ends with an error, `torchrun` ends all of them and starts them again, and the run goes on from its newest
checkpoint.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from studio.config import RunConfig, write_config
from studio.engine.control import Control
from studio.errors import RunFolderError
from studio.events import RunFailed
from studio.runner.signals import on_signals
from studio.runner.state import Update
from studio.runner.worker import run_training
from studio.runs import RunFolder, create_run, list_runs, read_lock


@dataclass(frozen=True)
class Launch:
    """What `torchrun` says to this process.

    Attributes:
        id: of all that was started together; the same after a restart.
        rank: the number of this process, from 0.
        restarts: how often all have been started again.
    """

    id: str
    rank: int
    restarts: int

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Launch | None:
        """Return None where this program was started by itself."""
        if "TORCHELASTIC_RUN_ID" not in environment:
            return None
        rank, restarts = (int(environment.get(name, "0")) for name in ("RANK", "TORCHELASTIC_RESTART_COUNT"))
        return cls(environment["TORCHELASTIC_RUN_ID"], rank, restarts)

    def run_before(self, root: Path) -> RunFolder | None:
        """Return the run that was under way when these processes were started again."""
        return next((run for run in list_runs(root) if self.restarts and _launch_of(run) == self.id), None)

    def ended(self, run: RunFolder) -> bool:
        """Return whether these processes were started again for a run that needs nothing more: it finished, or was
        refused in words, and gave up its lock then.
        """
        return self.restarts > 0 and read_lock(run.path) is None


def train_beside(config: RunConfig) -> int:
    """Train beside process 0, in a folder that does not stay. Return the exit status, 1 with a sentence on stderr where
    it failed.
    """
    control = Control()
    status = 0

    def put(update: Update) -> None:
        nonlocal status
        if isinstance(update, RunFailed):
            status = 1
            sys.stderr.write(f"{update.sentence}\n")

    with (
        tempfile.TemporaryDirectory() as scratch,
        on_signals(lambda received: control.stop(), control.request_checkpoint),
    ):
        run_training(config, create_run(Path(scratch), "beside", write_config(config)), control, put)
    return status


def _launch_of(run: RunFolder) -> str:
    try:
        return str(run.read_state().get("launch", ""))
    except RunFolderError:
        return ""  # damaged, and another run
