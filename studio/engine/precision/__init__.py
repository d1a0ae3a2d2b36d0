"""Precision policies, one file each, and the loss scaler. Listing them does not import torch."""

from studio.engine.precision.base import Precision
from studio.registry import Registry

PRECISIONS: Registry[Precision] = Registry("precision", __name__, "PRECISION")

__all__ = ["PRECISIONS", "Precision"]
