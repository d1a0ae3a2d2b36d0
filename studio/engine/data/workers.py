"""Work on the rows of a large file on all cores: in processes of their own, with the results in the order of the file.

This process reads the file. Each job, some rows, goes to a child; a table of what was made of them comes back. Rows and
tables travel as base64 in the JSON lines of `Child`.
"""

from __future__ import annotations

import base64
import functools
import logging
import os
import pickle
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import psutil

from studio.engine.child import POLL_SECONDS, Child, ChildFailed
from studio.engine.control import Progress
from studio.engine.data.readers.base import Row
from studio.engine.data.report import Tally
from studio.errors import Cancelled, DataError
from studio.i18n import tr

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

WORTHWHILE = 8 * 2**20
"""Bytes of the smallest file that is worth the start of processes, which takes seconds."""
_MEMORY = 1 << 30  # bytes that one process and the one that renders its templates need
_MOST = 16


_ROWS = 256
_CHARACTERS = 2**20


Job = TypeVar("Job")
_Job = TypeVar("_Job", contravariant=True)


class Encodes(Protocol[_Job]):
    """What is done with rows. It is pickled once for each process, and so is each job, such as some rows."""

    def encode(self, job: _Job, /) -> tuple[pa.RecordBatch, Tally]:
        """Return the table of the rows and what was counted."""


class Reporter:
    """Passes on reports of progress, and says the last one again for as long as another process is waited for."""

    def __init__(self, progress: Progress, stage: str) -> None:
        self._progress = progress
        self._last = (stage, 0, 0)

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._last = (stage, done, total)
        self._progress(stage, done, total)

    def again(self) -> None:
        self._progress(*self._last)


def processes_for(size: int) -> int:
    """Return how many processes encode a file of a size in bytes; 1 means this process alone."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    affordable = psutil.virtual_memory().available // _MEMORY
    return max(1, min(cores, affordable, _MOST)) if size >= WORTHWHILE else 1


def encode_in_order(
    encoder: Encodes[Job], jobs: Iterable[Job], processes: int, waiting: Callable[[], None]
) -> Generator[tuple[pa.RecordBatch, Tally]]:
    """Yield what the encoder makes of each job. Close it where it is not read to its end: that ends the processes.

    Args:
        processes: children that work at the same time; with 1, this process does all.
        waiting: called now and then while this process waits for the others; what it raises ends all.

    Raises:
        DataError: a process ended without a result, or whatever the encoder raises.
    """
    if processes == 1:
        yield from map(encoder.encode, jobs)
        return
    with TemporaryDirectory() as folder:
        pickled = Path(folder) / "encoder"
        pickled.write_bytes(pickle.dumps(encoder))
        team = _Team(str(pickled), processes)
        begun: deque[Future[tuple[bytes, Tally]]] = deque()
        try:
            for job in jobs:
                begun.append(team.submit(job))
                if len(begun) > 2 * processes:
                    yield _result(begun.popleft(), waiting)
            while begun:
                yield _result(begun.popleft(), waiting)
        finally:
            team.close()


def parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield rows in jobs of at most `_ROWS` rows and about `_CHARACTERS` characters."""
    part: list[Row] = []
    size = 0
    for row in rows:
        part.append(row)
        size += _size(row.values)
        if len(part) >= _ROWS or size >= _CHARACTERS:
            yield part
            part, size = [], 0
    if part:
        yield part


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 8


class _Team:
    """Threads that own a child each, and hand it one job after another."""

    def __init__(self, encoder: str, size: int) -> None:
        self._encoder = encoder
        self._own = threading.local()
        self._children: list[Child] = []
        self._closing = threading.Event()
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="encode")

    def submit(self, job: object) -> Future[tuple[bytes, Tally]]:
        return self._threads.submit(self._ask, job)

    def close(self) -> None:
        self._closing.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for child in self._children:
            child.close()

    def _ask(self, job: object) -> tuple[bytes, Tally]:
        if not hasattr(self._own, "child"):
            self._own.child = Child(_encode)
            self._children.append(self._own.child)
        asked = {"encoder": self._encoder, "job": base64.b64encode(pickle.dumps(job)).decode()}
        table, counted = self._own.child.ask(asked, self._unless_closing)
        return base64.b64decode(table), Tally.from_json(counted)

    def _unless_closing(self, *_: object) -> None:
        if self._closing.is_set():
            raise Cancelled(tr("Cancelled."))


def _result(future: Future[tuple[bytes, Tally]], waiting: Callable[[], None]) -> tuple[pa.RecordBatch, Tally]:
    import pyarrow as pa

    while not wait([future], timeout=POLL_SECONDS).done:
        waiting()
    try:
        table, counted = future.result()
    except ChildFailed as error:
        log.warning("A process that encodes rows ended with %d: %s", error.code, error)
        raise DataError(
            tr("A process that reads rows ended (status {code}); is there enough memory?").format(code=error.code)
        ) from error
    with pa.ipc.open_stream(table) as reader:
        return reader.read_next_batch(), counted


def _encode(asked: dict[str, Any], _: Progress) -> tuple[str, dict[str, Any]]:
    """Do one job, in the child."""
    import pyarrow as pa

    # What is unpickled was pickled by the process that started this one.
    job = pickle.loads(base64.b64decode(asked["job"]))
    batch, counted = _encoder(asked["encoder"]).encode(job)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return base64.b64encode(sink.getvalue()).decode(), counted.to_json()


@functools.cache
def _encoder(path: str) -> Encodes[Any]:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the other cores have their own process
    encoder: Encodes[Any] = pickle.loads(Path(path).read_bytes())
    return encoder
