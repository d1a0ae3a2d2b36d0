"""Prepare the data of a run: training rows, validation rows, their order, and a report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from studio.config import DataConfig, DataSource
from studio.config.data import RENDERING
from studio.engine.control import Progress, no_progress
from studio.engine.data.findings import Finding, find
from studio.engine.data.findings.examples import Examples
from studio.engine.data.hub import local_sources
from studio.engine.data.mixing import SourceRows, TrainingOrder
from studio.engine.data.readers.files import printable
from studio.engine.data.readers.open import source_path
from studio.engine.data.render import Renderer
from studio.engine.data.report import DataReport, Remark
from studio.engine.data.rows import RowStore, TokenizedRow, column
from studio.engine.data.split import held_out
from studio.engine.data.tokenise import TokenisedSource, tokenise
from studio.errors import DataError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class PreparedData:
    """The data of a run.

    Attributes:
        train: the domain rows, then the general rows.
        validation: domain rows that are never trained on; may be empty.
        order: which rows of `train` each epoch takes.
        report: how many rows were read and skipped, and why.
        findings: what is wrong with some of the rows that are used.
    """

    train: RowStore
    validation: RowStore
    order: TrainingOrder
    report: DataReport
    findings: tuple[Finding, ...] = ()

    @property
    def longest(self) -> int:
        """Tokens of the longest row, for training and for validation."""
        return max(int(store.lengths.max()) for store in (self.train, self.validation) if len(store))

    def batch(self, number: int, size: int) -> list[TokenizedRow]:
        """Return the rows of one update; `number` counts batches of `size` rows over all epochs, from 0.

        It is a pure function of the number, so that a retry and a resumed run see the same rows.
        """
        epoch, place = divmod(number, math.ceil(self.order.rows_per_epoch / size))
        return [self.train[int(row)] for row in self.order.epoch(epoch)[place * size : (place + 1) * size]]


@dataclass(frozen=True)
class _Division:
    """Which of all rows are for training and which for validation, as indices.

    `left_out` counts the rows that are left out because of a finding, by its name; `problems` says what was noticed.
    """

    domain: NDArray[np.int64]
    general: NDArray[np.int64]
    validation: NDArray[np.int64]
    left_out: dict[str, int]
    problems: tuple[Remark, ...]


def prepare_data(
    config: DataConfig,
    tokenizer: PreTrainedTokenizerBase,
    kind: Literal["base", "chat"],
    seed: int,
    progress: Progress = no_progress,
) -> PreparedData:
    """Read, render, tokenise, split and order the data of a run.

    The result depends on nothing but the arguments and the content of the files.

    Raises:
        DataError: a file cannot be read or has no usable row, or the sources do not fit the settings.
        ModelError: the tokenizer or its template cannot be used.
        Cancelled: the user cancelled.
    """
    from datasets import concatenate_datasets

    _refuse_missing_roles(config)
    # A dataset of the hub may be several files; it is one source to the order all the same.
    asked = [source for source in config.sources if source.weight]
    files = [(file, number) for number, source in enumerate(asked) for file in local_sources(source, progress)]
    config = config.model_copy(update={"sources": tuple(file for file, _ in files)})
    renderer = Renderer(tokenizer, kind, **config.model_dump(include=RENDERING))
    parts = [tokenise(source, renderer, progress) for source in config.sources]
    table = concatenate_datasets([part.dataset() for part in parts])
    source_of = np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts])
    examples = Examples(table, source_of, [part.tally for part in parts], config.max_length)
    division = _divide(config, column(table, "digest"), source_of, seed, examples)
    findings = find(examples.within(np.concatenate([division.domain, division.general]), division.validation), progress)
    sources = [(str(source_path(source)), source.role) for source in config.sources]
    asked_of = np.array([number for _, number in files])[source_of]
    domain, general = (_counted(asked, asked_of[rows]) for rows in (division.domain, division.general))
    order = TrainingOrder(domain, general, config.replay_ratio, config.mixing, seed, config.block_rows)
    left_out = [Remark.of("rows_left_out", finding=name, count=count) for name, count in division.left_out.items()]
    problems = (*_about_settings(config, order, tokenizer), *left_out, *division.problems)
    return PreparedData(
        train=RowStore(table, np.concatenate([division.domain, division.general]), sources, source_of),
        validation=RowStore(table, division.validation, sources, source_of),
        order=order,
        report=_report(config.sources, parts, problems, division.left_out),
        findings=findings,
    )


def _counted(sources: Sequence[DataSource], source_of: NDArray[np.int64]) -> list[SourceRows]:
    """Return the sources that have rows among these, with their counts; rows of one source are neighbours, in order."""
    numbers, counts = np.unique(source_of, return_counts=True)
    return [SourceRows(int(count), sources[number].weight) for number, count in zip(numbers, counts, strict=True)]


def _refuse_missing_roles(config: DataConfig) -> None:
    roles = {source.role for source in config.sources if source.weight}
    left_out = {source.role for source in config.sources} - roles
    if "domain" in left_out:
        raise DataError(tr("Every source of the role Domain has the weight 0; give one of them a larger weight."))
    if "domain" not in roles:
        raise DataError(tr("No source has the role Domain; give it to the file that the model is to learn."))
    if config.replay_ratio == 0 or "general" in roles:
        return
    if "general" in left_out:
        words = tr(
            "The general share is {ratio:.0%} but every source of the role General has the weight 0; give one of them "
            "a larger weight or set the share to 0."
        )
    else:
        words = tr(
            "The general share is {ratio:.0%} but no source has the role General; "
            "add a general dataset or set the share to 0."
        )
    raise DataError(words.format(ratio=config.replay_ratio))


def _divide(
    config: DataConfig, digests: NDArray[np.int64], source_of: NDArray[np.int64], seed: int, examples: Examples
) -> _Division:
    problems, left_out = [], Counter[str]()
    used = np.ones(len(digests), dtype=np.bool_)
    for name in config.leave_out:
        rows = examples.having(name) & used
        used &= ~rows
        left_out[name] += int((rows & examples.begins).sum())
    is_general = np.array([source.role == "general" for source in config.sources])[source_of]
    domain = np.flatnonzero(~is_general & used)
    if not len(domain):
        raise DataError(tr("Every domain row is left out because of a finding; leave fewer of them out."))
    held = np.zeros(len(digests), dtype=np.bool_)
    held[domain] = held_out(digests[domain], config.validation_fraction, seed)
    if config.validation_fraction > 0 and not held.any():
        problems.append(Remark("nothing_held_out"))
    general = is_general & used & (config.replay_ratio > 0)
    leaks = general & np.isin(digests, digests[held])
    if leaks.any():
        problems.append(Remark.of("general_rows_held_out", count=int(leaks.sum())))
    trained = (~is_general & used & ~held) | (general & ~leaks)
    if "leaked" in config.leave_out:
        moved = examples.having("leaked", trained, held)
        held, trained = held & ~moved, trained | moved
        left_out["leaked"] += int((moved & examples.begins).sum())
    return _Division(
        domain=np.flatnonzero(trained & ~is_general),
        general=np.flatnonzero(trained & is_general),
        validation=np.flatnonzero(held),
        left_out=dict(+left_out),  # without the zeros
        problems=tuple(problems),
    )


def _about_settings(config: DataConfig, order: TrainingOrder, tokenizer: PreTrainedTokenizerBase) -> list[Remark]:
    problems = []
    if tokenizer.eos_token is None:
        problems.append(Remark("no_end_token"))
    if config.replay_ratio > 0 and not order.general_per_epoch:
        problems.append(Remark("general_share_too_small"))
    if config.replay_ratio == 0 and any(source.role == "general" for source in config.sources):
        problems.append(Remark("general_rows_unused"))
    paths = Counter(source_path(source).resolve() for source in config.sources)
    problems += [
        Remark.of("listed_repeatedly", file=printable(path), count=count) for path, count in paths.items() if count > 1
    ]
    return problems


def _report(
    sources: Sequence[DataSource],
    parts: Sequence[TokenisedSource],
    problems: Sequence[Remark],
    left_out: dict[str, int],
) -> DataReport:
    named = [(source_path(source), part) for source, part in zip(sources, parts, strict=True)]
    skipped = sum((part.tally.skipped for part in parts), Counter[Remark]())
    about_rows = [problem for path, part in named for problem in part.tally.problems(printable(path))]
    return DataReport(
        rows=sum(part.tally.rows for part in parts),
        skipped=dict(skipped),
        problems=(*problems, *about_rows),
        left_out=left_out,
        fingerprints={str(path): part.fingerprint for path, part in named},
    )
