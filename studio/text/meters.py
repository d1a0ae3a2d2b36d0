"""The words of the meters: why a GPU is slowed down, and the figures with their units."""

from __future__ import annotations

from collections.abc import Sequence

from studio.i18n import gettext_noop, tr

THROTTLES = {
    "power_limit": gettext_noop("power limit"),
    "heat": gettext_noop("heat"),
    "heat_hardware": gettext_noop("heat, by the hardware itself"),
    "power_brake": gettext_noop("the power supply asks for it"),
    "hardware": gettext_noop("the hardware protects itself"),
}


def throttle_text(codes: Sequence[str]) -> str:
    """Return why a GPU runs slower than it could, such as "power limit, heat"; a code that is not known is shown."""
    return tr(", ").join(tr(THROTTLES[code]) if code in THROTTLES else code for code in codes)


def degrees(value: float) -> str:
    """A temperature."""
    return tr("{degrees} °C").format(degrees=f"{value:.0f}")


def watts(value: float) -> str:
    """An electric power."""
    return tr("{watts} W").format(watts=f"{value:.0f}")
