"""How large a GGUF file will be, before anything is trained or written: from the headers of the base's files."""

from __future__ import annotations

from pathlib import Path

from studio.engine.export.gguf.convert import Weights, make_plan, rows_of
from studio.engine.export.gguf.formats import FORMATS
from studio.engine.export.gguf.vocabulary import read_vocabulary


def predict_sizes(base: Path) -> dict[str, int]:
    """Return the bytes of the file in each format, by name. Raises `ExportError` where there can be no such file."""
    from studio.engine.models.config import load_config

    config, shapes = load_config(base).to_dict(), Weights(base).shapes
    vocabulary = read_vocabulary(base, rows_of(shapes))
    return {name: make_plan(config, shapes, vocabulary, chosen, base.name).bytes() for name, chosen in FORMATS.items()}
