"""All prepared rows of one source, for looking at: each is read from disk by its place, without the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from studio.config import DataSource
from studio.config.data import MAX_LENGTH, TRAIN_ON, TrainOn
from studio.engine.control import Progress, no_progress
from studio.engine.data.hub import local_sources
from studio.engine.data.readers.open import source_path
from studio.engine.data.render import Renderer
from studio.engine.data.report import Tally
from studio.engine.data.rows import RowStore
from studio.engine.data.tokenise import tokenise

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class PreparedRows:
    """The rows of one source, exactly as a run trains on them.

    Attributes:
        rows: all rows in the order of the file. Their lengths and counts are in memory, their tokens on disk.
        tallies: what was counted and skipped, by file; a dataset of the hub may have several files.
    """

    rows: RowStore
    tallies: dict[str, Tally]


def prepared_rows(
    source: DataSource,
    tokenizer: PreTrainedTokenizerBase,
    kind: Literal["base", "chat"],
    train_on: TrainOn = TRAIN_ON,
    max_length: int = MAX_LENGTH,
    progress: Progress = no_progress,
) -> PreparedRows:
    """Return all rows of a source: at once when they were prepared before, otherwise they are prepared now.

    Raises:
        DataError: a file cannot be read or has no usable row.
        ModelError: the tokenizer or its template cannot be used.
        Cancelled: the user cancelled.
    """
    from datasets import concatenate_datasets

    renderer = Renderer(tokenizer, kind, train_on, max_length)
    files = local_sources(source, progress)
    parts = [tokenise(file, renderer, progress) for file in files]
    table = concatenate_datasets([part.rows for part in parts])
    paths = [str(source_path(file)) for file in files]
    return PreparedRows(
        rows=RowStore(
            table,
            np.arange(len(table)),
            [(path, source.role) for path in paths],
            np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts]),
        ),
        tallies={path: part.tally for path, part in zip(paths, parts, strict=True)},
    )
