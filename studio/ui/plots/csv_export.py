"""The numbers behind the pictures as CSV (RFC 4180, UTF-8), every value as it was recorded."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from studio.engine.control import Progress
from studio.errors import ExportError
from studio.events import NumericsSampled, spell_non_finite
from studio.exponents import FORMATS, Histogram
from studio.runner.numerics import floor_steps, scale_growths
from studio.runner.record import OF_SOME_STEPS, OF_STEPS, RunRecord, as_recorded
from studio.runner.verdicts import verdict_words
from studio.ui.plots.picture_export import cannot_write

Row: TypeAlias = Sequence[Any]
STATISTICS = tuple(
    f"{part}_{key}" for part in ("activation", "gradient") for key in ("largest", "zeros", "subnormal", "non_finite")
)
KINDS = ("parameters", "gradients")
COUNTS = ("update", "tokens", "supervised_tokens")


def module_rows(names: Sequence[str], samples: Sequence[NumericsSampled]) -> Iterator[Row]:
    """Yield a row for every module of every sample; gradients are unscaled, shares are 0 to 1."""
    yield ("step", "module", "grad_scale", "because", *STATISTICS)
    for sample in samples:
        columns = [as_recorded(sample, key) for key in STATISTICS]
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
    """Return a row for every attempted step: all that was measured, whether it was skipped, and what the scale did.

    Norms are unscaled, before and after clipping; `seconds` are of the step alone.

    The record may grow while the rows are written: they are about the steps that there are now.
    """
    scale = record.series["grad_scale"]
    count = min(len(record.series[key]) for key in OF_STEPS)
    some = {key: dict(zip(record.series[key].x, record.series[key].y, strict=True)) for key in OF_SOME_STEPS}
    marks = tuple(set(found) for found in (record.skips, scale_growths(scale), floor_steps(record)))
    return _step_rows(record, count, some, marks)


def measurement_rows(record: RunRecord) -> Iterator[Row]:
    """Yield a row for every step at which validation or retention was measured; losses and KL in nats a token."""
    keys = ("validation", "retention", "perplexity", "base_perplexity", "kl")
    yield ("step", *keys)
    found = {key: dict(zip(record.series[key].x, record.series[key].y, strict=True)) for key in keys}
    for step in sorted(set().union(*found.values())):
        yield (int(step), *(found[key].get(step) for key in keys))


def rows_of_runs(records: Sequence[RunRecord], rows: Callable[[RunRecord], Iterator[Row]]) -> Iterator[Row]:
    """Yield the same table of several runs, each row after the name of its run."""
    for number, record in enumerate(records):
        title, *table = rows(record)
        if not number:
            yield ("run", *title)
        name = record.folder.name if record.folder else ""
        yield from ((name, *row) for row in table)


def verdict_rows(record: RunRecord) -> Iterator[Row]:
    """Yield a row for every verdict of the diagnosis; the evidence is a JSON object, as in the journal."""
    yield ("step", "class", "harmful", "sentence", "advice", "remedies", "evidence")
    for found in list(record.verdicts):
        evidence = json.dumps(spell_non_finite(found.evidence), ensure_ascii=False)
        remedies = " ".join(found.remedies)
        yield (found.step, found.verdict, int(found.harmful), *verdict_words(found), remedies, evidence)


def _step_rows(
    record: RunRecord, count: int, some: Mapping[str, Mapping[float, float]], marks: Sequence[Container[float]]
) -> Iterator[Row]:
    yield ("step", *OF_STEPS, *some, "skipped", "growth", "floor")
    # The view of a series that grows stays what it was.
    columns = [record.series[key].y[:count] for key in OF_STEPS]
    for step, *values in zip(record.series[OF_STEPS[0]].x[:count], *columns, strict=True):
        measured = (_whole(key, float(value)) for key, value in zip(OF_STEPS, values, strict=True))
        rare = (known.get(step) for known in some.values())
        yield (int(step), *measured, *rare, *(int(step in found) for found in marks))


def _whole(key: str, value: float) -> float | int:
    return int(value) if key in COUNTS else value


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
