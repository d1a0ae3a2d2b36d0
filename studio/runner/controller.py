"""Start, pause, stop and poll one training at a time. The worker never calls back; callers poll for its events."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import Empty, SimpleQueue

from studio.config import RunConfig, write_config
from studio.engine.control import Control
from studio.errors import TrainingError
from studio.i18n import tr
from studio.runner.record import Update
from studio.runner.worker import run_training
from studio.runs import RunFolder, create_run


class Controller:
    """Owns the worker thread of the current run."""

    def __init__(self, *, attended: bool = False) -> None:
        """`attended`: a user is there to answer, so that a run in trouble waits instead of ending."""
        self._attended = attended
        self.folder: RunFolder | None = None
        self._queue: SimpleQueue[Update] = SimpleQueue()
        self._control = Control()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def paused(self) -> bool:
        return self.running and self._control.pause_requested

    @property
    def stopping(self) -> bool:
        """Whether the run was asked to stop and has not ended yet."""
        return self.running and self._control.stop_requested

    def start(self, config: RunConfig, root: Path) -> RunFolder:
        """Create the run folder below `root` and start training in the background.

        Raises:
            TrainingError: a run is under way already.
            RunFolderError: the folder cannot be written.
        """
        if self.running:
            raise TrainingError(tr("A run is under way; stop it before starting another."))
        label = f"{Path(config.model.path).name}-{config.method.name}-{config.precision.name}"
        folder = create_run(root, label, write_config(config))
        self._control = Control(attended=self._attended)
        self._queue = SimpleQueue()
        self._thread = threading.Thread(
            target=run_training, args=(config, folder, self._control, self._queue.put), name="training", daemon=False
        )
        self.folder = folder
        self._thread.start()
        return folder

    def stop(self, *, save: bool = True) -> None:
        """Ask the run to finish its micro-batch, save the adapter unless told otherwise, and end."""
        self._control.stop(save=save)

    def pause(self) -> None:
        """Ask the run to wait after the present micro-batch."""
        self._control.pause()

    def resume(self) -> None:
        """Let a paused run go on."""
        self._control.resume()

    def apply_remedy(self, name: str) -> None:
        """Let the run, paused or not, continue with a remedy that one of its verdicts offers."""
        self._control.request_remedy(name)

    def poll(self) -> list[Update]:
        """Return the updates since the last call, in order, without waiting."""
        updates: list[Update] = []
        while True:
            try:
                updates.append(self._queue.get_nowait())
            except Empty:
                return updates

    def join(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds; return whether the worker has ended."""
        if self._thread is not None:
            self._thread.join(timeout)
        return not self.running
