"""Exports that can be trusted: written, read back, compared, and only then called exported.

`TARGETS` lists the forms of export, one file each in `targets/`; listing them does not import torch.
"""

from studio.engine.export.base import Target
from studio.registry import Registry

TARGETS: Registry[Target] = Registry("export target", f"{__name__}.targets", "TARGET")

__all__ = ["TARGETS", "Target"]
