"""The rows of the heat map: numbers of layers, thinned to what fits; names of modules where there is room."""

from __future__ import annotations

import math
from collections.abc import Sequence

from studio.i18n import tr
from studio.ui.override import override
from studio.ui.plots.axes import Log2Axis, Ticks, ValueAxis

_STRIDES = (1, 2, 4, 5, 10, 20, 25, 50, 100)


class ModuleAxis(ValueAxis):
    """Module m lies between −m−1 and −m, so that the forward pass runs from top to bottom."""

    widest = Log2Axis.widest

    def __init__(self) -> None:
        super().__init__()
        self.setGrid(False)
        self._names: Sequence[str] = ()
        self._layers: dict[int, list[int]] = {}

    def set_names(self, names: Sequence[str]) -> None:
        """Name the rows."""
        self._names = names
        self._layers = {}
        for module, name in enumerate(names):
            if (layer := layer_of(name)) is not None:
                self._layers.setdefault(layer, []).append(module)
        self.picture = None

    @override
    def candidates(self, low: float, high: float, size: float) -> Ticks:
        first, last = max(0, math.floor(-high)), min(len(self._names), math.ceil(-low))
        if (high - low) * self.style["tickTextHeight"] <= size:
            return [(None, [-module - 0.5 for module in range(first, last)])]
        middles = [-(rows[0] + rows[-1] + 1) / 2 for rows in self._layers.values()]
        if len(middles) < 2:
            return [(None, middles)]
        apart = abs(middles[-1] - middles[0]) / (len(middles) - 1) * size / max(high - low, 1e-9)
        stride = next((s for s in _STRIDES if s * apart >= 1.5 * self.style["tickTextHeight"]), _STRIDES[-1])
        return [(None, [m for layer, m in zip(self._layers, middles, strict=True) if layer % stride == 0])]

    @override
    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        middles = {-(rows[0] + rows[-1] + 1) / 2: layer for layer, rows in self._layers.items()}
        low, high = self.range
        if (high - low) * self.style["tickTextHeight"] <= self.size().height():
            return [self._shortened(short_name(self._names[math.floor(-value)])) for value in values]
        return [tr("layer {number}").format(number=middles[value]) for value in values]

    def _shortened(self, text: str) -> str:
        room = self.text_width(self.widest)
        while len(text) > 4 and self.text_width(text) > room:
            text = f"{text.rstrip('…')[:-1]}…"
        return text


def layer_of(name: str) -> int | None:
    """Return the number of the layer that a module belongs to: the first number in its dotted name."""
    return next((int(part) for part in name.split(".") if part.isdigit()), None)


def title_of(name: str) -> str:
    """Return a module's name as a title: Layer 12 down_proj for model.layers.12.mlp.down_proj."""
    layer, last = layer_of(name), name.rpartition(".")[2]
    if layer is None:
        return last
    words = tr("Layer {number}").format(number=layer)
    return words if last == str(layer) else f"{words} {last}"


def short_name(name: str) -> str:
    """Return a module's name without what all of them share: 12 down_proj for model.layers.12.mlp.down_proj."""
    layer, last = layer_of(name), name.rpartition(".")[2]
    if layer is None:
        return last
    return tr("layer {number}").format(number=layer) if last == str(layer) else f"{layer} {last}"
