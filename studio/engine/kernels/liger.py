"""The kernels of Liger (Hsu et al. 2024, arXiv 2410.10989) in place of the norms, activations and rotations of a model.

The library is optional, and is for GPUs that Triton knows. It replaces classes and functions in the modules of
transformers, which every model that is loaded later would meet, on a processor too. Here a single model is changed.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from studio.engine.kernels.rotary import replace_rotary

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def use_liger(base: PreTrainedModel) -> bool:
    """Let a model compute with Liger; return whether the library knows its architecture.

    Raises:
        ImportError: it is not installed, or cannot be used on this machine.
    """
    patching: Any = importlib.import_module("liger_kernel.transformers.monkey_patch")
    if base.config.model_type not in patching.MODEL_TYPE_TO_APPLY_LIGER_FN:
        return False
    modeling = vars(sys.modules[type(base).__module__])
    before = dict(modeling)
    try:
        # The loss is computed elsewhere, in pieces (`kernels.cross_entropy`).
        patching._apply_liger_kernel_to_instance(
            model=base, rope=False, cross_entropy=False, fused_linear_cross_entropy=False
        )
    finally:
        modeling.update(before)
    rotary: Any = importlib.import_module("liger_kernel.transformers.rope")
    replace_rotary(base, rotary.liger_rotary_pos_emb)
    return True
