"""From modules × samples to a picture: steps and modules beyond the pixels are reduced by their maximum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QImage

from studio.runner.numerics import ModuleMatrix
from studio.ui.plots.heatmap.colours import ALARM, BLANK, HIGH, LEVELS, LOW, Colours

Array = NDArray[np.float64]


def reduced(matrix: ModuleMatrix, edges: Array, modules: tuple[int, int], rows: int) -> Array:
    """Return what each cell of a picture shows, shape (at most `rows`, columns); nan where there is nothing.

    Where several samples hold within one column, or several modules share a row, the largest value stands for them,
    an infinite one above all, so that nothing of a step is lost.

    Args:
        matrix: has at least one sample.
        edges: the steps at which the columns begin, and the one at which the last of them ends, ascending.
        modules: the first module in view and the one after the last.
    """
    columns = len(edges) - 1
    starts, ends = _intervals(np.array(matrix.begins), edges)
    changes = np.flatnonzero(np.diff(starts, prepend=-1) | np.diff(ends, prepend=-1))
    begin, end = modules
    count = min(rows, end - begin)
    of = np.array([*matrix.of[starts[0] : ends[-1]], -1])  # reduceat wants a place beyond the last interval
    values = np.where(of[:, None] < 0, np.nan, matrix.values[of, begin:end])
    cells = _largest(values, starts[changes] - starts[0], ends[changes] - starts[0])
    cells[ends[changes] == 0] = np.nan
    if count < end - begin:
        cells = np.fmax.reduceat(cells, np.linspace(0, end - begin, count, endpoint=False).astype(int), axis=1)
    return np.repeat(cells, np.diff(changes, append=columns), axis=0).T


def _largest(values: Array, starts: NDArray[np.intp], ends: NDArray[np.intp]) -> Array:
    """Return the largest of each interval of rows; those of one row, which are most of them, are only copied."""
    result = values[starts]
    long = np.flatnonzero(ends - starts > 1)
    if len(long):
        pairs = np.stack([starts[long], ends[long]], axis=1).ravel()
        result[long] = np.fmax.reduceat(values, pairs, axis=0)[::2]
    return result


def _intervals(begins: NDArray[np.int_], edges: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return from which to before which of the holding samples each column shows.

    A column shows all that begin within it; one in which nothing begins shows what holds there. The first column
    shows what held before as well.
    """
    ends = np.searchsorted(begins, edges[1:])
    before = np.concatenate([[max(0, int(np.searchsorted(begins, edges[0], side="right")) - 1)], ends[:-1]])
    starts = np.where(ends > before, before, np.maximum(ends - 1, 0))
    return starts, ends


def exponent_levels(cells: Array) -> NDArray[np.intp]:
    """Return the place in `exponent_colours` of each value."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _levels(np.log2(cells), LOW, HIGH)


def share_levels(cells: Array) -> NDArray[np.intp]:
    """Return the place in `share_colours` of each value."""
    return _levels(cells, 0.0, 1.0)


def picture(levels: NDArray[np.intp], colours: Colours) -> QImage:
    """Return the cells as an image, one pixel each."""
    pixels = np.ascontiguousarray(colours[levels])
    height, width = pixels.shape
    image = QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_ARGB32_Premultiplied)
    return image.copy()  # the pixels belong to numpy


def _levels(values: Array, low: float, high: float) -> NDArray[np.intp]:
    place = (np.clip(values, low, high) - low) * ((LEVELS - 1) / (high - low))
    blank = np.isnan(place)
    place[blank] = BLANK
    place[np.isposinf(values)] = ALARM
    return np.rint(place).astype(np.intp)
