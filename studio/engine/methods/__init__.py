"""Fine-tuning methods, one file each. Listing them does not import torch."""

from studio.engine.methods._targets import suggestions_of
from studio.engine.methods.base import Method
from studio.registry import Registry

METHODS: Registry[Method] = Registry("method", __name__, "METHOD")

__all__ = ["METHODS", "Method", "suggestions_of"]
