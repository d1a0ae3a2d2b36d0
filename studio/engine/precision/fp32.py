"""fp32: every number in 32 bits."""

from studio.engine.precision.base import Precision
from studio.i18n import gettext_noop

PRECISION = Precision(
    name="fp32",
    title=gettext_noop("fp32"),
    explanation=gettext_noop(
        "Every number has 32 bits: 8 for the range, 23 for the detail. The most stable and the dearest: twice the "
        "memory traffic of 16-bit formats and no use of the fast 16-bit units. Take it as the reference, or when "
        "the hardware has nothing better."
    ),
    order=10,
    autocast=None,
    loss_scaling=False,
)
