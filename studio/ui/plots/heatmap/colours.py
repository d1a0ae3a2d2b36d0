"""The colours of the heat map: lightness follows the value, the hue changes at the limits of fp16.

The ramps run through OKLab (Ottosson 2020), in which equal distances look equally large. In the light theme larger is
darker, in the dark theme lighter, so that what is blank or tiny is near the card's own colour. The cold hues of finite
values and the warm ones of overflow stay apart under the common kinds of colour blindness.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from studio.exponents import FP16
from studio.ui import theme

# Exponents of two that the ramp spans; what lies beyond has the colour of the end.
LOW, HIGH = -34.0, 18.0
OVERFLOW = 16.0
LEVELS = 1040
BLANK, ALARM = LEVELS, LEVELS + 1
Colours = NDArray[np.uint32]

# Lightness, chroma and hue (degrees) at both ends of: flushed to zero, subnormal, normal. Each zone begins a step
# away from the end of the one before, which makes the limit visible.
_Lch = tuple[float, float, float]
_LIGHT: tuple[tuple[_Lch, _Lch], ...] = (
    ((0.955, 0.006, 90.0), (0.910, 0.010, 90.0)),
    ((0.875, 0.045, 195.0), (0.780, 0.080, 200.0)),
    ((0.730, 0.095, 230.0), (0.265, 0.140, 278.0)),
)
_DARK: tuple[tuple[_Lch, _Lch], ...] = (
    ((0.270, 0.008, 90.0), (0.320, 0.012, 90.0)),
    ((0.370, 0.060, 230.0), (0.450, 0.090, 230.0)),
    ((0.480, 0.130, 268.0), (0.950, 0.050, 200.0)),
)
_BEYOND: dict[bool, _Lch] = {False: (0.720, 0.170, 62.0), True: (0.740, 0.160, 62.0)}
_ALARM: dict[bool, _Lch] = {False: (0.560, 0.225, 22.0), True: (0.680, 0.200, 27.0)}


def exponent_colours() -> Colours:
    """Return the colours of exponents from `LOW` to `HIGH`, then that of blank and that of not finite (0xAARRGGBB)."""
    return _exponent_colours(theme.palette().dark)


def share_colours() -> Colours:
    """Return the colours of shares from 0 to 1, then that of blank and that of not finite."""
    return _share_colours(theme.palette().dark)


@cache
def _exponent_colours(dark: bool) -> Colours:
    exponents = np.linspace(LOW, HIGH, LEVELS)
    limits = (LOW, FP16.smallest - 1, FP16.smallest_normal, OVERFLOW)
    lch = np.empty((LEVELS, 3))
    for (begin, end), low, high in zip(_DARK if dark else _LIGHT, limits[:-1], limits[1:], strict=True):
        inside = (exponents >= low) & (exponents < high)
        part = ((exponents[inside] - low) / (high - low))[:, None]
        lch[inside] = (1 - part) * np.array(begin) + part * np.array(end)
    lch[exponents >= OVERFLOW] = _BEYOND[dark]
    return _with_blank_and_alarm(lch, dark)


@cache
def _share_colours(dark: bool) -> Colours:
    begin, end = (_DARK if dark else _LIGHT)[2]
    first = (_DARK if dark else _LIGHT)[0][0]
    part = np.linspace(0.0, 1.0, LEVELS)[:, None]
    lch = (1 - part) * np.array((first[0], begin[1] * 0.3, begin[2])) + part * np.array(end)
    return _with_blank_and_alarm(lch, dark)


def _with_blank_and_alarm(lch: NDArray[np.float64], dark: bool) -> Colours:
    return np.concatenate([_packed(lch), np.zeros(1, np.uint32), _packed(np.array([_ALARM[dark]]))])


def _packed(lch: NDArray[np.float64]) -> Colours:
    """OKLCh to opaque sRGB in one number."""
    lightness, chroma, hue = lch[:, 0], lch[:, 1], np.radians(lch[:, 2])
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ]
    ).clip(0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(encoded * 255).astype(np.uint32)
    packed: Colours = np.uint32(0xFF000000) | (red << np.uint32(16)) | (green << np.uint32(8)) | blue
    return packed
