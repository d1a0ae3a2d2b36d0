"""fp16-pure: everything in fp16, the trained weights too; no master copy. For seeing it fail."""

from studio.engine.precision.base import Precision
from studio.i18n import gettext_noop

PRECISION = Precision(
    name="fp16-pure",
    title=gettext_noop("fp16 pure"),
    explanation=gettext_noop(
        "The weights themselves are trained in fp16, without an fp32 master copy. Small updates are rounded away, "
        "sums between the layers overflow beyond 65504, and a weight below 2⁻²⁴ becomes zero. This is why mixed "
        "precision keeps a master copy."
    ),
    order=50,
    autocast="fp16",
    loss_scaling=True,
    parameters="fp16",
    for_study=gettext_noop(
        "For study only: fp16 weights without a master copy lose small updates and overflow beyond 65504; "
        "to get a good model take fp16-mixed, bf16-mixed or fp32."
    ),
)
