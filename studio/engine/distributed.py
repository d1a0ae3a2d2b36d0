"""Several processes that train one model together, each on its own GPU, as `torchrun` starts them.

Data parallel: every process holds the whole model, takes its share of the rows of each update, and adds its gradients
to those of the others. All then apply the same update, so their weights stay equal (Li et al. 2020, arXiv 2006.15704).
Gradients are summed once an update, after the last micro-batch. So how a process splits its share, and whether it must
take it again in smaller micro-batches, is nobody else's concern.
"""

from __future__ import annotations

import datetime
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from studio.engine.control import Control
from studio.errors import NotReached, StudioError, TrainingError
from studio.i18n import tr

T = TypeVar("T")

log = logging.getLogger(__name__)

BUCKET = 32 << 20  # bytes of gradients that are sent at a time
_FAILURE = "failure"  # where a process leaves its sentence
_ERROR = "error"  # where the first process that meets an unexpected error leaves it
WAIT_SECONDS = 0.5  # between two looks at whether a pause is over
# One process may tokenise for hours while the others wait. Where one dies, the others learn of it at once.
_PATIENCE = datetime.timedelta(hours=24)


class Ranks:
    """The processes of a run, seen from one of them. Every one calls each method here at the same point.

    Attributes:
        rank: the number of this process. Number 0 writes the run folder and speaks for all.
        size: how many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def main(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    def share(self, items: Sequence[T], sizes: Sequence[int]) -> list[T]:
        """Return this process's share of `items`: all shares together are all items, and weigh about the same.

        Args:
            sizes: how much work each item is. The largest are dealt first, there and back.
        """
        if self.size == 1:
            return list(items)
        largest_first = sorted(range(len(items)), key=lambda index: (-sizes[index], index))
        mine = [index for place, index in enumerate(largest_first) if self._turn(place) == self.rank]
        return [items[index] for index in sorted(mine)]

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, in place."""
        if self.size == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            distributed.all_reduce(flat)
            parts = flat.split([tensor.numel() for tensor in bucket])
            torch._foreach_copy_(bucket, [part.view_as(tensor) for part, tensor in zip(parts, bucket, strict=True)])

    def total(self, *counts: int) -> list[int]:
        """Return the sum of each count over the processes."""
        if self.size == 1:
            return list(counts)
        sums = torch.tensor(counts, dtype=torch.int64)
        distributed.all_reduce(sums)
        return [int(value) for value in sums]

    def any(self, *flags: bool) -> list[bool]:
        """Return of each flag whether it is set in one of the processes."""
        return [count > 0 for count in self.total(*map(int, flags))]

    def main_says(self, *flags: bool) -> list[bool]:
        """Return the flags of process 0."""
        return self.any(*(flag and self.main for flag in flags))

    def most(self, count: int) -> int:
        """Return the largest count of a process."""
        return max(self.total(*(count if rank == self.rank else 0 for rank in range(self.size))))

    def gather(self, value: T) -> list[T]:
        """Return what every process holds, in their order."""
        if self.size == 1:
            return [value]
        found: list[T | None] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found  # type: ignore[return-value]

    def from_main(self, value: T) -> T:
        """Return what process 0 holds."""
        if self.size == 1:
            return value
        held = [value if self.main else None]
        distributed.broadcast_object_list(held, src=0)
        return held[0]  # type: ignore[return-value]

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Let process 0 do the work first; the others then find what it left behind."""
        if not self.main:
            self.total(0)
        yield
        if self.main:
            self.total(0)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let one process after the other do the work, which takes memory that there is not for all of them at once."""
        for _ in range(self.rank):
            self.total(0)
        yield
        for _ in range(self.rank, self.size):
            self.total(0)

    def control(self, control: Control) -> Control:
        """Return a control that says the same in every process at the same step."""
        return control if self.size == 1 else _AgreedControl(self, control)

    def _turn(self, place: int) -> int:
        row, column = divmod(place, self.size)
        return column if row % 2 == 0 else self.size - 1 - column


ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that `torchrun` started together with this one; alone where it was started by itself.

    Raises:
        NotReached: the others cannot be reached.
        TrainingError: one of them has failed; with its sentence.
        RuntimeError: one of them met an unexpected error; with its words.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "MASTER_ADDR" not in os.environ:
        yield ALONE
        return
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # what `cuda` means from here on
    try:
        store, rank, size = next(rendezvous("env://", timeout=_PATIENCE))
        # After a restart torchrun offers the store of before, and addresses of processes that are gone are still in it.
        store = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise NotReached(
            tr("The {count} processes of this run cannot reach each other: {reason}").format(
                count=size, reason=str(error).split("\n")[0]
            )
        ) from error
    try:
        yield Ranks(rank, size)
    except StudioError as error:
        store.set(_FAILURE, str(error))  # the others only see that this process is gone
        raise
    except Exception as error:
        if sentence := _sentence_of_another(store):
            raise TrainingError(sentence) from error
        own = f"{type(error).__name__} in process {rank}: {error}"
        if (first := _first_error(store, own)) != own:  # this one has only lost its connection
            raise RuntimeError(first) from error
        raise
    finally:
        distributed.destroy_process_group()


def _sentence_of_another(store: Store) -> str:
    """Return why another process failed; empty where none has said so, or the store is gone with it."""
    try:
        return store.get(_FAILURE).decode() if store.check([_FAILURE]) else ""
    except RuntimeError as error:
        log.warning("The other processes cannot be asked: %s", error)
        return ""


def _first_error(store: Store, own: str) -> str:
    """Return the unexpected error that a process met first: this process's own where no other has told one."""
    try:
        return store.compare_set(_ERROR, "", own).decode()
    except RuntimeError as error:
        log.warning("The other processes cannot be asked: %s", error)
        return own


class _AgreedControl(Control):
    """What was asked of any of the processes. It changes in `agree` alone, which all of them call at the same step."""

    def __init__(self, ranks: Ranks, own: Control) -> None:
        super().__init__()
        self._ranks = ranks
        self._own = own

    def agree(self) -> None:
        own = self._own
        stop, pause, discard, checkpoint = self._ranks.any(
            own.stop_requested, own.pause_requested, own.discard_requested, own.take_checkpoint_request()
        )
        if pause and not stop:
            self.pause()
        else:
            self.resume()
        if stop:
            self.stop(save=not discard)
        if checkpoint:
            self.request_checkpoint()

    def wait_while_paused(self, seconds: float | None = None) -> None:
        while self.pause_requested:
            self._own.wait_while_paused(WAIT_SECONDS)
            self.agree()


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Put neighbours of one format together, up to the size of a bucket."""
    bucket: list[Tensor] = []
    room = 0
    for tensor in tensors:
        taken = tensor.numel() * tensor.element_size()
        if bucket and (taken > room or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        if not bucket:
            room = BUCKET
        bucket.append(tensor)
        room -= taken
    if bucket:
        yield bucket
