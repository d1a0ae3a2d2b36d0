"""The numbers behind the pictures as CSV (RFC 4180, UTF-8), every value as it was recorded."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from studio.engine.control import Progress
from studio.errors import ExportError
from studio.events import NumericsSampled, spell_non_finite
from studio.exponents import FORMATS, Histogram
from studio.runner.numerics import floor_steps, scale_growths
from studio.runner.record import RunRecord
from studio.ui.plots.export import cannot_write

Row: TypeAlias = Sequence[Any]
STATISTICS = tuple(
    f"{part}_{key}" for part in ("activation", "gradient") for key in ("largest", "zeros", "subnormal", "non_finite")
)
KINDS = ("parameters", "gradients")


def module_rows(names: Sequence[str], samples: Sequence[NumericsSampled]) -> Iterator[Row]:
    """Yield a row for every module of every sample; gradients are unscaled, shares are 0 to 1."""
    yield ("step", "module", "grad_scale", "because", *STATISTICS)
    for sample in samples:
        columns = [getattr(sample, key) for key in STATISTICS]
        for module, name in enumerate(names):
            yield (sample.step, name, sample.grad_scale, sample.because, *(column[module] for column in columns))


def histogram_rows(samples: Sequence[NumericsSampled]) -> Iterator[Row]:
    """Yield a row for every filled bin: how many numbers lie from 2^exponent up to twice that, unscaled."""
    yield ("step", "grad_scale", "of", "exponent", "count")
    for sample in samples:
        for kind in KINDS:
            histogram = Histogram.from_dict(getattr(sample, kind))
            bins = [("zero", histogram.zeros), ("non_finite", histogram.non_finite)]
            bins += [(str(histogram.first + place), count) for place, count in enumerate(histogram.counts)]
            yield from ((sample.step, sample.grad_scale, kind, name, count) for name, count in bins if count)


def scale_rows(samples: Sequence[NumericsSampled], scales: Iterable[int]) -> Iterator[Row]:
    """Yield what each format would do to the samples' gradients at each power of two as a loss scale."""
    yield ("step", "of", "format", "log2_scale", "zero", "subnormal", "normal", "overflow")
    for sample, kind, name, exponent in itertools.product(samples, KINDS, ("fp16", "bf16"), scales):
        shares = Histogram.from_dict(getattr(sample, kind)).shares(2.0**exponent, FORMATS[name])
        yield (sample.step, kind, name, exponent, shares.zero, shares.subnormal, shares.normal, shares.overflow)


def step_rows(record: RunRecord) -> Iterator[Row]:
    """Return a row for every attempted step: loss, norm and scale, whether it was skipped, and what the scale did.

    The record may grow while the rows are written: they are about the steps that there are now.
    """
    scale = record.series["grad_scale"]
    count = min(len(record.series["loss"]), len(record.series["grad_norm"]))
    scales = dict(zip(scale.x, scale.y, strict=True))
    marks = tuple(set(found) for found in (record.skips, scale_growths(scale), floor_steps(record)))
    return _step_rows(record, count, scales, marks)


def _step_rows(
    record: RunRecord, count: int, scales: Mapping[float, float], marks: Sequence[Container[float]]
) -> Iterator[Row]:
    yield ("step", "loss", "grad_norm", "grad_scale", "skipped", "growth", "floor")
    losses, norms = record.series["loss"], record.series["grad_norm"]
    for step, loss, norm in zip(losses.x[:count], losses.y[:count], norms.y[:count], strict=True):
        yield (int(step), float(loss), float(norm), scales.get(step), *(int(step in found) for found in marks))


def write_csv(path: Path, rows: Iterable[Row], progress: Progress) -> None:
    """Write rows to a file; numbers that are not finite are spelled nan, inf and -inf.

    Raises:
        Cancelled: the user cancelled; what was written so far stays.
        ExportError: the file cannot be written.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            for number, row in enumerate(rows):
                writer.writerow(spell_non_finite(list(row)))
                if number % 1000 == 0:
                    progress("writing", number, 0)
    except OSError as error:
        raise ExportError(cannot_write(path, error)) from error
