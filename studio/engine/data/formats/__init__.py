"""Data formats, one file each. Listing them imports nothing heavy."""

from studio.engine.data.formats.base import Format
from studio.registry import Registry

FORMATS: Registry[Format] = Registry("data format", __name__, "FORMAT")

__all__ = ["FORMATS", "Format"]
