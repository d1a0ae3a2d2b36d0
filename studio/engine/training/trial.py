"""The first trial: the longest micro-batches of a run go forward and backward before anything else happens."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import torch

from studio.engine.data.batching import MicroBatch, collate
from studio.engine.device import peak_memory
from studio.engine.fit import state_bytes
from studio.engine.sharding import part_of
from studio.engine.training.trainer import Trainer
from studio.events import MemoryMeasured

if TYPE_CHECKING:
    from studio.engine.data.rows import RowStore


def try_longest(trainer: Trainer, rows: RowStore, available: int) -> MemoryMeasured:
    """Find out whether the largest micro-batches fit, shrink them until they do, and return what was measured.

    Nothing that the run depends on changes: no weight, no gradient, no random number. `available` bytes were free
    before the model was loaded.

    Raises:
        TrainingError: not even a single row fits.
    """
    largest = trainer.within_memory("trial", lambda: _try(trainer, rows))
    return MemoryMeasured(
        rows=len(largest.rows),
        length=largest.input_ids.shape[1],
        peak=peak_memory(trainer.device),
        available=available,
        micro_batch_tokens=trainer.token_budget,
        recompute=trainer.model.recomputation.on,
        gpus=trainer.model.cards,
    )


def _try(trainer: Trainer, rows: RowStore) -> MicroBatch:
    """Try the micro-batch with the longest row and the one with most tokens; return the last one tried."""
    training = trainer.config.training
    longest_first = np.argsort(-rows.lengths, kind="stable")
    lengths = rows.lengths[longest_first] + trainer.model.loss.virtual_tokens
    counts = np.minimum(training.batch_size, np.maximum(1, trainer.token_budget // lengths))
    counts = np.minimum(counts, len(lengths) - np.arange(len(lengths)))
    # What later steps hold as well: the optimizer's states, and the gradients of the micro-batches before.
    held = Counter[torch.device]()
    for parameter in trainer.model.parameters:
        held[parameter.device] += part_of(parameter).numel()
    reserved = [
        torch.empty(state_bytes(training.optimizer, count) + 4 * count, dtype=torch.uint8, device=device)
        for device, count in held.items()
        if device.type == "cuda"
    ]
    for first in dict.fromkeys((0, int(np.argmax(counts * lengths)))):
        group = longest_first[first : first + counts[first]]
        batch = collate([rows[int(place)] for place in group], trainer.pad_id)
        trainer.try_out(batch)
    del reserved
    return batch
